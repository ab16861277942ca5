"""Boxes of a teacher that are taken as true in a recording without labels.

A box counts where the teacher is sure of it and found it in the same place in several frames that
follow each other: what comes and goes is more often wrong than what stays. What it was sure of
but did not find again is ignored, so that nobody learns that there is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.structures import Boxes3D, Detections

LEAST_SCORE = 0.3
"""Of a box that counts."""
NUM_FRAMES = 3
"""So many frames in a row must show a box, its own among them."""
SAME_PLACE_IOU = 0.25
"""Boxes of one class that overlap by at least this are of one object."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundInFrame:
    """What the teacher found in one frame, and where that is."""

    found: Detections  # level, as the frame is
    fixed_frame: str
    fixed_from_level: Float[Tensor, "4 4"]

    @property
    def placed(self) -> Boxes3D:
        """The boxes in the frame that stands still; float64."""
        turn = self.fixed_from_level[:3, :3].double()
        center = self.found.boxes.center.double() @ turn.T + self.fixed_from_level[:3, 3].double()
        yaw = self.found.boxes.yaw.double() + torch.atan2(turn[1, 0], turn[0, 0])
        return Boxes3D(center, self.found.boxes.size.double(), yaw)


def steady(
    frames: Sequence[FoundInFrame], num_frames: int = NUM_FRAMES, iou: float = SAME_PLACE_IOU
) -> list[Bool[Tensor, " D"]]:
    """Of each frame's boxes, which are in the same place in `num_frames` frames in a row."""
    placed = [frame.placed for frame in frames]

    def seen_again(here: int, there: int) -> Bool[Tensor, " D"]:
        mine, other = frames[here], frames[there]
        if mine.fixed_frame != other.fixed_frame or not len(other.found):
            return torch.zeros(len(mine.found), dtype=torch.bool)
        overlap = pairwise_iou(placed[here], placed[there])
        overlap = overlap * (mine.found.labels[:, None] == other.found.labels)
        return overlap.amax(dim=1) >= iou

    kept = []
    for here in range(len(frames)):
        reach = num_frames - 1
        near = range(max(0, here - reach), min(len(frames), here + reach + 1))
        shown = torch.stack(
            [
                torch.ones(len(frames[here].found), dtype=torch.bool)
                if there == here
                else seen_again(here, there)
                for there in near
            ]
        )
        kept.append(_longest_run(shown, near.index(here)) >= num_frames)
    return kept


def _longest_run(shown: Bool[Tensor, "F D"], own: int) -> Tensor:
    """How many frames in a row, its own among them, show each box."""
    before = shown[:own].flip(0).long().cumprod(dim=0).sum(dim=0)
    after = shown[own:].long().cumprod(dim=0).sum(dim=0)
    return before + after
