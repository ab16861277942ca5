"""The room that benchmarks look at: floor, walls and boxes, points drawn uniformly by area."""

from __future__ import annotations

import torch
from torch import Tensor

ROOM_M = (5.0, 4.0, 2.6)
NUM_BOXES = 12
NOISE_M = 0.003


def room(num_points: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """`xyz` (N, 3) in metres, z up, and `rgb` (N, 3) in 0..1 of a furnished room."""
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
