"""Views that are merged, around detectors whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sr3d_core.detector import Detector, Postprocess
from sr3d_core.geometry.boxes import short_side_first
from sr3d_core.geometry.turns import turns
from sr3d_core.merged_views import MergedViews, merge_views
from sr3d_core.refinement import NONE, Refinement
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Predictions

ROWS = [
    [2.0, 1.0, 0.5, 0.8, 1.6, 1.0, 0.4],
    [-3.0, 0.5, 0.4, 0.5, 0.6, 0.8, -1.2],
    [0.3, -2.0, 0.9, 0.4, 2.0, 1.8, 1.3],
]
SCORES = [0.9, 0.6, 0.3]
LABELS = [0, 1, 0]


def marked(rows: list[list[float]] = ROWS) -> PointCloud:
    """Two points for each box: its centre, and the middle of its short side's face."""
    boxes = Boxes3D.from_array(torch.tensor(rows, dtype=torch.float64))
    cos, sin = boxes.yaw.cos(), boxes.yaw.sin()
    ahead = torch.stack([cos, sin, torch.zeros_like(cos)], dim=1) * boxes.size[:, :1] / 2
    return PointCloud.single(torch.cat([boxes.center, boxes.center + ahead]).float(), None)


class Equivariant:
    """Reads the boxes off the marks of `marked`: whatever turns the cloud turns them."""

    classes = ("chair", "table")

    def __init__(self, change: Callable[[int, Detections], Detections] | None = None) -> None:
        self.change = change
        self.num_asked = 0

    def detect(self, cloud: PointCloud) -> Detections:
        rows = torch.tensor(ROWS)
        center, ahead = cloud.xyz.chunk(2)
        ahead = ahead - center
        yaw = torch.atan2(ahead[:, 1], ahead[:, 0])
        size = rows[:, 3:6]
        boxes = short_side_first(Boxes3D(center, size, yaw))
        found = Detections(boxes, torch.tensor(SCORES), torch.tensor(LABELS), {"network": 2.0})
        self.num_asked += 1
        return found if self.change is None else self.change(self.num_asked - 1, found)


@pytest.mark.parametrize("num", [2, 4, 8])
def test_a_detector_that_turns_with_the_world_gives_its_boxes_back(num: int) -> None:
    detector = Equivariant()
    found = MergedViews(detector, num).detect(marked())
    expected = Equivariant().detect(marked())
    assert detector.num_asked == num
    torch.testing.assert_close(found.boxes.array, expected.boxes.array, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.scores, expected.scores)
    assert found.labels.tolist() == LABELS


def test_a_turned_world_has_the_turned_boxes() -> None:
    expected = MergedViews(Equivariant(), 4).detect(marked())
    for turn in turns(8):
        found = MergedViews(Equivariant(), 4).detect(turn.cloud(marked()))
        back = short_side_first(turn.inverse.boxes(found.boxes))
        torch.testing.assert_close(back.array, expected.boxes.array, atol=1e-5, rtol=0)


def test_a_cloud_in_map_coordinates_is_turned_about_where_it_lies() -> None:
    origin = torch.tensor([500_000.0, 5_600_000.0, 0.0], dtype=torch.float64)
    cloud = marked()
    far = PointCloud.single(cloud.xyz.double() + origin, None)
    found = MergedViews(Equivariant(), 4).detect(far)
    expected = Equivariant().detect(cloud).boxes
    center = found.boxes.center - origin
    torch.testing.assert_close(center, expected.center.double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.boxes.yaw, expected.yaw.double(), atol=1e-5, rtol=0)


def test_a_view_that_has_no_such_box_counts_0() -> None:
    def only_in_the_first(view: int, found: Detections) -> Detections:
        return found if view == 0 else found[1:]

    found = MergedViews(Equivariant(only_in_the_first), 4).detect(marked())
    assert sorted(found.scores.tolist()) == pytest.approx([0.9 / 4, 0.3, 0.6])


