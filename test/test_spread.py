"""The spread of found boxes, from errors that are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from cli_harness import save_untrained, sr3d
from test_network import TINY

from sr3d_core.checkpoint import (
    ClassSpread,
    Manifest,
    load_checkpoint,
    read_manifest,
    rewrite_manifest,
    save_checkpoint,
    weights_file,
)
from sr3d_core.detector import Detector
from sr3d_core.model.network import SR3D
from sr3d_core.spread import MIN_BOXES, matched_errors, measure_spread
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Sample, Targets

TRUE = [1.0, 2.0, 0.5, 1.0, 2.0, 1.0, math.pi / 2]
SPREAD = {"chair": ClassSpread(center_m=(0.1, 0.2, 0.3), yaw_rad=0.4, num_boxes=12)}


def boxes(*rows: list[float]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows).reshape(-1, 7))


def errors_of(found: list[float], truth: list[float]) -> list[float]:
    label = torch.tensor([0])
    detections = Detections(boxes(found), torch.tensor([0.9]), label)
    _, errors = matched_errors(detections, Targets(boxes(truth), label))
    return [value for row in errors.tolist() for value in row]


def test_errors_are_taken_in_the_frame_of_the_found_box() -> None:
    moved = [TRUE[0] + 0.1, TRUE[1] + 0.2, TRUE[2] + 0.05, *TRUE[3:]]
    lengths = [abs(error) for error in errors_of(moved, TRUE)]  # half a turn is no matter
    assert lengths == pytest.approx([0.2, 0.1, 0.05, 0.0], abs=1e-5)


@pytest.mark.parametrize("turn", [0.1, 0.1 + math.pi, 0.1 - math.pi])
def test_half_a_turn_is_no_error(turn: float) -> None:
    assert errors_of([*TRUE[:6], TRUE[6] + turn], TRUE)[3] == pytest.approx(0.1, abs=1e-5)


def test_exchanged_sides_are_no_error() -> None:
    exchanged = [*TRUE[:3], TRUE[4], TRUE[3], TRUE[5], TRUE[6] + math.pi / 2]
    assert errors_of(exchanged, TRUE) == pytest.approx([0, 0, 0, 0], abs=1e-5)


def test_a_box_far_off_is_no_error_of_place() -> None:
    assert errors_of([TRUE[0] + 3.0, *TRUE[1:]], TRUE) == []


class Offset:
    """Finds every box, alternately a little left and right of it."""

    classes = ("chair", "table")

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = iter(samples)
        self._sign = 1.0

    def detect(self, cloud: PointCloud) -> Detections:
        targets = next(self._samples).targets
        self._sign = -self._sign
        center = targets.boxes.center + torch.tensor([0.1 * self._sign, 0.0, 0.05])
        found = Boxes3D(center, targets.boxes.size, targets.boxes.yaw)
        return Detections(found, torch.full((len(targets),), 0.9), targets.labels)


def samples(num: int, label: int) -> list[Sample]:
    cloud = PointCloud.single(torch.zeros(0, 3), None)
    row = [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.0]
    return [Sample(cloud, Targets(boxes(row), torch.tensor([label])), "one") for _ in range(num)]


def test_the_spread_is_the_root_mean_square_with_the_offset() -> None:
    scenes = samples(MIN_BOXES, label=1)
    spread = measure_spread(Offset(scenes), scenes)
    expected = ClassSpread(center_m=(0.1, 0.0, 0.05), yaw_rad=0.0, num_boxes=MIN_BOXES)
    assert spread == {"table": expected}


def test_a_class_found_too_seldom_is_unknown() -> None:
    scenes = samples(MIN_BOXES - 1, label=0)
    assert measure_spread(Offset(scenes), scenes) == {}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(
        path,
        SR3D(TINY),
        Manifest(architecture=TINY, classes=("chair", "table", "desk")),
        half=True,
    )
    return path


def test_the_spread_travels_in_the_manifest_to_the_detector(weights: Path) -> None:
    assert read_manifest(weights).spread == {}
    rewrite_manifest(weights, spread=SPREAD)
    assert read_manifest(weights).spread == SPREAD
    assert Detector.from_checkpoint(weights, device="cpu").spread == SPREAD


def test_rewriting_the_manifest_leaves_the_tensors_as_they_are_stored(weights: Path) -> None:
    before, manifest = load_checkpoint(weights)
    size = weights.stat().st_size
    assert rewrite_manifest(weights, spread=SPREAD).sha256 == manifest.sha256
    after, _ = load_checkpoint(weights)
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])
    assert weights.stat().st_size < size + 1000


def test_the_command_stores_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, report = save_untrained(tmp_path), tmp_path / "spread.json"
    monkeypatch.setattr("sr3d_core.spread.measure_spread", lambda *_: SPREAD)
    done = sr3d("model", "measure-spread", path, "--rooms", "1", "--json", report)
    assert done.exit_code == 0, done.output
    assert set(json.loads(report.read_text())) == set(SPREAD)
    assert read_manifest(path).spread == SPREAD


def test_where_nothing_was_measured_what_is_stored_stays(tmp_path: Path) -> None:
    path = save_untrained(tmp_path)
    rewrite_manifest(path, spread=SPREAD)
    done = sr3d("model", "measure-spread", path, "--rooms", "1")  # too few for any class
    assert done.exit_code == 1
    assert "nothing was stored" in done.stderr
    assert read_manifest(path).spread == SPREAD


@pytest.mark.parametrize("command", ["measure-spread", "calibrate", "set-refinement"])
def test_the_weights_that_ship_stay_as_they_are(command: str) -> None:
    before = weights_file("default").read_bytes()
    done = sr3d("model", command, "default")
    assert done.exit_code == 1
    assert "the weights that ship, which stay" in done.stderr
    assert weights_file("default").read_bytes() == before


def test_errors_are_the_same_whichever_side_is_written_first() -> None:
    moved = [TRUE[0] + 0.1, TRUE[1] + 0.2, *TRUE[2:]]
    exchanged = [*moved[:3], TRUE[4], TRUE[3], TRUE[5], TRUE[6] + math.pi / 2]
    lengths = [abs(error) for error in errors_of(exchanged, TRUE)]
    assert lengths == pytest.approx([0.2, 0.1, 0.0, 0.0], abs=1e-5)
