"""compressedDepth against an encoder written from Wilson's paper, and bytes worked by hand."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sr3d_ros.assembler import CAMERA_INFO, DEPTH, FrameAssembler, type_of
from sr3d_ros.errors import DROP_REASONS, MessageError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.compressed_depth import plain_depth, rvl_pixels
from sr3d_ros.sensors.depth_image import DepthSet, cloud_from_depth, color_misfit, has_depth

HEADER = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id="optical")


def rvl_of(pixels: list[int]) -> bytes:
    """Encode: runs of zeros and of others, differences with their sign lowest, nibbles."""
    numbers, previous, at = list[int](), 0, 0
    while at < len(pixels):
        zeros = 0
        while at < len(pixels) and pixels[at] == 0:
            zeros, at = zeros + 1, at + 1
        run = []
        while at < len(pixels) and pixels[at] != 0:
            run.append(pixels[at])
            at += 1
        numbers += [zeros, len(run)]
        for pixel in run:
            step = pixel - previous
            numbers.append(2 * step if step >= 0 else -2 * step - 1)
            previous = pixel
    nibbles = list[int]()
    for number in numbers:
        while True:
            number, part = number >> 3, number & 7
            nibbles.append(part | (8 if number else 0))
            if not number:
                break
    nibbles += [0] * (-len(nibbles) % 8)
    words = [nibbles[i : i + 8] for i in range(0, len(nibbles), 8)]
    return b"".join(
        struct.pack("<I", sum(nibble << 4 * (7 - i) for i, nibble in enumerate(word)))
        for word in words
    )


def png_of(pixels: NDArray[np.uint16]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def compressed(
    pixels: NDArray[np.uint16], name: str, factor: float = 0.0, offset: float = 0.0
) -> Any:
    """A CompressedImage as image_transport's publisher makes it; `name` is its format."""
    height, width = pixels.shape
    rvl = struct.pack("<II", width, height) + rvl_of(pixels.reshape(-1).tolist())
    payload = rvl if name.endswith("rvl") else png_of(pixels)
    data = struct.pack("<iff", 0, factor, offset) + payload
    return SimpleNamespace(header=HEADER, format=name, data=data)


def image(pixels: NDArray[Any], encoding: str) -> Any:
    return SimpleNamespace(
        header=HEADER,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels.shape[1] * pixels.itemsize,
        data=pixels.tobytes(),
    )


def info_of(pixels: NDArray[Any]) -> Any:
    height, width = pixels.shape
    k = [10.0, 0, width / 2, 0, 10.0, height / 2, 0, 0, 1]
    return SimpleNamespace(header=HEADER, height=height, width=width, k=k, p=[0.0] * 12)


