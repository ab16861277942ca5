"""Photos as a camera student sees them: a JPEG or PNG, the camera's lens, how the camera stood.

A photo says neither its focal length nor which way is up, so both are asked for. The lens comes
from a file as ROS's camera_calibration writes it, or of the keys `fx fy cx cy`; a photo of a lens
that bends lines is undistorted. The frame is level: x ahead of the camera, y to its left, z up;
its origin is on the floor below the camera, or at the camera where its height is not known.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from sr3d_core.geometry.camera import (
    NARROWEST_DEG,
    WIDEST_DEG,
    Pinhole,
    brightness_doubt,
    camera_doubt,
    height_doubt,
    pinhole_matrix,
)
from sr3d_core.geometry.distortion import DistortionError, Lens, rectification
from sr3d_core.plain_yaml import YamlError, read_yaml
from sr3d_core.structures import Images

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
_MODES = ("L", "LA", "P", "PA", "RGB", "RGBA")
"""What Pillow calls images of at most 8 bits for each color."""
_ORIENTATION = 0x0112  # of EXIF: how to turn the stored pixels, 1 = not at all
_SMALLEST = 32
"""Pixels of a photo's shorter side: fewer show no furniture."""
_SKEW = 1e-3  # of the focal length: axes are at right angles
_OFF_THE_MIDDLE = 0.15
"""Share of a photo's side by which its camera's centre is off the middle, at most, where the file
does not say the size that it is of: photos that were cut are rare, and files of another size, or
of a photo that its EXIF turns, are not."""
_OPTICAL = [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
"""From a camera's optical axes (right, down, ahead) to level ones (ahead, left, up)."""
_CALIBRATION = "the YAML of camera_calibration, or one with the keys fx, fy, cx, cy"


class PhotoError(ValueError):
    """A photo or its camera cannot be used; the text says which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Stand:
    """How a camera stood."""

    pitch_deg: float
    """How far it looked up; below 0: down."""
    roll_deg: float = 0.0
    """How far it was tilted to its right, clockwise as seen from behind it."""
    height_m: float | None = None
    """Above the floor; None: not known."""

    def __post_init__(self) -> None:
        for name, value, limit in (("pitch", self.pitch_deg, 90), ("roll", self.roll_deg, 180)):
            if not -limit <= value <= limit:
                raise PhotoError(
                    f"the camera's {name} is {value:g} degrees, expected -{limit}..{limit}"
                )
        if self.height_m is not None and (doubt := height_doubt(self.height_m)):
            raise PhotoError(doubt)

    @property
    def level_from_camera(self) -> Float[Tensor, "4 4"]:
        """The pose of the optical frame, float64."""
        pitch, roll = math.radians(self.pitch_deg), math.radians(self.roll_deg)
        cos, sin = math.cos(pitch), math.sin(pitch)
        upwards = torch.tensor([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], dtype=torch.float64)
        cos, sin = math.cos(roll), math.sin(roll)
        aside = torch.tensor([[1, 0, 0], [0, cos, -sin], [0, sin, cos]], dtype=torch.float64)
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3] = upwards @ aside @ torch.tensor(_OPTICAL, dtype=torch.float64)
        pose[2, 3] = self.height_m or 0.0
        return pose


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a file says of a camera."""

    path: Path
    lens: Lens  # of the image as the camera gives it
    has_size: bool  # whether the file says the image's size
    rectified: Pinhole | None  # of the rectified image, P of ROS; None: not said


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A photo that is ready to be looked at, undistorted."""

    images: Images  # one
    note: str  # what was made of it: where the focal length is from, whether it was undistorted


def is_photo(path: Path) -> bool:
    """Whether a file's name says that it is a photo."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def photo_of(
    path: Path,
    stand: Stand,
    calibration: Calibration | None,
    fov_deg: float | None,
    *,
    is_rectified: bool = False,
) -> Photo:
    """A photo with its camera: `calibration`, or a guess, the angle of view from side to side.

    `is_rectified`: the photo is undistorted already, as those of topics image_rect are. Raises
    PhotoError, and OSError where the file cannot be opened.
    """
    pixels, turned = _pixels(path)
    height, width = pixels.shape[:2]
    _require_something_seen(path, pixels)
    colors = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float() / 255
    if calibration is None:
        camera, note = _guessed(path, width, height, fov_deg), f"a guess, of {fov_deg:g} degrees"
    elif is_rectified:
        camera = _rectified(calibration, path, width, height)
        note = f"of {calibration.path}, the photo is taken as rectified"
    else:
        lens = _fitting(calibration, path, width, height)
        camera, note = lens.camera, f"of {calibration.path}"
        if not lens.is_straight:
            try:
                found = rectification(lens)
            except DistortionError as error:
                raise PhotoError(f"{calibration.path}: {error}") from error
            colors, camera = found(colors), found.camera
            note += f", undistorted with its {lens.model}"
    said = f"focal length {camera.fx:.0f} px, {note}{turned}"
    place = stand.level_from_camera.float()[None]
    floor = None if stand.height_m is None else torch.tensor([stand.height_m])
    return Photo(Images(colors, pinhole_matrix(camera).float()[None], place, height=floor), said)


