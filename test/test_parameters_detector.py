"""Which boxes are reported: per-class rules act before boxes suppress each other."""

from __future__ import annotations

import pytest
import torch

from sr3d_core.detector import Postprocess
from sr3d_core.structures import Boxes3D, Detections, Predictions
from sr3d_ros.parameters.detector import postprocess_for
from sr3d_ros.parameters.record import Parameters

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


def reported(values: dict[str, object], of: Predictions = DESK_OR_TABLE) -> list[str]:
    return names(postprocess_for(Parameters.from_values(values), CLASSES)(of))


def test_without_rules_an_object_is_reported_once_under_its_best_class() -> None:
    assert reported({}) == ["desk", "chair"]


def test_a_disabled_class_does_not_hide_another() -> None:
    assert reported({"classes.desk.enabled": False}) == ["table", "chair"]


def test_a_class_may_ask_for_more_than_the_others() -> None:
    assert reported({"classes.desk.score_threshold": 0.9}) == ["table", "chair"]


def test_a_class_may_ask_for_less_than_the_others() -> None:
    given = {"output.score_threshold": 0.7, "classes.chair.score_threshold": 0.3}
    assert reported(given) == ["desk", "chair"]


def test_a_class_threshold_of_zero_is_the_general_one() -> None:
    given = {"output.score_threshold": 0.7, "classes.chair.score_threshold": 0.0}
    assert reported(given) == ["desk"]


def test_all_classes_disabled_finds_nothing() -> None:
    given = {f"classes.{name}.enabled": False for name in CLASSES}
    assert reported({**given, "output.score_threshold": 0.0}) == []


def test_at_most_so_many_detections_are_reported() -> None:
    assert reported({"output.max_detections": 1}) == ["desk"]


def test_overlap_decides_when_two_boxes_are_one_object() -> None:
    apart = predictions((0.0, (0.8, 0.1, 0.1)), (0.5, (0.7, 0.1, 0.1)))  # IoU 1/3
    assert len(reported({"output.nms_iou": 0.3}, apart)) == 1
    assert len(reported({"output.nms_iou": 0.4}, apart)) == 2


def test_what_is_said_about_classes_that_the_model_lacks_has_no_effect() -> None:
    given = {"classes.lamp.enabled": False, "classes.chair.score_threshold": 0.5}
    chosen = postprocess_for(Parameters.from_values(given), ("bed", "chair", "desk"))
    assert chosen.class_thresholds == (0.3, 0.5, 0.3)


@pytest.mark.parametrize(("given", "limit"), [(0, None), (7, 7)])
def test_no_limit_of_detections_is_zero(given: int, limit: int | None) -> None:
    parameters = Parameters.from_values({"output.max_detections": given})
    assert postprocess_for(parameters, ("bed",)).max_detections == limit


def test_a_negative_class_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"postprocess\.class_thresholds"):
        Postprocess(class_thresholds=(0.3, -1.0))


def test_refinement_is_on_until_a_parameter_says_otherwise() -> None:
    assert postprocess_for(Parameters(), CLASSES).refine
    off = Parameters.from_values({"output.refine": False})
    assert not postprocess_for(off, CLASSES).refine
