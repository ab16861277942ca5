"""The mask `frame`: the student sees what one sensor sees of a cloud that many views made.

On a robot nothing is hidden in blocks: what is missing is outside of the image, or behind
something. Of a recording the sensor is that of the keyframe itself. Of other clouds nobody knows
from where they were seen: a depth camera is drawn that stands in free space and looks at a part of
the cloud, as the cameras of the procedural rooms do.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from sr3d_core.data.rooms.camera.models import MODELS
from sr3d_core.geometry.viewpoint import Viewpoint, seen_from

_TRIES = 10
_LEAST = 0.05
"""A camera that sees less than this share of the cloud is drawn again."""
_HEIGHT_M = (0.25, 1.7)  # above the lowest points: of a small robot, of a hand
_AWAY_M = (0.8, 4.5)  # along the floor, from what it looks at
_CLEARANCE_M = 0.2
_LOWEST = 0.01  # share of the points that may be below the floor


def seen_by_one(
    xyz: Float[Tensor, "N 3"], viewpoint: Viewpoint | None, generator: Generator
) -> Bool[Tensor, " N"]:
    """Which points one sensor sees; where it is not known, a camera that is drawn.

    Of the cameras drawn that see too little, the one that sees most.
    """
    if viewpoint is not None:
        return seen_from(xyz, viewpoint)
    best = torch.zeros(len(xyz), dtype=torch.bool)
    for _ in range(_TRIES if len(xyz) else 0):
        camera = drawn_camera(xyz, generator)
        place = camera.cloud_from_camera[:3, 3].to(xyz)
        if bool(((xyz - place).norm(dim=1) < _CLEARANCE_M).any()):
            continue
        seen = seen_from(xyz, camera)
        if seen.sum() > best.sum():
            best = seen
        if best.sum() >= _LEAST * len(xyz):
            break
    return best


def drawn_camera(xyz: Float[Tensor, "N 3"], generator: Generator) -> Viewpoint:
    """A depth camera that stands upright and looks at a point of a cloud; it may stand in one."""
    u = torch.rand(4, generator=generator).tolist()
    target = xyz[int(torch.randint(len(xyz), (), generator=generator))].double()
    floor = xyz[:, 2].kthvalue(1 + int(_LOWEST * (len(xyz) - 1))).values
    low, high = _HEIGHT_M
    near, far = _AWAY_M
    angle, away_m = 2 * math.pi * u[0], near + (far - near) * u[1]
    place = target.clone()
    place[0] += away_m * math.cos(angle)
    place[1] += away_m * math.sin(angle)
    place[2] = float(floor) + low + (high - low) * u[2]
    model = MODELS[min(int(u[3] * len(MODELS)), len(MODELS) - 1)]
    across, down = 0.5 / model.focal, 0.5 * model.aspect / model.focal
    return Viewpoint(_looking(place, target), (-across, across, -down, down))


def _looking(place: Float[Tensor, " 3"], target: Float[Tensor, " 3"]) -> Float[Tensor, "4 4"]:
    """The optical frame at a place that looks at another one, its image level."""
    forward = torch.nn.functional.normalize(target - place, dim=0)
    right = torch.stack([forward[1], -forward[0], torch.zeros_like(forward[0])])
    right = torch.nn.functional.normalize(right, dim=0)
    matrix = torch.eye(4, dtype=torch.float64)
    down = torch.linalg.cross(forward, right)
    matrix[:3, :3] = torch.stack([right, down, forward], dim=1)
    matrix[:3, 3] = place
    return matrix
