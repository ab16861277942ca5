"""Good messages, and copies of them with mistakes, for `fuzz.py`.

Messages have the fields of `sensor_msgs`; mistakes are wrong sizes and types, cut and flipped
bytes, fields of any kind, absurd stamps and frames. A seeded generator makes them repeatable.
"""

from __future__ import annotations

import copy
import io
import math
import random
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from sr3d_ros.bag.replay import Bag
from sr3d_ros.sensors.depth_image import DepthSet

NUMBERS: tuple[Any, ...] = (
    *(0, 1, 2, 3, 7, 12, 16, 255, 640, -1, 2**31 - 1, 2**32 - 1, 2**63, 2**64),
    *(1.5, math.nan, math.inf, 1e308, None, "x", "7", True, [], b"1"),
)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 1e-320, 1e-9, 1e9, 1e308, math.nan, math.inf, -math.inf)
FIELD_NAMES = ("x", "y", "z", "rgb", "rgba", "bgr", "bgra", "r", "g", "b", "intensity", "", "ü")
FRAMES = ("camera", "/camera", "base_link", "odom", "map", "", "/", "nowhere", "a" * 300, None, 7)
ENCODINGS = (
    *("16UC1", "32FC1", "mono16", "rgb8", "bgra8", "mono8", "yuv422", "yuv422_yuy2"),
    *("bayer_rggb8", "", "x" * 99),
)
LENSES = ("plumb_bob", "rational_polynomial", "equidistant", "thin_prism", "", None, 7)

FORMATS = (
    *(
        f"{e}; compressedDepth{c}"
        for e in ("16UC1", "32FC1", "rgb8")
        for c in ("", " png", " rvl")
    ),
    *("", "16UC1", "32FC1", ";", "jpeg", "png", "rgb8; jpeg compressed bgr8"),
    *("16UC1; png compressed", "x" * 99, None, 7),
)


def header(frame: str = "camera") -> Any:
    """A good header."""
    return SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id=frame)


def good_clouds() -> list[Any]:
    """One cloud per kind of layout; 8 x 12 points with some holes."""
    f4, f8, u4, u1 = (7, "f4"), (8, "f8"), (6, "u4"), (2, "u1")
    layouts: list[tuple[int, bool, int, list[tuple[str, int, tuple[int, str]]]]] = [
        (16, False, 0, [("x", 0, f4), ("y", 4, f4), ("z", 8, f4), ("rgb", 12, f4)]),
        (20, False, 8, [("x", 0, f4), ("y", 4, f4), ("z", 8, f4), ("rgb", 16, u4)]),
        (32, True, 0, [("x", 0, f4), ("y", 4, f4), ("z", 8, f4), ("bgra", 16, u4)]),
        (27, False, 3, [("z", 0, f8), ("y", 8, f8), ("x", 16, f8), ("r", 24, u1), ("g", 25, u1)]),
        (15, True, 1, [("x", 0, f4), ("y", 4, f4), ("z", 8, f4), ("b", 14, u1), ("g", 13, u1)]),
        (24, False, 0, [("x", 4, f4), ("y", 12, f4), ("z", 20, f4), ("intensity", 0, f4)]),
    ]
    clouds = [_cloud(*layout) for layout in layouts]
    one_row = copy.copy(clouds[0])
    one_row.height, one_row.width, one_row.row_step = 1, 96, 96 * 16
    return [*clouds, one_row]


def _cloud(
    step: int, big: bool, padding: int, parts: Sequence[tuple[str, int, tuple[int, str]]]
) -> Any:
    draw = np.random.default_rng(step)
    dtype = np.dtype(
        {
            "names": [name for name, _, _ in parts],
            "formats": [(">" if big else "<") + kind for _, _, (_, kind) in parts],
            "offsets": [offset for _, offset, _ in parts],
            "itemsize": step,
        }
    )
    rows = np.frombuffer(draw.bytes(96 * step), dtype).copy().reshape(8, 12)
    for name in "xyz":
        rows[name] = draw.normal(size=(8, 12)) * 2
        rows[name][draw.random((8, 12)) < 0.05] = draw.choice([np.nan, np.inf, 0.0, 1e30])
    return SimpleNamespace(
        header=header(),
        height=8,
        width=12,
        fields=[
            SimpleNamespace(name=name, offset=offset, datatype=number, count=1)
            for name, offset, (number, _) in parts
        ],
        is_bigendian=big,
        point_step=step,
        row_step=12 * step + padding,
        data=b"".join(row.tobytes() + bytes(padding) for row in rows),
        is_dense=False,
    )


