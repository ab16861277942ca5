"""Figures of the foreign world, against answers whose figures are known beforehand."""

from __future__ import annotations

import math

import pytest
import torch
from foreign.figures import precision, precision_by_size, slopes, spread
from sample_boxes import found

from sr3d_core.analysis.answers import Answers
from sr3d_core.analysis.confusion import NOTHING, confusion
from sr3d_core.structures import Boxes3D, Detections, Targets

CLASSES = ("chair", "bed")
CHAIR, BED = 0, 1


def truth(*rows: tuple[int, list[float]]) -> Targets:
    """Targets of (label, x y z dx dy dz yaw)."""
    boxes = torch.tensor([row for _, row in rows]).reshape(-1, 7)
    labels = torch.tensor([label for label, _ in rows], dtype=torch.int64)
    return Targets(Boxes3D.from_array(boxes), labels)


def one_scene(detections: Detections, targets: Targets) -> Answers:
    return Answers(CLASSES, [detections], [targets])


def sized(*, power: float, yaw: float = 0.0, is_exchanged: bool = False) -> Answers:
    """12 beds of growing length, found with a length of the power of the true one."""
    lengths = [1.8 + 0.05 * k for k in range(12)]
    scenes = []
    for length in lengths:
        guess = 2.0 * (length / 2.0) ** power
        box = [1.0, 1.0, 0.5, guess, 1.5, 1.0, yaw]
        if is_exchanged:
            box = [1.0, 1.0, 0.5, 1.5, guess, 1.0, yaw - math.pi / 2]
        true = truth((BED, [1.0, 1.0, 0.5, length, 1.5, 1.0, yaw]))
        scenes.append((found((0.9, BED, box)), true))
    return Answers(CLASSES, [a for a, _ in scenes], [b for _, b in scenes])


@pytest.mark.parametrize("power", [0.0, 0.4, 1.0])
def test_the_slope_is_the_power_that_sizes_were_predicted_with(power: float) -> None:
    figures = slopes(sized(power=power, yaw=0.3))["bed"]
    assert figures["n"] == 12
    assert figures["depth"] == pytest.approx(power, abs=1e-4)


def test_which_side_a_network_calls_the_front_changes_no_slope() -> None:
    figures = slopes(sized(power=0.4, yaw=0.3, is_exchanged=True))["bed"]
    assert figures["depth"] == pytest.approx(0.4, abs=1e-4)


def test_sizes_that_do_not_vary_and_too_few_boxes_have_no_slope() -> None:
    answers = sized(power=1.0)
    assert slopes(answers)["bed"]["height"] is None
    assert slopes(answers.of(range(9)))["bed"] == {
        **{"n": 9, "depth": None, "width": None, "height": None}
    }


def test_only_the_best_scored_box_of_the_class_counts_for_a_slope() -> None:
    true = truth((BED, [0, 0, 0, 2.0, 1.0, 1.0, 0.0]))
    right, wrong = [0, 0, 0, 2.0, 1.0, 1.0, 0.0], [0, 0, 0, 1.5, 1.0, 1.0, 0.0]
    once = one_scene(found((0.9, BED, right), (0.8, BED, wrong), (0.7, CHAIR, wrong)), true)
    assert slopes(once)["bed"]["n"] == 1


def test_a_box_is_taken_for_the_class_that_overlaps_it_most() -> None:
    true = truth(
        (CHAIR, [0, 0, 0, 1, 1, 1, 0]),
        (CHAIR, [5, 0, 0, 1, 1, 1, 0]),
        (BED, [9, 0, 0, 2, 1, 1, 0]),
    )
    answers = one_scene(
        found(
            (0.9, CHAIR, [0.7, 0, 0, 1, 1, 1, 0]),  # IoU .18: too little
            (0.8, BED, [5.1, 0, 0, 1, 1, 1, 0]),
            (0.2, BED, [9.0, 0, 0, 2, 1, 1, 0]),
        ),
        true,
    )
    counts = confusion(answers)
    assert counts["chair"] == {"chair": 0, "bed": 1, NOTHING: 1}
    assert counts["bed"] == {"chair": 0, "bed": 1, NOTHING: 0}
    assert confusion(answers, 0.3)["bed"] == {"chair": 0, "bed": 0, NOTHING: 1}


