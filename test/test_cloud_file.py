"""Cloud files: every format, written here byte by byte, and every way to get one wrong."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sr3d_core.data.cloud_file import CloudFileError, open_cloud, read_cloud
from sr3d_core.data.cloud_formats.lzf import decompress

XYZ = np.array([[0.0, 1.0, 2.0], [-1.5, 0.25, 3.0], [4.0, 5.0, -6.0]], dtype=np.float32)
RGB = np.array([[255, 0, 51], [0, 102, 255], [10, 20, 30]], dtype=np.uint8)


def plain_ply(encoding: str, endian: str) -> bytes:
    header = (
        f"ply\nformat {encoding} 1.0\ncomment made by hand\nelement vertex 3\n"
        "property float x\nproperty float y\nproperty float z\nproperty uchar red\n"
        "property uchar green\nproperty uchar blue\nelement face 1\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    if encoding == "ascii":
        rows = [
            " ".join(f"{v:g}" for v in p) + " " + " ".join(map(str, c))
            for p, c in zip(XYZ, RGB, strict=True)
        ]
        return (header + "\n".join(rows) + "\n3 0 1 2\n").encode()
    body = b"".join(
        struct.pack(f"{endian}3f3B", *p.tolist(), *c.tolist())
        for p, c in zip(XYZ, RGB, strict=True)
    )
    return header.encode() + body + struct.pack(f"{endian}B3i", 3, 0, 1, 2)


def pcd_header(data: str, rgb_type: str = "U") -> str:
    return (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z rgb\n"
        f"SIZE 4 4 4 4\nTYPE F F F {rgb_type}\nCOUNT 1 1 1 1\nWIDTH 3\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 3\nDATA {data}\n"
    )


def packed() -> np.ndarray:
    r, g, b = RGB.astype(np.uint32).T
    return (r << 16) | (g << 8) | b


def plain_pcd(data: str, rgb_type: str = "U") -> bytes:
    if data == "ascii":
        rows = [
            " ".join(f"{v:g}" for v in p) + f" {c}" for p, c in zip(XYZ, packed(), strict=True)
        ]
        return (pcd_header(data) + "\n".join(rows) + "\n").encode()
    if data == "binary":
        body = b"".join(
            struct.pack("<3fI", *p.tolist(), int(c)) for p, c in zip(XYZ, packed(), strict=True)
        )
        return pcd_header(data, rgb_type).encode() + body
    columns = XYZ.T.astype("<f4").tobytes() + packed().astype("<u4").tobytes()
    stored = b"".join(
        bytes([len(columns[i : i + 32]) - 1]) + columns[i : i + 32]
        for i in range(0, len(columns), 32)
    )
    return pcd_header(data).encode() + struct.pack("<II", len(stored), len(columns)) + stored


def plain_npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, points=XYZ, colors=RGB)
    return buffer.getvalue()


def plain_npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate([XYZ, RGB / 255.0], axis=1))
    return buffer.getvalue()


def plain_text(separator: str, heading: str = "") -> bytes:
    rows = np.concatenate([XYZ, RGB], axis=1)
    return (heading + "\n".join(separator.join(f"{v:g}" for v in row) for row in rows)).encode()


FILES = {
    "ascii.ply": plain_ply("ascii", ""),
    "little.ply": plain_ply("binary_little_endian", "<"),
    "big.ply": plain_ply("binary_big_endian", ">"),
    "ascii.pcd": plain_pcd("ascii"),
    "binary.pcd": plain_pcd("binary"),
    "float_rgb.pcd": plain_pcd("binary", rgb_type="F"),
    "compressed.pcd": plain_pcd("binary_compressed"),
    "cloud.npz": plain_npz(),
    "cloud.npy": plain_npy(),
    "cloud.txt": plain_text(" ", "# a comment\n"),
    "cloud.xyz": plain_text("\t"),
    "cloud.xyzrgb": plain_text(" "),
    "cloud.pts": b"3\n" + plain_text(" "),
    "cloud.csv": plain_text(", ", "x,y,z,red,green,blue\n"),
}


NO_VERTEX = (
    b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\n"
    b"property float z\nend_header\n"
)


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_points_and_colors(tmp_path: Path, name: str) -> None:
    cloud = read_cloud(write(tmp_path, name, FILES[name]), up="z")
    torch.testing.assert_close(cloud.xyz, torch.from_numpy(XYZ))
    torch.testing.assert_close(cloud.features, torch.from_numpy(RGB) / 255.0)


@pytest.mark.parametrize("name", FILES)
def test_every_format_that_is_cut_off_is_refused_in_words(tmp_path: Path, name: str) -> None:
    data = FILES[name]
    cut = data[:-30] if name.endswith((".ply", ".pcd", ".npy", ".npz")) else data[:-9]
    if name.endswith((".txt", ".xyz", ".xyzrgb", ".csv", ".pts")):
        cut = cut.rstrip(b"0123456789. \t,") + b"\n1 2"
    with pytest.raises(CloudFileError, match=name):
        read_cloud(write(tmp_path, name, cut), up="z")


@pytest.mark.parametrize(
    "suffix", [".ply", ".pcd", ".npz", ".npy", ".txt", ".csv", ".xyzn", ".pts"]
)
def test_prose_instead_of_a_cloud_is_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, f"letter{suffix}", b"Dear reader,\nthis is not a cloud.\n" * 3)
    with pytest.raises(CloudFileError, match=r"letter.*(expected|cannot read)"):
        read_cloud(path, up="z")


@pytest.mark.parametrize(
    "suffix", [".ply", ".pcd", ".npz", ".npy", ".txt", ".csv", ".xyzn", ".pts"]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_bytes_are_refused(tmp_path: Path, suffix: str, seed: int) -> None:
    noise = np.random.default_rng(seed).bytes(500)
    with pytest.raises(CloudFileError):
        read_cloud(write(tmp_path, f"noise{suffix}", noise), up="z")


def test_damaged_compressed_points_are_refused(tmp_path: Path) -> None:
    data = bytearray(FILES["compressed.pcd"])
    data[-17] = 0xFF  # the control byte of the second run
    with pytest.raises(CloudFileError, match="the file is damaged"):
        read_cloud(write(tmp_path, "broken.pcd", bytes(data)), up="z")


def test_missing_file_folder_and_unknown_ending_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CloudFileError, match="no such file; check the path"):
        read_cloud(tmp_path / "nowhere.ply")
    with pytest.raises(CloudFileError, match="a folder, expected a file"):
        read_cloud(tmp_path)
    with pytest.raises(CloudFileError, match=r"'\.las'.*\.ply"):
        read_cloud(write(tmp_path, "scan.las", b"LASF"))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("none.txt", b""),
        ("none.ply", NO_VERTEX),
        ("nan.txt", b"nan nan nan\nnan 0 0\n"),
    ],
)
def test_no_usable_point_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(CloudFileError, match=r"none of its \d points is finite"):
        read_cloud(write(tmp_path, name, data), up="z")


def test_points_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "holes.txt", b"0 0 0\nnan 1 1\n1 inf 1\n2 2 2\n")
    opened = open_cloud(path, up="z")
    assert len(opened.cloud) == 2
    assert opened.num_dropped == 2


def test_clouds_without_color_have_unknown_colors(tmp_path: Path) -> None:
    assert read_cloud(write(tmp_path, "a.txt", b"0 0 0\n"), up="z").features.isnan().all()


def test_colors_that_are_all_zero_are_unknown(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"0 0 0 0 0 0\n1 1 1 0 0 0\n")
    assert read_cloud(path, up="z").features.isnan().all()


def test_five_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CloudFileError, match=r"shape \(1, 5\).*expected 3 columns"):
        read_cloud(write(tmp_path, "a.txt", b"0 0 0 1 1\n"), up="z")


def test_a_guess_is_a_warning_of_python_where_only_points_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"0 0 0 7\n1 2 3 9\n")
    with pytest.warns(UserWarning, match=r"a\.txt.*intensity") as warned:
        assert len(read_cloud(path, up="z")) == 2
    assert warned[0].filename == __file__


def test_normals_of_xyzn_are_left_out(tmp_path: Path) -> None:
    cloud = read_cloud(write(tmp_path, "a.xyzn", b"0 1 2 0 0 -1\n3 4 5 0 1 0\n"), up="z")
    assert cloud.xyz.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert cloud.features.isnan().all()
    with pytest.raises(CloudFileError, match=r"3 columns, expected 6"):
        read_cloud(write(tmp_path, "b.xyzn", b"0 1 2\n"), up="z")


@pytest.mark.parametrize(
    ("rows", "rgb"),
    [
        (b"0 1 2\n3 4 5", None),
        (b"0 1 2 -700\n3 4 5 12", None),
        (b"0 1 2 -700 255 0 0\n3 4 5 12 0 0 255", [[1, 0, 0], [0, 0, 1]]),
    ],
)
def test_pts_may_have_intensity_and_color(
    tmp_path: Path, rows: bytes, rgb: list[list[int]] | None
) -> None:
    cloud = read_cloud(write(tmp_path, "a.pts", b"2\n" + rows), up="z")
    assert cloud.xyz.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert cloud.features.isnan().all() if rgb is None else cloud.features.tolist() == rgb


def test_pts_with_fewer_points_than_it_says_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CloudFileError, match=r"2 points, expected the 3"):
        read_cloud(write(tmp_path, "a.pts", b"3\n0 1 2\n3 4 5\n"), up="z")


def test_python_objects_in_an_array_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evil.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CloudFileError, match="without Python objects"):
        read_cloud(path)


def test_archive_without_points_names_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, depth=np.zeros(3))
    with pytest.raises(CloudFileError, match=r"depth.*x, y, z.*points"):
        read_cloud(path)


def test_colors_of_another_length_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, xyz=np.zeros((3, 3)), rgb=np.zeros((2, 3)))
    with pytest.raises(CloudFileError, match=r"'rgb' has shape \(2, 3\), expected \(3, 3\)"):
        read_cloud(path)


def test_ply_without_x_is_refused(tmp_path: Path) -> None:
    data = FILES["ascii.ply"].replace(b"float x", b"float u")
    with pytest.raises(CloudFileError, match="expected x, y, z, each once"):
        read_cloud(write(tmp_path, "a.ply", data))


def test_given_axis_is_turned_up(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"1 2 3\n")
    opened = open_cloud(path, up="-y")
    torch.testing.assert_close(opened.cloud.xyz, torch.tensor([[1.0, 3.0, -2.0]]))
    assert opened.is_turned
    assert read_cloud(path, up="y").xyz.tolist() == [[1.0, -3.0, 2.0]]
    assert not open_cloud(path, up="z").is_turned


def test_single_point_asks_for_the_axis(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"1 2 3\n")
    with pytest.raises(CloudFileError, match=r"1 points are too few .* --up z"):
        read_cloud(path)


def test_lzf_copies_may_overlap_what_they_write() -> None:
    # "ab" as it is, then 7 bytes from 2 back: the two bytes over and over.
    assert decompress(bytes([1]) + b"ab" + bytes([5 << 5, 1]), 9) == b"ababababa"


def test_lzf_long_copies_take_a_further_byte() -> None:
    assert decompress(bytes([0]) + b"x" + bytes([7 << 5, 3, 0]), 13) == b"x" * 13


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (bytes([1 << 5, 9]), "from .* bytes before their start"),
        (bytes([7 << 5]), "within a copy"),
        (bytes([0]) + b"a", "1 bytes after decompression, expected 5"),
    ],
)
def test_lzf_refuses_damaged_data(data: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        decompress(data, 5)


@pytest.mark.parametrize(
    ("name", "num_points", "has_color"),
    [
        ("capture0001.pcd", 249_647, False),
        ("milk_cartoon_all_small_clorox.pcd", 241_407, True),
        ("region_growing_rgb_tutorial.pcd", 259_847, True),
    ],
)
def test_real_clouds_are_read_and_levelled(
    real_data: Path, name: str, num_points: int, has_color: bool
) -> None:
    opened = open_cloud(real_data / "clouds" / name)
    assert len(opened.cloud) == num_points
    assert opened.num_dropped == 640 * 480 - num_points
    assert bool(opened.cloud.features.isfinite().all()) == has_color
    assert opened.is_turned
    # The cameras look forward and stand above what they see.
    assert opened.cloud.xyz[:, 1].median() > 0.3
    assert opened.cloud.xyz[:, 2].median() < 0.0
