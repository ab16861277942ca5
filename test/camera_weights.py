"""A camera student that has learnt nothing, for tests of what is around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from sr3d_core.checkpoint import Manifest, save_checkpoint
from sr3d_core.model.camera_network import CameraArchitecture, CameraSR3D
from sr3d_core.model.network import LITE, SR3D, Architecture

CAMERA = CameraArchitecture(size=(64, 48), channels=8)


def small_architecture(num_classes: int, neck_channels: int = 8) -> Architecture:
    """Of few channels."""
    widths, depths = (8, 8, 8, 8), (1, 1, 1, 1)
    return replace(
        LITE,
        num_classes=num_classes,
        widths=widths,
        depths=depths,
        neck_channels=neck_channels,
    )


def save_student(path: Path, classes: tuple[str, ...], neck_channels: int = 8) -> Path:
    """Weights of color images."""
    torch.manual_seed(0)
    small = small_architecture(len(classes), neck_channels)
    manifest = Manifest(architecture=small, classes=classes, camera=CAMERA)
    save_checkpoint(path, CameraSR3D(small, CAMERA), manifest)
    return path


def save_teacher(path: Path, classes: tuple[str, ...]) -> Path:
    """Weights of clouds, of the same later stages."""
    torch.manual_seed(1)
    small = small_architecture(len(classes))
    save_checkpoint(path, SR3D(small), Manifest(architecture=small, classes=classes))
    return path
