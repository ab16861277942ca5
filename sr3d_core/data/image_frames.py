"""Frames of a recording with color images: a folder of .npz files and frames.json.

Of each moment the color image with its camera, what the depth sensor saw, as points and as the
depth of pixels, and where that is in a frame that stands still. Points and poses are level, z up,
around the sensor. A folder appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from sr3d_core.geometry.camera import height_doubt, project, resized_intrinsics
from sr3d_core.structures import Images, PointCloud
from sr3d_core.whole_files import naming, write_whole

LIST = "frames.json"
WIDEST = 640
"""Images that are wider are made so wide."""
_FORMAT = "sr3d frames 1"
_DEPTH_STEP_M = 0.001
_COLUMNS = 80
"""Depth is looked up in a raster of so many columns: a point fills its field of it."""


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """Which frames of a recording are kept, and what is told of their camera."""

    period_s: float = 0.5
    """Frames are at least so far apart."""
    camera_height_m: float | None = None
    """The color camera's above the floor; None: not known."""

    def __post_init__(self) -> None:
        if not 0 <= self.period_s <= 3600:
            raise ValueError(f"the time between frames is {self.period_s} s, expected 0..3600")
        if self.camera_height_m is not None and (doubt := height_doubt(self.camera_height_m)):
            raise ValueError(doubt)


@dataclass(frozen=True, slots=True, eq=False)
class ImageFrame:
    """One moment; image and cloud in one level frame."""

    images: Images  # one, with depth
    cloud: PointCloud
    stamp_ns: int
    fixed_frame: str  # that stands still; poses in frames of another name are of another place
    fixed_from_level: Float[NDArray, "4 4"]


@dataclass(frozen=True)
class ListedFrame:
    """What frames.json says of one."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    file: str
    stamp_ns: int
    fixed_frame: str
    fixed_from_level: list[list[float]]


@dataclass(frozen=True)
class ListedFrames:
    """What it says in all."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    format: str
    recording: str
    frames: list[ListedFrame]
    refused: dict[str, int]
    """How many frames could not be used, by the reason."""


def write_frames(
    folder: Path, recording: str, frames: Iterable[ImageFrame], refused: Mapping[str, int]
) -> int:
    """Write a folder of frames as they come; returns how many. `refused` grows while they come.

    Without any there is no folder. Raises OSError; nothing is left then, nor after Ctrl-C.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # what a kill has left
    listed = list[ListedFrame]()
    try:
        part.mkdir(parents=True)
        for frame in frames:
            name = f"{len(listed):06d}.npz"
            with naming(part / name):
                (part / name).write_bytes(_packed(frame))
            pose = np.asarray(frame.fixed_from_level, np.float64).tolist()
            listed.append(ListedFrame(name, frame.stamp_ns, frame.fixed_frame, pose))
        if listed:
            content = asdict(ListedFrames(_FORMAT, recording, listed, dict(refused)))
            write_whole({part / LIST: json.dumps(content, indent=1).encode()})
            part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(listed)


def frames_in(folder: Path) -> ListedFrames:
    """What is known of the frames of a folder; raises ValueError where it is no such folder."""
    path = folder / LIST
    try:
        known = TypeAdapter(ListedFrames).validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(
            f"{path}: does not exist; expected a folder that `sr3d distill --bag` wrote"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"{path}: {where}: {first['msg']}; remove the folder, "
            "`sr3d distill --bag` writes it again"
        ) from error
    if known.format != _FORMAT:
        raise ValueError(
            f"{path}: format {known.format!r}, expected {_FORMAT!r}; remove the folder, "
            "`sr3d distill --bag` writes it again"
        )
    return known


def read_frame(path: Path) -> tuple[Images, PointCloud]:
    """Image and cloud of one frame; raises ValueError for a file that is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pixels = torch.from_numpy(arrays["pixels"]).permute(2, 0, 1).contiguous()
            depth = arrays["depth"].astype(np.float32) * np.float32(_DEPTH_STEP_M)
            height = torch.from_numpy(arrays["height"])
            images = Images(
                pixels[None].float() / 255,
                torch.from_numpy(arrays["intrinsics"])[None],
                torch.from_numpy(arrays["pose"])[None],
                torch.from_numpy(depth)[None],
                None if bool(height.isnan().all()) else height,
            )
            features = torch.from_numpy(arrays["features"].astype(np.float32))
            xyz = torch.from_numpy(arrays["xyz"])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path}: damaged ({error}); remove the folder, `sr3d distill --bag` writes it again"
        ) from error
    return images, PointCloud(xyz, features, torch.zeros(len(xyz), dtype=torch.int64))


def fitted_to_store(images: Images) -> Images:
    """The same image, at most `WIDEST` pixels wide, with intrinsics that fit; without depth."""
    height, width = images.pixels.shape[-2:]
    if width <= WIDEST:
        return images
    rows = max(1, round(height * WIDEST / width))
    pixels = torch.nn.functional.interpolate(
        images.pixels, (rows, WIDEST), mode="bilinear", antialias=True, align_corners=False
    )
    intrinsics = resized_intrinsics(images.intrinsics, WIDEST / width, rows / height)
    return Images(pixels, intrinsics, images.world_from_camera, None, images.height)


def depth_of_points(xyz: Float[Tensor, "N 3"], images: Images) -> Float[Tensor, "1 H W"]:
    """The depth of an image's pixels by points of its world, metres; 0 where there is none.

    Of points in one field of a raster of 80 columns the nearest counts, for all its pixels: what
    the camera cannot see for it is hidden.
    """
    height, width = images.pixels.shape[-2:]
    step = max(1, width // _COLUMNS)
    rows, columns = -(-height // step), -(-width // step)
    pixels, depth = project(
        xyz.double()[None], images.intrinsics.double(), images.world_from_camera.double()
    )
    place = ((pixels[0] + 0.5) / step).floor()
    is_seen = (depth[0] > 0) & (place >= 0).all(dim=1)
    is_seen &= (place[:, 0] < columns) & (place[:, 1] < rows)
    place = place[is_seen].long()
    nearest = torch.full((rows * columns,), torch.inf, dtype=torch.float64)
    field = place[:, 1] * columns + place[:, 0]
    nearest.scatter_reduce_(0, field, depth[0, is_seen], "amin")
    raster = nearest.where(nearest.isfinite(), torch.zeros(())).float().reshape(rows, columns)
    full = raster.repeat_interleave(step, dim=0).repeat_interleave(step, dim=1)
    return full[None, :height, :width].contiguous()


def _packed(frame: ImageFrame) -> bytes:
    images = frame.images
    assert images.depth is not None
    pixels = images.pixels[0].permute(1, 2, 0).numpy()
    depth = np.rint(images.depth[0].numpy() / _DEPTH_STEP_M)
    unknown = np.array([np.nan], np.float32)
    written = BytesIO()
    np.savez_compressed(
        written,
        pixels=np.rint(255 * pixels).astype(np.uint8),
        depth=np.clip(depth, 0, 65535).astype(np.uint16),
        intrinsics=images.intrinsics[0].float().numpy(),
        pose=images.world_from_camera[0].float().numpy(),
        height=unknown if images.height is None else images.height.float().numpy(),
        xyz=frame.cloud.xyz.float().numpy(),
        features=frame.cloud.features.numpy().astype(np.float16),
    )
    return written.getvalue()