def read_calibration(path: Path) -> Calibration:
    """The camera of a YAML file; raises PhotoError that names the key."""
    try:
        tree = read_yaml(path, _CALIBRATION)
    except YamlError as error:
        raise PhotoError(str(error)) from error
    if not isinstance(tree, dict):
        raise PhotoError(f"{path}: no keys with values, expected {_CALIBRATION}")
    form: type[_Plain | _OfRos] = _OfRos if "camera_matrix" in tree else _Plain
    try:
        found = form.model_validate(tree)
        return found.calibration(path)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "top level"
        raise PhotoError(f"{path}: {where}: {first['msg']}; expected {_CALIBRATION}") from error
    except DistortionError as error:
        raise PhotoError(f"{path}: {error}") from error


_Focal = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Side = Annotated[int, Field(gt=0)]


class _Plain(BaseModel):
    """fx fy cx cy, and perhaps the size of the image and the distortion."""

    model_config = ConfigDict(extra="forbid")

    fx: _Focal
    fy: _Focal
    cx: _Number
    cy: _Number
    width: _Side | None = None
    height: _Side | None = None

    def calibration(self, path: Path) -> Calibration:
        if (self.width is None) != (self.height is None):
            raise PhotoError(f"{path}: one of width and height; expected both, or none")
        size = self.width or 0, self.height or 0
        camera = Pinhole(*size, self.fx, self.fy, self.cx, self.cy)
        return Calibration(path, Lens(camera, "plumb_bob", ()), self.width is not None, camera)


class _Matrix(BaseModel):
    """A matrix as OpenCV writes it, row by row."""

    model_config = ConfigDict(extra="ignore")

    data: tuple[_Number, ...]


class _OfRos(BaseModel):
    """What camera_calibration writes, as far as it acts."""

    model_config = ConfigDict(extra="ignore")

    image_width: _Side
    image_height: _Side
    camera_matrix: _Matrix
    distortion_model: str = "plumb_bob"
    distortion_coefficients: _Matrix = _Matrix(data=())
    projection_matrix: _Matrix | None = None

    def calibration(self, path: Path) -> Calibration:
        size = self.image_width, self.image_height
        camera = _of_matrix(path, "camera_matrix", self.camera_matrix.data, 9, 3, size)
        lens = Lens(camera, self.distortion_model, self.distortion_coefficients.data)
        projection = self.projection_matrix
        rectified = None
        if projection is not None and any(projection.data):
            rectified = _of_matrix(path, "projection_matrix", projection.data, 12, 4, size)
        return Calibration(path, lens, True, rectified)


def _of_matrix(
    path: Path, key: str, data: tuple[float, ...], num: int, columns: int, size: tuple[int, int]
) -> Pinhole:
    is_one = len(data) == num and data[0] > 0 and data[columns + 1] > 0
    if not is_one or max(abs(data[1]), abs(data[columns])) > _SKEW * data[0]:
        raise PhotoError(
            f"{path}: {key}.data is {list(data)}, expected {num} numbers row by row, fx 0 cx ..., "
            "0 fy cy ..., with focal lengths above 0; calibrate the camera again"
        )
    return Pinhole(*size, data[0], data[columns + 1], data[2], data[columns + 2])


