"""What benchmarks look at: a whole room, or what a robot's depth camera sees of one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sr3d_core.data.rooms.camera.noise import KINECT
from sr3d_core.data.rooms.camera.sensor import Light, View, capture, orientation
from sr3d_core.data.rooms.scene.room import build_room
from sr3d_core.geometry.camera import Pinhole
from sr3d_core.geometry.thinning import even_rows

ROOM_M = (5.0, 4.0, 2.6)
NUM_BOXES = 12
NOISE_M = 0.003
CAMERA_HEIGHT_M = 1.2
CAMERA_RANGE_M = 6.0


def room(num_points: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """`xyz` (N, 3) in metres, z up, and `rgb` (N, 3) in 0..1 of floor, walls and boxes.

    Points are drawn uniformly by area: more surface than any camera sees at once.
    """
    generator = torch.Generator().manual_seed(seed)
    corners, edges = [torch.zeros(5, 3)], [_shell_edges()]
    corners[0][3] = torch.tensor([ROOM_M[0], 0.0, 0.0])
    corners[0][4] = torch.tensor([0.0, ROOM_M[1], 0.0])
    for _ in range(NUM_BOXES):
        size = 0.3 + torch.rand(3, generator=generator) * torch.tensor([1.2, 0.8, 0.7])
        low = torch.rand(3, generator=generator) * (torch.tensor(ROOM_M) - size)
        low[2] = 0.0
        corner, edge = _box_faces(low, size)
        corners.append(corner)
        edges.append(edge)
    start, edge = torch.cat(corners), torch.cat(edges)
    area = torch.linalg.cross(edge[:, 0], edge[:, 1]).norm(dim=1)
    face = torch.multinomial(area, num_points, replacement=True, generator=generator)
    share = torch.rand(num_points, 2, 1, generator=generator)
    xyz = start[face] + (share * edge[face]).sum(1)
    xyz += torch.randn(num_points, 3, generator=generator) * NOISE_M
    return xyz, torch.rand(len(start), 3, generator=generator)[face]


def camera_frame(num_points: int, seed: int = 20_000_000) -> tuple[Tensor, Tensor]:
    """The same of one RGB-D frame in a furnished room, seen from a robot's height.

    The image is made large enough for so many returns, of which an even choice is kept.
    """
    rng = np.random.default_rng(seed)
    room = build_room(rng)
    middle = np.mean([thing.center for thing in room.things], axis=0)
    spots = [room.layout.free_spot(0.2, CAMERA_HEIGHT_M) for _ in range(8)]
    free = [spot for spot in spots if spot is not None]
    spot = max(free, key=lambda at: float(np.hypot(*(at - middle[:2]))))
    position = np.array([*spot, CAMERA_HEIGHT_M])
    away = middle - position
    turn = orientation(np.arctan2(away[1], away[0]), np.deg2rad(-15), 0.0)
    pixels = 1.25 * num_points
    while True:
        width, height = round((pixels * 4 / 3) ** 0.5), round((pixels * 3 / 4) ** 0.5)
        focal, center = 0.906 * width, ((width - 1) / 2, (height - 1) / 2)
        pinhole = Pinhole(width, height, focal, focal, *center)
        view = View(pinhole, turn, position, CAMERA_RANGE_M, KINECT)
        shot = capture(room, view, Light.random(rng), rng)
        if len(shot.xyz) >= num_points:
            break
        pixels *= 1.25
    kept = even_rows(len(shot.xyz), num_points)
    xyz = (shot.xyz[kept] - position * (1, 1, 0)).astype(np.float32)
    return torch.from_numpy(xyz), torch.from_numpy(shot.rgb[kept].astype(np.float32))


SCENES = {"room": room, "camera": camera_frame}


def _shell_edges() -> Tensor:
    """Two edge vectors of the floor and of the four walls."""
    x, y, z = torch.diag(torch.tensor(ROOM_M))
    return torch.stack([torch.stack(pair) for pair in ((x, y), (x, z), (y, z), (y, z), (x, z))])


def _box_faces(low: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """A corner and two edge vectors of the top and the four sides of a box."""
    x, y, z = torch.diag(size)
    corner = torch.stack([low + z, low, low, low + x, low + y])
    pairs = ((x, y), (x, z), (y, z), (y, z), (x, z))
    return corner, torch.stack([torch.stack(pair) for pair in pairs])