def test_the_best_score_of_a_view_is_what_it_gives() -> None:
    """Two boxes of one view that mean the same object are one opinion."""

    def twice(view: int, found: Detections) -> Detections:
        if view:
            return found[:0]
        again = Detections(found.boxes, found.scores / 2, found.labels)
        both = Boxes3D.cat([found.boxes, again.boxes])
        scores, labels = (
            torch.cat([found.scores, again.scores]),
            torch.cat([found.labels, again.labels]),
        )
        return Detections(both, scores, labels)

    found = MergedViews(Equivariant(twice), 4).detect(marked())
    assert found.scores.tolist() == pytest.approx([s / 4 for s in SCORES])


def test_boxes_are_the_mean_of_the_views_weighted_by_score() -> None:
    def longer_and_weaker(view: int, found: Detections) -> Detections:
        if view == 0:
            return found
        size = found.boxes.size * torch.tensor([1.0, 1.1, 1.0])
        boxes = Boxes3D(found.boxes.center, size, found.boxes.yaw)
        return Detections(boxes, found.scores / 3, found.labels)

    found = MergedViews(Equivariant(longer_and_weaker), 2).detect(marked())
    assert found.scores.tolist() == pytest.approx([s * 2 / 3 for s in SCORES])
    expected = torch.tensor(ROWS)[:, 4] * (0.75 * 1.0 + 0.25 * 1.1)
    torch.testing.assert_close(found.boxes.size[:, 1], expected)


def test_merged_boxes_that_still_overlap_are_suppressed_at_a_quarter() -> None:
    """Shifted by .55, IoU .29: not the same object to the vote, but not two objects either."""

    class Two(Equivariant):
        def detect(self, cloud: PointCloud) -> Detections:
            center = cloud.xyz
            boxes = Boxes3D(center, torch.ones_like(center), torch.zeros(len(center)))
            return Detections(boxes, torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64))

    cloud = PointCloud.single(torch.tensor([[0.0, 0.0, 0.0], [0.55, 0.0, 0.0]]), None)
    found = MergedViews(Two(), 4).detect(cloud)
    assert found.boxes.center[:, 0].tolist() == pytest.approx([0.0])
    assert bool((found.boxes.yaw == 0).all())  # an axis-aligned detector stays one


def test_other_classes_suppress_only_where_that_is_wanted() -> None:
    class Same(Equivariant):
        def detect(self, cloud: PointCloud) -> Detections:
            center = cloud.xyz.repeat(2, 1)
            boxes = Boxes3D(center, torch.ones_like(center), torch.zeros(2))
            return Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]))

    cloud = PointCloud.single(torch.zeros(1, 3), None)
    assert len(MergedViews(Same(), 4).detect(cloud)) == 2
    wanted = Postprocess(one_class=True)
    assert len(MergedViews(Same(), 4, wanted=wanted).detect(cloud)) == 1


@pytest.mark.parametrize("points", [torch.zeros(0, 3), torch.full((4, 3), float("nan"))])
def test_no_points_give_no_detections(points: Tensor) -> None:
    detector = Equivariant()
    assert len(MergedViews(detector, 4).detect(PointCloud.single(points, None))) == 0
    assert detector.num_asked == 0


def test_nothing_found_in_any_view_is_nothing() -> None:
    def nothing(_: int, found: Detections) -> Detections:
        return found[:0]

    assert len(MergedViews(Equivariant(nothing), 8).detect(marked())) == 0


def test_times_of_the_views_are_summed() -> None:
    times = MergedViews(Equivariant(), 4).detect(marked()).time_ms
    assert times["network"] == 8.0
    assert times["merging"] >= 0.0


@pytest.mark.parametrize("num", [0, 1, 3, 5])
def test_other_numbers_of_views_are_refused(num: int) -> None:
    with pytest.raises(ValueError, match=str(num)):
        MergedViews(Equivariant(), num)


@pytest.mark.parametrize("iou", [0.0, 1.1, -1.0])
def test_an_overlap_out_of_range_is_refused(iou: float) -> None:
    with pytest.raises(ValueError, match="vote_iou"):
        MergedViews(Equivariant(), 4, vote_iou=iou)


