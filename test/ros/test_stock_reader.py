"""Our reader beside `sensor_msgs_py`, where it is installed, on layouts that it reads rightly.

It does not know row padding, padding after the last field, or returns that are infinite or zero;
`test_pointcloud2.py` covers these.
"""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField

from sr3d_ros.sensors.pointcloud2 import cloud_from_message

point_cloud2 = pytest.importorskip("sensor_msgs_py.point_cloud2")

FLOAT32, FLOAT64, UINT32 = PointField.FLOAT32, PointField.FLOAT64, PointField.UINT32
FORMATS = {FLOAT32: "<f4", FLOAT64: "<f8", UINT32: "<u4"}
LAYOUTS = {
    "xyz": (("x", 0, FLOAT32), ("y", 4, FLOAT32), ("z", 8, FLOAT32)),
    "rgb": (("x", 0, FLOAT32), ("y", 4, FLOAT32), ("z", 8, FLOAT32), ("rgb", 12, UINT32)),
    "gap": (("x", 0, FLOAT32), ("y", 4, FLOAT32), ("z", 8, FLOAT32), ("rgb", 16, UINT32)),
    "doubles": (("x", 0, FLOAT64), ("y", 8, FLOAT64), ("z", 16, FLOAT64)),
    "any order": (("z", 0, FLOAT32), ("x", 4, FLOAT32), ("y", 8, FLOAT32)),
}


def cloud(layout: Any, height: int, width: int) -> PointCloud2:
    draw = np.random.default_rng(7)
    dtype = np.dtype(
        {
            "names": [name for name, _, _ in layout],
            "formats": [FORMATS[kind] for _, _, kind in layout],
            "offsets": [offset for _, offset, _ in layout],
        }
    )
    rows = np.zeros(height * width, dtype)
    for name in "xyz":
        rows[name] = draw.normal(size=len(rows))
    rows["x"][::5] = np.nan
    if "rgb" in dtype.names:
        rows["rgb"] = draw.integers(0, 1 << 32, len(rows), np.uint32)
    message = PointCloud2(height=height, width=width, point_step=dtype.itemsize)
    message.row_step = width * dtype.itemsize
    message.fields = [PointField(name=n, offset=o, datatype=d, count=1) for n, o, d in layout]
    message.data = array.array("B", rows.tobytes())
    return message


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(("height", "width"), [(1, 60), (6, 10)])
def test_both_readers_read_the_same_points(name: str, height: int, width: int) -> None:
    message = cloud(LAYOUTS[name], height, width)
    stock = point_cloud2.read_points(message, field_names=["x", "y", "z"])
    expected = np.stack([stock[axis].astype(np.float32) for axis in "xyz"], axis=1)
    expected = expected[np.isfinite(expected).all(axis=1)]
    np.testing.assert_array_equal(cloud_from_message(message).xyz.numpy(), expected)


@pytest.mark.parametrize("name", ["rgb", "gap"])
def test_both_readers_read_the_same_colors(name: str) -> None:
    message = cloud(LAYOUTS[name], 1, 60)
    stock = point_cloud2.read_points(message)
    packed = stock["rgb"][np.isfinite(stock["x"])]
    expected = np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=1)
    found = (cloud_from_message(message).features.numpy() * 255).round()
    np.testing.assert_array_equal(found, expected)