def test_of_equal_boxes_the_class_with_the_highest_score_is_asked() -> None:
    box = [0, 0, 0, 1, 1, 1, 0]
    answers = one_scene(found((0.6, BED, box), (0.5, CHAIR, box)), truth((CHAIR, box)))
    assert confusion(answers)["chair"]["bed"] == 1


def test_a_scene_without_detections_is_taken_for_nothing() -> None:
    answers = one_scene(Detections.empty(), truth((BED, [0, 0, 0, 2, 1, 1, 0])))
    assert confusion(answers)["bed"][NOTHING] == 1
    assert slopes(answers) == {}


def test_terciles_tell_where_boxes_are_lost() -> None:
    """Three chairs, small, middle and large; the large one is found too small for AP50."""
    edges = (0.5, 0.8, 1.2)
    rows = [[3.0 * k, 0, 0, edge, edge, edge, 0.0] for k, edge in enumerate(edges)]
    half = [6.0, 0, 0, 1.2, 1.2, 0.5, 0.0]  # IoU .42
    answers = one_scene(
        found((0.9, CHAIR, half), (0.8, CHAIR, rows[0]), (0.7, CHAIR, rows[1])),
        truth(*((CHAIR, row) for row in rows)),
    )
    figures = precision_by_size(answers)
    chairs = {part: figures[part]["per_class"]["chair"] for part in figures}
    assert [chairs[part]["boxes"] for part in ("small", "middle", "large")] == [1, 1, 1]
    assert [chairs[part]["ap25"] for part in ("small", "middle", "large")] == [1.0, 1.0, 1.0]
    # the failed large box is a false positive there and nowhere else
    assert [chairs[part]["ap50"] for part in ("small", "middle", "large")] == [1.0, 1.0, 0.0]


def test_a_detection_of_nothing_counts_in_the_tercile_of_its_own_size() -> None:
    rows = [[3.0 * k, 0, 0, edge, edge, edge, 0.0] for k, edge in enumerate((0.5, 0.8, 1.2))]
    ghost = [0.0, 9.0, 0, 0.4, 0.4, 0.4, 0.0]
    detections = found((0.9, CHAIR, ghost), *((0.5, CHAIR, row) for row in rows))
    figures = precision_by_size(one_scene(detections, truth(*((CHAIR, row) for row in rows))))
    ap = [figures[part]["per_class"]["chair"]["ap50"] for part in ("small", "middle", "large")]
    assert ap == [0.5, 1.0, 1.0]


def test_classes_of_few_models_are_left_out_of_the_mean_only() -> None:
    box = [0, 0, 0, 1, 1, 1, 0]
    answers = one_scene(found((0.9, CHAIR, box)), truth((CHAIR, box), (BED, [5, *box[1:]])))
    assert precision(answers)["ap50"] == 0.5
    without = precision(answers, ["bed"])
    assert without["ap50"] == 1.0
    assert without["per_class"]["bed"]["ap50"] == 0.0


def test_figures_of_views_become_mean_and_spread() -> None:
    figures = spread([{"a": 1.0, "b": {"c": None}}, {"a": 3.0, "b": {"c": 2.0}}])
    assert figures["a"] == {"mean": 2.0, "sd": 1.4142, "min": 1.0, "max": 3.0}
    assert figures["b"]["c"] == {"mean": 2.0, "sd": None, "min": 2.0, "max": 2.0}
    assert spread([{}, {"bed": {"n": 1}}])["bed"]["n"]["mean"] == 1.0