class Shy(nn.Module):
    """A chair of score .5 in a cloud as it is, of .2 in all others; a table of .6 and .1."""

    def forward(self, cloud: PointCloud) -> Predictions:
        is_first = bool(cloud.xyz[0, 0] > 0 and cloud.xyz[0, 1] > 0)
        scores = [[0.5, 0.6]] if is_first else [[0.2, 0.1]]
        center = cloud.xyz[:1]
        boxes = Boxes3D(center, torch.ones(1, 3), torch.full((1,), 0.1))
        zero = torch.zeros(1, dtype=torch.int64)
        return Predictions(center, boxes, torch.tensor(scores).logit(), zero, zero)


POINT = PointCloud.single(torch.tensor([[2.0, 1.0, 0.0]]), None)


def shy(**knobs: object) -> Detector:
    postprocess = replace(Postprocess(), **knobs)
    return Detector(Shy(), ("chair", "table"), device="cpu", postprocess=postprocess)


def test_thresholds_act_on_the_mean_and_not_on_a_view() -> None:
    detector = shy(score_threshold=0.25)
    found = merge_views(detector, 4).detect(POINT)
    # chair (.5 + 3 * .2) / 4 = .275, table (.6 + 3 * .1) / 4 = .225
    assert found.labels.tolist() == [0]
    assert found.scores.tolist() == pytest.approx([0.275])
    assert detector.postprocess == replace(Postprocess(), score_threshold=0.25)


def test_thresholds_of_classes_act_on_the_mean_too() -> None:
    found = merge_views(shy(class_thresholds=(0.3, 0.2)), 4).detect(POINT)
    assert found.labels.tolist() == [1]
    found = merge_views(shy(class_thresholds=(0.2, math.inf)), 4).detect(POINT)
    assert found.labels.tolist() == [0]


def test_the_limit_of_detections_acts_on_what_is_merged() -> None:
    assert len(merge_views(shy(), 4).detect(POINT)) == 2
    assert merge_views(shy(max_detections=1), 4).detect(POINT).labels.tolist() == [0]


def test_one_view_is_the_detector_itself() -> None:
    detector = shy()
    assert merge_views(detector, 1) is detector


def test_arrays_are_taken_as_by_the_detector() -> None:
    merged = merge_views(shy(), 4)
    found = merged(np.array([[2.0, 1.0, 0.0]]), rgb=np.zeros((1, 3), np.uint8))
    assert torch.equal(found.scores, merged.detect(POINT).scores)
    with pytest.raises(ValueError, match="rgb has 2 rows"):
        merged(np.zeros((1, 3)), rgb=np.zeros((2, 3)))


def test_what_weights_say_about_one_view_is_left_out_of_merged_ones() -> None:
    plain = merge_views(shy(), 4).detect(POINT)
    detector = shy()
    detector.refinement = Refinement(vote=("all",), vote_iou=0.0, size=("all",), floor=("all",))
    found = merge_views(detector, 4)
    assert found.refinement == NONE
    assert torch.equal(found.detect(POINT).boxes.array, plain.boxes.array)


def test_merged_boxes_are_fitted_where_that_is_asked_for() -> None:
    """A bench of 1 m that stands on a floor, found 10 cm above it in each view."""
    generator = torch.Generator().manual_seed(3)
    floor = 8 * torch.rand(20_000, 3, generator=generator) - 4
    floor[:, 2] = 0.0

    class Floating(Equivariant):
        def detect(self, cloud: PointCloud) -> Detections:
            boxes = Boxes3D.from_array(torch.tensor([[0.0, 0.0, 0.6, 1.0, 1.0, 1.0, 0.0]]))
            return Detections(boxes, torch.tensor([0.9]), torch.tensor([0]))

    merged = MergedViews(Floating(), 4)
    merged.refinement = Refinement(floor=("chair",))
    box = merged.detect(PointCloud.single(floor, None)).boxes.array[0].tolist()
    assert box[2] == pytest.approx(0.55, abs=0.01)
    assert box[5] == pytest.approx(1.1, abs=0.01)
