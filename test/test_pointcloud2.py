"""PointCloud2 -> PointCloud: every driver's layout."""

from __future__ import annotations

import array
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from cloud_messages import (
    COLORS,
    FLOAT32,
    FLOAT64,
    POINTS,
    UINT8,
    UINT16,
    UINT32,
    XYZ,
    Field,
    Message,
    colored_rows,
    message,
    xyz_rows,
)

from sr3d_core.structures import PointCloud
from sr3d_ros.sensors.pointcloud2 import cloud_from_message


def check(cloud: PointCloud, points: Sequence[Sequence[float]] = POINTS) -> None:
    torch.testing.assert_close(cloud.xyz, torch.tensor(points, dtype=torch.float32))
    assert cloud.scene.tolist() == [0] * len(points)


def check_colors(cloud: PointCloud) -> None:
    assert torch.equal((cloud.features * 255).round(), torch.tensor(COLORS, dtype=torch.float32))
    assert cloud.features[0, 0] == 1.0


def test_realsense_unordered_cloud_has_color_after_a_gap() -> None:
    fields = [*XYZ, Field("rgb", 16)]
    rows = colored_rows(lambda r, g, b: bytes((b, g, r, 0xCD)), "rgb")
    cloud = cloud_from_message(message(fields, rows, point_step=20))
    check(cloud)
    check_colors(cloud)


@pytest.mark.parametrize(("datatype", "size"), [(FLOAT32, 4), (FLOAT64, 8)])
def test_separate_colors_of_floats_are_taken_as_they_are(datatype: int, size: int) -> None:
    fields = [*XYZ, *(Field(name, 12 + size * i, datatype) for i, name in enumerate("rgb"))]
    colors = [(0.0, 0.25, 1.0), (0.5, 0.5, float("nan")), (0.004, 0.0, 0.0), (1.0, 1.0, 1.0)]
    rows = [
        {**row, **dict(zip("rgb", color, strict=True))}
        for row, color in zip(xyz_rows(), colors, strict=True)
    ]
    cloud = cloud_from_message(message(fields, rows, point_step=12 + 3 * size))
    check(cloud)
    expected = torch.tensor(colors, dtype=torch.float32)
    torch.testing.assert_close(cloud.features, expected, atol=0, rtol=0, equal_nan=True)


def test_realsense_ordered_cloud_marks_no_return_with_zeros() -> None:
    points = [POINTS[0], (0.0, 0.0, 0.0), POINTS[2], (0.0, -0.0, 0.0)]
    cloud = cloud_from_message(message(XYZ, xyz_rows(points), point_step=12, width=2))
    check(cloud, [POINTS[0], POINTS[2]])


def test_zeros_are_points_where_they_are_not_to_be_dropped() -> None:
    points = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0)]
    sent = message(XYZ, xyz_rows(points), point_step=12)
    check(cloud_from_message(sent, drop_zeros=False), points)


def test_a_point_with_one_zero_coordinate_is_a_return() -> None:
    points = [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)]
    check(cloud_from_message(message(XYZ, xyz_rows(points), point_step=12)), points)


def test_realsense_grey_texture_called_intensity_is_no_color() -> None:
    rows = [{**row, "intensity": 77.0} for row in xyz_rows()]
    cloud = cloud_from_message(message([*XYZ, Field("intensity", 16)], rows, point_step=20))
    check(cloud)
    assert cloud.features.isnan().all()


def test_depth_image_proc_cloud_is_organised_with_nan_and_32_byte_points() -> None:
    points = [(math.nan,) * 3, POINTS[1], (math.nan,) * 3, POINTS[3]]
    rows = [
        {**row, "rgb": bytes((b, g, r, 255))}
        for row, (r, g, b) in zip(xyz_rows(points), COLORS, strict=True)
    ]
    cloud = cloud_from_message(message([*XYZ, Field("rgb", 16)], rows, point_step=32, width=2))
    check(cloud, [POINTS[1], POINTS[3]])
    assert (cloud.features * 255).round().tolist() == [[0, 0, 0], [255, 255, 255]]


