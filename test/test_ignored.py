"""Objects to be ignored: no loss where they are, and nothing right or wrong about finding them."""

from __future__ import annotations

import math

import pytest
import torch

from sr3d_core.data.augment import Augment
from sr3d_core.evaluate import AveragePrecision, average_precision
from sr3d_core.evaluate_views import turned_sample
from sr3d_core.geometry.turns import turns
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Predictions, Sample, Targets
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.supervision.losses import Focal, focal_loss
from sr3d_core.supervision.spota import Spota

Row = list[float]
CRITERIA = [Criterion(), Criterion(classification=Focal())]


def boxes(rows: list[Row]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows).reshape(-1, 7))


def targets(rows: list[Row], ignored: list[Row], label: int = 0) -> Targets:
    def of(these: list[Row]) -> tuple[Boxes3D, torch.Tensor]:
        return boxes(these), torch.full((len(these),), label)

    return Targets(*of(rows), Targets(*of(ignored)))


def cube(x: float, edge: float = 1.0) -> Row:
    return [x, 0.0, 0.0, edge, edge, edge, 0.0]


def along_x(num: int = 9) -> Predictions:
    """Predictions of unit cubes every half metre from 0, of two classes."""
    generator = torch.Generator().manual_seed(0)
    anchors = torch.tensor([[0.5 * k, 0.0, 0.0] for k in range(num)])
    ones = torch.ones(num, 3)
    logits = torch.randn(num, 2, generator=generator).requires_grad_()
    level = torch.zeros(num, dtype=torch.int64)
    return Predictions(anchors, Boxes3D(anchors, ones, ones[:, 0] * 0), logits, level, level)


def precision(found: list[Row], truth: Targets, iou: float, label: int = 0) -> AveragePrecision:
    """Of detections by falling score."""
    scores = torch.linspace(0.9, 0.1, len(found))
    answer = Detections(boxes(found), scores, torch.full((len(found),), label))
    return average_precision([answer], [truth], num_classes=2, iou=iou)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_anchors_in_an_ignored_box_have_no_gradient(criterion: Criterion) -> None:
    predictions = along_x()
    criterion(predictions, [targets([], [cube(2.0)])]).total.backward()
    has_gradient = predictions.logits.grad.any(dim=1)
    assert (~has_gradient).nonzero()[:, 0].tolist() == [3, 4, 5]  # x 1.5 to 2.5


def test_the_loss_of_an_ignored_scene_is_that_of_the_anchors_outside() -> None:
    predictions = along_x()
    got = Criterion(classification=Focal())(predictions, [targets([], [cube(2.0)])])
    outside = predictions.logits[[0, 1, 2, 6, 7, 8]]
    expected = focal_loss(outside, torch.zeros_like(outside, dtype=torch.bool), 0.25, 2.0).sum()
    torch.testing.assert_close(got.classification, expected)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_target_in_an_ignored_box_keeps_its_anchors(criterion: Criterion) -> None:
    predictions, both = along_x(), targets([cube(2.0)], [cube(2.0, edge=30.0)])
    losses = criterion(predictions, [both])
    losses.total.backward()
    is_positive = Spota()(predictions, both).is_positive
    assert losses.num_positives == int(is_positive.sum()) > 0
    assert predictions.logits.grad.any(dim=1).tolist() == is_positive.tolist()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_ignoring_nothing_changes_no_bit(criterion: Criterion) -> None:
    plain, nothing, far = (
        criterion(along_x(), [truth])
        for truth in (
            Targets(boxes([cube(1.0)]), torch.zeros(1, dtype=torch.int64)),
            targets([cube(1.0)], []),
            targets([cube(1.0)], [cube(100.0)]),
        )
    )
    assert torch.equal(plain.total, nothing.total)
    assert torch.equal(plain.total, far.total)


@pytest.mark.parametrize("iou", [0.25, 0.5])
def test_a_detection_on_an_ignored_box_is_neither_right_nor_wrong(iou: float) -> None:
    truth = targets([cube(0.0)], [cube(5.0)])
    result = precision([cube(5.0), cube(0.0)], truth, iou)
    assert result.per_class[0] == 1.0  # .5 if the first were a false positive
    assert result.num_truth.tolist() == [1, 0]