def _fitting(calibration: Calibration, path: Path, width: int, height: int) -> Lens:
    """The lens of a photo of this size; raises PhotoError where the file is of another size."""
    lens = calibration.lens
    camera = lens.camera
    if calibration.has_size and (camera.width, camera.height) == (height, width) != (
        width,
        height,
    ):
        raise PhotoError(
            f"{path}: {width} x {height} pixels, and {calibration.path} is of images of "
            f"{camera.width} x {camera.height}, a quarter turned; expected the camera of the "
            "photo as it is seen, upright where its EXIF turns it: calibrate with photos that "
            "are turned so, or give the photo without that EXIF, and --camera-roll"
        )
    if calibration.has_size and (camera.width, camera.height) != (width, height):
        raise PhotoError(
            f"{path}: {width} x {height} pixels, and {calibration.path} is of images of "
            f"{camera.width} x {camera.height}; expected one size: take the photo as it comes "
            "from the camera, or multiply fx, cx by the ratio of the widths and fy, cy by that of "
            "the heights"
        )
    sized = _sound(Pinhole(width, height, camera.fx, camera.fy, camera.cx, camera.cy), calibration)
    off = abs((camera.cx + 0.5) / width - 0.5), abs((camera.cy + 0.5) / height - 0.5)
    if not calibration.has_size and max(off) > _OFF_THE_MIDDLE:
        raise PhotoError(
            f"{path}: {width} x {height} pixels, and the centre in {calibration.path}, "
            f"({camera.cx:g}, {camera.cy:g}), is far off the middle, so that it seems to be of "
            "photos of another size; expected the camera of this photo. If it is, say so there: "
            f"width: {width}, height: {height}"
        )
    return Lens(sized, lens.model, lens.coefficients)


def _sound(camera: Pinhole, calibration: Calibration) -> Pinhole:
    """The same camera; raises PhotoError where there can be none like it."""
    if doubt := camera_doubt(camera):
        raise PhotoError(f"{calibration.path}: {doubt}")
    return camera


def _rectified(calibration: Calibration, path: Path, width: int, height: int) -> Pinhole:
    _fitting(calibration, path, width, height)
    camera = calibration.rectified
    if camera is None and calibration.lens.is_straight:
        camera = calibration.lens.camera
    if camera is None:
        raise PhotoError(
            f"{calibration.path}: has no projection_matrix, which a rectified photo needs; "
            "expected one, or the photo as it comes from the camera"
        )
    sized = Pinhole(width, height, camera.fx, camera.fy, camera.cx, camera.cy)
    return _sound(sized, calibration)


def _guessed(path: Path, width: int, height: int, fov_deg: float | None) -> Pinhole:
    if fov_deg is None:
        raise PhotoError(
            f"{path}: the camera's focal length is not known, and distances follow from it; "
            f"expected --camera K.yaml, {_CALIBRATION}, or, for a guess, the angle of view from "
            "side to side: --camera-fov 60 (webcams 55..75, phones 60..70, RGB-D cameras 55..70)"
        )
    if not NARROWEST_DEG <= fov_deg <= WIDEST_DEG:
        raise PhotoError(
            f"the angle of view is {fov_deg:g} degrees, expected {NARROWEST_DEG:g}..{WIDEST_DEG:g}"
        )
    focal = width / 2 / math.tan(math.radians(fov_deg) / 2)
    return Pinhole(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def _pixels(path: Path) -> tuple[UInt8[NDArray, "H W 3"], str]:
    """Red, green, blue, turned as the file says; and what to say of that."""
    from PIL import Image, ImageOps  # only who reads photos needs Pillow

    bombs = (Image.DecompressionBombWarning, Image.DecompressionBombError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("JPEG", "PNG")) as image:
                mode, orientation = image.mode, image.getexif().get(_ORIENTATION, 1)
                if mode not in _MODES:
                    raise PhotoError(
                        f"{path}: pixels of Pillow's mode {mode}, expected gray or red, green, "
                        "blue of 8 bits: convert it"
                    )
                pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (FileNotFoundError, PhotoError):
        raise
    except bombs as error:
        raise PhotoError(f"{path}: too large ({_first_line(error)}); make it smaller") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotoError(
            f"{path}: damaged or no JPEG or PNG ({_first_line(error)}); expected a photo"
        ) from error
    return pixels, "" if orientation == 1 else ", turned upright as its EXIF says"


def _require_something_seen(path: Path, pixels: UInt8[NDArray, "H W 3"]) -> None:
    """Refuse what shows nothing: the network would answer all the same. PhotoError."""
    height, width = pixels.shape[:2]
    if min(height, width) < _SMALLEST:
        raise PhotoError(
            f"{path}: {width} x {height} pixels, expected at least {_SMALLEST} on each side; take "
            "the photo as it comes from the camera"
        )
    if doubt := brightness_doubt(float(pixels.mean()) / 255):
        raise PhotoError(f"{path}: {doubt}")


def _first_line(error: Any) -> str:
    return str(error).partition("\n")[0]
