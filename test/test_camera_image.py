"""Color images with their CameraInfo: pixels, cameras, and what is refused."""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_depth_image import Image, Info, header, image

from sr3d_core.structures import Images
from sr3d_ros.errors import DROP_REASONS, Refused
from sr3d_ros.sensors.camera_image import ImageReader
from sr3d_ros.sensors.color_image import rgb_of

RGB = np.random.default_rng(0).integers(60, 256, (4, 6, 3), dtype=np.uint8)
K = (5.0, 0, 2.5, 0, 6.0, 1.5, 0, 0, 1)
P = (4.0, 0, 2.25, 0, 0, 5.0, 1.75, 0, 0, 0, 1, 0)
PLACE = np.array([[0, 0, 1, 0.5], [-1, 0, 0, -0.2], [0, -1, 0, 1.1], [0, 0, 0, 1]], np.float64)


def info(**changes: Any) -> Any:
    """A CameraInfo of the image `RGB` without distortion, P other than K."""
    made = SimpleNamespace(
        **{"header": header(), "height": 4, "width": 6, "k": K, "p": P, "d": (0.0,) * 5},
        **{"r": (1.0, 0, 0, 0, 1, 0, 0, 0, 1), "distortion_model": "plumb_bob"},
        **{"binning_x": 0, "binning_y": 0, "roi": Info().roi},
    )
    vars(made).update(changes)
    return made


def read(message: Any, about: Any = None, place: Any = PLACE, **options: Any) -> Images:
    reader = ImageReader(**{"is_rectified": True, **options})
    return reader(message, info() if about is None else about, place)


def refused(message: Any, about: Any = None, place: Any = PLACE, **options: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        read(message, about, place, **options)
    assert caught.value.reason in DROP_REASONS
    return caught.value


def compressed(pixels: Any, codec: str, text: str | None = None, **options: Any) -> Any:
    file = io.BytesIO()
    PIL.Image.fromarray(np.asarray(pixels)).save(file, codec, **options)
    return SimpleNamespace(
        header=header(), format=codec.lower() if text is None else text, data=file.getvalue()
    )


def test_an_image_has_its_pixels_camera_and_place() -> None:
    found = read(image(RGB, "rgb8"))
    assert len(found) == 1
    assert (found.pixels.dtype, found.depth, found.height) == (torch.float32, None, None)
    assert torch.equal(
        (found.pixels[0] * 255).round(), torch.from_numpy(RGB).permute(2, 0, 1).float()
    )
    assert found.intrinsics[0].tolist() == [[4.0, 0, 2.25], [0, 5.0, 1.75], [0, 0, 1]]
    torch.testing.assert_close(found.world_from_camera[0], torch.from_numpy(PLACE).float())


ALPHA = np.full((4, 6, 1), 7, np.uint8)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("RGB8", RGB),
        ("bgr8", RGB[:, :, ::-1]),
        ("8UC3", RGB[:, :, ::-1]),
        ("rgba8", np.dstack([RGB, ALPHA])),
        ("bgra8", np.dstack([RGB[:, :, ::-1], ALPHA])),
        ("8UC4", np.dstack([RGB[:, :, ::-1], ALPHA])),
    ],
)
def test_colors_of_every_order_are_the_same(
    encoding: str, pixels: np.ndarray, padding: int, big: bool
) -> None:
    """One byte has no order: is_bigendian changes nothing."""
    assert np.array_equal(rgb_of(image(pixels, encoding, padding, big)), RGB)


def test_gray_is_all_three_colors() -> None:
    assert np.array_equal(rgb_of(image(RGB[:, :, 0], "mono8", 2)), RGB[:, :, [0, 0, 0]])


def test_views_of_a_message_copy_nothing() -> None:
    sent = image(RGB[:, :, ::-1], "bgr8", 2)
    assert np.shares_memory(rgb_of(sent), np.frombuffer(sent.data, np.uint8))