def good_images() -> list[DepthSet]:
    """A set per depth encoding, plain and compressed, with color."""
    draw, sets = np.random.default_rng(0), list[DepthSet]()
    k, p = [9.0, 0, 6, 0, 9, 4, 0, 0, 1], [9.0, 0, 6, 0, 0, 9, 4, 0, 0, 0, 1, 0]
    info = SimpleNamespace(header=header(), height=8, width=12, k=k, p=p, binning_x=0, binning_y=0)
    info.roi = SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0)
    millimetres = draw.integers(0, 65536, (8, 12), np.uint16)
    metres = draw.choice(np.array([*FLOATS[:6], np.nan, np.inf], np.float32), (8, 12))
    color = _image(draw.integers(0, 256, (8, 12, 3), np.uint8), "rgb8")
    for pixels, encoding in ((millimetres, "16UC1"), (metres, "32FC1")):
        sets.append(DepthSet(_image(pixels, encoding), info, color))
    head = struct.pack("<iff", 0, 100.0, -9.0)
    file = io.BytesIO()
    Image.fromarray(millimetres).save(file, "PNG")
    # RVL of 12 x 8 equal pixels: no zero, 96 others (140 octal), 1000, then differences of 0.
    rvl = struct.pack("<2I", 12, 8) + struct.pack("<I", 0x08C18AF3) + bytes(48)
    for name, payload in (("png", file.getvalue()), ("rvl", rvl)):
        for encoding in ("16UC1", "32FC1"):
            text = f"{encoding}; compressedDepth {name}"
            sent = SimpleNamespace(header=header(), format=text, data=head + payload)
            sets.append(DepthSet(sent, info, color))
    return sets


def good_pictures() -> list[Any]:
    """A color image of every kind with its CameraInfo, of every lens."""
    draw = np.random.default_rng(0)
    rgb = draw.integers(30, 256, (8, 12, 3), np.uint8)
    plain = [("rgb8", rgb), ("bgr8", rgb), ("bgra8", np.dstack([rgb, rgb[:, :, :1]]))]
    plain += [("rgb8", rgb // 40)]  # dark
    plain += [("mono8", rgb[:, :, :1]), ("yuv422", rgb[:, :, :2]), ("yuv422_yuy2", rgb[:, :, 1:])]
    images = [_image(pixels, encoding) for encoding, pixels in plain]
    for codec in ("JPEG", "PNG"):
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, codec)
        text = f"rgb8; {codec.lower()} compressed bgr8"
        images.append(SimpleNamespace(header=header(), format=text, data=file.getvalue()))
    return [
        SimpleNamespace(image=image, info=_info(model, d), world_from_camera=np.eye(4))
        for image in images
        for model, d in (
            ("plumb_bob", [0.0] * 5),
            ("plumb_bob", [-0.2, 0.05, 0.001, -0.001, 0.0]),
            ("rational_polynomial", [0.5, -2.7, 0.0, 0.0, 1.5, 0.4, -2.5, 1.4]),
            ("equidistant", [-0.02, 0.01, 0.0, 0.0]),
        )
    ]


def _info(model: str, d: list[float]) -> Any:
    """A CameraInfo of 12 x 8 pixels."""
    roi = SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0)
    return SimpleNamespace(
        **{"header": header(), "height": 8, "width": 12, "distortion_model": model, "d": d},
        **{"k": [9.0, 0, 6, 0, 9, 4, 0, 0, 1], "r": [1.0, 0, 0, 0, 1, 0, 0, 0, 1]},
        **{"p": [9.0, 0, 6, 0, 0, 9, 4, 0, 0, 0, 1, 0], "binning_x": 0, "binning_y": 0},
        roi=roi,
    )


def _image(pixels: Any, encoding: str) -> Any:
    return SimpleNamespace(
        header=header(),
        height=8,
        width=12,
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // 8,
        data=pixels.tobytes(),
    )


