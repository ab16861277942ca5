"""A backbone with a projection: what student and teacher each are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sr3d_core.model.network import SR3D, Architecture
from sr3d_core.sparse.lattice import Lattice
from sr3d_core.structures import PointCloud


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What a branch says of the cells of its second stage: 0.16 m in every preset."""

    coords: Int[Tensor, "V 4"]  # scene, x, y, z in finest voxels
    stride: int  # finest voxels between neighbours
    features: Float[Tensor, "V F"]  # of that stage and of the two above it
    embedding: Float[Tensor, "V E"]  # of length 1

    def __len__(self) -> int:
        return len(self.coords)

    def centers_m(self, voxel_size_m: float) -> Float[Tensor, "V 3"]:
        """Where the middles of the cells are."""
        return (self.coords[:, 1:] + self.stride / 2) * voxel_size_m


class Branch(nn.Module):
    """The backbone of a network with a projection of its features.

    Only cells with points get features, and coarser ones only where finer ones are: the neck,
    which makes cells of its own, takes no part.
    """

    def __init__(self, architecture: Architecture, hidden: int, bottleneck: int) -> None:
        super().__init__()
        self.network = SR3D(architecture)
        self.network.neck = nn.Identity()  # type: ignore[assignment]
        self.network.head = nn.Identity()  # type: ignore[assignment]
        width = sum(architecture.widths[1:])
        self.project = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        for module in self.project:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, cloud: PointCloud) -> Cells:
        """What is said of all cells that hold points."""
        fine, middle, coarse = self.network.backbone(self.network.voxels(cloud))
        features = torch.cat(
            [
                fine.features,
                middle.features[rows_among(fine.coords, middle.coords, middle.stride)],
                coarse.features[rows_among(fine.coords, coarse.coords, coarse.stride)],
            ],
            dim=1,
        )
        embedding = nn.functional.normalize(self.project(features), dim=1, eps=1e-6)
        return Cells(fine.coords, fine.stride, features, embedding)


def cell_stride(architecture: Architecture) -> int:
    """Finest voxels between the cells of the second stage."""
    stem = min(architecture.stem_kernel, 2) * (2 if architecture.stem_pool else 1)
    return stem * 4


def rows_among(
    coords: Int[Tensor, "V 4"], cells: Int[Tensor, "W 4"], stride: int
) -> Int[Tensor, " V"]:
    """For each voxel the row of the cell of this stride that holds it.

    Raises ValueError where a voxel is in none of them.
    """
    if not len(coords):
        return torch.zeros(0, dtype=torch.int64, device=coords.device)
    if not len(cells):
        raise ValueError(f"{len(coords)} voxels and no cells, expected a cell around each")
    both = torch.cat([coords, cells])
    lattice = Lattice.around(both, stride)
    known, order = lattice.number(cells).sort()
    wanted = lattice.number(coords)
    place = torch.searchsorted(known, wanted).clamp_max(len(known) - 1)
    if not bool((known[place] == wanted).all()):
        raise ValueError(f"voxels outside of the {len(cells)} cells of stride {stride}")
    return order[place]
