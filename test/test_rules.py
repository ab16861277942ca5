"""The same network output under other rules: both suppressions, and the paper's bounds."""

from __future__ import annotations

import pytest
import torch
from fixed_network import CLASSES, cube, fixed_detector, shift_of

from sr3d_core.analysis.analyse import OtherRules, analyse
from sr3d_core.detector import Postprocess
from sr3d_core.evaluate import evaluate
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets
from sr3d_core.supervision.regions import centerness
from sr3d_core.supervision.spota import Spota

CHAIR, BED = 0, 1
POINT = PointCloud.single(torch.zeros(1, 3), None)
FAR_AWAY = [
    50.0,
    0.0,
    0.5,
]  # an anchor that the rule of nearest anchors leaves out, as the farthest


def scene(*rows: tuple[int, list[float]]) -> Sample:
    boxes = torch.tensor([row for _, row in rows]).reshape(-1, 7)
    labels = torch.tensor([label for label, _ in rows], dtype=torch.int64)
    return Sample(POINT, Targets(Boxes3D.from_array(boxes), labels), "a scene")


def rules_of(detector: object, *samples: Sample) -> OtherRules:
    rules = analyse(detector, samples).other_rules  # type: ignore[arg-type]
    assert rules is not None
    return rules


LAST = ((0.001, 0.001), cube(50.0), FAR_AWAY)


def test_stacked_boxes_are_one_seen_from_above_and_two_in_space() -> None:
    detector = fixed_detector(
        ((0.9, 0.001), cube(0.0), [0.0, 0.0, 0.5]),
        ((0.8, 0.001), cube(0.0, z=1.6), [0.0, 0.0, 1.6]),
        LAST,
    )
    rules = rules_of(detector, scene((CHAIR, cube(0.0)), (CHAIR, cube(0.0, z=1.6))))
    recalls = {name: float(each.ap50.recall[CHAIR]) for name, each in rules.by_overlap.items()}
    assert recalls == {"3d": 1.0, "bev": 0.5}


@pytest.mark.parametrize("nms", ["3d", "bev"])
def test_one_of_the_two_is_what_is_reported(nms: str) -> None:
    detector = fixed_detector(
        ((0.9, 0.3), cube(0.0), [0.0, 0.0, 0.5]),
        ((0.8, 0.2), cube(0.0, z=1.6), [0.0, 0.0, 1.6]),
        LAST,
        postprocess=Postprocess(nms=nms),  # type: ignore[arg-type]
    )
    samples = [scene((CHAIR, cube(0.0)), (BED, cube(0.0, z=1.6)))]
    analysis = analyse(detector, samples)
    alone = evaluate(detector, samples).to_dict()
    assert analysis.scores.to_dict() == alone
    assert analysis.other_rules is not None
    assert analysis.other_rules.by_overlap[nms].to_dict() == alone


def test_the_true_overlap_as_score_lets_the_better_box_win() -> None:
    """The network is surer of the box that overlaps by .45, which suppresses the one of .9."""
    worse, better = shift_of(0.45), shift_of(0.9)
    detector = fixed_detector(
        ((0.9, 0.001), cube(worse), [0.1, 0.0, 0.5]),
        ((0.5, 0.001), cube(better), [0.0, 0.0, 0.5]),
        LAST,
    )
    rules = rules_of(detector, scene((CHAIR, cube(0.0))))
    assert float(rules.by_overlap["3d"].ap50.per_class[CHAIR]) == 0.0
    assert float(rules.bounds["gt_iou"].ap50.per_class[CHAIR]) == 1.0


def test_what_is_not_assigned_keeps_its_score() -> None:
    """A ghost of .95 stands before the chair, whose box overlaps by .9: precision 1/2."""
    detector = fixed_detector(
        ((0.2, 0.001), cube(shift_of(0.9)), [0.0, 0.0, 0.5]),
        ((0.95, 0.001), cube(50.0), FAR_AWAY),
    )
    rules = rules_of(detector, scene((CHAIR, cube(0.0))))
    assert float(rules.bounds["gt_iou"].ap25.per_class[CHAIR]) == pytest.approx(0.5)


def test_only_the_class_of_the_box_gets_the_overlap() -> None:
    """The same anchor still says bed: no bed is there, so it counts for nothing either way."""
    detector = fixed_detector(((0.2, 0.9), cube(0.0), [0.0, 0.0, 0.5]), LAST)
    rules = rules_of(detector, scene((CHAIR, cube(0.0)), (BED, cube(3.0))))
    assert float(rules.bounds["gt_iou"].ap25.per_class[CHAIR]) == 1.0
    assert float(rules.bounds["gt_iou"].ap25.per_class[BED]) == 0.0


def test_a_central_anchor_beats_one_at_the_rim() -> None:
    """.9 at a face counts nothing, .5 in the middle all; only the latter's box is a good one."""
    detector = fixed_detector(
        ((0.9, 0.001), cube(shift_of(0.45)), [0.5, 0.0, 0.5]),
        ((0.5, 0.001), cube(shift_of(0.9)), [0.0, 0.0, 0.5]),
        LAST,
    )
    rules = rules_of(detector, scene((CHAIR, cube(0.0))))
    assert float(rules.bounds["gt_ctr"].ap50.per_class[CHAIR]) == 1.0
    assert float(rules.by_overlap["3d"].ap50.per_class[CHAIR]) == 0.0


def test_centerness_is_nothing_outside() -> None:
    boxes = Boxes3D.from_array(torch.tensor([cube(0.0)] * 4))
    anchors = torch.tensor([[0.0, 0, 0.5], [0.25, 0, 0.5], [0.7, 0, 0.5], [0.7, 0.8, 0.5]])
    # 0.25 m from the middle of a metre: 0.25 to the nearer face, 0.75 to the farther
    expected = torch.tensor([1.0, (1 / 3) ** 0.5, 0.0, 0.0])
    torch.testing.assert_close(centerness(boxes, anchors), expected)


def test_the_assigner_whose_positives_aic_is_about_is_named() -> None:
    detector = fixed_detector(((0.2, 0.001), cube(0.0), [0.0, 0.0, 0.5]), LAST)
    samples = [scene((CHAIR, cube(0.0)))]
    other = analyse(detector, samples, assigner=Spota()).other_rules
    assert other is not None
    assert (other.assigner, other.num_positives) == ("spota", 2)
    assert rules_of(detector, *samples).num_positives == 1


def test_a_scene_without_points_finds_nothing_by_any_rule() -> None:
    sample = Sample(POINT[:0], scene((CHAIR, cube(0.0))).targets, "empty")
    rules = rules_of(fixed_detector(LAST), sample)
    found = [each.ap25.mean for each in (*rules.by_overlap.values(), *rules.bounds.values())]
    assert found == [0.0] * 4
    assert rules.to_dict()["aic"] == {"mean": None, "positives": 0, "assigner": "center_topk"}
    assert len(CLASSES) == 2
