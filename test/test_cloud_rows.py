"""Points that are lost, shifted or other numbers: every row is read right or refused."""

from __future__ import annotations

import codecs
import struct
from pathlib import Path

import numpy as np
import pytest

from sr3d_core.data.cloud_file import CloudFile, CloudFileError, open_cloud

POINTS = [[1.5, 2.25, 0.5], [3.0, 4.0, 5.0], [-1.0, 0.25, 7.5], [8.0, 9.0, 10.0]]
ROWS = [" ".join(map(str, point)) for point in POINTS]
HEADER = "property float x\nproperty float y\nproperty float z\n"
FACES = "element face 1\nproperty list uchar int vertex_indices\n"


def opened(folder: Path, name: str, data: bytes | str) -> CloudFile:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_cloud(path, up="z")


def check(cloud: CloudFile) -> None:
    np.testing.assert_array_equal(cloud.cloud.xyz.numpy(), POINTS)


def ply(body: str, *, before: str = "", after: str = "", num: int = 4, extra: str = "") -> str:
    vertex = f"element vertex {num}\n{HEADER}{extra}"
    return f"ply\nformat ascii 1.0\n{before}{vertex}{after}end_header\n{body}"


def pcd(body: str, size: str = "WIDTH 4\nHEIGHT 1\nPOINTS 4", fields: str = "FIELDS x y z") -> str:
    return f"VERSION 0.7\n{fields}\nSIZE 4 4 4\nTYPE F F F\n{size}\nDATA ascii\n{body}"


LINES = "\n".join(ROWS) + "\n"
TEXTS = {
    "a.ply": ply(LINES),
    "a.pcd": pcd(LINES),
    "a.txt": LINES,
    "a.xyz": LINES,
    "a.csv": LINES.replace(" ", ","),
    "b.csv": "x,y,z\n" + LINES.replace(" ", ","),
    "a.pts": "4\n" + LINES,
}


@pytest.mark.parametrize("name", TEXTS)
def test_blank_lines_cost_no_point(tmp_path: Path, name: str) -> None:
    check(opened(tmp_path, name, TEXTS[name].replace(ROWS[1], f"\n\n{ROWS[1]}") + "\n\n"))


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_line_ends_and_byte_order_marks(tmp_path: Path, name: str, end: str, mark: bytes) -> None:
    check(opened(tmp_path, name, mark + TEXTS[name].replace("\n", end).encode()))


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_read_with_a_mark(tmp_path: Path, name: str, encoding: str) -> None:
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}[encoding]
    data = TEXTS[name].encode(encoding)
    check(opened(tmp_path, name, mark + data))
    with pytest.raises(CloudFileError, match=name):
        opened(tmp_path, name, data)
    with pytest.raises(CloudFileError, match="UTF-16"):
        opened(tmp_path, name, mark + data[:-1])


COMMA = "\n".join(row.replace(".", ",") for row in ROWS) + "\n"


@pytest.mark.parametrize("separator", [";", "\t", " ", " ; "])
@pytest.mark.parametrize("heading", ["", "x y z\n"])
def test_decimal_commas_are_read_and_told(tmp_path: Path, separator: str, heading: str) -> None:
    cloud = opened(tmp_path, "a.csv", (heading + COMMA).replace(" ", separator))
    check(cloud)
    assert "decimal" in cloud.note


def test_the_example_of_decimal_commas(tmp_path: Path) -> None:
    cloud = opened(tmp_path, "a.txt", "1,5;2,3;0,4\n")
    np.testing.assert_allclose(cloud.cloud.xyz.numpy(), [[1.5, 2.3, 0.4]], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1,5 2,5\n3,5 4,5\n", "line 1"),
        ('x,y,z\n"1,5","2,5","3,5"\n', "line 2"),
        ("1.234,5;1;2\n", "line 1"),
        ("x,y,z\n1,2,3\n4,,6\n", "line 3"),
        ("x,y,z\n\n1,2,3\n4,5\n", "line 4"),
        ("1 2 3\n\n# note\n4 5 6 7\n", "line 4"),
        ("1 2 3\n4 five 6\n", "line 2"),
        ("1,5;2,5;3,5\n1;2;3;4\n", "line 2"),
        ("1.5 2.5 3.5\n1,234.5 2,345.6 3,456.7\n", "line 2"),
        ("1.5 2.5 3.5\n1.5\t2,5\t3.5\n", "line 2"),
        ("a title\nanother line\n1 2 3\n", "line 2"),
    ],
)
def test_what_can_be_read_in_two_ways_or_none_is_refused_with_its_line(
    tmp_path: Path, text: str, place: str
) -> None:
    with pytest.raises(CloudFileError, match=place):
        opened(tmp_path, "a.csv", text)


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\n" + LINES.replace(" ", ";"),
        "sep=,\r\nx,y,z\r\n" + LINES.replace(" ", ",").replace("\n", "\r\n"),
        "".join(",".join(f'"{v}"' for v in row.split()) + "\n" for row in ROWS),
        '"x";"y";"z"\n' + "".join(row.replace(" ", ";") + ";\n" for row in ROWS),
        "".join(row.replace(" ", ",") + ",\n" for row in ROWS),
        LINES.replace(" ", ", "),
        "// made by hand\n" + LINES.replace(" ", "\t\t") + "# end\n",
    ],
)
def test_ways_to_write_a_table(tmp_path: Path, text: str) -> None:
    check(opened(tmp_path, "a.csv", text))


