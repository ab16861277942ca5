"""The labelled objects of a step, and what student and teacher know of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.model.camera_network import CameraOutput, cells_on
from sr3d_core.model.depth import mean_and_std
from sr3d_core.structures import Boxes3D, Detections, Targets
from sr3d_core.supervision.distill.feature import rows_inside
from sr3d_core.supervision.distill.selection import object_std


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """All labelled objects of a step, and what is known of each."""

    boxes: Boxes3D
    labels: Int[Tensor, " K"]
    scene: Int[Tensor, " K"]
    std_m: Float[Tensor, " K"]  # of the student's depth; NaN where nothing says it
    trust: Float[Tensor, " K"]  # 0..1, whether the teacher is right

    def holding(
        self, coords: Int[Tensor, "N 4"], xyz: Float[Tensor, "N 3"], margin_m: float
    ) -> Bool[Tensor, "N K"]:
        """Which rows lie in which objects, grown by a margin."""
        return rows_inside(xyz, self.boxes, margin_m) & (coords[:, :1] == self.scene)


@torch.no_grad()
def objects_of(
    output: CameraOutput,
    targets: Sequence[Targets],
    found: Sequence[Detections],
    trust: str,
    unlabelled: Sequence[int] = (),
) -> Objects:
    """The objects of a step; `found` are the teacher's boxes, scene by scene.

    In scenes that are not labelled trust is the teacher's score: its boxes are the truth there.
    """
    device = output.depth_logits.device
    parts: list[tuple[Tensor, ...]] = []
    for scene, of_scene in enumerate(targets):
        own = torch.full_like(of_scene.labels, scene)
        kind = "score" if scene in unlabelled else trust
        trusted = _trust(of_scene, found[scene], kind)
        parts.append((of_scene.boxes.array, of_scene.labels, own, trusted))
    rows, labels, scene_of, trusted = (
        torch.cat(each).to(device) for each in zip(*parts, strict=True)
    )
    boxes = Boxes3D.from_array(rows)
    return Objects(boxes, labels, scene_of, depth_std_of(output, boxes, scene_of), trusted)


@torch.no_grad()
def depth_std_of(
    output: CameraOutput, boxes: Boxes3D, scene: Int[Tensor, " K"]
) -> Float[Tensor, " K"]:
    """What a network of images may be off by in the depth of objects, metres.

    Over the cells that show them, by the images' depth; NaN where none does.
    """
    probability = output.depth_logits.softmax(dim=-1)
    _, std_m = mean_and_std(probability, output.centers_m[:, None, None])
    variance = std_m.square().flatten(1)
    found = variance.new_full((len(boxes),), torch.nan)
    for image in scene.unique().tolist():
        own = scene == image
        is_of = cells_on(output.images[image : image + 1], boxes[own])
        found[own] = object_std(variance[image], is_of)
    return found


def _trust(truth: Targets, found: Detections, kind: str) -> Float[Tensor, " K"]:
    """How right the teacher is about each object, by its best box of the object's class."""
    if not len(truth) or not len(found):
        return truth.boxes.center.new_zeros(len(truth))
    overlap = pairwise_iou(truth.boxes, found.boxes)
    overlap = overlap * (truth.labels[:, None] == found.labels)
    best = overlap.max(dim=1)
    if kind == "quality":
        return best.values
    return found.scores[best.indices] * (best.values > 0)
