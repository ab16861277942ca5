"""Files that other packages write are read as those packages read them.

Formats, encodings, types, layouts of colors and orders of fields that plyfile, pypcd4, trimesh and
NumPy can write; the truth is what the package itself reads back.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sr3d_core.data.cloud_file import open_cloud

plyfile = pytest.importorskip("plyfile")
pypcd4 = pytest.importorskip("pypcd4")
trimesh = pytest.importorskip("trimesh")

NUM_POINTS = 50
LAYOUTS = {
    "xyz": ("red", "green", "blue"),
    "zyx": ("r", "g", "b"),
    "yzx": ("Red", "Green", "Blue"),
    "first": ("diffuse_red", "diffuse_green", "diffuse_blue"),
    "between": ("scalar_R", "scalar_G", "scalar_B"),
}
"""Orders of the coordinates before the colors, or where the colors stand, and their names."""

SCALES = {"u1": 255, "u2": 65535, "i4": 255, "f4": 1, "f8": 1, "?": 1}


def cloud(coordinate: str, color: str) -> tuple[NDArray, NDArray]:
    """Points and colors of some types; colors use their scale in full."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-5, 5, (NUM_POINTS, 3)).astype(coordinate)
    rgb = rng.random((NUM_POINTS, 3))
    rgb[0] = (1, 0, 1)
    return xyz, (rgb > 0.5 if color == "?" else (rgb * SCALES[color]).astype(color))


def ordered(order: str, colors: Sequence[str]) -> list[str]:
    """The names of all fields, one that means nothing among them."""
    if order == "first":
        return [*colors, "x", "y", "z", "ring"]
    if order == "between":
        return ["x", colors[0], "y", *colors[1:], "ring", "z"]
    return ["ring", *order, *colors]


def structured(xyz: NDArray, colors: dict[str, NDArray], order: str) -> NDArray:
    ring = np.arange(NUM_POINTS, dtype=np.uint16)
    fields = {**dict(zip("xyz", xyz.T, strict=True)), **colors, "ring": ring}
    names = ordered(order, list(colors))
    rows = np.zeros(NUM_POINTS, [(name, fields[name].dtype) for name in names])
    for name in names:
        rows[name] = fields[name]
    return rows


def check(path: Path, xyz: NDArray, rgb: NDArray | None, full: float = 255) -> None:
    opened = open_cloud(path, up="z")
    np.testing.assert_allclose(opened.cloud.xyz.numpy(), xyz, rtol=1e-6, atol=1e-6)
    if rgb is None:
        assert opened.cloud.features.isnan().all()
    else:
        expected = rgb.astype(np.float64) / full
        np.testing.assert_allclose(opened.cloud.features.numpy(), expected, atol=1e-6)


def write_ply(path: Path, elements: list[Any], encoding: str) -> None:
    options = {"text": True} if encoding == "ascii" else {"byte_order": encoding}
    plyfile.PlyData(elements, **options).write(path)


@pytest.mark.parametrize("order", LAYOUTS)
@pytest.mark.parametrize("encoding", ["ascii", "<", ">"])
@pytest.mark.parametrize("coordinate", ["f4", "f8"])
def test_ply_of_plyfile(tmp_path: Path, order: str, encoding: str, coordinate: str) -> None:
    path = tmp_path / "a.ply"
    faces = np.zeros(7, [("vertex_indices", "i4", (3,)), ("flags", "u1")])
    names = LAYOUTS[order]
    for color in ("u1", "u2", "i4", "f4", "f8"):
        xyz, rgb = cloud(coordinate, color)
        rows = structured(xyz, dict(zip(names, rgb.T, strict=True)), order)
        elements = [
            plyfile.PlyElement.describe(faces, "face"),
            plyfile.PlyElement.describe(rows, "vertex"),
        ]
        for chosen in (elements, elements[::-1]):
            write_ply(path, chosen, encoding)
            truth = plyfile.PlyData.read(path)["vertex"]
            true_xyz, true_rgb = (np.stack([truth[n] for n in k], axis=1) for k in ("xyz", names))
            check(path, true_xyz, true_rgb, SCALES[color])


@pytest.mark.parametrize("encoding", ["ascii", "<"])  # plyfile writes half of ">" as "<"
def test_ply_of_plyfile_with_lists_among_the_vertices(tmp_path: Path, encoding: str) -> None:
    xyz, _ = cloud("f4", "u1")
    rows = np.zeros(NUM_POINTS, [("x", "f4"), ("near", object), ("y", "f4"), ("z", "f4")])
    for axis, column in zip("xyz", xyz.T, strict=True):
        rows[axis] = column
    for index in range(NUM_POINTS):
        rows["near"][index] = np.arange(1 + index % 5, dtype=np.int32)
    element = plyfile.PlyElement.describe(rows, "vertex", val_types={"near": "i4"})
    write_ply(tmp_path / "a.ply", [element], encoding)
    truth = plyfile.PlyData.read(tmp_path / "a.ply")["vertex"]
    check(tmp_path / "a.ply", np.stack([truth[axis] for axis in "xyz"], axis=1), None)


ENCODINGS = ("ascii", "binary", "binary_compressed")


