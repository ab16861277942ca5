"""Scores that are chances: from boxes whose chances are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_harness import assert_one_line_error, save_untrained, sr3d
from test_network import TINY, points

from sr3d_core.calibration import fitted, measure_calibration
from sr3d_core.checkpoint import (
    CheckpointError,
    Manifest,
    read_manifest,
    rewrite_manifest,
    save_checkpoint,
)
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.model.chances import ClassCalibration, calibrated
from sr3d_core.model.network import SR3D
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Predictions, Sample, Targets

CHAIR = ClassCalibration(scale=3.0, offset=-0.5, num_boxes=50, num_right=30)


def drawn(scale: float, offset: float, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of boxes, and which of them are right by chances that are known."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.0, num)
    chance = 1 / (1 + np.exp(-(scale * logits + offset)))
    return 1 / (1 + np.exp(-logits)), rng.uniform(size=num) < chance


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
    assert (found["chair"].num_boxes, found["chair"].num_right) == (60, 30)
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
    done = sr3d("model", "calibrate", path, "--num", "1", "--json", report)
    assert done.exit_code == 1, done.output
    assert "boxes are right" in done.stderr.splitlines()[-1]
    assert not report.exists()
    assert read_manifest(path).calibration == {}


def test_the_command_names_scenes_of_other_classes(tmp_path: Path) -> None:
    path = save_untrained(tmp_path, classes=("mug", "plate"))
    assert_one_line_error(sr3d("model", "calibrate", path, "--num", "1"), "mug", "chair")
    assert json.dumps(read_manifest(path).calibration) == "{}"