def test_zed_cloud_has_bgra_bytes_and_infinities() -> None:
    points = [(math.inf, 0.0, 1.0), POINTS[1], POINTS[2], (1.0, -math.inf, 0.0)]
    rows = [
        {**row, "rgb": bytes((b, g, r, 255))}
        for row, (r, g, b) in zip(xyz_rows(points), COLORS, strict=True)
    ]
    cloud = cloud_from_message(message([*XYZ, Field("rgb", 12)], rows, point_step=16, width=2))
    check(cloud, [POINTS[1], POINTS[2]])
    assert (cloud.features * 255).round().tolist() == [[0, 0, 0], [200, 255, 7]]


def test_simulator_cloud_has_fields_in_any_order_with_gaps_and_padded_rows() -> None:
    fields = [Field("ring", 2, UINT16), Field("z", 21), Field("x", 5), Field("y", 13)]
    rows = [{**row, "ring": 9} for row in xyz_rows()]
    sent = message(fields, rows, point_step=30, width=2, row_padding=7)
    check(cloud_from_message(sent))


def test_a_last_row_without_its_padding_is_read() -> None:
    sent = message(XYZ, xyz_rows(), point_step=12, width=2, row_padding=8)
    check(cloud_from_message(replace(sent, data=sent.data[:-8])))


def test_float64_coordinates_are_read() -> None:
    fields = [Field("x", 0, FLOAT64), Field("y", 8, FLOAT64), Field("z", 16, FLOAT64)]
    check(cloud_from_message(message(fields, xyz_rows(), point_step=24)))


def test_coordinates_of_mixed_types_are_read() -> None:
    fields = [Field("x", 0, FLOAT64), Field("y", 8), Field("z", 12, FLOAT64)]
    check(cloud_from_message(message(fields, xyz_rows(), point_step=20)))


def test_float64_too_big_for_float32_is_no_return() -> None:
    fields = [Field("x", 0, FLOAT64), Field("y", 8, FLOAT64), Field("z", 16, FLOAT64)]
    points = [(1e300, 0.0, 0.0), POINTS[0]]
    check(cloud_from_message(message(fields, xyz_rows(points), point_step=24)), [POINTS[0]])


def test_uninitialised_coordinates_are_no_return() -> None:
    points = [(3e20, 0.0, 0.0), POINTS[0]]
    check(cloud_from_message(message(XYZ, xyz_rows(points), point_step=12)), [POINTS[0]])


@pytest.mark.parametrize("datatype", [FLOAT32, UINT32])
def test_big_endian_cloud_is_read(datatype: int) -> None:
    fields = [*XYZ, Field("rgb", 12, datatype)]
    rows = colored_rows(lambda r, g, b: bytes((0xEE, r, g, b)), "rgb")
    cloud = cloud_from_message(message(fields, rows, point_step=16, big=True))
    check(cloud)
    check_colors(cloud)


@pytest.mark.parametrize("datatype", [FLOAT32, UINT32, 5])
@pytest.mark.parametrize("name", ["rgb", "rgba"])
def test_packed_rgb_is_read_whatever_its_type(name: str, datatype: int) -> None:
    fields = [*XYZ, Field(name, 12, datatype)]
    rows = colored_rows(lambda r, g, b: struct.pack("<I", r << 16 | g << 8 | b), name)
    check_colors(cloud_from_message(message(fields, rows, point_step=16)))


@pytest.mark.parametrize("name", ["bgr", "bgra"])
def test_packed_bgr_has_blue_and_red_exchanged(name: str) -> None:
    fields = [*XYZ, Field(name, 12, UINT32)]
    rows = colored_rows(lambda r, g, b: struct.pack("<I", b << 16 | g << 8 | r), name)
    check_colors(cloud_from_message(message(fields, rows, point_step=16)))


@pytest.mark.parametrize("alpha", [0x00, 0x7F, 0xFF])
def test_colors_that_are_nan_as_float_keep_every_bit(alpha: int) -> None:
    reds = [127, 128, 130, 194, 255]
    rows = [{"x": 1.0, "y": 1.0, "z": 1.0, "rgb": bytes((1, 2, red, alpha))} for red in reds]
    cloud = cloud_from_message(message([*XYZ, Field("rgb", 12)], rows, point_step=16))
    assert (cloud.features[:, 0] * 255).round().tolist() == reds