def write_pcd(path: Path, rows: NDArray, encoding: str) -> Any:
    """Write, and return what pypcd4 reads back."""
    names = rows.dtype.names or ()
    points = [rows[name] for name in names]
    written = pypcd4.PointCloud.from_points(points, names, [rows.dtype[name] for name in names])
    written.save(path, pypcd4.Encoding(encoding))
    return pypcd4.PointCloud.from_path(path)


@pytest.mark.parametrize("order", LAYOUTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("coordinate", ["f4", "f8"])
def test_pcd_of_pypcd4_with_packed_colors(
    tmp_path: Path, order: str, encoding: str, coordinate: str
) -> None:
    path = tmp_path / "a.pcd"
    xyz, rgb = cloud(coordinate, "u1")
    for name, kind, alpha in itertools.product(("rgb", "rgba"), ("f4", "u4"), (0, 1, 255)):
        if kind == "f4" and encoding == "ascii":
            continue  # pypcd4 writes too few digits for the bits
        numbers = pypcd4.PointCloud.encode_rgb(rgb).view(np.uint32) | np.uint32(alpha << 24)
        truth = write_pcd(path, structured(xyz, {name: numbers.view(kind)}, order), encoding)
        read = np.ascontiguousarray(truth.pc_data[name]).view(np.uint32)
        true_rgb = pypcd4.PointCloud.decode_rgb(read)
        check(path, truth.numpy(("x", "y", "z")), true_rgb)


@pytest.mark.parametrize("order", LAYOUTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("color", ["u1", "u2", "i4", "f4"])
def test_pcd_of_pypcd4_with_a_field_for_each_channel(
    tmp_path: Path, order: str, encoding: str, color: str
) -> None:
    path, names = tmp_path / "a.pcd", LAYOUTS[order]
    xyz, rgb = cloud("f4", color)
    rows = structured(xyz, dict(zip(names, rgb.T, strict=True)), order)
    truth = write_pcd(path, rows, encoding)
    check(path, truth.numpy(("x", "y", "z")), truth.numpy(names), SCALES[color])


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
@pytest.mark.parametrize("num_channels", [0, 3, 4])
@pytest.mark.parametrize("is_mesh", [True, False])
def test_ply_of_trimesh(tmp_path: Path, encoding: str, num_channels: int, is_mesh: bool) -> None:
    xyz, rgb = cloud("f8", "u1")
    rgba = np.c_[rgb, np.arange(NUM_POINTS, dtype=np.uint8)]
    colors = rgba[:, :num_channels] if num_channels else None
    shape = trimesh.PointCloud(xyz, colors)
    if is_mesh:
        triangles = np.arange(NUM_POINTS - NUM_POINTS % 3).reshape(-1, 3)
        shape = trimesh.Trimesh(xyz, triangles, vertex_colors=colors, process=False)
    path = tmp_path / "a.ply"
    path.write_bytes(trimesh.exchange.ply.export_ply(shape, encoding=encoding))
    truth = trimesh.load(path, process=False)
    visual = truth.visual if is_mesh else truth
    true_rgb = (
        (visual.vertex_colors if is_mesh else visual.colors)[:, :3] if num_channels else None
    )
    check(path, truth.vertices, true_rgb)


@pytest.mark.parametrize("coordinate", ["f2", "f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize("color", SCALES)
def test_arrays_of_numpy(tmp_path: Path, coordinate: str, color: str) -> None:
    xyz, rgb = cloud(coordinate, color)
    full, path = SCALES[color], tmp_path / "a.npy"
    for order, names in LAYOUTS.items():
        np.save(path, structured(xyz, dict(zip(names, rgb.T, strict=True)), order))
        truth = np.load(path)
        true_xyz, true_rgb = (np.stack([truth[n] for n in k], axis=1) for k in ("xyz", names))
        check(path, true_xyz, true_rgb, full)
    for name, shape in itertools.product(("rgb", "color", "colors"), ((50, 3), (5, 10, 3))):
        np.savez(tmp_path / "a.npz", xyz=xyz.reshape(shape), **{name: rgb.reshape(shape)})
        truth = np.load(tmp_path / "a.npz")
        check(tmp_path / "a.npz", truth["xyz"].reshape(-1, 3), truth[name].reshape(-1, 3), full)
    np.save(path, xyz.reshape(10, 5, 3))
    check(path, np.load(path).reshape(-1, 3), None)


@pytest.mark.parametrize("order", LAYOUTS)
@pytest.mark.parametrize("separator", [" ", "\t", ",", ";"])
@pytest.mark.parametrize("mark", ["", "# ", "//"])
def test_text_of_numpy(tmp_path: Path, order: str, separator: str, mark: str) -> None:
    path = tmp_path / "a.csv"
    names = LAYOUTS[order]
    for color in ("u1", "u2", "f4"):
        xyz, rgb = cloud("f8", color)
        rows = structured(xyz, dict(zip(names, rgb.T, strict=True)), order)
        fields = list(rows.dtype.names or ())
        table = np.stack([rows[name].astype(np.float64) for name in fields], axis=1)
        heading = separator.join(fields)
        np.savetxt(path, table, "%.9g", separator, header=heading, comments=mark)
        truth = np.loadtxt(path, delimiter=separator.strip() or None, skiprows=1).T
        columns = dict(zip(fields, truth, strict=True))
        true_xyz, true_rgb = (np.stack([columns[n] for n in k], axis=1) for k in ("xyz", names))
        check(path, true_xyz, true_rgb, SCALES[color])
