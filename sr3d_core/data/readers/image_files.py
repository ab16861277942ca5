"""Color and depth images in files, and the `Images` that are made of them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from numpy.typing import NDArray

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.geometry.camera import Pinhole, pinhole_matrix
from sr3d_core.structures import Images

_MODES = ("L", "RGB", "RGBA")
"""What Pillow calls images of gray or of colors with 8 bits."""


def color_image(path: Path) -> UInt8[NDArray, "H W 3"]:
    """Red, green and blue of a jpeg or png; gray is all three. Raises DatasetError."""
    mode, pixels = _pixels(path)
    if mode not in _MODES:
        raise DatasetError(
            f"{path}: pixels of Pillow's mode {mode}, expected gray or red, green, blue of 8 bits"
        )
    return pixels[:, :, None].repeat(3, axis=2) if pixels.ndim == 2 else pixels[:, :, :3]


def depth_image(path: Path) -> UInt16[NDArray, "H W"]:
    """The 16 bits of each pixel of a png, as the data set means them. Raises DatasetError."""
    mode, pixels = _pixels(path)
    if pixels.ndim != 2 or pixels.dtype.kind not in "iu":
        raise DatasetError(
            f"{path}: pixels of shape {pixels.shape}, Pillow's mode {mode}, expected 16 bits of "
            "depth"
        )
    return pixels.astype(np.uint16)


def images_of(
    pixels: UInt8[NDArray, "H W 3"],
    camera: Pinhole,
    world_from_camera: Float[NDArray, "4 4"],
    depth: Float[NDArray, "H W"],
) -> Images:
    """One image of a rectified camera, with its depth in metres, 0 where unknown."""
    color = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return Images(
        color[None].float() / 255,
        pinhole_matrix(camera).float()[None],
        torch.from_numpy(world_from_camera).float()[None],
        torch.from_numpy(depth).float()[None],
    )


def _pixels(path: Path) -> tuple[str, NDArray]:
    """Mode and pixels of an image file."""
    try:
        from PIL import Image  # only who reads such images needs Pillow
    except ImportError as error:
        raise DatasetError(f"{path}: images need Pillow: pip install pillow") from error
    bombs = (Image.DecompressionBombWarning, Image.DecompressionBombError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("JPEG", "PNG")) as image:
                return image.mode, np.array(image)
    except (OSError, SyntaxError, ValueError, *bombs) as error:
        raise DatasetError(f"{path}: damaged or no image; download it again") from error
