"""Average precision against hand-worked and published numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d_core.evaluate import average_precision, evaluate, report
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Sample, Targets

EXAMPLE = json.loads(Path(__file__).with_name("worked_examples.json").read_text())["examples"][
    "ap"
]


def boxes(rows: list[list[float]]) -> Boxes3D:
    return (
        Boxes3D.from_array(torch.tensor(rows, dtype=torch.float32).reshape(len(rows), -1))
        if rows
        else Boxes3D.empty()
    )


def found(rows: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(boxes(rows), torch.tensor(scores), torch.tensor(labels, dtype=torch.int64))


def truth(rows: list[list[float]], labels: list[int]) -> Targets:
    return Targets(boxes(rows), torch.tensor(labels, dtype=torch.int64))


def unit_cube(x: float) -> list[float]:
    return [x, 0.0, 0.0, 1.0, 1.0, 1.0]


def example_scenes() -> tuple[list[Detections], list[Targets]]:
    detections, targets = [], []
    for scene, rows in EXAMPLE["inputs"]["gt"].items():
        mine = [entry for entry in EXAMPLE["inputs"]["det"] if entry[0] == scene]
        targets.append(truth(rows, [0] * len(rows)))
        detections.append(found([m[1] for m in mine], [m[2] for m in mine], [0] * len(mine)))
    return detections, targets


@pytest.mark.parametrize("threshold", ["0.25", "0.50"])
def test_worked_example_gives_its_average_precision(threshold: str) -> None:
    result = average_precision(*example_scenes(), num_classes=1, iou=float(threshold))
    expected = EXAMPLE["expected"][threshold]
    assert result.mean == pytest.approx(expected["ap"], abs=1e-6)
    assert result.mean_recall == pytest.approx(expected["ar"], abs=1e-6)


def test_second_hit_on_a_box_is_false_even_where_another_box_overlaps() -> None:
    # Both detections overlap the box at 0 most; the second also overlaps the box at 0.6.
    detections = [found([unit_cube(0.0), unit_cube(0.2)], [0.9, 0.8], [0, 0])]
    targets = [truth([unit_cube(0.0), unit_cube(0.6)], [0, 0])]
    result = average_precision(detections, targets, num_classes=1, iou=0.25)
    assert result.mean == pytest.approx(0.5)
    assert result.mean_recall == pytest.approx(0.5)


def test_overlap_equal_to_the_threshold_is_not_enough() -> None:
    detections = [found([[0, 0, 0, 1, 1, 1]], [0.9], [0])]
    targets = [truth([[0, 0, 0, 1, 1, 4]], [0])]
    assert average_precision(detections, targets, num_classes=1, iou=0.25).mean == 0.0


def test_boxes_of_another_class_or_scene_do_not_match() -> None:
    detections = [found([unit_cube(0)], [0.9], [1]), found([unit_cube(0)], [0.9], [0])]
    targets = [truth([unit_cube(0)], [0]), truth([unit_cube(0)], [1])]
    result = average_precision(detections, targets, num_classes=2, iou=0.25)
    assert result.per_class.tolist() == [0.0, 0.0]


def test_class_without_ground_truth_is_left_out_of_the_mean() -> None:
    detections = [found([unit_cube(0), unit_cube(5)], [0.9, 0.8], [0, 1])]
    result = average_precision(detections, [truth([unit_cube(0)], [0])], num_classes=3, iou=0.5)
    assert result.mean == 1.0
    assert torch.isnan(result.per_class).tolist() == [False, True, True]


def test_class_that_is_never_detected_counts_as_zero() -> None:
    detections = [found([unit_cube(0)], [0.9], [0])]
    targets = [truth([unit_cube(0), unit_cube(5)], [0, 1])]
    result = average_precision(detections, targets, num_classes=2, iou=0.5)
    assert result.mean == 0.5
    assert result.recall.tolist() == [1.0, 0.0]


def test_yaw_counts() -> None:
    long_box = [0.0, 0.0, 0.0, 4.0, 0.5, 1.0, 0.0]
    turned = [*long_box[:6], math.pi / 2]
    detections = [found([turned], [0.9], [0])]
    assert average_precision(detections, [truth([long_box], [0])], 1, iou=0.25).mean == 0.0
    assert average_precision(detections, [truth([turned], [0])], 1, iou=0.25).mean == 1.0


def test_no_scenes_give_a_mean_of_nan() -> None:
    result = average_precision([], [], num_classes=2, iou=0.5)
    assert math.isnan(result.mean)
    assert result.num_truth.tolist() == [0, 0]


def test_scenes_without_boxes_or_detections_are_normal() -> None:
    detections = [Detections.empty(), found([unit_cube(0)], [0.5], [0]), Detections.empty()]
    targets = [truth([unit_cube(0)], [0]), truth([], []), truth([], [])]
    result = average_precision(detections, targets, num_classes=1, iou=0.25)
    assert result.mean == 0.0


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 scenes of detections, 0 of ground truth"):
        average_precision([Detections.empty()], [], num_classes=1, iou=0.5)


def test_label_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scene 0: .*3\.\.3.* 0\.\.1"):
        average_precision([Detections.empty()], [truth([unit_cube(0)], [3])], 2, iou=0.5)


@settings(max_examples=25, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    seed=st.integers(0, 10_000),
)
def test_perfect_detections_score_one(labels: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(len(labels), 7, generator=generator) + 0.2
    rows[:, 0] += 3 * torch.arange(len(labels))
    perfect = Boxes3D.from_array(rows)
    target = Targets(perfect, torch.tensor(labels))
    scores = torch.rand(len(labels), generator=generator)
    result = average_precision([Detections(perfect, scores, target.labels)], [target], 4, iou=0.5)
    assert result.mean == pytest.approx(1.0)
    assert result.mean_recall == pytest.approx(1.0)


class Oracle:
    """Knows the answers."""

    classes = ("chair", "table")

    def detect(self, cloud: PointCloud) -> Detections:
        return found([unit_cube(float(cloud.xyz[0, 0]))], [0.9], [0])


def sample(x: float) -> Sample:
    cloud = PointCloud.single(torch.tensor([[x, 0.0, 0.0]]), None)
    return Sample(cloud, truth([unit_cube(x)], [0]), name=f"room {x}")


def test_evaluate_runs_the_detector_and_reports_progress() -> None:
    heard: list[int] = []
    result = evaluate(Oracle(), [sample(0.0), sample(3.0)], progress=heard.append)
    assert heard == [1, 2]
    assert result.ap50.mean == 1.0
    assert result.num_scenes == 2


def test_report_is_plain_json_with_null_for_absent_classes() -> None:
    result = report([Detections.empty()], [truth([unit_cube(0)], [0])], ("chair", "table"))
    parsed = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert parsed["per_class"]["table"]["ap25"] is None
    assert parsed["per_class"]["chair"]["ap25"] == 0.0
    assert parsed["map50"] == 0.0


def test_report_table_has_a_row_per_class_and_one_for_the_mean() -> None:
    table = report([Detections.empty()], [truth([unit_cube(0)], [0])], ("chair", "table")).table()
    assert table.row_count == 3
    assert list(table.columns[0].cells) == ["chair", "table", "mean"]


@pytest.mark.parametrize("case", ["test_indoor_eval", "test_indoor_eval_less_classes"])
def test_published_unit_test_of_the_same_protocol(real_data: Path, case: str) -> None:
    oracle = json.loads((real_data / "oracles" / "indoor_eval.json").read_text())[case]
    detections, targets = [], []
    for scene in oracle["scenes"]:
        predicted = torch.tensor(scene["pred_boxes"])
        predicted[:, 2] += predicted[:, 5] / 2  # its predictions sit on their bottom centre
        detections.append(found(predicted.tolist(), scene["pred_scores"], scene["pred_labels"]))
        targets.append(truth(scene["gt_boxes"], scene["gt_labels"]))
    names = list(oracle["label2cat"].values())
    result = average_precision(detections, targets, num_classes=len(names), iou=0.25)
    expected = oracle["expected"]
    assert result.mean == pytest.approx(expected["mAP_0.25"], abs=1e-5)
    assert result.mean_recall == pytest.approx(expected["mAR_0.25"], abs=1e-5)
    for name, value in zip(names, result.per_class.tolist(), strict=True):
        assert value == pytest.approx(expected.get(f"{name}_AP_0.25", value), abs=1e-5)
