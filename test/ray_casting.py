"""Clouds of a small world of boxes, a floor and a wall, by ray casting: truth for maps."""

from __future__ import annotations

import numpy as np
import torch

from sr3d_core.structures import PointCloud

Box = tuple[float, float, float, float, float, float]  # x y z dx dy dz, not turned


def seen_cloud(eye: tuple[float, float, float], *boxes: Box, wall_x: float = 6.0) -> PointCloud:
    """What a camera at `eye` that looks along +x sees, in the frame of the world.

    The floor is at z = 0, a wall closes the world at `wall_x`.
    """
    y, z = np.meshgrid(np.linspace(-0.8, 0.8, 160), np.linspace(-0.6, 0.4, 110))
    way = np.stack([np.ones(y.size), y.ravel(), z.ravel()], axis=1)
    far = np.full(len(way), np.inf)
    start = np.array(eye)
    with np.errstate(divide="ignore"):
        for box in boxes:
            center, half = np.array(box[:3]), np.array(box[3:]) / 2
            ends = np.stack([(center - half - start) / way, (center + half - start) / way])
            enter, leave = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
            far = np.minimum(far, np.where((enter <= leave) & (enter > 0), enter, np.inf))
        floor = np.where(way[:, 2] < 0, -start[2] / way[:, 2], np.inf)
    far = np.minimum(np.minimum(far, floor), wall_x - start[0])
    xyz = (start + far[:, None] * way).astype(np.float32)
    return PointCloud.single(torch.from_numpy(xyz), None)
