"""Scores of detectors that look at color images: boxes, the depth of every cell, and both apart.

Depth is that of cells of 8 x 8 pixels, where the truth is known. AbsRel is the mean of
|error| / true depth over the cells of all images. A second average precision is of boxes that were
moved along their line of sight to the depth of their object: what is missing there is not depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from rich.table import Table
from torch import Tensor

from sr3d_core.detector import Detector, SeenImage, seen_by
from sr3d_core.evaluate import EvaluationReport, percent, plain_number, report
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.geometry.origin import moved
from sr3d_core.model.camera_network import CameraSR3D, cell_depth, cells_on
from sr3d_core.right_fronts import RightFronts
from sr3d_core.structures import Boxes3D, Detections, Images, Sample, Targets

_FACTOR = 1.25


@dataclass(frozen=True, slots=True)
class DepthFigures:
    """How right the depth of cells is, shares in 0..1; NaN where no cell tells."""

    abs_rel: float
    within_factor: float  # share of cells that are off by a factor below 1.25
    within_std: float  # of cells on labelled objects, whose error is within the deviation told
    num_cells: int
    num_object_cells: int

    def to_dict(self) -> dict[str, float | int | None]:
        """As plain JSON values."""
        return {
            "abs_rel": plain_number(self.abs_rel),
            "delta_1_25": plain_number(self.within_factor),
            "within_std": plain_number(self.within_std),
            "num_cells": self.num_cells,
            "num_object_cells": self.num_object_cells,
        }


@dataclass(frozen=True, slots=True, eq=False)
class ImagesReport:
    """What an evaluation on images found."""

    scores: EvaluationReport
    at_true_depth: EvaluationReport  # of boxes that were moved along their line of sight
    depth: DepthFigures

    @property
    def fronts(self) -> dict[str, RightFronts]:
        """Of the boxes as they were found."""
        return self.scores.fronts

    def to_dict(self) -> dict[str, object]:
        """The report as plain JSON values."""
        return {
            **self.scores.to_dict(),
            "input": "rgb",
            "depth": self.depth.to_dict(),
            "at_true_depth": replace(self.at_true_depth, fronts={}).to_dict(),
        }

    def table(self) -> Table:
        """The scores as a table for the terminal, in percent."""
        return self.scores.table()

    def depth_table(self) -> Table:
        """Depth, and what boxes would score without its errors."""
        depth = self.depth
        table = Table("depth", title=f"Depth of {depth.num_cells} cells, and what it costs")
        table.add_column("", justify="right")
        rows = (
            ("AbsRel", _decimal(depth.abs_rel)),
            ("off by a factor below 1.25 (%)", percent(depth.within_factor)),
            (
                f"error within its deviation, {depth.num_object_cells} cells on objects (%)",
                percent(depth.within_std),
            ),
            ("AP25, boxes as found (%)", percent(self.scores.ap25.mean)),
            ("AP25, boxes moved to the true depth (%)", percent(self.at_true_depth.ap25.mean)),
            ("AP50, boxes as found (%)", percent(self.scores.ap50.mean)),
            ("AP50, boxes moved to the true depth (%)", percent(self.at_true_depth.ap50.mean)),
        )
        for row in rows:
            table.add_row(*row)
        return table


@dataclass(frozen=True, slots=True, eq=False)
class FoundInImages:
    """What a detector finds in images, on the CPU, image by image."""

    found: Sequence[Detections]
    placed: Sequence[Detections]  # the same, moved along their line of sight
    truth: Sequence[Targets]
    depth: DepthFigures

    def report(self, classes: tuple[str, ...], front_classes: Sequence[str] = ()) -> ImagesReport:
        """The scores of it."""
        return ImagesReport(
            report(self.found, self.truth, classes, front_classes),
            report(self.placed, self.truth, classes),
            self.depth,
        )


def lift_to_true_depth(detector: Detector) -> None:
    """From now on the cells of images lie where the images' depth says that they do.

    A bound of what a better depth would bring, no detector for a robot. Raises ValueError for
    weights of clouds.
    """
    if not isinstance(detector.network, CameraSR3D):
        raise ValueError(
            "these weights take clouds; expected those of color images, whose cells can be lifted "
            "to the true depth: name them with --weights, or leave --true-depth out"
        )
    detector.network.sees_depth = True


def evaluate_images(
    detector: Detector,
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
    front_classes: Sequence[str] = (),
) -> ImagesReport:
    """Run a detector of images over labelled scenes and score it, as `evaluate.evaluate` does.

    Raises ValueError for a scene without an image. Depth is scored where images have some.
    """
    return found_in_images(detector, samples, progress).report(detector.classes, front_classes)


def found_in_images(
    detector: Detector,
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
) -> FoundInImages:
    """What a detector of images finds in labelled scenes; raises as `evaluate_images`."""
    found, placed, truth = list[Detections](), list[Detections](), list[Targets]()
    depth = _DepthSums()
    for done, sample in enumerate(samples, start=1):
        images = seen_by(detector, sample)
        look = detector.look(images)
        assert look is not None  # of an image there always is one
        assert look.image is not None
        assert isinstance(images, Images)
        targets = sample.targets.to("cpu")
        depth.add(look.image, targets.map_boxes(lambda boxes, o=look.origin: moved(boxes, -o)))  # type: ignore[misc]
        found.append(detector.answer(look))
        placed.append(at_true_depth(found[-1], targets, images.world_from_camera[0]))
        truth.append(targets)
        if progress is not None:
            progress(done)
    return FoundInImages(found, placed, truth, depth.figures())


def at_true_depth(
    found: Detections, targets: Targets, world_from_camera: Float[Tensor, "4 4"]
) -> Detections:
    """Detections whose boxes were moved along their line of sight to the depth of their object.

    Depth is that of centres along the optical axis. A box's object is the one of its class,
    ignored ones among them, that it overlaps most once it is moved to its depth; a box that would
    overlap none, or is not ahead of the camera, stays where it is.
    """
    truth = targets.boxes, targets.labels
    if targets.ignored is not None:
        both = (targets.boxes.array, targets.ignored.boxes.array)
        labels = torch.cat([targets.labels, targets.ignored.labels])
        truth = Boxes3D.from_array(torch.cat(both)), labels
    boxes, labels = truth
    if len(found) == 0 or len(boxes) == 0:
        return found
    pose = world_from_camera.double().cpu()
    place, axis = pose[:3, 3], pose[:3, 2]
    away = found.boxes.center.double() - place
    is_ahead = away @ axis > 0
    depths = (boxes.center.double() - place) @ axis
    factors = depths / (away @ axis).where(is_ahead, torch.ones(()).double())[:, None]  # (D, M)
    rows = found.boxes.array.double()
    best, centers = rows.new_zeros(len(found)), rows[:, :3].clone()
    for index in range(len(boxes)):
        moved_centers = place + factors[:, index, None] * away
        there = Boxes3D.from_array(torch.cat([moved_centers, rows[:, 3:]], dim=1))
        one = Boxes3D.from_array(boxes.array[index : index + 1].double())
        overlap = pairwise_iou(there, one)[:, 0]
        overlap = overlap * ((labels[index] == found.labels) & is_ahead & (depths[index] > 0))
        is_better = overlap > best
        best = overlap.where(is_better, best)
        centers = moved_centers.where(is_better[:, None], centers)
    changed = torch.cat([centers, rows[:, 3:]], dim=1).to(found.boxes.center.dtype)
    return replace(found, boxes=Boxes3D.from_array(changed))


class _DepthSums:
    """Sums over the cells of all images."""

    def __init__(self) -> None:
        self._relative = 0.0
        self._within_factor = self._within_std = self._num = self._num_on_objects = 0

    def add(self, seen: SeenImage, targets: Targets) -> None:
        """Take one image in; boxes are near zero as it is."""
        if seen.images.depth is None:
            return
        truth = cell_depth(seen.images)[0].double().cpu()
        told, std_m = seen.depth_m.double().cpu(), seen.std_m.double().cpu()
        is_known = truth > 0
        error = (told - truth).abs()
        ratio = torch.maximum(told / truth, truth / told)
        on_objects = cells_on(seen.images.to("cpu"), targets.boxes).any(dim=1).reshape(truth.shape)
        self._relative += float((error / truth)[is_known].sum())
        self._within_factor += int((ratio < _FACTOR)[is_known].sum())
        self._within_std += int((error <= std_m)[on_objects].sum())
        self._num += int(is_known.sum())
        self._num_on_objects += int(on_objects.sum())

    def figures(self) -> DepthFigures:
        """What was found so far."""
        return DepthFigures(
            _share(self._relative, self._num),
            _share(self._within_factor, self._num),
            _share(self._within_std, self._num_on_objects),
            self._num,
            self._num_on_objects,
        )


def _share(part: float, whole: int) -> float:
    return part / whole if whole else math.nan


def _decimal(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.3f}"