def real_messages(folder: Path) -> tuple[list[Any], list[DepthSet]]:
    """Clouds and depth sets of a real recording, the first rows of each."""
    with Bag(folder / "bags" / "open3d_redwood_5frames_mcap") as bag:
        topics = [f"/camera/depth/{name}" for name in ("points", "image_rect_raw", "camera_info")]
        found: dict[str, list[Any]] = {topic: [] for topic in topics}
        for topic, _, message in bag.messages(*topics):
            message.header = header()
            found[topic].append(message)
    clouds, images, infos = found.values()
    for message in (*clouds, *images, *infos):
        message.height = 20
    for cloud in clouds:
        cloud.data = cloud.data[: 20 * cloud.row_step]
    for image in images:
        image.data = image.data[: 20 * image.step]
    return clouds, [DepthSet(*pair) for pair in zip(images, infos, strict=True)]


def spoil(message: Any, dice: random.Random) -> Any:
    """A copy of a message with one mistake somewhere in it."""
    if isinstance(message, DepthSet):
        parts = [message.depth, message.info, message.color]
        index = dice.randrange(3 if message.color is not None else 2)
        parts[index] = None if dice.random() < 0.02 else spoil(parts[index], dice)
        return DepthSet(*parts)
    message = copy.copy(message)
    names = list(getattr(message, "__dict__", ()))
    if not names:
        return message  # nothing is left to spoil
    name = dice.choice(names)
    value = getattr(message, name)
    if name == "data":
        value = spoilt_bytes(value, dice)
    elif isinstance(value, list) and value and hasattr(value[0], "datatype"):
        value = spoilt_fields(value, dice)
    elif hasattr(value, "__dict__"):
        value = dice.choice((None, 7)) if dice.random() < 0.1 else spoil(value, dice)
    elif name == "frame_id":
        value = dice.choice(FRAMES)
    elif name == "encoding":
        value = dice.choice(ENCODINGS)
    elif name == "format":
        value = dice.choice(FORMATS)
    elif name == "distortion_model":
        value = dice.choice(LENSES)
    elif name == "world_from_camera":
        if dice.random() < 0.1:
            value = dice.choice((None, np.diag([dice.choice(FLOATS), 1, 1, 1])))
    elif name in ("k", "p", "d", "r") and isinstance(value, list):
        value = [dice.choice(FLOATS) for _ in range(dice.choice((len(value), 3, 0)))]
    else:
        value = _near(value, dice)
    setattr(message, name, value)
    return message


def _near(value: Any, dice: random.Random) -> Any:
    """Another number: an absurd one, or one that is a little wrong."""
    if isinstance(value, int) and dice.random() < 0.5:
        return dice.choice((value + 1, value - 1, value * 2, value // 2, -value))
    return dice.choice(NUMBERS)


def spoilt_bytes(data: Any, dice: random.Random) -> Any:
    """Bytes that are cut, longer, changed, or of another type."""
    if not isinstance(data, (bytes, bytearray, np.ndarray)):
        return data  # is spoilt already
    data = bytes(data)
    way = dice.randrange(8)
    if way == 0:
        return data[: dice.randrange(len(data) + 1)]
    if way == 1:
        return data + dice.randbytes(dice.randrange(1, 50))
    if way == 2:
        return dice.choice((None, "text", 7, [1, 2, 300], (), {}, [None], b""))
    if way == 3:
        return array(dice.choice("Bdi"), data[: len(data) // 8 * 8])
    if way == 4:
        return dice.randbytes(len(data))
    changed = bytearray(data)
    for _ in range(dice.randrange(1, 40)):
        if changed:
            changed[dice.randrange(len(changed))] = dice.choice((0, 127, 128, 255))
    return changed


def spoilt_fields(fields: Sequence[Any], dice: random.Random) -> Any:
    """Point fields in another order, fewer, more, or with one changed."""
    fields = list(fields)
    way = dice.randrange(5)
    if way == 0:
        dice.shuffle(fields)
    elif way == 1:
        del fields[dice.randrange(len(fields))]
    elif way == 2:
        fields.append(copy.copy(dice.choice(fields)))
    elif way == 3:
        return dice.choice((None, 7, [None], "xyz", [], fields * 50))
    else:
        index = dice.randrange(len(fields))
        changed = copy.copy(fields[index])
        attribute = dice.choice(("name", "offset", "datatype", "count"))
        pool = FIELD_NAMES if attribute == "name" else (*range(10), *NUMBERS)
        setattr(changed, attribute, dice.choice(pool))
        fields[index] = changed
    return fields
