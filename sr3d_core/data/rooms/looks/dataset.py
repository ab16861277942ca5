"""Images of rooms as torch datasets: made on the fly, or read back from pre-rendered files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from sr3d_core.choices import RoomSplit
from sr3d_core.data.rooms.dataset import (
    Prerendered,
    known_labels,
    packed,
    relabelled,
    seed_of,
    unpacked,
)
from sr3d_core.data.rooms.furniture.classes import LABELS, OWN_FURNITURE
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.looks.sample import image_samples
from sr3d_core.structures import Images, Sample

DEPTH_STEP_M = 0.001
"""Pre-rendered depth is whole numbers of this step, up to 65.5 m."""


class RoomImages(Dataset[Sample]):
    """`num` images made when asked for: sample i is the first image of the split's room i."""

    def __init__(
        self,
        split: RoomSplit,
        num: int,
        label_space: Sequence[str] = LABELS,
        supply: FurnitureSupply = OWN_FURNITURE,
    ) -> None:
        seed_of(split, max(0, num - 1))
        self._split: RoomSplit = split
        self._num = num
        self._supply = supply
        self.notes: tuple[str, ...] = ()
        self.classes = known_labels(label_space)

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._num:
            raise IndexError(f"image {index} of {self._num}")
        found = image_samples(seed_of(self._split, index), 1, self._supply)[0]
        return relabelled(found, self.classes)


class PrerenderedImages(Prerendered):
    """Color images of a folder that `prerender` filled."""

    _advice = (
        "rooms without color images; make them into another folder with "
        "`sr3d data rooms FOLDER --images 4`"
    )

    def _num_of_each(self, manifest: dict[str, Any]) -> int:
        return int(manifest.get("num_images", 0))

    def _stored(self, arrays: np.lib.npyio.NpzFile, number: int, room: str) -> Sample:
        return unpacked_image(arrays, number, f"{room} image {number}")


def packed_image(found: Sample, number: int) -> dict[str, np.ndarray]:
    """An image, its depth and its cloud as small arrays; `unpacked_image` is the way back."""
    key, images = f"image{number}", found.images
    assert images is not None
    assert images.depth is not None
    assert images.height is not None
    depth = np.rint(images.depth[0].numpy() / DEPTH_STEP_M)
    pixels = images.pixels[0].permute(1, 2, 0).numpy()
    return {
        f"{key}_pixels": np.rint(255 * pixels).astype(np.uint8),
        f"{key}_depth": np.clip(depth, 0, 65535).astype(np.uint16),
        f"{key}_intrinsics": images.intrinsics[0].numpy(),
        f"{key}_pose": images.world_from_camera[0].numpy(),
        f"{key}_height": images.height.numpy(),
        **packed(found, key),
    }


def unpacked_image(arrays: np.lib.npyio.NpzFile, number: int, name: str) -> Sample:
    """What `packed_image` stored."""
    key = f"image{number}"
    pixels = torch.from_numpy(arrays[f"{key}_pixels"]).permute(2, 0, 1).contiguous()
    depth = arrays[f"{key}_depth"].astype(np.float32) * np.float32(DEPTH_STEP_M)
    images = Images(
        pixels[None].float() / 255,
        torch.from_numpy(arrays[f"{key}_intrinsics"])[None],
        torch.from_numpy(arrays[f"{key}_pose"])[None],
        torch.from_numpy(depth)[None],
        torch.from_numpy(arrays[f"{key}_height"]),
    )
    return replace(unpacked(arrays, key, name), images=images)
