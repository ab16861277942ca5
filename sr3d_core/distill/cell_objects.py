"""What cells tell of the objects they show learns from labels; no voxel is made for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from sr3d_core.model.camera_network import CellOutput, cell_depth, cell_points, cells_on
from sr3d_core.model.cell_objects import axes
from sr3d_core.structures import Images, Targets
from sr3d_core.training.processes import ALONE, Processes


@dataclass(frozen=True, slots=True, eq=False)
class CellTruth:
    """What is true of cells, as `CellObjects` tells it; N cells, K classes."""

    label: Int[Tensor, " N"]  # K: no object
    is_known: Bool[Tensor, " N"]  # whether the label is
    is_on: Bool[Tensor, " N"]  # whether an object is shown, which the two that follow describe
    middle_m: Float[Tensor, "N 3"]
    log_size: Float[Tensor, "N 3"]


@torch.no_grad()
def cell_truth(images: Images, targets: Targets, num_classes: int) -> CellTruth:
    """What is true of the cells of one image, by its depth and the labels of its scene.

    Of several objects at one place the smallest counts: the cushion, not the sofa. Not known is
    what has no depth, and what lies in objects that are ignored.
    """
    boxes = targets.boxes
    on = cells_on(images, boxes)
    nothing = on.new_ones(len(on), 1)  # as large as can be, and in the last place
    volume = functional.pad(boxes.size.prod(dim=1), (0, 1), value=torch.finfo().max)
    smallest = torch.where(torch.cat([on, nothing], dim=1), volume, torch.inf).argmin(dim=1)
    label = functional.pad(targets.labels, (0, 1), value=num_classes)[smallest]
    size = functional.pad(boxes.size, (0, 0, 0, 1), value=1.0)[smallest]
    center = functional.pad(boxes.center, (0, 0, 0, 1))[smallest].double()
    away = center - cell_points(images).reshape(-1, 3)
    sides = size[:, :2].sort(dim=1, descending=True).values
    is_on = label < num_classes
    is_known = cell_depth(images).flatten() > 0
    if targets.ignored is not None:
        is_known &= is_on | ~cells_on(images, targets.ignored.boxes).any(dim=1)
    return CellTruth(
        label,
        is_known,
        is_on,
        (away @ axes(images)[0].double().T).to(size.dtype),
        torch.cat([sides, size[:, 2:]], dim=1).log(),
    )


def cell_objects_term(
    output: CellOutput,
    targets: Sequence[Targets],
    unlabelled: Sequence[int] = (),
    processes: Processes = ALONE,
) -> Float[Tensor, ""]:
    """Cross-entropy of classes, mean over known cells; L1 of middles, in metres, and of the
    logarithms of sizes, mean over cells on objects.

    Over those of all processes that share a step: the sum of their terms is the mean.
    """
    told, images = output.objects, output.images
    assert told is not None
    num_classes = told.class_logits.shape[-1] - 1
    of_class = off = counts = told.log_size.sum() * 0.0
    for scene, of_scene in enumerate(targets):
        if scene in unlabelled:
            continue
        truth = cell_truth(images[scene : scene + 1], of_scene, num_classes)
        logits = told.class_logits[scene].flatten(0, 1)[truth.is_known]
        of_class = of_class + functional.cross_entropy(
            logits, truth.label[truth.is_known], reduction="sum"
        )
        middle = told.middle_m[scene].flatten(0, 1) - truth.middle_m
        size = told.log_size[scene].flatten(0, 1) - truth.log_size
        off = off + (middle.abs() + size.abs())[truth.is_on].sum()
        counts = counts + torch.stack([truth.is_known.sum(), truth.is_on.sum()])
    num_known, num_on = processes.summed(counts.detach().expand(2)).clamp(min=1).unbind()
    return of_class / num_known + off / num_on
