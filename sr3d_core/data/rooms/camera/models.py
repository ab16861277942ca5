"""The list of depth cameras that rooms are seen with; a new kind is one line here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sr3d_core.data.rooms.camera.noise import FLIGHT, KINECT, STEREO, DepthNoise
from sr3d_core.geometry.camera import Pinhole


@dataclass(frozen=True, slots=True)
class CameraModel:
    """A kind of depth camera."""

    focal: float  # focal length in image widths
    aspect: float  # height over width
    noise: DepthNoise


MODELS: tuple[CameraModel, ...] = (
    CameraModel(0.906, 0.75, KINECT),  # Kinect v1, Xtion: 58 degrees wide
    CameraModel(0.906, 0.75, KINECT),
    CameraModel(0.72, 0.75, STEREO),  # RealSense D435 aligned to color: 70 degrees
    CameraModel(0.53, 0.5625, STEREO),  # RealSense D435 depth: 87 degrees
    CameraModel(0.71, 0.75, FLIGHT),  # L515: 70 degrees
    CameraModel(0.65, 0.87, FLIGHT),  # Azure Kinect narrow: 75 degrees
)
"""Cameras that robots carry; the first is listed twice because it is twice as common."""


def random_camera(rng: np.random.Generator, width: int) -> tuple[Pinhole, DepthNoise]:
    """A camera of any kind, its image `width` pixels wide."""
    model = MODELS[rng.integers(len(MODELS))]
    height = round(width * model.aspect)
    focal = width * model.focal * rng.uniform(0.95, 1.05)
    cx = float((width - 1) / 2 + rng.normal(0, 1.5))
    cy = float((height - 1) / 2 + rng.normal(0, 1.5))
    return Pinhole(width, height, focal, focal, cx, cy), model.noise