YUYV = np.array(
    [[95, 130, 194, 217, 207, 235, 15, 163], [33, 215, 217, 130, 248, 189, 16, 69]], np.uint8
).reshape(2, 4, 2)
OPENCV_RGB = [
    [[234, 19, 96], [255, 134, 211], [255, 152, 255], [56, 0, 216]],
    [[23, 0, 195], [237, 198, 255], [176, 255, 255], [0, 24, 123]],
]
"""What `cvtColor` with COLOR_YUV2RGB_YUY2 of OpenCV 5.0.0 makes of it."""


@pytest.mark.parametrize("encoding", ["yuv422_yuy2", "yuyv", "yuv422", "uyvy"])
def test_pairs_of_pixels_share_their_color_as_opencv_reads_them(encoding: str) -> None:
    pixels = YUYV if "yuy" in encoding else YUYV[:, :, ::-1]
    found = rgb_of(image(pixels, encoding, 6))
    assert np.abs(found.astype(int) - OPENCV_RGB).max() <= 1


@pytest.mark.parametrize(
    ("luma", "u", "v", "rgb"),
    [
        (16, 128, 128, (0, 0, 0)),
        (235, 128, 128, (255, 255, 255)),
        (82, 90, 240, (255, 0, 0)),
        (145, 54, 34, (0, 255, 0)),
        (41, 240, 110, (0, 0, 255)),
    ],
)
def test_the_bars_of_a_test_card_have_their_colors(
    luma: int, u: int, v: int, rgb: tuple[int, ...]
) -> None:
    found = rgb_of(image(np.array([[[luma, u], [luma, v]]], np.uint8), "yuv422_yuy2"))
    assert np.abs(found.astype(int) - rgb).max() <= 2


def test_pairs_of_pixels_need_an_even_width() -> None:
    error = refused(image(np.full((4, 5, 2), 128, np.uint8), "yuv422"), info(width=5))
    assert error.reason == "size"
    assert "5 pixels" in str(error)


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "16UC1", "rgb16", "", "nv21"])
def test_encodings_that_are_not_read_are_refused_with_those_that_are(encoding: str) -> None:
    error = refused(replace(image(RGB, "rgb8"), encoding=encoding))
    assert error.reason == "unsupported_encoding"
    assert f"'{encoding}'" in str(error)
    assert "rgb8, bgr8" in str(error)


def test_a_cut_image_and_one_of_no_pixels_are_refused() -> None:
    sent = image(RGB, "rgb8")
    assert refused(replace(sent, data=sent.data[:-1])).reason == "truncated"
    assert refused(Image(b"", 0, 0, 0, "rgb8")).reason == "size"


# --- compressed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["png", "PNG", "rgb8; png compressed bgr8", "bgr8; png compressed "]
)
def test_a_png_is_read_exactly(text: str) -> None:
    assert np.array_equal(rgb_of(compressed(RGB, "PNG", text)), RGB)


