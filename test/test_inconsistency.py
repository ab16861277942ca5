"""AIC and PCE against worked examples and cases done by hand."""

from __future__ import annotations

import math

import pytest
import torch
from fixed_network import CLASSES, cube, fixed_detector, shift_of
from sample_boxes import found
from small_scenes import EXAMPLES

from sr3d_core.inconsistency import MOST_CONFIDENT, Aic, Foreground, Looking, pce
from sr3d_core.matches import match_all
from sr3d_core.model.chances import ClassCalibration
from sr3d_core.structures import Assignment, Boxes3D, PointCloud, Predictions, Targets
from sr3d_core.supervision.center_topk import CenterTopK

CHAIR, BED = 0, 1
POINT = PointCloud.single(torch.zeros(1, 3), None)


def truth(*rows: tuple[int, list[float]], ignored: Targets | None = None) -> Targets:
    boxes = torch.tensor([row for _, row in rows]).reshape(-1, 7)
    labels = torch.tensor([label for label, _ in rows], dtype=torch.int64)
    return Targets(Boxes3D.from_array(boxes), labels, ignored)


def one_each(predictions: Predictions, targets: Targets) -> Assignment:
    """Prediction number n is trained towards box number n; what is left over is background."""
    num = len(predictions)
    target = torch.arange(num).where(torch.arange(num) < len(targets), torch.tensor(-1))
    return Assignment(target, torch.ones(num))


def test_aic_is_that_of_the_worked_example() -> None:
    """Four chairs whose boxes overlap them by q; the score of the other class does not count."""
    p, q = (EXAMPLES["aic"]["inputs"][key] for key in "pq")
    pairs = list(zip(p, q, strict=True))
    rows = [
        ((score, 0.99), cube(10.0 * k + shift_of(iou)), [10.0 * k, 0.0, 0.5])
        for k, (score, iou) in enumerate(pairs)
    ]
    background = ((0.99, 0.99), cube(99.0), [99.0, 0.0, 0.5])
    aic = Aic(one_each)
    look = fixed_detector(*rows, background).look(POINT)
    aic.add(look, truth(*((CHAIR, cube(10.0 * k)) for k in range(4))))
    assert aic.num_positives == 4
    assert aic.value == pytest.approx(EXAMPLES["aic"]["expected"], abs=1e-6)


def test_aic_is_of_the_scores_in_use() -> None:
    """.5 means a chance of .5 before, and after an offset of 2 one of .88."""
    detector = fixed_detector(((0.5, 0.1), cube(0.0), [0.0, 0.0, 0.5]))
    detector.calibration = {
        "chair": ClassCalibration(scale=1.0, offset=2.0, num_boxes=9, num_right=3)
    }
    aic = Aic(one_each)
    aic.add(detector.look(POINT), truth((CHAIR, cube(0.0))))
    assert aic.value == pytest.approx(1 - 1 / (1 + math.exp(-2)), abs=1e-6)


def test_aic_sums_over_positives_not_over_scenes() -> None:
    """One of 0.8 off in a scene, three of 0.2 off in the other: 1.4 / 4."""
    aic = Aic(one_each)
    for score, num in ((0.2, 1), (0.8, 3)):
        rows = [((score, 0.1), cube(10.0 * k), [10.0 * k, 0.0, 0.5]) for k in range(num)]
        aic.add(fixed_detector(*rows).look(POINT), truth(*((CHAIR, row[1]) for row in rows)))
    assert aic.value == pytest.approx(1.4 / 4, abs=1e-6)


def test_without_positives_there_is_no_aic() -> None:
    aic = Aic(CenterTopK())
    aic.add(None, truth((CHAIR, cube(0.0))))
    aic.add(fixed_detector().look(POINT), truth((CHAIR, cube(0.0))))
    aic.add(fixed_detector(((0.5, 0.1), cube(0.0), [0.0, 0.0, 0.5])).look(POINT), truth())
    assert (aic.num_positives, math.isnan(aic.value)) == (0, True)


def test_boxes_far_from_the_origin_are_compared_where_the_network_sees_them() -> None:
    """The cloud is moved near zero; labels stay in map coordinates."""
    far = torch.tensor([[500_000.0, 0.0, 0.0]], dtype=torch.float64)
    detector = fixed_detector(((0.5, 0.1), cube(0.0), [0.0, 0.0, 0.5]))
    look = detector.look(PointCloud.single(far, None))
    assert look is not None
    rows = torch.tensor([cube(0.0)], dtype=torch.float64)
    rows[:, 0] += 500_000.0
    targets = Targets(Boxes3D.from_array(rows), torch.tensor([CHAIR]))
    assert Foreground.of(look, targets, one_each).iou.tolist() == pytest.approx([1.0])


def test_what_is_found_is_what_the_detector_finds() -> None:
    detector = fixed_detector(((0.5, 0.1), cube(0.0), [0.0, 0.0, 0.5]))
    looking = Looking(detector)
    expected, own = detector.detect(POINT), looking.detect(POINT)
    torch.testing.assert_close(own.scores, expected.scores, rtol=0, atol=0)
    torch.testing.assert_close(own.boxes.array, expected.boxes.array, rtol=0, atol=0)
    assert len(looking.detect(POINT[:0])) == 0
    assert looking.last is None


def test_pce_is_that_of_the_worked_example() -> None:
    """The third detection has no box of its class in the scene."""
    scores, overlaps = (
        EXAMPLES["pce"]["inputs"][key] for key in ("scores", "best_same_class_iou")
    )
    detections = found(
        (scores[0], CHAIR, cube(shift_of(overlaps[0]))),
        (scores[1], CHAIR, cube(10 + shift_of(overlaps[1]))),
        (scores[2], BED, cube(0)),
    )
    targets = truth((CHAIR, cube(0)), (CHAIR, cube(10)))
    result = pce(match_all([detections], [targets]), len(CLASSES), 0.25)
    assert result.mean == pytest.approx(EXAMPLES["pce"]["expected"], abs=1e-6)
    assert result.per_class.tolist() == pytest.approx([(0.2 + 0.05) / 2, 0.4], abs=1e-6)


def test_pce_looks_at_the_most_confident_of_each_class_over_all_scenes() -> None:
    """Thirty chairs of .9 that are right stand before any number of weak ones that are wrong."""
    sure = [(0.9, CHAIR, cube(10.0 * k)) for k in range(MOST_CONFIDENT)]
    weak = [(0.3, CHAIR, cube(10.0 * k, z=50.0)) for k in range(40)]
    targets = truth(*((CHAIR, cube(10.0 * k)) for k in range(MOST_CONFIDENT)))
    result = pce(match_all([found(*weak), found(*sure)], [truth(), targets]), 2, 0.25)
    assert result.mean == pytest.approx(0.1, abs=1e-6)
    assert math.isnan(result.per_class[BED])


def test_pce_leaves_out_what_finds_an_ignored_object() -> None:
    targets = truth((CHAIR, cube(0)), ignored=truth((CHAIR, cube(10))))
    detections = found((0.9, CHAIR, cube(0)), (0.8, CHAIR, cube(10)))
    assert pce(match_all([detections], [targets]), 2, 0.25).mean == pytest.approx(0.1, abs=1e-6)


def test_nothing_found_has_no_pce() -> None:
    result = pce(match_all([], []), 2, 0.25)
    assert math.isnan(result.mean)
    assert result.per_class.shape == (2,)
