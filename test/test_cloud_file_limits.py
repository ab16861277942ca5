"""Cloud files that lie far away, and NumPy files that are damaged or hostile."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from sr3d_core.data.cloud_file import CloudFileError, open_cloud, read_cloud
from sr3d_core.structures import Boxes3D

NEAR = np.array([[0.001, 0.25, 1.0], [2.003, 0.5, 2.0], [-1.5, 3.0, 0.5]])
SURVEY = np.array([500_000.0, 5_600_000.0, 0.0])


def save(path: Path, xyz: np.ndarray) -> Path:
    np.save(path, xyz)
    return path


def test_survey_cloud_keeps_its_millimetres(tmp_path: Path) -> None:
    opened = open_cloud(save(tmp_path / "a.npy", NEAR + SURVEY), up="z")
    back = opened.cloud.xyz.double() + opened.origin
    np.testing.assert_allclose(back.numpy(), NEAR + SURVEY, atol=1e-4)
    assert opened.num_dropped == 0


@pytest.mark.parametrize("up", ["z", "-y"])
def test_boxes_of_a_survey_cloud_are_restored_to_the_files_coordinates(
    tmp_path: Path, up: str
) -> None:
    opened = open_cloud(save(tmp_path / "a.npy", NEAR + SURVEY), up=up)
    boxes = Boxes3D(opened.cloud.xyz, torch.ones(3, 3), torch.zeros(3))
    expected = torch.from_numpy(NEAR + SURVEY) @ opened.upright_from_file.T
    torch.testing.assert_close(opened.restored(boxes).center, expected, rtol=0, atol=1e-4)


def test_far_points_that_do_not_belong_are_counted_as_dropped(tmp_path: Path) -> None:
    strays = np.array([[0, 0, 1e9], [0, 1e6, 0], [np.nan, 0, 0]])
    opened = open_cloud(save(tmp_path / "a.npy", np.concatenate([NEAR, strays])), up="z")
    assert (len(opened.cloud), opened.num_dropped) == (3, 3)


def test_nothing_but_impossible_coordinates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CloudFileError, match=r"1e\+09.*metres"):
        open_cloud(save(tmp_path / "a.npy", NEAR * 0 + 1e9), up="z")


def test_labelled_cloud_too_far_for_single_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CloudFileError, match=r"\(500000, 5600000, 0\).*subtract this"):
        read_cloud(save(tmp_path / "a.npy", NEAR + SURVEY), up="z")


def test_labelled_cloud_in_millimetres_keeps_its_coordinates(tmp_path: Path) -> None:
    xyz = np.abs(NEAR) * 1000.0 + 1500.0
    cloud = read_cloud(save(tmp_path / "a.npy", xyz), up="z")
    np.testing.assert_allclose(cloud.xyz.numpy(), xyz, rtol=1e-6)


def test_angle_of_the_turn_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", NEAR)
    assert open_cloud(path, up="-y").angle_rad == pytest.approx(np.pi / 2)
    assert open_cloud(path, up="z").angle_rad == 0.0


def assert_refused_in_own_words(path: Path) -> None:
    with pytest.raises(CloudFileError, match=path.name) as caught:
        read_cloud(path, up="z")
    text = str(caught.value)
    assert "save it again" in text or "really a" in text
    assert "pickle" not in text
    assert "unsafe" not in text


def archive() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, xyz=np.random.default_rng(0).random((2000, 3)))
    return buffer.getvalue()


@pytest.mark.parametrize("start", range(30, 600, 19))
def test_archive_with_damaged_bytes_is_refused(tmp_path: Path, start: int) -> None:
    data = bytearray(archive())
    data[start : start + 25] = bytes([0xA5] * 25)
    path = tmp_path / "damaged.npz"
    path.write_bytes(bytes(data))
    assert_refused_in_own_words(path)


@pytest.mark.parametrize("num_left", [2, 30, 100, 5000])
def test_archive_that_is_cut_off_is_refused(tmp_path: Path, num_left: int) -> None:
    path = tmp_path / "cut.npz"
    path.write_bytes(archive()[:num_left])
    assert_refused_in_own_words(path)


def test_archive_with_an_unknown_compression_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive())
    entry = data.index(b"PK\x01\x02")
    data[8:10] = data[entry + 10 : entry + 12] = b"\x63\x00"
    path = tmp_path / "odd.npz"
    path.write_bytes(bytes(data))
    assert_refused_in_own_words(path)


@pytest.mark.parametrize("shape", ["(10**18, 3)", f"({10**18}, 3)", f"({10**30}, 3)", "(-4, 3)"])
def test_array_with_an_impossible_shape_is_refused(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path = tmp_path / "huge.npy"
    magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    path.write_bytes(magic + header.encode() + bytes(48))
    assert_refused_in_own_words(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_text_with_a_numpy_ending_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_text("0 0 0\n1 1 1\n")
    assert_refused_in_own_words(path)