@pytest.mark.parametrize("separator", [",", ";", " ", "\t"])
@pytest.mark.parametrize("rows", [LINES, COMMA])
def test_a_first_line_that_counts_the_columns_is_no_point(
    tmp_path: Path, rows: str, separator: str
) -> None:
    """As pandas writes above columns without names."""
    if separator == ",":
        rows = LINES  # a comma is one or the other
    text = f"0 1 2\n{rows}".replace(" ", separator)
    cloud = opened(tmp_path, "a.csv", text)
    check(cloud)
    assert separator.join("012") in cloud.note
    with pytest.raises(CloudFileError, match="line 6"):
        opened(tmp_path, "a.csv", f"{text}1{separator}2\n")


def test_whole_numbers_that_count_are_a_point_among_others(tmp_path: Path) -> None:
    cloud = opened(tmp_path, "a.csv", "0,1,2\n3,4,5\n6.5,7,8\n")
    assert len(cloud.cloud) == 3


def test_an_index_beside_counted_columns_is_no_coordinate(tmp_path: Path) -> None:
    for separator in (",", "\t"):
        text = ",0,1,2\n0,1.5,2.5,0.5\n1,2.5,1.5,0.7\n".replace(",", separator)
        with pytest.raises(CloudFileError, match=r"line [12]"):
            opened(tmp_path, "a.csv", text)


@pytest.mark.parametrize("name", ["a.ply", "a.pcd", "a.pts"])
@pytest.mark.parametrize("num", [3, 5])
def test_the_number_of_points_is_held_against_the_header(
    tmp_path: Path, name: str, num: int
) -> None:
    lines = LINES.removesuffix(ROWS[3] + "\n") if num == 3 else LINES + "0 0 0\n"
    with pytest.raises(CloudFileError, match=rf"\b{num} .*\b4\b"):
        opened(tmp_path, name, TEXTS[name].replace(LINES, lines))


BINARY = b"".join(struct.pack("<3f", *point) for point in POINTS)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.ply", ply("").replace("ascii", "binary_little_endian")),
        ("a.pcd", pcd("").replace("DATA ascii", "DATA binary")),
    ],
)
def test_binary_points_are_held_against_the_header_too(
    tmp_path: Path, name: str, header: str
) -> None:
    check(opened(tmp_path, name, header.encode() + BINARY))
    check(opened(tmp_path, name, header.encode() + BINARY + bytes(4096)))  # padding
    with pytest.raises(CloudFileError, match=r"\b5 .*\b4\b"):
        opened(tmp_path, name, header.encode() + BINARY + struct.pack("<3f", 1, 2, 3))
    with pytest.raises(CloudFileError, match=r"\b47 .*\b48\b"):
        opened(tmp_path, name, header.encode() + BINARY[:-1])
    for shift in (b"\n", b"\r\n", b"\0\0\0"):  # what follows would be other numbers
        with pytest.raises(CloudFileError, match=rf"\b{len(shift)} bytes"):
            opened(tmp_path, name, header.encode() + shift + BINARY)


def test_two_elements_of_vertices_are_refused(tmp_path: Path) -> None:
    after = f"element vertex 1\n{HEADER}"
    with pytest.raises(CloudFileError, match="'vertex', 'vertex'"):
        opened(tmp_path, "a.ply", ply(LINES + "1 2 3\n", after=after))


def test_sizes_of_a_pcd_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CloudFileError, match=r"POINTS 4.*WIDTH 6.*HEIGHT 1"):
        opened(tmp_path, "a.pcd", pcd(LINES, "WIDTH 6\nHEIGHT 1\nPOINTS 4"))


@pytest.mark.parametrize("size", ["POINTS 4", "WIDTH 2\nHEIGHT 2", "WIDTH 4"])
@pytest.mark.parametrize("fields", ["FIELDS X Y Z", "COLUMNS x y z"])
def test_headers_of_pcd_that_others_read(tmp_path: Path, size: str, fields: str) -> None:
    check(opened(tmp_path, "a.pcd", pcd(LINES, size, fields)))


@pytest.mark.parametrize(
    "text",
    [
        ply(" ".join(ROWS) + "\n"),
        ply(f"{ROWS[0]} {ROWS[1]}\n{ROWS[2]}\n{ROWS[3]}\n"),
        ply(LINES).replace("ply\n", "ply \n"),
        ply(LINES).replace("t x", "t X").replace("t y", "t Y").replace("t z", "t Z"),
        ply("3 0 1 2\n" + LINES, before=FACES),
        ply(LINES + "3 0 1 2\n", after=FACES),
        ply(
            "".join(f"{row} {n} {'5 ' * n}\n" for n, row in enumerate(ROWS)),
            extra="property list uchar int neighbours\n",
        ),
    ],
)
def test_ascii_ply_that_others_read(tmp_path: Path, text: str) -> None:
    check(opened(tmp_path, "a.ply", text))