@pytest.mark.parametrize(
    "text", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "mono8; jpeg compressed "]
)
def test_a_jpeg_is_read_as_it_was_to_a_few_levels(text: str) -> None:
    smooth = np.linspace(60, 200, 16 * 24 * 3).reshape(16, 24, 3).astype(np.uint8)
    found = rgb_of(compressed(smooth, "JPEG", text, quality=100, subsampling=0))
    assert np.abs(found.astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_a_png_of_gray_with_alpha_or_of_a_palette_is_read(mode: str) -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(file, "PNG")
    assert (rgb_of(SimpleNamespace(format="png", data=file.getvalue())) == 255).all()


@pytest.mark.parametrize(
    "text", ["", "h264", "rgb8; webp", "16UC1; compressedDepth png", "16UC1; png compressed"]
)
def test_formats_that_are_no_jpeg_or_png_of_colors_are_refused_by_name(text: str) -> None:
    error = refused(compressed(RGB, "PNG", text))
    assert error.reason == "unsupported_encoding"
    assert f"'{text}'" in str(error)


def test_a_format_that_names_another_codec_is_refused() -> None:
    error = refused(compressed(RGB, "PNG", "jpeg"))
    assert error.reason in ("data", "truncated")
    assert "names another codec" in str(error)


def test_a_png_of_16_bits_is_no_color() -> None:
    depth = np.full((4, 6), 40000, np.uint16)
    error = refused(compressed(depth, "PNG"))
    assert error.reason == "unsupported_encoding"
    assert "I;16" in str(error)


@pytest.mark.parametrize("codec", ["JPEG", "PNG"])
def test_a_compressed_image_that_was_cut_anywhere_is_refused_or_whole(codec: str) -> None:
    sent = compressed(np.kron(RGB, np.ones((4, 4, 1), np.uint8)), codec)
    whole = rgb_of(sent)
    reasons = []
    for length in range(0, len(sent.data), 7):
        try:
            found = rgb_of(SimpleNamespace(format=sent.format, data=sent.data[:length]))
        except Refused as error:
            reasons.append(error.reason)
        else:
            assert np.array_equal(found, whole)
            assert length >= len(sent.data) - 24  # only its end mark and a checksum are missing
    assert set(reasons) == {"truncated", "data"}
    assert reasons.count("data") == 1  # that of no bytes at all


def png_that_announces(width: int, height: int) -> Any:
    """A few bytes, unpacked to an image of this size by whoever believes them."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return SimpleNamespace(format="png", data=data)


@pytest.mark.parametrize("side", [100_000, 10_000, 9_000])
def test_an_image_that_would_fill_the_memory_is_refused(side: int) -> None:
    error = refused(png_that_announces(side, side))
    assert error.reason == "size"


# --- cameras ------------------------------------------------------------------------------------


def test_what_belongs_to_an_image_and_is_missing_is_refused() -> None:
    sent = image(RGB, "rgb8")
    with pytest.raises(Refused) as caught:
        ImageReader(is_rectified=True)(sent, None, PLACE)
    assert caught.value.reason == "no_camera_info"
    assert refused(sent, place=None).reason == "no_gravity_transform"
    crooked = PLACE.copy()
    crooked[0, 0] = math.nan
    assert refused(sent, place=crooked).reason == "bad_transform"
    assert refused(sent, info(k=(0.0,) * 9, p=(0.0,) * 12)).reason == "camera_info"


@pytest.mark.parametrize("is_rectified", [True, False])
def test_an_image_of_another_size_than_its_camera_info_is_refused(is_rectified: bool) -> None:
    error = refused(image(RGB, "rgb8"), info(width=12, height=8), is_rectified=is_rectified)
    assert error.reason == "image_size_differs_from_camera_info"
    assert "12 x 8" in str(error)
    assert "6 x 4" in str(error)


@pytest.mark.parametrize(
    ("matrix", "text"),
    [
        # Of an image twice as wide and high, which the driver made smaller; in millimetres;
        # transposed, so that the centre is 0.
        ((10.0, 0, 6.0, 0, 12.0, 4.0, 0, 0, 1), r"centre \(6, 4\) is outside"),
        ((0.1, 0, 2.5, 0, 0.1, 1.5, 0, 0, 1), "degrees"),
        ((5.0, 0, 0, 0, 6.0, 0, 2.5, 1.5, 1), r"centre \(0, 0\) is outside"),
        ((5.0, 0, 2.5, 0, 60.0, 1.5, 0, 0, 1), "fx 5 and fy 60"),
    ],
)
@pytest.mark.parametrize("is_rectified", [True, False])
def test_intrinsics_of_no_camera_of_this_image_are_refused(
    is_rectified: bool, matrix: tuple[float, ...], text: str
) -> None:
    wrong = info(k=matrix, p=(0.0,) * 12)
    error = refused(image(RGB, "rgb8"), wrong, is_rectified=is_rectified)
    assert error.reason == "camera_info"
    assert re.search(text, str(error))


def test_the_centre_of_a_part_of_an_image_may_lie_outside() -> None:
    roi = SimpleNamespace(x_offset=100, y_offset=50, width=6, height=4)
    about = info(width=640, height=480, roi=roi, k=(5.0, 0, 90, 0, 6, 53, 0, 0, 1), p=(0.0,) * 12)
    assert float(read(image(RGB, "rgb8"), about).intrinsics[0, 0, 2]) == -10.0


def test_binning_and_region_of_interest_are_those_of_the_image() -> None:
    """Of 640 x 480 the 12 x 8 from (100, 50) on, two by two: c = (c0 - offset) / 2, f / 2."""
    roi = SimpleNamespace(x_offset=100, y_offset=50, width=12, height=8)
    about = info(
        width=640,
        height=480,
        roi=roi,
        binning_x=2,
        binning_y=2,
        k=(10.0, 0, 105, 0, 12, 53, 0, 0, 1),
        p=(0.0,) * 12,
    )
    for is_rectified in (True, False):
        found = read(image(RGB, "rgb8"), about, is_rectified=is_rectified)
        assert found.intrinsics[0].tolist() == [[5.0, 0, 2.5], [0, 6.0, 1.5], [0, 0, 1]]


def test_a_raw_image_of_a_pinhole_stays_as_it_is() -> None:
    found = read(image(RGB, "rgb8"), info(p=(0.0,) * 12), is_rectified=False)
    assert torch.equal(found.pixels, read(image(RGB, "rgb8")).pixels)
    assert found.intrinsics[0, 0].tolist() == [5.0, 0.0, 2.5]
    assert torch.equal(
        read(
            image(RGB, "rgb8"), info(p=(0.0,) * 12, d=(), distortion_model=""), is_rectified=False
        ).pixels,
        found.pixels,
    )


def slopes(fx: float, fy: float, cx: float, cy: float, height: int = 40, width: int = 60) -> Any:
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    return (u - cx) / fx, (v - cy) / fy


@pytest.mark.parametrize("has_p", [True, False])
def test_a_raw_image_is_rectified_to_p_or_to_the_whole_view(has_p: bool) -> None:
    """The image is painted with the slopes of its rays, found by turning the distortion round."""
    k1 = -0.2
    bent_x, bent_y = slopes(50.0, 50.0, 29.5, 19.5)
    bent = np.hypot(bent_x, bent_y)
    radius = bent.copy()
    for _ in range(60):  # radius (1 + k1 radius^2) = bent
        radius = bent / (1 + k1 * radius**2)
    share = radius / bent
    painted = np.dstack([128 + 120 * bent_x * share, 128 + 120 * bent_y * share, 0 * share + 200])
    about = info(
        width=60,
        height=40,
        k=(50.0, 0, 29.5, 0, 50, 19.5, 0, 0, 1),
        d=(k1, 0.0, 0.0, 0.0, 0.0),
        p=(45.0, 0, 30, 0, 0, 45, 19, 0, 0, 0, 1, 0) if has_p else (0.0,) * 12,
    )
    sent = image(np.rint(painted).astype(np.uint8), "rgb8")
    found = read(sent, about, is_rectified=False)
    k = found.intrinsics[0]
    if has_p:
        assert k[0].tolist() == [45.0, 0.0, 30.0]
    is_seen = found.pixels[0, 2] > 0.1
    assert is_seen.all() or has_p
    assert is_seen.float().mean() > 0.8
    x, y = slopes(*(float(k[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))))
    expected = torch.from_numpy(np.stack([128 + 120 * x, 128 + 120 * y])).float() / 255
    gap = (found.pixels[0, :2] - expected).abs()[:, is_seen]
    # The outermost half pixel is repeated, not interpolated.
    assert gap.max() < 2.0 / 255


def test_a_grid_is_made_once_and_again_when_the_calibration_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    from sr3d_ros.sensors import camera_image

    real = camera_image.rectification
    monkeypatch.setattr(
        camera_image, "rectification", lambda *parts: made.append(parts) or real(*parts)
    )
    reader = ImageReader(is_rectified=False)
    bent = info(d=(-0.1, 0.0, 0.0, 0.0, 0.0))
    for about in (bent, bent, info(d=(-0.1, 0.0, 0.0, 0.0, 0.0)), info(d=(-0.2, 0, 0, 0, 0))):
        reader(image(RGB, "rgb8"), about, PLACE)
    assert len(made) == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"distortion_model": "thin_prism", "d": (0.1,) * 5}, "'thin_prism'"),
        ({"d": (0.1, 0.2)}, "2 coefficients"),
        ({"d": (math.nan,) * 5}, "finite"),
        ({"d": None, "distortion_model": "kannala"}, "'kannala'"),
        ({"d": ("x",)}, "could not convert"),
        ({"d": (0.1,) * 5, "p": (4.0, 0, 9e4, 0, 0, 5, 1, 0, 0, 0, 1, 0)}, "P and K"),
    ],
)
def test_what_cannot_be_rectified_is_refused_and_says_why(changes: Any, text: str) -> None:
    error = refused(image(RGB, "rgb8"), info(**changes), is_rectified=False)
    assert error.reason == "not_rectified"
    assert text in str(error)
    assert "image_rect" in str(error)
    # An image that is rectified already does not need its distortion.
    if "p" not in changes:
        read(image(RGB, "rgb8"), info(**changes))


def test_a_turn_that_is_none_is_refused() -> None:
    error = refused(image(RGB, "rgb8"), info(r=(2.0, 0, 0, 0, 1, 0, 0, 0, 1)), is_rectified=False)
    assert error.reason == "camera_info"


def test_a_stereo_cameras_turn_moves_its_image() -> None:
    """A turn by 0.05 rad about y moves a ray of slope 0 to tan(0.05)."""
    c, s = math.cos(0.05), math.sin(0.05)
    raw = np.full((40, 60, 3), 60, np.uint8)
    raw[:, 28:32] = 250  # a stripe about the axis
    k = (100.0, 0, 29.5, 0, 100, 19.5, 0, 0, 1)
    about = info(
        width=60,
        height=40,
        k=k,
        r=(c, 0, s, 0, 1, 0, -s, 0, c),
        p=(100.0, 0, 29.5, 0, 0, 100, 19.5, 0, 0, 0, 1, 0),
    )
    shown = read(image(raw, "rgb8"), about, is_rectified=False).pixels[0, 0, 20]
    weight = (shown - 60 / 255).clamp(min=0)
    middle = float((weight * torch.arange(60)).sum() / weight.sum())
    assert middle == pytest.approx(29.5 + 100 * math.tan(0.05), abs=0.2)


@pytest.mark.parametrize(("level", "is_dark"), [(0, True), (7, True), (8, False), (255, False)])
def test_an_image_darker_than_three_percent_is_refused(level: int, is_dark: bool) -> None:
    sent = image(np.full((4, 6, 3), level, np.uint8), "rgb8")
    if is_dark:
        error = refused(sent)
        assert error.reason == "dark_image"
        assert f"{level / 255:.3f}" in str(error)
    else:
        read(sent)
    read(sent, darkest=0.0)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["PNG", "JPEG"]), st.integers(0, 900))
def test_no_bytes_crash_the_reader(noise: bytes, codec: str, place: int) -> None:
    sent = compressed(RGB, codec)
    sent.data = sent.data[:place] + noise + sent.data[place + len(noise) :]
    reason, found = "", None
    try:
        found = read(sent)
    except Refused as error:
        reason = error.reason
    assert reason in DROP_REASONS or (found is not None and found.pixels.shape == (1, 3, 4, 6))
