"""What each cell of an image shows: which class, where its object's middle is, how large it is.

Told beside the cell's depth and learnt of its own labels. No voxel is needed for that, so it is
learnt in the quick steps that teach depth: what a chair looks like need not be found out from how
boxes on voxels fail (perspective supervision, BEVFormer v2, arXiv 2211.10439; the middle as of
FCOS3D, arXiv 2104.10956). What is told goes on into the voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sr3d_core.structures import Images

_OF_BOX = 6  # the middle and the size


@dataclass(frozen=True, slots=True, eq=False)
class CellObjects:
    """What is told of the cells of images; K classes."""

    class_logits: Float[Tensor, "B h w _"]  # of K + 1, the last one: of no object
    middle_m: Float[Tensor, "B h w 3"]  # from what the cell shows: ahead, left, up, see `axes`
    log_size: Float[Tensor, "B h w 3"]  # of metres: the longer side, the shorter one, the height

    @classmethod
    def of(cls, said: Float[Tensor, "B C h w"]) -> CellObjects:
        """Of what a branch with `num_told` channels says."""
        rows = said.permute(0, 2, 3, 1).float()
        return cls(rows[..., :-_OF_BOX], rows[..., -_OF_BOX:-3], rows[..., -3:])

    def told(self, images: Images) -> Float[Tensor, "B C h w"]:
        """The same as features: chances, and the middle along the world's axes."""
        middle_m = torch.einsum("bhwi,bij->bhwj", self.middle_m, axes(images).to(self.middle_m))
        parts = [self.class_logits.softmax(dim=-1), middle_m, self.log_size]
        return torch.cat(parts, dim=-1).permute(0, 3, 1, 2)


def num_told(num_classes: int) -> int:
    """How many numbers are told of a cell."""
    return num_classes + 1 + _OF_BOX


def axes(images: Images) -> Float[Tensor, "B 3 3"]:
    """Rows that point ahead, left and up, as each camera is turned about z, in the world.

    Which way the camera's image goes to the right says that, however far it looks down.
    """
    right = images.world_from_camera[:, :3, 0]
    flat = functional.normalize(right[:, :2], dim=1)
    none = torch.zeros_like(flat[:, 0])
    ahead = torch.stack([-flat[:, 1], flat[:, 0], none], dim=1)
    left = torch.stack([-flat[:, 0], -flat[:, 1], none], dim=1)
    up = torch.stack([none, none, none + 1], dim=1)
    return torch.stack([ahead, left, up], dim=1)