def test_bytes_may_be_written_as_floats(tmp_path: Path) -> None:
    colors = "property uchar red\nproperty uchar green\nproperty uchar blue\n"
    text = ply("".join(f"{row} 21.0 51.0 255.0\n" for row in ROWS), extra=colors)
    cloud = opened(tmp_path, "a.ply", text)
    check(cloud)
    np.testing.assert_allclose(cloud.cloud.features[0].numpy() * 255, [21, 51, 255], atol=1e-4)


@pytest.mark.parametrize(
    "body", [f"1 2\n3 4 5 6\n{ROWS[2]}\n{ROWS[3]}\n", "1 2\n3\n" + "\n".join(ROWS[:3]) + "\n"]
)
def test_rows_that_end_within_a_point_are_refused_with_their_line(
    tmp_path: Path, body: str
) -> None:
    with pytest.raises(CloudFileError, match=r"line [89]\b"):
        opened(tmp_path, "a.ply", ply(body))


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("lengths", [(3, 3), (3, 4), (0, 7), (5, 1)])
def test_binary_ply_with_lists_before_and_among_the_vertices(
    tmp_path: Path, endian: str, end: str, lengths: tuple[int, int]
) -> None:
    kind = {"<": "binary_little_endian", ">": "binary_big_endian"}[endian]
    header = (
        f"ply\nformat {kind} 1.0\nelement face 2\nproperty list uchar int vertex_indices\n"
        "property uchar flags\nelement vertex 4\nproperty float x\nproperty float y\n"
        "property list ushort short neighbours\nproperty float z\nelement edge 1\n"
        "property int a\nend_header\n"
    )
    faces = b"".join(struct.pack(f"{endian}B{n}iB", n, *range(n), 9) for n in lengths)
    numbers = (*lengths, *lengths)
    vertices = b"".join(
        struct.pack(f"{endian}2fH{n}hf", p[0], p[1], n, *range(n), p[2])
        for n, p in zip(numbers, POINTS, strict=True)
    )
    data = header.replace("\n", end).encode() + faces + vertices + struct.pack(f"{endian}i", 1)
    check(opened(tmp_path, "a.ply", data))
    with pytest.raises(CloudFileError, match=r"a\.ply"):
        opened(tmp_path, "a.ply", data[:-8])


def test_an_impossible_list_is_refused(tmp_path: Path) -> None:
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty list uint int a\n"
    data = f"{header}{HEADER}end_header\n".encode() + struct.pack("<I", 2**32 - 1) + bytes(40)
    with pytest.raises(CloudFileError, match=r"a\.ply.* expected "):
        opened(tmp_path, "a.ply", data)


def test_signalling_nans_are_points_without_a_return(tmp_path: Path) -> None:
    header = pcd("").replace("DATA ascii", "DATA binary").encode()
    cloud = opened(tmp_path, "a.pcd", header + BINARY[:36] + struct.pack("<3I", *[0x7FA00000] * 3))
    assert (len(cloud.cloud), cloud.num_dropped) == (3, 1)


def test_vertices_of_lists_alone_are_refused(tmp_path: Path) -> None:
    text = ply(LINES).replace(HEADER, "property list uchar int near\n").replace(LINES, "0\n" * 4)
    with pytest.raises(CloudFileError, match="expected x, y, z"):
        opened(tmp_path, "a.ply", text)


def test_a_damaged_word_of_a_ply_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CloudFileError, match="properdy"):
        opened(tmp_path, "a.ply", ply(LINES).replace("property float y", "properdy float y"))


def test_elements_without_properties_take_no_time(tmp_path: Path) -> None:
    after = "element nothing 1999999999999999\n"
    check(opened(tmp_path, "a.ply", ply(LINES, after=after)))
    check(opened(tmp_path, "a.ply", ply(" ".join(ROWS), before=after)))
    header = ply("", before=after).replace("ascii", "binary_little_endian")
    check(opened(tmp_path, "a.ply", header.encode() + BINARY))


def test_infinite_numbers_among_packed_colors_are_black(tmp_path: Path) -> None:
    rows = "".join(
        f"{row} {c}\n" for row, c in zip(ROWS, ("255", "1e999", "nan", "7"), strict=True)
    )
    text = pcd(rows, fields="FIELDS x y z rgb").replace("4 4 4\n", "4 4 4 4\n", 1)
    cloud = opened(tmp_path, "a.pcd", text.replace("F F F\n", "F F F U\n"))
    assert (cloud.cloud.features * 255).round().tolist() == [[0, 0, c] for c in (255, 0, 0, 7)]
