"""Scores on color images: depth of cells, boxes at the true depth, the command."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from camera_weights import save_student
from cli_harness import assert_one_line_error, save_untrained, sr3d

from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.detector import Look, SeenImage
from sr3d_core.evaluate_images import at_true_depth, evaluate_images
from sr3d_core.structures import (
    Boxes3D,
    Detections,
    Images,
    PointCloud,
    Predictions,
    Sample,
    Targets,
)

POSE = torch.tensor([[0.0, 0, 1, 5.0], [-1, 0, 0, 0], [0, -1, 0, 1.0], [0, 0, 0, 1]])
"""Looks along +x from x = 5 m, 1 m high."""
K = torch.tensor([[56.0, 0.0, 31.5], [0.0, 56.0, 23.5], [0.0, 0.0, 1.0]])
BOX = [8.0, 0.6, 1.2, 0.5, 0.5, 0.5, 0.3]


def boxes(*rows: Sequence[float]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows).reshape(-1, 7))


def found(*rows: Sequence[float], labels: Sequence[int] = ()) -> Detections:
    scores = torch.linspace(0.9, 0.5, len(rows))
    return Detections(boxes(*rows), scores, torch.tensor([*labels] or [0] * len(rows)))


def targets(*rows: Sequence[float], labels: Sequence[int] = ()) -> Targets:
    return Targets(boxes(*rows), torch.tensor([*labels] or [0] * len(rows), dtype=torch.int64))


def farther(box: Sequence[float], factor: float) -> list[float]:
    """The box at so many times its distance from the camera, on its line of sight."""
    place = [5.0, 0.0, 1.0]
    center = [p + factor * (c - p) for p, c in zip(place, box[:3], strict=True)]
    return [*center, *box[3:]]


def test_a_box_on_the_line_of_sight_is_moved_to_its_object() -> None:
    moved = at_true_depth(found(farther(BOX, 1.4)), targets(BOX), POSE)
    torch.testing.assert_close(moved.boxes.array[0], torch.tensor(BOX), atol=1e-5, rtol=0)


def test_other_boxes_stay() -> None:
    aside = [8.0, -2.0, 1.2, 0.5, 0.5, 0.5, 0.3]
    behind = [2.0, -0.6, 0.8, 0.5, 0.5, 0.5, 0.3]
    other = farther(BOX, 0.8)
    seen = found(aside, behind, other, labels=(0, 0, 1))
    moved = at_true_depth(seen, targets(BOX), POSE)
    torch.testing.assert_close(moved.boxes.array, seen.boxes.array)
    assert len(at_true_depth(found(), targets(BOX), POSE)) == 0
    assert at_true_depth(seen, targets(), POSE) is seen


def test_a_box_of_an_ignored_object_is_moved_to_it() -> None:
    ignored = targets(BOX)
    truth = Targets(boxes(), torch.zeros(0, dtype=torch.int64), ignored)
    moved = at_true_depth(found(farther(BOX, 1.4)), truth, POSE)
    torch.testing.assert_close(moved.boxes.array[0], torch.tensor(BOX), atol=1e-5, rtol=0)


class Told:
    """A detector that says what it is told to: depth, its deviation, boxes."""

    takes_images = True
    classes = ("chair", "table")

    def __init__(self, depth_m: torch.Tensor, std_m: torch.Tensor, said: Detections) -> None:
        self._depth, self._std, self._said = depth_m, std_m, said

    def look(self, images: Images) -> Look:
        none = torch.zeros(0)
        return Look(
            PointCloud.single(torch.zeros(0, 3), None),
            torch.zeros(3, dtype=torch.float64),
            Predictions(none, boxes(), none, none, none),  # type: ignore[arg-type]
            0.0,
            SeenImage(images, self._std, self._depth),
        )

    def answer(self, look: Look) -> Detections:
        return self._said


def wall(depth: torch.Tensor | None, truth: Targets) -> Sample:
    images = Images(torch.zeros(1, 3, 48, 64), K[None], POSE[None], depth)
    return Sample(PointCloud.single(torch.zeros(0, 3), None), truth, "wall", images)


def test_depth_is_scored_where_it_is_known_and_its_deviation_on_objects() -> None:
    depth = torch.full((1, 48, 64), 4.0)
    depth[:, :, 32:] = 0.0  # unknown
    # Of six rows of cells the first two show an object at 4 m.
    slab = [9.0, 1.0, 2.4, 0.4, 6.0, 1.75, 0.0]
    told, std_m = torch.full((6, 8), 4.4), torch.full((6, 8), 0.1)
    told[3:] = 6.0  # off by 1.5
    std_m[0] = 0.5
    sample = wall(depth, targets(slab))
    report: Any = evaluate_images(Told(told, std_m, found()), [sample])  # type: ignore[arg-type]
    figures = report.depth
    assert figures.num_cells == 6 * 4
    assert figures.abs_rel == pytest.approx((0.1 + 0.5) / 2, abs=1e-6)
    assert figures.within_factor == pytest.approx(0.5)
    # A cell's row is at v = 3.5, 11.5, 19.5: z = 1 + 4 (23.5 - v) / 56 = 2.43, 1.86, 1.29.
    assert figures.num_object_cells == 2 * 4
    assert figures.within_std == pytest.approx(0.5)


def test_what_depth_costs_is_apart_from_the_rest() -> None:
    said = found(farther(BOX, 1.5))
    detector: Any = Told(torch.ones(6, 8), torch.ones(6, 8), said)
    report = evaluate_images(detector, [wall(None, targets(BOX))])
    assert report.scores.ap25.mean == 0.0
    assert report.at_true_depth.ap50.mean == 1.0
    tree = report.to_dict()
    assert tree["depth"] == {
        **dict.fromkeys(("abs_rel", "delta_1_25", "within_std")),
        "num_cells": 0,
        "num_object_cells": 0,
    }
    assert math.isnan(report.depth.abs_rel)
    assert len(report.depth_table().rows) == 7


def test_a_scene_without_image_is_refused() -> None:
    sample = Sample(PointCloud.single(torch.zeros(1, 3), None), targets(), "bare")
    detector: Any = Told(torch.ones(6, 8), torch.ones(6, 8), found())
    with pytest.raises(ValueError, match="bare: has no color image"):
        evaluate_images(detector, [sample])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("weights") / "camera.safetensors", LABELS)


def test_eval_scores_images_of_rooms(weights: Path, tmp_path: Path) -> None:
    json_out = tmp_path / "report.json"
    done = sr3d("eval", "--input", "rgb", "--weights", weights, "--num", "1", "--json", json_out)
    assert done.exit_code == 0, done.output
    assert "AbsRel" in done.stdout
    tree = json.loads(json_out.read_text())
    assert tree["num_scenes"] == tree["at_true_depth"]["num_scenes"] == 1
    assert tree["input"] == "rgb"
    assert tree["depth"]["num_cells"] > 20
    assert 0 < tree["depth"]["abs_rel"] < 5
    assert set(tree["at_true_depth"]["per_class"]) == set(LABELS)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (("--input", "points"), ("--input points", "take rgb", "--weights default")),
        (("--views", "4"), ("--views", "no pixel")),
        (("--tests", "2"), ("--tests",)),
        (("--report", "page.html"), ("--report", "clouds")),
        (("--merge-views", "2"), ("--merge-views 2",)),
        (("--data", "votenet:."), ("votenet", "no color images", "rooms")),
    ],
)
def test_what_is_of_clouds_alone_is_refused(
    weights: Path, options: tuple[str, ...], texts: tuple[str, ...]
) -> None:
    assert_one_line_error(sr3d("eval", "--weights", weights, *options), *texts)


def test_weights_of_clouds_take_no_images(tmp_path: Path) -> None:
    of_clouds = save_untrained(tmp_path)
    done = sr3d("eval", "--weights", of_clouds, "--input", "rgb")
    assert_one_line_error(done, "--input rgb", "take points", "--weights camera")
