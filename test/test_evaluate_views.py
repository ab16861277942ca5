"""Scores over several views, around detectors whose answers depend on the view."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
import torch
from cli_harness import save_untrained, sr3d
from rich.console import Console
from test_merged_views import LABELS, ROWS, Equivariant, marked

from sr3d_core.evaluate import evaluate
from sr3d_core.evaluate_views import evaluate_in_views, turned_sample
from sr3d_core.geometry.iou import aligned_iou
from sr3d_core.geometry.turns import turns
from sr3d_core.structures import Boxes3D, Detections, Sample, Targets


def sample() -> Sample:
    targets = Targets(Boxes3D.from_array(torch.tensor(ROWS)), torch.tensor(LABELS))
    return Sample(marked(), targets, "one")


def test_a_detector_that_turns_with_the_world_scores_alike_in_all_views() -> None:
    report = evaluate_in_views(Equivariant(), [sample()] * 3, 8)
    assert len(report.each) == 8
    assert report.figures(None) == [(1.0, 0.0, 1.0)] * 4
    assert report.each[0].num_scenes == 3


def test_mean_and_deviation_are_those_over_the_views() -> None:
    """The chairs are found in three of four views, the table always."""

    def no_chairs_in_the_third(view: int, found: Detections) -> Detections:
        return found if view != 2 else found[found.labels == 1]

    report = evaluate_in_views(Equivariant(no_chairs_in_the_third), [sample()], 4)
    assert report.figures(0)[0] == pytest.approx((0.75, 0.5, 1.0))  # of 1 1 0 1, with N - 1
    assert report.figures(1)[0] == (1.0, 0.0, 1.0)
    assert report.figures(None)[0] == pytest.approx((0.875, 0.25, 1.0))
    values = report.to_dict()
    assert (values["map25"], values["map25_std"]) == (0.875, 0.25)
    assert values["num_views"] == 4
    assert values["per_class"]["chair"] == {
        "boxes": 2,
        **dict.fromkeys(("ap25", "ap50", "recall25", "recall50"), 0.75),
        **{f"{name}_std": 0.5 for name in ("ap25", "ap50", "recall25", "recall50")},
    }


def test_the_first_view_scores_as_no_views() -> None:
    samples = [sample(), sample()]
    first = evaluate_in_views(Equivariant(), samples, 2).each[0]
    assert first.to_dict() == evaluate(Equivariant(), samples).to_dict()


def test_every_key_of_one_view_is_there_with_its_meaning() -> None:
    one = evaluate(Equivariant(), [sample()]).to_dict()
    many = evaluate_in_views(Equivariant(), [sample()], 4).to_dict()
    assert {name: many[name] for name in one if name != "per_class"} == {
        name: value for name, value in one.items() if name != "per_class"
    }
    for name, row in one["per_class"].items():
        assert row.items() <= many["per_class"][name].items()


def test_a_class_without_ground_truth_has_null_and_a_dash() -> None:
    targets = Targets(Boxes3D.from_array(torch.tensor(ROWS[:1])), torch.tensor([0]))
    report = evaluate_in_views(Equivariant(), [Sample(marked(), targets, "one")], 2)
    row = report.to_dict()["per_class"]["table"]
    assert row["ap25"] is None
    assert row["ap25_std"] is None
    text = io.StringIO()
    Console(file=text, width=120).print(report.table())
    assert next(line for line in text.getvalue().splitlines() if "table" in line).count(" - ") == 4


def test_no_scenes_have_no_figures() -> None:
    report = evaluate_in_views(Equivariant(), [], 2)
    assert report.to_dict()["map25"] is None


@pytest.mark.parametrize("turn", turns(8))
def test_cloud_and_boxes_of_a_far_scene_turn_together(turn: object) -> None:
    origin = torch.tensor([400_000.0, -5_000_000.0, 30.0], dtype=torch.float64)
    near = sample()
    boxes = near.targets.boxes
    far_boxes = Boxes3D(boxes.center.double() + origin, boxes.size.double(), boxes.yaw.double())
    cloud = marked()
    cloud = type(cloud).single(cloud.xyz.double() + origin, None)
    turned = turned_sample(Sample(cloud, Targets(far_boxes, near.targets.labels), "far"), turn)
    assert float(turned.cloud.xyz[:, :2].abs().max()) < 10
    found = Equivariant().detect(turned.cloud)
    overlap = aligned_iou(Boxes3D.from_array(found.boxes.array.double()), turned.targets.boxes)
    assert float(overlap.min()) > 0.9999


def test_one_view_has_no_spread() -> None:
    with pytest.raises(ValueError, match="1 view"):
        evaluate_in_views(Equivariant(), [sample()], 1)


def test_the_command_reports_the_spread(tmp_path: Path) -> None:
    weights, out = save_untrained(tmp_path), tmp_path / "report.json"
    done = sr3d("eval", "--num", "2", "--weights", weights, "--views", "2", "--json", out)
    assert done.exit_code == 0, done.output
    report = json.loads(out.read_text())
    assert report["num_views"] == 2
    assert math.isfinite(report["map25_std"])


def test_the_command_without_views_reports_as_before(tmp_path: Path) -> None:
    weights, out = save_untrained(tmp_path), tmp_path / "report.json"
    assert sr3d("eval", "--num", "1", "--weights", weights, "--json", out).exit_code == 0
    report = json.loads(out.read_text())
    head = {"data", "split", "model", "sha256", "num_scenes"}
    means = {"map25", "map50", "mean_recall25", "mean_recall50"}
    assert set(report) == head | means | {"per_class"}
    assert set(report["per_class"]["chair"]) == {
        *("boxes", "ap25", "ap50", "recall25", "recall50")
    }


@pytest.mark.parametrize("option", ["--views", "--merge-views"])
def test_the_command_refuses_other_numbers_of_views(option: str) -> None:
    done = sr3d("eval", option, "3")
    assert done.exit_code == 2
    assert option in done.stderr
    assert "3, expected one of 1, 2, 4, 8" in done.stderr


@pytest.mark.parametrize(("merged", "is_said"), [("2", False), ("4", True)])
def test_a_spread_that_merging_makes_too_small_is_said(
    tmp_path: Path, merged: str, is_said: bool
) -> None:
    weights = save_untrained(tmp_path)
    options = ("--num", "1", "--weights", weights, "--views", "2", "--merge-views", merged)
    done = sr3d("eval", *options)
    assert done.exit_code == 0, done.output
    assert ("--merge-views 4" in done.stderr) == is_said
