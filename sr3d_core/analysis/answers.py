"""What was found in scenes beside what is there; parts of it by size, distance, visible share.

Size terciles: the true boxes of a class over all scenes, split into three equal parts by volume.
Distance: from the cloud's origin to the middle of a box, along the ground.
Visible share: how much of an object is seen, where the scenes say it (`Targets.seen`).
A detection belongs to the part of the true box of its class that it overlaps most, also where it
overlaps it too little. Where it overlaps none it belongs to the part that it would fall into
itself, and to none by visible share: nobody sees what is not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.matches import best_overlap
from sr3d_core.structures import Boxes3D, Detections, Targets

TERCILES = ("small", "middle", "large")

DISTANCE_EDGES_M = (2.0, 4.0)
"""Between the bands of distance; a box exactly at an edge belongs to the nearer band."""

BANDS = ("up to 2 m", "2 to 4 m", "beyond 4 m")

SEEN_EDGES = (0.3, 0.6)
"""Between the bands of visible share; a box exactly at an edge belongs to the lower band."""

SEEN_BANDS = ("up to 30 %", "30 to 60 %", "beyond 60 %")

_NO_PART = -1


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What was found in scenes, and what is there; labels index `classes`."""

    classes: tuple[str, ...]
    found: Sequence[Detections]
    truth: Sequence[Targets]

    def of(self, scenes: Sequence[int]) -> Answers:
        """Some of the scenes."""
        return Answers(
            self.classes, [self.found[k] for k in scenes], [self.truth[k] for k in scenes]
        )


def by_size(answers: Answers) -> dict[str, Answers]:
    """The answers in each of `TERCILES`, of all scenes."""
    edges = _volume_edges(answers)

    def part_of(record: Detections | Targets) -> Int[Tensor, " N"]:
        return (_volume(record.boxes)[:, None] > edges[record.labels]).sum(dim=1)

    return {name: _only(answers, part_of, part) for part, name in enumerate(TERCILES)}


def by_distance(answers: Answers) -> dict[str, Answers]:
    """The answers in each of `BANDS`, of all scenes.

    The origin is where the sensor is, or the robot, only where clouds come in their frame: a scan
    of a whole room has its own.
    """
    edges = torch.tensor(DISTANCE_EDGES_M, dtype=torch.float64)

    def part_of(record: Detections | Targets) -> Int[Tensor, " N"]:
        return (record.boxes.center[:, :2].double().norm(dim=1)[:, None] > edges).sum(dim=1)

    return {name: _only(answers, part_of, part) for part, name in enumerate(BANDS)}


def by_visible_share(answers: Answers) -> dict[str, Answers] | None:
    """The answers in each of `SEEN_BANDS`, of the scenes that say it; None where none does."""
    known = [index for index, target in enumerate(answers.truth) if target.seen is not None]
    if not known:
        return None
    edges = torch.tensor(SEEN_EDGES)

    def part_of(record: Detections | Targets) -> Int[Tensor, " N"]:
        if isinstance(record, Detections) or record.seen is None:
            return torch.full((len(record),), _NO_PART)
        return (record.seen[:, None] > edges).sum(dim=1)

    return {name: _only(answers.of(known), part_of, part) for part, name in enumerate(SEEN_BANDS)}


_PartOf = Callable[[Detections | Targets], Int[Tensor, " N"]]


def _only(answers: Answers, part_of: _PartOf, part: int) -> Answers:
    found, truth = [], []
    for detections, target in zip(answers.found, answers.truth, strict=True):
        part_of_truth, part_of_found = part_of(target), part_of(detections)
        overlap, index = best_overlap(detections, target)
        touches = overlap > 0
        part_of_found[touches] = part_of_truth[index[touches]]
        found.append(detections[part_of_found == part])
        truth.append(target[part_of_truth == part])
    return Answers(answers.classes, found, truth)


def _volume_edges(answers: Answers) -> Float[Tensor, "K 2"]:
    """Volumes between the terciles of each class, infinite where it has no box."""
    edges = torch.full((len(answers.classes), 2), math.inf, dtype=torch.float64)
    if not answers.truth:
        return edges
    volume = torch.cat([_volume(target.boxes) for target in answers.truth])
    label = torch.cat([target.labels for target in answers.truth])
    for index in label.unique().tolist():
        levels = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)
        edges[index] = volume[label == index].quantile(levels)
    return edges


def _volume(boxes: Boxes3D) -> Float[Tensor, " N"]:
    return boxes.size.double().prod(dim=1)