def test_separate_bytes_for_red_green_blue_are_read() -> None:
    fields = [*XYZ, Field("b", 12, UINT8), Field("g", 14, UINT8), Field("r", 13, UINT8)]
    rows = [
        {**row, **dict(zip("rgb", color, strict=True))}
        for row, color in zip(xyz_rows(), COLORS, strict=True)
    ]
    check_colors(cloud_from_message(message(fields, rows, point_step=15)))


@pytest.mark.parametrize(("name", "order"), [("rgb", (0, 1, 2)), ("bgr", (2, 1, 0))])
def test_color_as_three_bytes_in_one_field_is_in_name_order(
    name: str, order: tuple[int, int, int]
) -> None:
    fields = [*XYZ, Field(name, 12, UINT8, 3)]
    rows = colored_rows(lambda *rgb: bytes(rgb[part] for part in order), name)
    check_colors(cloud_from_message(message(fields, rows, point_step=15)))


def test_no_color_field_gives_unknown_colors() -> None:
    cloud = cloud_from_message(message(XYZ, xyz_rows(), point_step=12))
    assert cloud.features.isnan().all()
    assert cloud.features.shape == (4, 3)


def test_a_field_called_r_alone_is_not_a_color() -> None:
    cloud = cloud_from_message(message([*XYZ, Field("r", 12)], xyz_rows(), point_step=16))
    assert cloud.features.isnan().all()


def test_count_zero_of_old_pcl_means_one() -> None:
    fields = [replace(part, count=0) for part in XYZ]
    check(cloud_from_message(message(fields, xyz_rows(), point_step=12)))


@pytest.mark.parametrize(
    "convert",
    [
        bytes,
        bytearray,
        memoryview,
        list,
        lambda data: array.array("B", data),
        lambda data: np.frombuffer(data, np.uint8),
    ],
    ids=["bytes", "bytearray", "memoryview", "list", "array", "read_only_ndarray"],
)
def test_every_kind_of_buffer_is_read(convert: Callable[[bytes], Any]) -> None:
    sent = message(XYZ, xyz_rows(), point_step=12)
    check(cloud_from_message(replace(sent, data=convert(sent.data))))


def test_the_cloud_does_not_share_memory_with_the_message() -> None:
    sent = message(XYZ, xyz_rows(), point_step=12)
    sent.data = bytearray(sent.data)
    cloud = cloud_from_message(sent)
    sent.data[:] = bytes(len(sent.data))
    check(cloud)


@pytest.mark.parametrize("data", [b"", bytearray(), array.array("B"), np.zeros(0, np.uint8), []])
@pytest.mark.parametrize(("height", "width"), [(0, 0), (1, 0), (0, 640)])
def test_zero_points_give_an_empty_cloud(data: Any, height: int, width: int) -> None:
    cloud = cloud_from_message(Message([], data, height, width))
    assert len(cloud) == 0
    assert cloud.features.shape == (0, 3)


def test_a_cloud_of_no_returns_only_is_empty() -> None:
    rows = xyz_rows([(math.nan,) * 3] * 3)
    assert len(cloud_from_message(message(XYZ, rows, point_step=12))) == 0


def test_one_row_with_a_wrong_row_step_is_read_where_the_data_fits() -> None:
    check(cloud_from_message(replace(message(XYZ, xyz_rows(), point_step=12), row_step=0)))


def test_too_many_points_are_thinned_evenly_and_always_alike() -> None:
    points = [(float(i), 1.0, 0.0) for i in range(10)]
    sent = message(XYZ, xyz_rows([(math.nan,) * 3, *points]), point_step=12)
    first = cloud_from_message(sent, max_points=4)
    assert first.xyz[:, 0].tolist() == [0.0, 2.0, 5.0, 7.0]
    assert torch.equal(first.xyz, cloud_from_message(sent, max_points=4).xyz)
