"""The color image that an organized cloud holds, and the camera that is found by its points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_bags import T, header

from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.camera_image import ImageReader
from sr3d_ros.sensors.organized_color import holds_image, image_of

FX, FY, CX, CY = 61.0, 63.0, 33.25, 21.5
HEIGHT, WIDTH = 48, 64
ROWS = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def organized(
    rgb: np.ndarray,
    *,
    turned: bool = False,
    flat: bool = False,
    holes: float = 0.2,
    without: np.ndarray | None = None,
) -> Any:
    """A point for each pixel of a camera; a share of them has no depth, but its color."""
    draw = np.random.default_rng(1)
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    z = draw.uniform(0.5, 6.0, (HEIGHT, WIDTH))
    xyz = np.stack([(u - CX) * z / FX, (v - CY) * z / FY, z], axis=-1)
    if turned:  # as seen from a robot's base: x ahead
        xyz = np.stack([xyz[..., 2], -xyz[..., 0], -xyz[..., 1]], axis=-1)
    xyz[draw.random((HEIGHT, WIDTH)) < holes] = np.nan
    if without is not None:
        xyz[without] = np.nan
    rows = np.zeros((HEIGHT, WIDTH), ROWS)
    for axis, name in enumerate("xyz"):
        rows[name] = xyz[..., axis]
    red, green, blue = (rgb[..., k].astype(np.uint32) for k in range(3))
    rows["rgb"] = (255 << 24) | (red << 16) | (green << 8) | blue
    fields = [
        T["sensor_msgs/msg/PointField"](name, 4 * at, 7, 1)
        for at, name in enumerate(("x", "y", "z", "rgb"))
    ]
    height, width = (1, HEIGHT * WIDTH) if flat else (HEIGHT, WIDTH)
    data = np.frombuffer(rows.tobytes(), np.uint8)
    return T["sensor_msgs/msg/PointCloud2"](
        header(7, "optical"), height, width, fields, False, 16, 16 * width, data, False
    )


def test_pixels_are_the_points_colors_and_the_camera_is_the_one_that_saw_them() -> None:
    cloud = organized(pixels())
    assert holds_image(cloud)
    image, info = image_of(cloud)
    seen = ImageReader(is_rectified=True)(image, info, np.eye(4))
    np.testing.assert_array_equal(
        (255 * seen.pixels[0]).round().permute(1, 2, 0).numpy().astype(np.uint8), pixels()
    )
    found = seen.intrinsics[0].numpy()
    np.testing.assert_allclose(found, [[FX, 0, CX], [0, FY, CY], [0, 0, 1]], atol=1e-3)
    assert image.header.frame_id == "optical"


def test_stray_points_crops_and_colors_that_are_nan_change_nothing() -> None:
    cloud = organized(pixels())
    rows = np.frombuffer(cloud.data.tobytes(), ROWS).reshape(HEIGHT, WIDTH).copy()
    rows["x"][3, 5], rows["y"][3, 5], rows["z"][3, 5] = 1.0, 1.0, 1e-5
    rows["x"][4, 9], rows["y"][4, 9], rows["z"][4, 9] = 1e9, 0.0, 1.0
    is_empty = np.isnan(rows["z"])
    rows["rgb"][is_empty] = 0x7FC00000  # a driver that fills whole points with NaN
    half = rows[:, WIDTH // 2 :]
    for part, offset in ((rows, 0), (half, WIDTH // 2)):
        cloud.width, cloud.row_step = part.shape[1], 16 * part.shape[1]
        cloud.data = np.frombuffer(part.tobytes(), np.uint8)
        seen = ImageReader(is_rectified=True)(*image_of(cloud), np.eye(4))
        found = seen.intrinsics[0].numpy()
        np.testing.assert_allclose(
            found, [[FX, 0, CX - offset], [0, FY, CY], [0, 0, 1]], atol=1e-2
        )
        shown = seen.pixels[0].permute(1, 2, 0).numpy()
        assert not shown[np.isnan(part["z"])].any()
        assert shown[~np.isnan(part["z"])].any(axis=-1).all()


def test_what_is_no_image_is_refused() -> None:
    line = np.full((HEIGHT, WIDTH), True)
    line[:, 30:33] = False
    black = pixels()
    black[: HEIGHT * 3 // 4] = 0
    for cloud in (
        organized(pixels(), flat=True),
        organized(pixels(), turned=True),
        organized(pixels(), holes=1.0),
        organized(pixels(), without=line),
        organized(black),
    ):
        with pytest.raises(MessageError) as refused:
            image_of(cloud)
        assert refused.value.reason == "no_color"
    bare = organized(pixels())
    bare.fields.pop()
    assert not holds_image(bare)
    assert not holds_image(organized(pixels(), flat=True))
    with pytest.raises(MessageError):
        image_of(bare)
    empty = organized(pixels())
    empty.height = empty.width = empty.row_step = 0
    empty.data = empty.data[:0]
    assert not holds_image(empty)
