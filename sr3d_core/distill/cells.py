"""MonoSTL as its public code has it: two networks of images are compared cell by cell.

The teacher is the student's own network, trained on images of depth, so that a cell of both looks
at the same pixels. Compared are the levels of the image networks before they are joined, at
strides of 8, 16 and 32 pixels: features in the boxes that objects fill in the image, weighted by
how unsure the student is of their depth, and products of what all objects of a step look like,
divided by how unsure the teacher is. All of it in metres (arXiv 2603.07464; facts of its code,
written anew).

Other than there: a teacher's deviation is at least 1 cm, or one whose bins are sure of a depth
would count without end; what objects look like is read at one place of each of the 7 x 7 parts of
their boxes; an object that no cell shows is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from sr3d_core.distill.objects import Objects, depth_std_of
from sr3d_core.geometry.boxes import corners
from sr3d_core.geometry.camera import edges_in_image, project
from sr3d_core.model.camera_network import CameraOutput
from sr3d_core.model.image import PYRAMID
from sr3d_core.structures import Boxes3D, Images
from sr3d_core.supervision.distill.feature import literal_feature_loss
from sr3d_core.supervision.distill.relation import literal_relation_loss
from sr3d_core.training.processes import ALONE, Processes

_GRID = 7  # parts of a box in each direction
_LEAST_STD_M = 0.01


class CellTerms(nn.Module):
    """DASFD and DASRD on cells of images, with the student's layers that are for this alone."""

    def __init__(
        self,
        widths: Sequence[int],
        to_widths: Sequence[int],
        adapter: bool,
        processes: Processes = ALONE,
    ) -> None:
        """`widths` are the student's channels of each level, `to_widths` the teacher's.

        Without `adapter` the student's levels are compared as they are, where widths agree.
        """
        super().__init__()
        self._processes = processes
        is_wanted = adapter or list(widths) != list(to_widths)
        self.adapter = _Adapter(widths, to_widths) if is_wanted else None

    def forward(
        self,
        student: CameraOutput,
        teacher: CameraOutput,
        objects: Objects,
        weights: Float[Tensor, " K"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The terms of features and of relations, each the sum over levels, not yet weighted.

        `weights` are those of the features of objects.
        """
        levels = [each.float() for each in student.pyramid]
        if self.adapter is not None:
            levels = self.adapter(levels)
        std_m = depth_std_of(teacher, objects.boxes, objects.scene)
        shown = shown_of(student.images, objects.boxes, objects.scene)
        taken = (shown.has_centre & ~std_m.isnan()).nonzero()[:, 0]
        scene, extent = objects.scene[taken], shown.extent[taken]
        features = relations = weights.new_zeros(())
        for stride, own, other in zip(PYRAMID, levels, teacher.pyramid, strict=True):
            mine, theirs = own, other.float()
            cells = cells_in(extent, stride, (mine.shape[-1], mine.shape[-2]))
            features = features + literal_feature_loss(
                mine, theirs, scene, cells, weights[taken], self._processes.total
            )
            relations = relations + self._relations(
                pooled(mine, scene, extent, stride),
                pooled(theirs, scene, extent, stride),
                std_m[taken],
            )
        return features, relations

    def _relations(
        self,
        mine: Float[Tensor, "K D"],
        theirs: Float[Tensor, "K D"],
        std_m: Float[Tensor, " K"],
    ) -> Float[Tensor, ""]:
        """The term of all objects of a step, also of other processes; a share of it for each.

        The gradient is that of the whole term, at the own objects.
        """
        parts = self._processes.all_of((mine.detach().cpu(), theirs.cpu(), std_m.cpu()))
        students, *others = (
            [each.to(mine.device) for each in column] for column in zip(*parts, strict=True)
        )
        students[self._processes.rank] = mine
        known, deviation = (torch.cat(column) for column in others)
        loss = literal_relation_loss(torch.cat(students), known, deviation.clamp(min=_LEAST_STD_M))
        return loss - (1 - 1 / self._processes.num) * loss.detach()


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Where images show objects, in pixels whose centres are at whole numbers."""

    extent: Float[Tensor, "K 4"]  # left, top, right, bottom, cut off at the edges of the image
    centre: Float[Tensor, "K 2"]  # u, v of the middle of the box
    depth_m: Float[Tensor, " K"]  # of that middle
    has_centre: Bool[Tensor, " K"]  # whether that middle is in the image


@torch.no_grad()
def shown_of(images: Images, boxes: Boxes3D, scene: Int[Tensor, " K"]) -> Shown:
    """Where each box is in the image of its scene, whatever stands before it."""
    intrinsics = images.intrinsics.double()[scene]
    pose = images.world_from_camera.double()[scene]
    pixels, depth = project(boxes.center.double()[:, None], intrinsics, pose)
    centre = pixels[:, 0]
    height, width = images.pixels.shape[-2:]
    lowest = centre.new_tensor([-0.5, -0.5])
    highest = centre.new_tensor([width - 0.5, height - 0.5])
    has_centre = ((centre >= lowest) & (centre < highest)).all(dim=1)  # NaN: behind the camera
    ends = edges_in_image(corners(boxes).double(), intrinsics, pose).flatten(1, 2)
    low, high = ends.nan_to_num(torch.inf).amin(dim=1), ends.nan_to_num(-torch.inf).amax(dim=1)
    extent = torch.cat([each.clamp(lowest, highest) for each in (low, high)], dim=1)
    return Shown(extent, centre, depth[:, 0], has_centre)


def cells_in(
    extent: Float[Tensor, "K 4"], stride: int, size: tuple[int, int]
) -> Int[Tensor, "K 4"]:
    """`x1 y1 x2 y2` of the cells that have a part of each box; x2 and y2 are outside.

    `size` is the level's width and height in cells.
    """
    edges = (extent + 0.5) / stride
    cells = torch.cat([edges[:, :2].floor(), edges[:, 2:].ceil()], dim=1).long()
    return cells.clamp(torch.zeros_like(cells), cells.new_tensor([*size, *size]))


def pooled(
    features: Float[Tensor, "B C h w"],
    scene: Int[Tensor, " K"],
    extent: Float[Tensor, "K 4"],
    stride: int,
) -> Float[Tensor, "K D"]:
    """What boxes look like: features in the middle of 7 x 7 parts of each, D = 49 C.

    Between the middles of cells they are interpolated, as RoIAlign does (arXiv 1703.06870).
    """
    share = (torch.arange(_GRID, dtype=extent.dtype, device=extent.device) + 0.5) / _GRID
    left, top, right, bottom = extent.T[..., None]
    u, v = left + (right - left) * share, top + (bottom - top) * share
    pixels = torch.stack(
        [u[:, None, :].expand(-1, _GRID, _GRID), v[:, :, None].expand(-1, _GRID, _GRID)], dim=-1
    )
    size = stride * pixels.new_tensor([features.shape[-1], features.shape[-2]])
    places = (2 * (pixels + 0.5) / size - 1).to(features.dtype)
    found = functional.grid_sample(
        features[scene], places, mode="bilinear", padding_mode="border", align_corners=False
    )
    return found.flatten(1)


class _Adapter(nn.Module):
    """The student's levels as its teacher would say them.

    Each level takes up the coarser one by gates that are learnt (ReviewKD, arXiv 2104.09044).
    """

    def __init__(self, widths: Sequence[int], to_widths: Sequence[int]) -> None:
        super().__init__()
        middle = max(widths)
        self.narrow = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, middle, 1, bias=False), nn.BatchNorm2d(middle))
            for width in widths
        )
        self.gates = nn.ModuleList(nn.Conv2d(2 * middle, 2, 1) for _ in widths[1:])
        self.adapt = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(middle, middle, 3, padding=1), nn.ReLU(), nn.Conv2d(middle, width, 1)
            )
            for width in to_widths
        )

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        joined = [narrow(level) for narrow, level in zip(self.narrow, levels, strict=True)]
        for index in reversed(range(len(self.gates))):
            own = joined[index]
            coarser = functional.interpolate(joined[index + 1], own.shape[-2:])
            gates = self.gates[index](torch.cat([own, coarser], dim=1)).sigmoid()
            joined[index] = own * gates[:, :1] + coarser * gates[:, 1:]
        return [adapt(level) for adapt, level in zip(self.adapt, joined, strict=True)]
