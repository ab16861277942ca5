"""Scores that are chances: from boxes whose chances are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_harness import assert_one_line_error, save_untrained, sr3d
from scipy.optimize import minimize
from test_network import TINY, points

from sr3d_core.calibration import (
    WAYS,
    HeldOut,
    Judged,
    Measured,
    calibration_error,
    measure_calibration,
    measured,
)
from sr3d_core.checkpoint import (
    DEFAULT_WEIGHTS,
    CheckpointError,
    Manifest,
    read_manifest,
    rewrite_manifest,
    save_checkpoint,
)
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.model.chances import ClassCalibration, calibrated
from sr3d_core.model.network import SR3D
from sr3d_core.refinement import Refinement
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Predictions, Sample, Targets

CHAIR = ClassCalibration(scale=3.0, offset=-0.5, num_boxes=50, num_right=30)


def drawn(scale: float, offset: float, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of boxes, and which of them are right by chances that are known."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.0, num)
    chance = 1 / (1 + np.exp(-(scale * logits + offset)))
    return 1 / (1 + np.exp(-logits)), rng.uniform(size=num) < chance


@pytest.mark.parametrize("score", [0.9, 0.6, 0.1])
def test_where_higher_scores_are_worse_the_offset_still_is_the_best(score: float) -> None:
    """Two hundred tables of one score, all wrong, beside chairs: against a general optimiser."""
    chair, is_right = drawn(1.0, 1.5, 4_000, 0)
    scores = np.concatenate([chair, np.full(200, score)])
    labels = np.repeat([0, 1], [4_000, 200])
    found = fitted(
        scores, labels, np.concatenate([is_right, np.zeros(200, bool)]), ("chair", "table")
    )
    together = _together(scores, np.concatenate([is_right, np.zeros(200, bool)]))
    logit = np.log(score / (1 - score))

    def cost(at: np.ndarray) -> float:
        near = 2.0 * float(((at - together) ** 2).sum())  # a Gaussian of standard deviation 1/2
        return 200 * float(np.logaddexp(0, at[0] * logit + at[1])) + near

    best = minimize(cost, [1.0, 0.0], bounds=[(0.05, 50), (None, None)]).x
    assert (found["table"].scale, found["table"].offset) == pytest.approx(tuple(best), abs=2e-3)


def _together(scores: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    logits = np.log(scores) - np.log1p(-scores)

    def cost(at: np.ndarray) -> float:
        return float(np.logaddexp(0, np.where(is_right, -1, 1) * (at[0] * logits + at[1])).sum())

    return np.array(minimize(cost, [1.0, 0.0], bounds=[(0.05, 50), (None, None)]).x)


def judged(
    scores: np.ndarray, labels: np.ndarray, is_right: np.ndarray, scene: np.ndarray
) -> Judged:
    return Judged(scores, labels.astype(np.int64), is_right, scene.astype(np.int64))


def fitted(
    scores: np.ndarray, labels: np.ndarray, is_right: np.ndarray, classes: tuple[str, ...]
) -> dict[str, ClassCalibration]:
    """Class by class, from boxes of eight scenes."""
    scene = np.arange(len(scores)) % 8
    return measured(judged(scores, labels, is_right, scene), 8, classes).ways["class by class"]


def test_known_chances_are_found_class_by_class() -> None:
    chair, table = drawn(3.0, -1.0, 20_000, 0), drawn(0.7, 0.5, 20_000, 1)
    labels = np.repeat([0, 1], 20_000)
    scores, is_right = (np.concatenate(pair) for pair in zip(chair, table, strict=True))
    found = fitted(scores, labels, is_right, ("chair", "table"))
    assert (found["chair"].scale, found["chair"].offset) == pytest.approx((3.0, -1.0), abs=0.15)
    assert (found["table"].scale, found["table"].offset) == pytest.approx((0.7, 0.5), abs=0.08)
    assert (found["table"].num_boxes, found["table"].num_right) == (20_000, int(table[1].sum()))


def test_a_class_with_few_boxes_is_as_all_are() -> None:
    scores, is_right = drawn(2.0, -1.0, 2_000, 0)
    labels = np.zeros(2_000, dtype=np.int64)
    labels[:3] = 1
    found = fitted(scores, labels, is_right, ("chair", "table", "desk"))
    for name in ("table", "desk"):
        assert found[name].scale == pytest.approx(found["chair"].scale, abs=0.3)
    assert found["desk"].num_boxes == 0


@pytest.mark.parametrize("is_best_right", [True, False])
def test_scores_that_part_right_from_wrong_stay_finite_and_in_order(is_best_right: bool) -> None:
    scores = np.concatenate([np.full(50, 0.9), np.full(50, 0.2), [0.0, 1.0]])
    is_right = (scores > 0.5) == is_best_right
    one = fitted(scores, np.zeros(102, dtype=np.int64), is_right, ("chair",))["chair"]
    assert 0 < one.scale <= 50
    assert abs(one.offset) < 1000


def test_too_few_right_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 of 100 boxes are right"):
        fitted(np.full(100, 0.5), np.zeros(100, np.int64), np.arange(100) < 3, ("chair",))
    enough_only_in_all = np.arange(100) < 22  # of which the first quarter of the scenes has most
    scene = np.where(enough_only_in_all, 0, np.arange(100) % 8)
    boxes = judged(np.full(100, 0.5), np.zeros(100), enough_only_in_all, scene)
    with pytest.raises(ValueError, match="three quarters"):
        measured(boxes, 8, ("chair",))


def test_one_scene_cannot_be_judged_by_another() -> None:
    boxes = judged(np.full(100, 0.5), np.zeros(100), np.arange(100) < 50, np.zeros(100))
    with pytest.raises(ValueError, match="1 scenes, expected 2"):
        measured(boxes, 1, ("chair",))


def test_the_error_is_the_weighted_distance_of_scores_and_shares() -> None:
    """.95 twice, one right: .45 off; .25 four times, one right: nothing off."""
    scores = np.array([0.95, 0.95, 0.25, 0.25, 0.25, 0.25])
    is_right = np.array([True, False, True, False, False, False])
    assert calibration_error(scores, is_right) == pytest.approx(2 / 6 * 0.45)
    assert np.isnan(calibration_error(scores[:0], is_right[:0]))


def test_classes_that_differ_are_best_told_apart() -> None:
    chair, table = drawn(3.0, -1.0, 4_000, 0), drawn(0.7, 0.5, 4_000, 1)
    labels, scene = np.repeat([0, 1], 4_000), np.tile(np.arange(4_000) % 40, 2)
    scores, is_right = (np.concatenate(pair) for pair in zip(chair, table, strict=True))
    result = measured(judged(scores, labels, is_right, scene), 40, ("chair", "table"))
    errors = [result.errors[way].within_classes for way in WAYS]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1
    assert errors[2] < 0.03
    assert result.best == "class by class"
    assert result.calibration == result.ways["class by class"]


def test_scores_that_are_chances_stay_the_networks_own() -> None:
    """.5, and one of two is right in every scene: no fit is better."""
    scene = np.repeat(np.arange(40), 2)
    boxes = judged(np.full(80, 0.5), np.zeros(80), np.arange(80) % 2 == 0, scene)
    result = measured(boxes, 40, ("chair",))
    assert result.errors["own scores"] == HeldOut(0.0, 0.0)
    assert (result.best, result.calibration) == ("own scores", {})


def test_what_is_known_of_a_scene_does_not_judge_it() -> None:
    """Tables are in the first quarter alone, all wrong: elsewhere nobody can know that."""
    chair, is_right = drawn(1.0, 1.5, 8_000, 0)
    scores = np.concatenate([chair, np.full(200, 0.9)])
    labels = np.concatenate([np.zeros(8_000), np.ones(200)])
    scene = np.concatenate([np.arange(8_000) % 40, np.arange(200) % 10])
    is_right = np.concatenate([is_right, np.zeros(200, dtype=bool)])
    result = measured(judged(scores, labels, is_right, scene), 40, ("chair", "table"))
    tables = result.ways["class by class"]["table"]
    assert 1 / (1 + np.exp(-(tables.scale * np.log(9) + tables.offset))) < 0.1  # it knows by then
    # Of the tables' share alone, had a fit that knows them judged them: 200 / 8,200 * 0.1.
    assert result.errors["class by class"].within_classes > 200 / 8_200 * 0.8


def test_the_smallest_error_within_classes_decides() -> None:
    ways = {way: {"chair": replace(CHAIR, offset=float(k))} for k, way in enumerate(WAYS)}
    errors = dict(
        zip(WAYS, (HeldOut(0.1, 0.3), HeldOut(0.3, 0.1), HeldOut(0.0, 0.2)), strict=True)
    )
    assert Measured(ways, errors).calibration["chair"].offset == 1.0


@pytest.mark.slow
def test_the_command_measures_with_refined_boxes_and_stores_the_best(tmp_path: Path) -> None:
    path, report = tmp_path / "w.safetensors", tmp_path / "calibration.json"
    path.write_bytes(DEFAULT_WEIGHTS.read_bytes())
    assert read_manifest(path).refinement.vote
    asked = ("model", "calibrate", path, "--num", "16", "--json", report)
    done = sr3d(*asked)
    assert done.exit_code == 0, done.output
    values = json.loads(report.read_text())
    errors = {way: each["within_classes"] for way, each in values["held_out"].items()}
    assert values["stored"] == min(errors, key=errors.__getitem__)
    stored = read_manifest(path)
    assert {name: each.scale for name, each in stored.calibration.items()} == {
        name: each["scale"] for name, each in values["classes"].items()
    }
    rewrite_manifest(path, refinement=Refinement())
    assert sr3d(*asked).exit_code == 0
    assert json.loads(report.read_text())["held_out"] != values["held_out"]


def predictions(logits: list[list[float]]) -> Predictions:
    rows = torch.tensor(logits).reshape(-1, 2)
    boxes = Boxes3D.from_array(torch.ones(len(rows), 7))
    none = torch.zeros(len(rows), dtype=torch.int64)
    return Predictions(torch.zeros(len(rows), 3), boxes, rows, none, none)


def test_chances_of_one_class_and_the_scores_of_another() -> None:
    given = predictions([[0.2, 0.3], [-1.0, 4.0]])
    found = calibrated(given, ("chair", "table"), {"chair": CHAIR}).logits
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.3], [-3.5, 4.0]]))
    assert calibrated(given, ("chair", "table"), {}) is given
    empty = predictions([])
    assert calibrated(empty, ("chair", "table"), {"chair": CHAIR}).logits.shape == (0, 2)


class Sure:
    """Finds the one box of each scene with a score of .7, and a wrong one with .4."""

    classes = ("chair", "table")

    def detect(self, cloud: PointCloud) -> Detections:
        """Both boxes."""
        rows = torch.tensor([[0, 0, 0.5, 1, 1, 1, 0], [9, 9, 0.5, 1, 1, 1, 0]])
        return Detections(Boxes3D.from_array(rows), torch.tensor([0.7, 0.4]), torch.tensor([0, 0]))


def test_boxes_are_right_as_they_are_in_average_precision() -> None:
    row = torch.tensor([[0.1, 0.0, 0.5, 1.0, 1.0, 1.0, 0.0]])
    truth = Targets(Boxes3D.from_array(row), torch.tensor([0]))
    scene = Sample(PointCloud.single(torch.zeros(0, 3), None), truth, "one")
    done: list[int] = []
    found = measure_calibration(Sure(), [scene] * 30, done.append)
    chair = found.ways["class by class"]["chair"]
    assert (chair.num_boxes, chair.num_right) == (60, 30)
    assert done == list(range(1, 31))


def test_a_calibration_travels_to_the_detector_and_keeps_the_order(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, SR3D(TINY), Manifest(architecture=TINY, classes=("a", "b", "c")))
    every = Postprocess(score_threshold=0.0)
    before = Detector.from_checkpoint(path, device="cpu", postprocess=every).detect(points())
    rewrite_manifest(path, calibration=dict.fromkeys("abc", CHAIR))
    assert read_manifest(path).calibration == dict.fromkeys("abc", CHAIR)
    after = Detector.from_checkpoint(path, device="cpu", postprocess=every).detect(points())
    assert len(before) > 3
    torch.testing.assert_close(after.scores.logit(), 3.0 * before.scores.logit() - 0.5)
    assert torch.equal(after.boxes.array, before.boxes.array)


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"scale": -1.0}, {"offset": float("nan")}])
def test_a_calibration_that_turns_the_order_around_is_refused(
    wrong: dict[str, float], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="scale"):
        replace(CHAIR, **wrong)


def test_a_file_with_a_foreign_calibration_is_refused(tmp_path: Path) -> None:
    path = Path(save_untrained(tmp_path))
    rewrite_manifest(path, calibration={"chair": CHAIR})
    content = path.read_bytes()
    path.write_bytes(content.replace(b'scale\\": 3.0', b'scale\\": -30'))
    assert path.read_bytes() != content
    with pytest.raises(CheckpointError, match="calibration"):
        read_manifest(path)


def test_the_command_refuses_weights_that_find_nothing(tmp_path: Path) -> None:
    path, report = save_untrained(tmp_path), tmp_path / "calibration.json"
    done = sr3d("model", "calibrate", path, "--num", "2", "--json", report)
    assert done.exit_code == 1, done.output
    assert "boxes are right" in done.stderr.splitlines()[-1]
    assert not report.exists()
    assert read_manifest(path).calibration == {}


def test_the_command_names_scenes_of_other_classes(tmp_path: Path) -> None:
    path = save_untrained(tmp_path, classes=("mug", "plate"))
    assert_one_line_error(sr3d("model", "calibrate", path, "--num", "1"), "mug", "chair")
    assert json.dumps(read_manifest(path).calibration) == "{}"
