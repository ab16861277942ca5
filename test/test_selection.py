"""Which boxes are reported: per-class rules act before boxes suppress each other."""

from __future__ import annotations

import pytest
import torch

from sr3d_core.detector import Postprocess
from sr3d_core.structures import Boxes3D, Detections, Predictions
from sr3d_ros.parameters.record import ClassRule
from sr3d_ros.parameters.selection import SelectionError, postprocess_for

CLASSES = ("chair", "table", "desk")


def predictions(*rows: tuple[float, tuple[float, float, float]]) -> Predictions:
    """Unit cubes at x, each with a score for every class."""
    boxes = Boxes3D.from_array(torch.tensor([[x, 0, 0, 1, 1, 1, 0] for x, _ in rows]))
    scores = torch.tensor([scores for _, scores in rows])
    zeros = torch.zeros(len(rows), dtype=torch.int64)
    return Predictions(boxes.center, boxes, scores.logit(), zeros, zeros)


def names(found: Detections) -> list[str]:
    return [CLASSES[label] for label in found.labels.tolist()]


DESK_OR_TABLE = predictions((0.0, (0.01, 0.5, 0.8)), (3.0, (0.4, 0.02, 0.02)))


def test_without_rules_an_object_is_reported_once_under_its_best_class() -> None:
    assert names(postprocess_for(CLASSES, score_threshold=0.3)(DESK_OR_TABLE)) == ["desk", "chair"]


def test_a_disabled_class_does_not_hide_another() -> None:
    rules = {"desk": ClassRule(enabled=False)}
    found = postprocess_for(CLASSES, score_threshold=0.3, rules=rules)(DESK_OR_TABLE)
    assert names(found) == ["table", "chair"]


def test_a_class_may_ask_for_more_than_the_others() -> None:
    rules = {"desk": ClassRule(score_threshold=0.9)}
    found = postprocess_for(CLASSES, score_threshold=0.3, rules=rules)(DESK_OR_TABLE)
    assert names(found) == ["table", "chair"]


def test_a_class_may_ask_for_less_than_the_others() -> None:
    rules = {"chair": ClassRule(score_threshold=0.3)}
    found = postprocess_for(CLASSES, score_threshold=0.7, rules=rules)(DESK_OR_TABLE)
    assert names(found) == ["desk", "chair"]


def test_a_class_threshold_of_zero_is_the_general_one() -> None:
    rules = {"chair": ClassRule(score_threshold=0.0)}
    found = postprocess_for(CLASSES, score_threshold=0.7, rules=rules)(DESK_OR_TABLE)
    assert names(found) == ["desk"]


def test_all_classes_disabled_finds_nothing() -> None:
    rules = {name: ClassRule(enabled=False) for name in CLASSES}
    found = postprocess_for(CLASSES, score_threshold=0.0, rules=rules)(DESK_OR_TABLE)
    assert len(found) == 0


def test_at_most_so_many_detections_are_reported() -> None:
    settings = postprocess_for(CLASSES, score_threshold=0.3, max_detections=1)
    assert names(settings(DESK_OR_TABLE)) == ["desk"]


def test_overlap_decides_when_two_boxes_are_one_object() -> None:
    apart = predictions((0.0, (0.8, 0.1, 0.1)), (0.5, (0.7, 0.1, 0.1)))  # IoU 1/3
    assert len(postprocess_for(CLASSES, score_threshold=0.3, nms_iou=0.3)(apart)) == 1
    assert len(postprocess_for(CLASSES, score_threshold=0.3, nms_iou=0.4)(apart)) == 2


def test_a_class_that_the_model_lacks_is_refused_with_a_hint() -> None:
    with pytest.raises(SelectionError, match=r"classes.chiar: .*did you mean chair\?"):
        postprocess_for(CLASSES, score_threshold=0.3, rules={"chiar": ClassRule()})


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"score_threshold": 1.5}, "output.score_threshold is 1.5, expected 0..1"),
        ({"score_threshold": float("nan")}, "output.score_threshold is nan"),
        ({"score_threshold": 0.3, "nms_iou": -0.1}, "output.nms_iou is -0.1"),
        ({"score_threshold": 0.3, "max_detections": -1}, "output.max_detections is -1"),
        (
            {"score_threshold": 0.3, "rules": {"desk": ClassRule(score_threshold=2.0)}},
            "classes.desk.score_threshold is 2, expected 0..1",
        ),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(settings: dict, text: str) -> None:
    with pytest.raises(SelectionError, match=text):
        postprocess_for(CLASSES, **settings)


def test_a_negative_class_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"postprocess\.class_thresholds"):
        Postprocess(class_thresholds=(0.3, -1.0))
