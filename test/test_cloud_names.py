"""Which column is what: names in text, PLY, PCD and arrays, and tables that have none."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from sr3d_core.data.cloud_file import CloudFile, CloudFileError, open_cloud

POINTS = [[0.5, 1.25, 2.0], [3.0, 4.5, -5.75]]
COLORS = [[255, 0, 51], [0, 102, 204]]


def opened(folder: Path, name: str, data: bytes | str) -> CloudFile:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_cloud(path, up="z")


def check(cloud: CloudFile, has_color: bool) -> None:
    np.testing.assert_array_equal(cloud.cloud.xyz.numpy(), POINTS)
    features = cloud.cloud.features.numpy()
    if has_color:
        np.testing.assert_allclose(features, np.array(COLORS) / 255.0, atol=1e-6)
    else:
        assert np.isnan(features).all()


VALUES = {
    **dict(zip("xyz", zip(*POINTS, strict=True), strict=True)),
    **dict(zip("rgb", zip(*COLORS, strict=True), strict=True)),
    **{"id": (17, 18), "intensity": (0.25, 0.5), "ring": (3, 4), "time": (0.001, 0.002)},
    **{"nx": (0.0, 0.6), "ny": (0.0, 0.8), "nz": (1.0, 0.0), "a": (255, 255)},
}


def table(columns: str, separator: str) -> str:
    names = columns.split()
    return "".join(
        separator.join(f"{VALUES[name][row]}" for name in names) + "\n" for row in (0, 1)
    )


@pytest.mark.parametrize("separator", [",", ";", " ", "\t"])
@pytest.mark.parametrize(
    ("columns", "has_color"),
    [
        ("r g b x y z", True),
        ("x y z b g r", True),
        ("z y x", False),
        ("x y z nx ny nz", False),
        ("x y z intensity ring time", False),
        ("id x y z r g b", True),
        ("x y z", False),
        ("x y z r g b a", True),
        ("nx ny nz b g r z y x", True),
    ],
)
def test_text_is_read_by_its_heading(
    tmp_path: Path, columns: str, has_color: bool, separator: str
) -> None:
    heading = separator.join(columns.split())
    for first in (heading, heading.upper(), f"# {heading}", f"//{heading.upper()}"):
        check(opened(tmp_path, "a.csv", f"{first}\n{table(columns, separator)}"), has_color)
    quoted = separator.join(f'"{name}"' for name in columns.split())
    check(opened(tmp_path, "a.csv", f"{quoted}\n{table(columns, separator)}"), has_color)


@pytest.mark.parametrize("names", ["Red Green Blue", "scalar_R scalar_G scalar_B", "R G B"])
def test_spelled_names_of_colors_are_known_in_text(tmp_path: Path, names: str) -> None:
    r, g, b = names.split()
    check(opened(tmp_path, "a.txt", f"X [m],Y,Z,{b},{g},{r}\n{table('x y z b g r', ',')}"), True)


@pytest.mark.parametrize("heading", ["id,x,y", "x,y,label", "lon,lat,height", "x,x,z", "x_mm,y,z"])
def test_a_heading_without_x_y_z_is_refused_with_its_names(tmp_path: Path, heading: str) -> None:
    with pytest.raises(CloudFileError, match=heading.split(",")[1]):
        opened(tmp_path, "a.csv", f"{heading}\n1,2,3\n4,5,6\n")


def test_a_heading_for_another_number_of_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CloudFileError, match=r"\b3\b.*\b4\b"):
        opened(tmp_path, "a.csv", "x,y,z\n0,1,2,3\n1,4,5,6\n")


def test_a_sentence_in_a_comment_is_no_heading(tmp_path: Path) -> None:
    text = f"# x y z are in metres\n{table('x y z r g b', ' ')}"
    check(opened(tmp_path, "a.txt", text), True)


@pytest.mark.parametrize("separator", [",", " "])
def test_a_comment_names_columns_though_one_is_unknown(tmp_path: Path, separator: str) -> None:
    """As CloudCompare names its scalar fields."""
    names = separator.join(["//X", "Y", "Z", "R", "G", "B", "Illuminance_(PCV)"])
    cloud = opened(tmp_path, "a.txt", f"{names}\n{table('x y z r g b id', separator)}")
    check(cloud, True)
    assert not cloud.note


@pytest.mark.parametrize(
    ("columns", "has_color", "is_guess"),
    [
        ("x y z intensity", False, True),
        ("x y z intensity r g b", True, True),
        ("x y z r g b intensity", True, True),
        ("x y z r g b a", True, True),
        ("x y z nx ny nz", False, True),
        ("x y z nx ny nz r g b", True, True),
        ("x y z r g b nx ny nz", True, True),
        ("x y z r g b", True, False),
        ("x y z", False, False),
    ],
)
def test_columns_without_names_are_told_apart_by_their_numbers(
    tmp_path: Path, columns: str, has_color: bool, is_guess: bool
) -> None:
    cloud = opened(tmp_path, "a.xyz", table(columns, " "))
    check(cloud, has_color)
    assert bool(cloud.note) == is_guess
    array = np.loadtxt(io.StringIO(table(columns, " ")))
    np.save(tmp_path / "a.npy", array)
    check(open_cloud(tmp_path / "a.npy", up="z"), has_color)


def test_signed_normals_are_no_colors(tmp_path: Path) -> None:
    cloud = opened(tmp_path, "a.txt", "0 0 0 0 0 -1\n1 1 1 0 1 0\n")
    assert cloud.cloud.features.isnan().all()
    assert "nx ny nz" in cloud.note


def ascii_ply(names: str, kind: str, rows: str) -> str:
    types = ["float"] * 3 + [kind] * (len(names.split()) - 3)
    properties = "".join(
        f"property {kind} {name}\n" for kind, name in zip(types, names.split(), strict=True)
    )
    return f"ply\nformat ascii 1.0\nelement vertex 2\n{properties}end_header\n{rows}"


@pytest.mark.parametrize(
    "names",
    [
        "X Y Z Red Green Blue",
        "x y z red green blue",
        "x y z r g b",
        "x y z scalar_R scalar_G scalar_B",
        "x y z ambient_red ambient_green ambient_blue",
        "x y z diffuse_red diffuse_green diffuse_blue",
    ],
)
def test_names_of_ply_in_any_case_and_with_prefix(tmp_path: Path, names: str) -> None:
    rows = table("x y z r g b", " ")
    check(opened(tmp_path, "a.ply", ascii_ply(names, "float", rows)), True)
    check(opened(tmp_path, "a.ply", ascii_ply(names, "uchar", rows)), True)


def packed(alpha: int) -> list[int]:
    return [(alpha << 24) | (r << 16) | (g << 8) | b for r, g, b in COLORS]


@pytest.mark.parametrize("name", ["rgba", "rgb", "RGBA"])
def test_packed_colors_of_ply(tmp_path: Path, name: str) -> None:
    rows = "".join(
        f"{' '.join(map(str, p))} {c}\n" for p, c in zip(POINTS, packed(255), strict=True)
    )
    check(opened(tmp_path, "a.ply", ascii_ply(f"x y z {name}", "uint", rows)), True)


def test_gaussian_splats_have_the_color_of_their_constant_term(tmp_path: Path) -> None:
    names = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2 f_rest_0 opacity"
    rows = "0 1 2 0 0 0 1 -1 9 7 0.5\n3 4 5 0 0 0 0 0.5 -9 7 0.5\n"
    cloud = opened(tmp_path, "a.ply", ascii_ply(names, "float", rows))
    c0 = 0.28209479177387814
    expected = [[0.5 + c0, 0.5 - c0, 1.0], [0.5, 0.5 + c0 / 2, 0.0]]
    np.testing.assert_allclose(cloud.cloud.features.numpy(), expected, atol=1e-6)
    assert "f_dc" in cloud.note


def pcd(
    fields: str, sizes: str, types: str, body: bytes, counts: str = "", data: str = "binary"
) -> bytes:
    count = f"COUNT {counts}\n" if counts else ""
    return (
        f"VERSION 0.7\nFIELDS {fields}\nSIZE {sizes}\nTYPE {types}\n{count}WIDTH 2\nHEIGHT 1\n"
        f"POINTS 2\nDATA {data}\n"
    ).encode() + body


@pytest.mark.parametrize("names", ["red green blue", "Red Green Blue", "r g b"])
def test_single_channels_of_pcd(tmp_path: Path, names: str) -> None:
    body = b"".join(struct.pack("<3f3B", *p, *c) for p, c in zip(POINTS, COLORS, strict=True))
    data = pcd(f"X Y Z {names}", "4 4 4 1 1 1", "F F F U U U", body)
    check(opened(tmp_path, "a.pcd", data), True)


@pytest.mark.parametrize(("count", "alpha"), [(3, []), (4, [255])])
def test_rgb_of_pcd_may_be_several_numbers(tmp_path: Path, count: int, alpha: list[int]) -> None:
    body = b"".join(
        struct.pack(f"<3f{count}B", *p, *c, *alpha) for p, c in zip(POINTS, COLORS, strict=True)
    )
    data = pcd("x y z rgb", "4 4 4 1", "F F F U", body, f"1 1 1 {count}")
    check(opened(tmp_path, "a.pcd", data), True)


@pytest.mark.parametrize("alphas", [(0, 0), (255, 255), (0, 75), (64, 255), (64, 64)])
@pytest.mark.parametrize("kind", ["F", "U", "I"])
def test_alpha_never_changes_a_packed_color(
    tmp_path: Path, alphas: tuple[int, int], kind: str
) -> None:
    numbers = [packed(alpha)[row] for row, alpha in enumerate(alphas)]
    body = b"".join(struct.pack("<3fI", *p, c) for p, c in zip(POINTS, numbers, strict=True))
    check(opened(tmp_path, "a.pcd", pcd("x y z rgb", "4 4 4 4", f"F F F {kind}", body)), True)


def test_float_whose_value_is_the_color_is_told(tmp_path: Path) -> None:
    rows = "".join(
        f"{' '.join(map(str, p))} {float(c)}\n" for p, c in zip(POINTS, packed(0), strict=True)
    )
    data = pcd("x y z rgb", "4 4 4 4", "F F F F", rows.encode(), data="ascii")
    cloud = opened(tmp_path, "a.pcd", data)
    check(cloud, True)
    assert "value" in cloud.note


def test_a_packed_color_that_is_nan_in_a_text_is_none(tmp_path: Path) -> None:
    """What PCL writes where the bits of a color are no number: which color it was is lost."""
    rows = "0.5 1.25 2 nan\n3 4.5 -5.75 9.367548e-39\n"  # 0x00660000 | 0xcc00 | 0x2b
    cloud = opened(
        tmp_path, "a.pcd", pcd("x y z rgb", "4 4 4 4", "F F F F", rows.encode(), data="ascii")
    )
    bits = int(np.array(9.367548e-39, np.float32).view(np.uint32))
    expected = [[0, 0, 0], [bits >> 16, bits >> 8 & 255, bits & 255]]
    np.testing.assert_allclose(cloud.cloud.features.numpy() * 255, expected, atol=1e-3)


def test_signed_packed_colors_of_an_ascii_pcd(tmp_path: Path) -> None:
    rows = "".join(
        f"{' '.join(map(str, p))} {c - 2**32}\n" for p, c in zip(POINTS, packed(255), strict=True)
    )
    data = pcd("x y z rgba", "4 4 4 4", "F F F I", rows.encode(), data="ascii")
    check(opened(tmp_path, "a.pcd", data), True)


RGB = np.array(COLORS, np.uint8)
XYZ = np.array(POINTS, np.float32)


@pytest.mark.parametrize("points", ["xyz", "points", "pc", "coord", "Points", "pos", "arr_0"])
@pytest.mark.parametrize("colors", ["color", "colors", "rgb", "RGB", "colour"])
def test_names_of_arrays_in_an_archive(tmp_path: Path, points: str, colors: str) -> None:
    np.savez(tmp_path / "a.npz", **{points: XYZ, colors: RGB, "label": np.array([1, 2])})
    check(open_cloud(tmp_path / "a.npz", up="z"), True)


@pytest.mark.parametrize(
    "arrays",
    [
        {"coord": XYZ, "color": np.c_[RGB, [7, 7]]},
        {"xyz": XYZ.reshape(1, 2, 3), "rgb": RGB.reshape(1, 2, 3)},
        {"xyz": XYZ, "bgr": RGB[:, ::-1]},
        {"points": np.c_[XYZ, RGB]},
        {"x": XYZ[:, 0], "y": XYZ[:, 1], "z": XYZ[:, 2], "rgb": np.array(packed(0), np.uint32)},
        {**dict(zip("xyz", XYZ.T, strict=True)), **dict(zip("rgb", RGB.T, strict=True))},
        {
            **{name: XYZ[:, [axis]] for axis, name in enumerate("xyz")},
            **{name: RGB[:, [channel]] for channel, name in enumerate(("red", "green", "blue"))},
        },
    ],
)
def test_shapes_of_arrays_in_an_archive(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    check(open_cloud(tmp_path / "a.npz", up="z"), True)


def test_arrays_that_are_no_colors_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", XYZ, RGB)
    cloud = open_cloud(tmp_path / "a.npz", up="z")
    check(cloud, False)
    assert "arr_1" in cloud.note


def test_arrays_of_different_lengths_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3), y=np.zeros(3), z=np.zeros(2))
    with pytest.raises(CloudFileError, match="'z'"):
        open_cloud(tmp_path / "a.npz", up="z")


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_with_named_fields(tmp_path: Path, shape: tuple[int, ...], order: str) -> None:
    separate = np.zeros(2, [(n, "u1") for n in "bgr"] + [(n, f"{order}f8") for n in "zyx"])
    for i, name in enumerate("xyz"):
        separate[name] = XYZ[:, i]
    for i, name in enumerate("rgb"):
        separate[name] = RGB[:, i]
    joint = np.zeros(2, [("xyz", f"{order}f4", 3), ("rgb", f"{order}u4"), ("label", "S5")])
    joint["xyz"], joint["rgb"] = XYZ, packed(0)
    for array in (separate, joint):
        np.save(tmp_path / "a.npy", array.reshape(shape))
        check(open_cloud(tmp_path / "a.npy", up="z"), True)


def test_a_grid_of_points_is_read_row_by_row(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", XYZ.reshape(2, 1, 3))
    check(open_cloud(tmp_path / "a.npy", up="z"), False)


def test_a_color_that_lacks_a_channel_is_told(tmp_path: Path) -> None:
    cloud = opened(tmp_path, "a.ply", ascii_ply("x y z red green", "uchar", "0 1 2 9 9\n" * 2))
    assert cloud.cloud.features.isnan().all()
    assert "red" in cloud.note
