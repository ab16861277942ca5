"""Messages that are no PointCloud2 that can be read: refused with a reason, whatever they hold."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from cloud_messages import (
    FLOAT64,
    UINT8,
    XYZ,
    Field,
    Message,
    colored_rows,
    message,
    xyz_rows,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.pointcloud2 import cloud_from_message


def rejected(sent: Message) -> tuple[str, str]:
    with pytest.raises(MessageError) as caught:
        cloud_from_message(sent)
    return caught.value.reason, str(caught.value)


def test_missing_coordinates_name_the_fields_that_are_there() -> None:
    sent = message([Field("x", 0), Field("range", 4)], [{"x": 1.0}], point_step=8)
    reason, text = rejected(sent)
    assert reason == "no_xyz"
    assert "no field y z among ['range', 'x']" in text


def test_truncated_data_says_how_much_was_expected() -> None:
    sent = message(XYZ, xyz_rows(), point_step=12, width=2)
    reason, text = rejected(replace(sent, data=sent.data[:-1]))
    assert reason == "truncated"
    assert "47 bytes, expected 48" in text


def test_too_much_data_is_refused() -> None:
    sent = message(XYZ, xyz_rows(), point_step=12)
    reason, text = rejected(replace(sent, data=sent.data + b"1"))
    assert reason == "size"
    assert "49 bytes, more than the 48" in text


def test_data_without_points_is_refused() -> None:
    reason, text = rejected(Message(XYZ, bytes(24), 1, 0, 12, 0))
    assert reason == "size"
    assert "holds 24 bytes" in text


def test_a_field_beyond_the_point_is_refused() -> None:
    sent = replace(message(XYZ, xyz_rows(), point_step=12), point_step=10, row_step=48)
    reason, text = rejected(sent)
    assert reason == "point_step"
    assert re.search("'z' .*12.* point_step .*10", text)


def test_a_point_step_that_is_too_big_is_refused() -> None:
    reason, text = rejected(replace(message(XYZ, xyz_rows(), point_step=12), point_step=16))
    assert reason == "size"
    assert re.search("row_step .*48.* 4 x .*16 = 64", text)


def test_point_step_zero_is_refused() -> None:
    reason, text = rejected(Message(XYZ, b"", 1, 5, 0, 0))
    assert reason == "point_step"
    assert "point_step is 0 for 5 points" in text


def test_integer_coordinates_are_refused_with_their_type() -> None:
    fields = [Field("x", 0, 3), Field("y", 4), Field("z", 8)]
    reason, text = rejected(message(fields, [{"x": 1, "y": 1.0, "z": 1.0}], point_step=12))
    assert reason == "field_type"
    assert "field 'x' is INT16 x 1" in text


def test_an_unknown_datatype_is_refused() -> None:
    fields = [Field("x", 0, 77), Field("y", 4), Field("z", 8)]
    reason, text = rejected(message(fields, [{"y": 1.0, "z": 1.0}], point_step=12))
    assert reason == "field_type"
    assert "unknown datatype 77" in text


def test_a_color_of_unreadable_type_is_refused() -> None:
    rows = [{**row, "rgb": 1.0} for row in xyz_rows()]
    sent = message([*XYZ, Field("rgb", 12, FLOAT64)], rows, point_step=20)
    reason, text = rejected(sent)
    assert reason == "field_type"
    assert "field 'rgb' is FLOAT64 x 1" in text


def test_separate_colors_of_floats_beyond_one_are_refused_with_their_range() -> None:
    fields = [*XYZ, Field("r", 12), Field("g", 16), Field("b", 20)]
    rows = [{**row, "r": 0.0, "g": 0.5, "b": 255.0} for row in xyz_rows()]
    reason, text = rejected(message(fields, rows, point_step=24))
    assert reason == "field_type"
    assert "0..255" in text


def test_separate_colors_of_two_types_are_refused() -> None:
    fields = [*XYZ, Field("r", 12), Field("g", 16, UINT8), Field("b", 17, UINT8)]
    reason, text = rejected(message(fields, xyz_rows(), point_step=24))
    assert reason == "field_type"
    assert "field 'r' is FLOAT32 x 1" in text


def test_the_same_field_twice_is_refused() -> None:
    reason, text = rejected(message([*XYZ, Field("x", 0)], xyz_rows(), point_step=12))
    assert reason == "fields"
    assert "field 'x' occurs twice" in text


@pytest.mark.parametrize("foreign", [None, "cloud", 7, object()])
def test_something_else_than_a_cloud_is_refused(foreign: Any) -> None:
    reason, text = rejected(foreign)
    assert reason == "size"
    assert "height is None" in text


def test_data_that_is_text_is_refused() -> None:
    reason, text = rejected(Message(XYZ, "text", 1, 1, 12, 12))
    assert reason == "data"
    assert "data is a str" in text


sizes = st.one_of(st.integers(0, 40), st.sampled_from([-1, 2**31 - 1, 2**32 - 1, None, 1.5, "x"]))
names = st.sampled_from(["x", "y", "z", "rgb", "rgba", "bgr", "r", "g", "b", "intensity", ""])
any_field = st.builds(
    Field,
    name=names,
    offset=sizes,
    datatype=st.one_of(st.integers(0, 9), sizes),
    count=st.one_of(st.just(1), st.integers(0, 5), sizes),
)
any_message = st.builds(
    Message,
    fields=st.lists(any_field, max_size=8),
    data=st.binary(max_size=200),
    height=sizes,
    width=sizes,
    point_step=sizes,
    row_step=sizes,
    is_bigendian=st.sampled_from([True, False, 1, 0, None]),
)


def read_or_refused(sent: Message) -> None:
    try:
        cloud = cloud_from_message(sent, max_points=7)
    except MessageError:
        return
    assert cloud.xyz.shape == cloud.features.shape
    assert cloud.xyz.isfinite().all()


@settings(max_examples=150, deadline=None)
@given(any_message)
def test_any_message_is_read_or_refused(sent: Message) -> None:
    read_or_refused(sent)


@settings(max_examples=300, deadline=None)
@given(st.data())
@pytest.mark.slow
def test_a_good_message_with_changes_is_read_or_refused(data: st.DataObject) -> None:
    fields = [*XYZ, Field("rgb", 12)]
    rows = colored_rows(lambda r, g, b: bytes((b, g, r, 255)), "rgb")
    sent = message(fields, rows, point_step=16, width=2, row_padding=4)
    change = st.sampled_from(["height", "width", "point_step", "row_step"])
    for name in data.draw(st.lists(change, max_size=2)):
        setattr(sent, name, data.draw(sizes))
    if data.draw(st.booleans()):
        sent.fields[data.draw(st.integers(0, 3))] = data.draw(any_field)
    sent.data = sent.data[: data.draw(st.integers(60, 72))] + data.draw(st.binary(max_size=4))
    read_or_refused(sent)