def test_without_the_ignored_box_the_same_detection_is_wrong() -> None:
    truth = Targets(boxes([cube(0.0)]), torch.zeros(1, dtype=torch.int64))
    assert precision([cube(5.0), cube(0.0)], truth, 0.25).per_class[0] == 0.5


def test_a_detection_of_the_seen_end_of_an_ignored_object_is_not_wrong() -> None:
    # A quarter of a bed of which the rest is cut off: IoU 1 / 4, all of the detection inside.
    truth = targets([cube(0.0)], [[5.0, 0.0, 0.0, 4.0, 1.0, 1.0, 0.0]])
    assert precision([cube(3.5), cube(0.0)], truth, 0.5).per_class[0] == 1.0


@pytest.mark.parametrize(("x", "expected"), [(7.2, 1.0), (7.8, 0.5)])
def test_the_share_of_the_detection_inside_must_exceed_the_threshold(
    x: float, expected: float
) -> None:
    # The ignored box ends at x = 7.5: .8 of the cube at 7.2 lie inside, .2 of that at 7.8.
    truth = targets([cube(0.0)], [[5.5, 0.0, 0.0, 4.0, 1.0, 1.0, 0.0]])
    assert precision([cube(x), cube(0.0)], truth, 0.5).per_class[0] == expected


def test_the_share_inside_is_that_of_rotated_boxes() -> None:
    # A cube of diagonal 1 in one of edge 1, turned by 45 degrees: all of it, IoU 1 / sqrt 8.
    small = [5.0, 0.0, 0.0, 0.5**0.5, 0.5**0.5, 0.5**0.5, math.pi / 4]
    truth = targets([cube(0.0)], [cube(5.0)])
    assert precision([small, cube(0.0)], truth, 0.5).per_class[0] == 1.0


def test_ignored_boxes_of_another_class_excuse_nothing() -> None:
    truth = Targets(
        boxes([cube(0.0)]), torch.tensor([0]), Targets(boxes([cube(5.0)]), torch.tensor([1]))
    )
    assert precision([cube(5.0), cube(0.0)], truth, 0.25).per_class[0] == 0.5


def test_what_hits_a_target_counts_also_inside_an_ignored_box() -> None:
    truth = targets([cube(0.0)], [cube(0.0, edge=3.0)])
    result = precision([cube(0.0), cube(0.0), cube(0.9)], truth, 0.5)
    assert result.recall[0] == 1.0
    # The second hit is false, the third (IoU .05 with the target) is ignored.
    assert precision([cube(0.9), cube(0.1), cube(0.0)], truth, 0.5).per_class[0] == 1.0


def test_a_class_with_ignored_boxes_only_has_no_precision() -> None:
    assert precision([cube(0.0)], targets([], [cube(0.0)]), 0.25).per_class[0].isnan()


def test_ignored_boxes_are_augmented_and_turned_as_targets_are() -> None:
    rows = [[1.0, 2.0, 0.5, 2.0, 1.0, 0.8, 0.3]]
    cloud = PointCloud.single(torch.rand(50, 3), torch.rand(50, 3))
    sample = Sample(cloud, targets(rows, rows), "twice the same")
    change = Augment(flip_x=1.0, rotate_rad=(0.5, 0.5), scale=(1.1, 1.1), translate_m=0.3)
    for changed in (
        change(sample, torch.Generator().manual_seed(1)),
        turned_sample(sample, turns(4)[1]),
    ):
        assert changed.targets.ignored is not None
        assert torch.equal(changed.targets.ignored.boxes.array, changed.targets.boxes.array)
        assert not torch.equal(changed.targets.boxes.array, sample.targets.boxes.array)


def test_a_selection_of_targets_keeps_what_is_ignored() -> None:
    chosen = targets([cube(0.0), cube(2.0)], [cube(5.0)])[torch.tensor([1])].to("cpu")
    assert (len(chosen), len(chosen.ignored or [])) == (1, 1)
