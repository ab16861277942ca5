"""Clouds that were taken out of a recording: a folder of PLY files, z up, and keyframes.json.

A keyframe is a moment at which the sensor has moved or turned far enough since the last one. Its
cloud is what was seen until then within a short window, put together where the recording says how
the sensor moved. keyframes.json says of each cloud where the sensor was, and which place it shows:
clouds of one place are much alike.

A folder appears whole or not at all. Files that are taken out of it are missed by nobody.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sr3d_core.data.recordings import beside
from sr3d_core.geometry.viewpoint import Viewpoint
from sr3d_core.structures import PointCloud
from sr3d_core.whole_files import naming, write_whole

LIST = "keyframes.json"
_FORMAT = "sr3d keyframes 1"
_UNKNOWN_BYTE = 128
"""A point without color among points with one: the grey that networks take for unknown."""


@dataclass(frozen=True, kw_only=True)
class KeyframeSettings:
    """When a recording has a new keyframe, and what its cloud is made of."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    keyframe_distance_m: float = 0.3
    """So far the sensor has moved since the last keyframe, or"""
    keyframe_angle_rad: float = math.radians(15.0)
    """so far it has turned."""
    window_s: float = 5.0
    """What was seen so long before a keyframe is in its cloud; 0: what it shows itself alone."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            limit = 3600.0 if name == "window_s" else math.inf
            if not (0.0 <= value <= limit and math.isfinite(value)):
                expected = "0..3600" if name == "window_s" else "at least 0"
                raise ValueError(f"data.{name}: {value}, expected {expected}")


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """One cloud of a recording."""

    cloud: PointCloud
    stamp_ns: int
    place: str  # what shows the same place has the same; "" = not known
    viewpoint: Viewpoint | None  # of its own frame; None: not known


@dataclass(frozen=True)
class Listed:
    """What keyframes.json says of one cloud."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    file: str
    stamp_ns: int
    place: str
    cloud_from_camera: list[list[float]] | None
    slopes: list[float] | None

    @property
    def viewpoint(self) -> Viewpoint | None:
        """Where its own frame was seen from."""
        if self.cloud_from_camera is None:
            return None
        slopes = None if self.slopes is None else tuple(self.slopes)
        matrix = torch.tensor(self.cloud_from_camera, dtype=torch.float64)
        return Viewpoint(matrix, slopes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _List:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    format: str
    recording: str
    keyframes: list[Listed]


def write_keyframes(
    folder: Path, recording: str, keyframes: Iterable[Keyframe]
) -> tuple[int, int]:
    """Write a folder of clouds as they come; returns how many keyframes and how many points.

    Clouds without a point are left out; without any there is no folder. `folder` is new or empty,
    else ValueError is raised. Raises OSError; nothing is left then, nor after Ctrl-C.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"{folder}: is there already, expected a folder that is new or empty; choose another"
        )
    part = beside(folder, ".part")
    shutil.rmtree(part, ignore_errors=True)  # what a kill has left
    listed, num_points = list[Listed](), 0
    try:
        part.mkdir(parents=True)
        for keyframe in keyframes:
            if not len(keyframe.cloud):
                continue
            name = f"{len(listed):06d}.ply"
            with naming(part / name):
                (part / name).write_bytes(_ply(keyframe.cloud))
            listed.append(_listed(name, keyframe))
            num_points += len(keyframe.cloud)
        if listed:
            content = asdict(_List(_FORMAT, recording, listed))
            write_whole({part / LIST: json.dumps(content, indent=1).encode()})
            part.replace(folder.resolve())
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(listed), num_points


def listed_in(folder: Path) -> dict[str, Listed]:
    """What is known of the clouds of a folder, by file; nothing where it is no such folder.

    Raises ValueError where keyframes.json is damaged.
    """
    path = folder / LIST
    if not path.is_file():
        return {}
    try:
        known = TypeAdapter(_List).validate_json(path.read_bytes())
        if known.format != _FORMAT:
            raise ValueError(f"format {known.format!r}, expected {_FORMAT!r}")
        for each in known.keyframes:
            _require_shapes(each)
    except ValueError as error:  # pydantic's and json's, too
        raise ValueError(
            f"{path}: {_first_fault(error)}; expected what `sr3d bag clouds` writes: write the "
            "folder again"
        ) from error
    return {each.file: each for each in known.keyframes}


def _require_shapes(each: Listed) -> None:
    matrix, slopes = each.cloud_from_camera, each.slopes
    if matrix is not None and not _is_finite_4x4(matrix):
        raise ValueError(f"{each.file}: cloud_from_camera is no 4 x 4 matrix of numbers")
    if slopes is not None and (len(slopes) != 4 or not np.isfinite(slopes).all()):
        raise ValueError(f"{each.file}: slopes {slopes}, expected four numbers")


def _is_finite_4x4(matrix: list[list[float]]) -> bool:
    is_4x4 = [len(row) for row in matrix] == [4, 4, 4, 4]
    return is_4x4 and bool(np.isfinite(matrix).all())


def _first_fault(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def _listed(name: str, keyframe: Keyframe) -> Listed:
    view = keyframe.viewpoint
    matrix = None if view is None else view.cloud_from_camera.tolist()
    slopes = None if view is None or view.slopes is None else list(view.slopes)
    return Listed(name, keyframe.stamp_ns, keyframe.place, matrix, slopes)


def _ply(cloud: PointCloud) -> bytes:
    """A binary PLY file of a cloud; with colors where any is known."""
    rgb = cloud.features.numpy(force=True)
    is_known = np.isfinite(rgb).all(axis=1)
    shade = np.where(is_known[:, None], np.rint(255.0 * np.nan_to_num(rgb)), _UNKNOWN_BYTE)
    columns = {axis: ("float", "<f4", cloud.xyz[:, k].numpy()) for k, axis in enumerate("xyz")}
    if is_known.any():
        names = ("red", "green", "blue")
        columns |= {
            name: ("uchar", "u1", shade[:, k].clip(0, 255)) for k, name in enumerate(names)
        }
    rows = np.zeros(len(cloud), [(name, kind) for name, (_, kind, _) in columns.items()])
    for name, (_, _, values) in columns.items():
        rows[name] = values
    properties = "".join(f"property {word} {name}\n" for name, (word, _, _) in columns.items())
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(cloud)}\n{properties}"
    return f"{head}end_header\n".encode() + rows.tobytes()