def scene(height: int = 24, width: int = 32, seed: int = 0) -> NDArray[np.uint16]:
    """A slope with noise, holes and a step."""
    draw = np.random.default_rng(seed)
    pixels = 800 + 5 * np.arange(height)[:, None] + draw.integers(-3, 4, (height, width))
    pixels[:, width // 2 :] += 2500
    pixels[draw.random((height, width)) < 0.2] = 0
    pixels[3:5] = 0
    return pixels.astype(np.uint16)


def test_rvl_bytes_that_were_worked_by_hand() -> None:
    # Pixels 0 0 1 3 2 0: two zeros, three others with differences 1, 2, -1, one zero, no other.
    # Numbers 2 3 2 4 1 1 0: each is one nibble, the first one highest in the word 0x23241100.
    assert rvl_pixels(bytes.fromhex("00112423"), 6).tolist() == [0, 0, 1, 3, 2, 0]
    # Pixel 1000: no zero, one other, difference 1000, written 2000 = 3720 octal; lowest first,
    # 0 2 7 3, with 8 added to all but the last. Nibbles 0 1 8 a f 3, so the word 0x018af300.
    assert rvl_pixels(bytes.fromhex("00f38a01"), 1).tolist() == [1000]


@given(st.lists(st.one_of(st.just(0), st.integers(0, 65535), st.integers(900, 910)), max_size=300))
def test_rvl_decodes_what_the_paper_encodes(pixels: list[int]) -> None:
    assert rvl_pixels(rvl_of(pixels), len(pixels)).tolist() == pixels


@pytest.mark.parametrize(
    "name",
    [
        "16UC1; compressedDepth png",
        "16UC1; compressedDepth rvl",
        "16UC1; compressedDepth",
        "16UC1",
    ],
)
def test_millimetres_come_out_as_they_went_in(name: str) -> None:
    pixels = scene()
    plain = plain_depth(compressed(pixels, name))
    assert (plain.height, plain.width, plain.encoding) == (24, 32, "16UC1")
    assert plain.header is HEADER
    assert bytes(plain.data) == pixels.tobytes()


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_metres_come_out_of_inverse_levels(codec: str) -> None:
    """The publisher's defaults: at most 10 m, quantisation 100."""
    metres = np.random.default_rng(0).uniform(0.3, 9.0, (20, 30))
    factor = 100.0 * 101.0
    offset = 1.0 - factor / 10.0
    levels = np.floor(factor / metres + offset).astype(np.uint16)
    levels[0, :5] = 0
    sent = compressed(levels, f"32FC1; compressedDepth {codec}", factor, offset)
    plain = plain_depth(sent)
    found = np.frombuffer(bytes(plain.data), "<f4").reshape(20, 30)
    assert plain.encoding == "32FC1"
    assert np.isnan(found[0, :5]).all()
    # One level is metres^2 / A wide, and the publisher rounds down.
    error = found.reshape(-1)[5:] - metres.reshape(-1)[5:]
    assert (error > -1e-3).all()
    assert (error < metres.reshape(-1)[5:] ** 2 / factor * 1.1 + 1e-3).all()


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_the_cloud_is_that_of_the_image_itself(codec: str) -> None:
    pixels = scene()
    sent = compressed(pixels, f"16UC1; compressedDepth {codec}")
    expected = cloud_from_depth(image(pixels, "16UC1"), info_of(pixels))
    found = cloud_from_depth(sent, info_of(pixels))
    assert len(found) == np.count_nonzero(pixels)
    assert found.xyz.equal(expected.xyz)
    color = image(np.zeros((24, 96), np.uint8), "rgb8")
    color.width, color.step = 32, 96
    assert color_misfit(sent, color) == ""
    assert has_depth(sent)
    assert not has_depth(SimpleNamespace(format="rgb8; jpeg compressed bgr8"))


def test_the_assembler_takes_compressed_images_as_it_takes_others() -> None:
    parameters = Parameters(kind="depth", depth_transport="compressedDepth")
    assert type_of(DEPTH, parameters) == "sensor_msgs/msg/CompressedImage"
    assembler, pixels = FrameAssembler(parameters), scene()
    assembler.add(CAMERA_INFO, info_of(pixels))
    sent = compressed(pixels, "16UC1; compressedDepth rvl")
    frame, refused = assembler.add(DEPTH, sent)
    assert not refused
    assert frame is not None
    (view,) = frame
    assert isinstance(view, DepthSet)
    assert view.depth is sent  # decompressed by who works on it, not by who receives it


GOOD = compressed(scene(), "16UC1; compressedDepth rvl")


def rvl_message(payload: bytes) -> Any:
    return SimpleNamespace(header=HEADER, format=GOOD.format, data=bytes(12) + payload)


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def png_message(width: int, height: int) -> Any:
    """A few bytes that announce an image of this size."""
    head = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return SimpleNamespace(
        header=HEADER, format="16UC1; compressedDepth png", data=bytes(12) + png
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            SimpleNamespace(format="rgb8; jpeg compressed bgr8", data=bytes(99)),
            "unsupported_encoding",
        ),
        (
            SimpleNamespace(format="16UC1; compressedDepth zip", data=bytes(99)),
            "unsupported_encoding",
        ),
        (SimpleNamespace(format="16UC1; jpeg compressed", data=bytes(99)), "unsupported_encoding"),
        (SimpleNamespace(format="16UC1; png compressed", data=bytes(99)), "data"),
        (SimpleNamespace(format=7, data=bytes(99)), "unsupported_encoding"),
        (SimpleNamespace(format="16UC1; compressedDepth", data=bytes(12)), "truncated"),
        (SimpleNamespace(format="16UC1; compressedDepth", data=None), "data"),
        (SimpleNamespace(format="16UC1; compressedDepth png", data=bytes(99)), "data"),
        (SimpleNamespace(format=GOOD.format, data=GOOD.data[:-40]), "truncated"),
        (rvl_message(words(4)), "truncated"),
        (rvl_message(words(0, 4)), "size"),
        (rvl_message(words(2**31, 2**31)), "size"),
        (rvl_message(words(2, 2)), "truncated"),
        (rvl_message(words(2, 2, 0x50000000)), "data"),  # five zeros among four pixels
        (rvl_message(words(2, 2, 0x00000000)), "data"),  # no zero, no other: no encoder says so
        (rvl_message(words(2, 2, 0xFFFFFFFF, 0xFFFFFFFF)), "truncated"),
        (rvl_message(words(2, 2, 0xFFFFFFFF, 0xFFFFFFF0)), "data"),  # a number of 16 nibbles
        (compressed(scene(), "32FC1; compressedDepth rvl", np.nan, 1.0), "data"),
        (compressed(scene(), "32FC1; compressedDepth png", 1.0, np.inf), "data"),
        (compressed(scene(), "32FC1; compressedDepth png", 0.0, 0.0), "data"),  # all at 0 m
        (png_message(100_000, 100_000), "data"),  # would be 20 GB
        (png_message(5_000, 5_000), "size"),
    ],
)
def test_hostile_images_are_refused_with_a_reason(message: Any, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        plain_depth(message)
    assert caught.value.reason == reason
    assert reason in DROP_REASONS


@pytest.mark.parametrize("is_whole", [True, False])
def test_bytes_beyond_the_image_take_no_memory(is_whole: bool) -> None:
    """Each byte holds two numbers, each of which would be four of int64 on the way."""
    pixels = [1000] * 64
    payload = (rvl_of(pixels) if is_whole else b"") + bytes(4_000_000)
    tracemalloc.start()
    try:
        if is_whole:
            assert rvl_pixels(payload, 64).tolist() == pixels
        else:
            with pytest.raises(MessageError):
                rvl_pixels(payload, 64)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 1_000_000


@given(st.lists(st.sampled_from([0, 1, 32767, 32768, 65535]), min_size=1, max_size=200))
def test_no_image_takes_more_bytes_than_are_looked_at(pixels: list[int]) -> None:
    assert rvl_pixels(rvl_of(pixels) + b"\xff" * 4000, len(pixels)).tolist() == pixels


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_png_of_another_kind_is_refused_with_its_mode(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (4, 3)).save(file, "PNG")
    sent = SimpleNamespace(format="16UC1; compressedDepth png", data=bytes(12) + file.getvalue())
    with pytest.raises(MessageError, match=f"mode {mode},") as caught:
        plain_depth(sent)
    assert caught.value.reason == "unsupported_encoding"


def test_a_png_that_was_cut_is_refused() -> None:
    sent = compressed(scene(), "16UC1; compressedDepth png")
    sent.data = sent.data[:-30]
    with pytest.raises(MessageError) as caught:
        plain_depth(sent)
    assert caught.value.reason == "data"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["png", "rvl"]), st.integers(0, 400))
def test_no_bytes_crash_the_reader(noise: bytes, codec: str, place: int) -> None:
    sent = compressed(scene(6, 8), f"32FC1; compressedDepth {codec}", 100.0, -3.0)
    sent.data = sent.data[:place] + noise + sent.data[place + len(noise) :]
    reason, plain = "", None
    try:
        plain = plain_depth(sent)
    except MessageError as error:
        reason = error.reason
    assert reason in DROP_REASONS or len(plain.data) == plain.height * plain.step
