"""Points on meshes, read with Open3D."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sr3d_core.data.cloud_file import CloudFileError, open_cloud
from sr3d_core.data.cloud_formats import READERS
from sr3d_core.data.cloud_formats.mesh import NUM_POINTS

FLOOR = """v 0 0 0 1 0 0
v 2 0 0 1 0 0
v 2 1 0 1 0 0
v 0 1 0 1 0 0
f 1 2 3
f 1 3 4
"""
"""A red floor of 2 x 1 m."""


@pytest.fixture
def floor(tmp_path: Path) -> Path:
    path = tmp_path / "floor.obj"
    path.write_text(FLOOR)
    return path


def needs_open3d() -> None:
    pytest.importorskip("open3d", exc_type=ImportError)


def test_points_lie_evenly_on_the_surface_with_its_color(floor: Path) -> None:
    needs_open3d()
    opened = open_cloud(floor, up="z")
    xyz = opened.cloud.xyz
    assert len(xyz) == NUM_POINTS
    torch.testing.assert_close(xyz.mean(dim=0), torch.tensor([1.0, 0.5, 0.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(xyz.amax(dim=0), torch.tensor([2.0, 1.0, 0.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(
        opened.cloud.features, torch.tensor([[1.0, 0, 0]]).expand(len(xyz), 3)
    )


def test_the_user_is_told_that_points_were_drawn(floor: Path) -> None:
    needs_open3d()
    assert "2 triangles" in open_cloud(floor, up="z").note


def test_the_same_mesh_gives_the_same_points(floor: Path) -> None:
    needs_open3d()
    first, second = (open_cloud(floor, up="z").cloud.xyz for _ in range(2))
    assert torch.equal(first, second)


def test_a_face_with_four_corners_is_a_surface_too(tmp_path: Path) -> None:
    needs_open3d()
    path = tmp_path / "square.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n")
    opened = open_cloud(path, up="z")
    assert opened.cloud.features.isnan().all()
    torch.testing.assert_close(
        opened.cloud.xyz.mean(dim=0), torch.tensor([0.5, 0.5, 0.0]), atol=0.01, rtol=0
    )


def test_colors_of_several_textures_are_left_out_and_that_is_told(tmp_path: Path) -> None:
    needs_open3d()
    cells = [
        f"v {x} 0 0\nv {x + 1} 0 0\nv {x} 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl m{x}\n"
        f"f {3 * x + 1}/{3 * x + 1} {3 * x + 2}/{3 * x + 2} {3 * x + 3}/{3 * x + 3}\n"
        for x in range(2)
    ]
    (tmp_path / "two.obj").write_text("mtllib two.mtl\n" + "".join(cells))
    (tmp_path / "two.mtl").write_text("newmtl m0\nKd 1 0 0\nnewmtl m1\nKd 0 0 1\n")
    opened = open_cloud(tmp_path / "two.obj", up="z")
    assert opened.cloud.features.isnan().all()
    assert "2 materials" in opened.note


@pytest.mark.parametrize("num_channels", [1, 3, 4])
def test_textures_of_any_number_of_channels_give_their_color(
    tmp_path: Path, num_channels: int
) -> None:
    needs_open3d()
    image = pytest.importorskip("PIL.Image")
    pixels = np.full((4, 4, num_channels), [255, 51, 0, 255][:num_channels], np.uint8)
    image.fromarray(pixels.squeeze()).save(tmp_path / "paint.png")
    (tmp_path / "painted.mtl").write_text("newmtl paint\nmap_Kd paint.png\n")
    path = tmp_path / "painted.obj"
    path.write_text(
        "mtllib painted.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\n"
        "usemtl paint\nf 1/1 2/2 3/3\n"
    )
    expected = torch.tensor([1.0, 0.2, 0.0] if num_channels > 1 else [1.0, 1.0, 1.0])
    color = open_cloud(path, up="z").cloud.features
    torch.testing.assert_close(color, expected.expand(len(color), 3))


@pytest.mark.parametrize("suffix", [name for name, reader in READERS.items() if "mesh" in reader])
@pytest.mark.parametrize(
    "data", [b"", b"Dear reader,\nthis is no mesh.\n" * 3, bytes(range(256)) * 2]
)
def test_what_is_no_mesh_is_refused(tmp_path: Path, suffix: str, data: bytes) -> None:
    needs_open3d()
    path = tmp_path / f"letter{suffix}"
    path.write_bytes(data)
    with pytest.raises(CloudFileError, match=r"letter.*expected a mesh"):
        open_cloud(path, up="z")


def test_without_open3d_the_error_names_file_and_extra(
    floor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(CloudFileError, match=r"floor\.obj.*\.\[open3d\]"):
        open_cloud(floor, up="z")
