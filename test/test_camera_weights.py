"""Weights of color images in the commands that look at weights: they work, or say why they do not.

Before there were any, these commands knew weights of clouds alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from camera_weights import save_student, save_teacher
from cli_harness import assert_one_line_error, save_room, sr3d

from sr3d_core.checkpoint import CheckpointError, load_any, rewrite_manifest
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.model.camera_network import CameraSR3D
from sr3d_core.model.network import SR3D
from sr3d_core.refinement import Refinement
from sr3d_core.training.warm_start import take_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("weights") / "camera.safetensors", LABELS)


def test_a_student_is_shown_and_verified(weights: Path, tmp_path: Path) -> None:
    shown = sr3d("model", "info", weights, "--json", tmp_path / "info.json")
    assert shown.exit_code == 0, shown.output
    content = json.loads((tmp_path / "info.json").read_text())
    network = load_any(weights)[0]
    assert content["num_parameters"] == sum(each.numel() for each in network.parameters())
    assert content["camera"]["size"] == [64, 48]
    assert "sound, 20 classes" in sr3d("model", "verify", weights).stdout


def test_a_student_in_16_bits_is_the_same_but_for_rounding(weights: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.safetensors"
    done = sr3d("model", "shrink", weights, small)
    assert done.exit_code == 0, done.output
    assert small.stat().st_size < 0.6 * weights.stat().st_size
    network, whole = load_any(small)[0], load_any(weights)[0].state_dict()
    assert isinstance(network, CameraSR3D)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, whole[name], rtol=1e-3, atol=1e-4)


def test_an_exported_student_is_told_as_one_of_images(weights: Path, tmp_path: Path) -> None:
    done = sr3d("export", weights, tmp_path / "out")
    assert done.exit_code == 0, done.output
    card = (tmp_path / "out" / "README.md").read_text()
    assert "one color image, rectified, brought to 64 x 48 pixels" in card
    assert "points in metres" not in card
    exported = load_any(tmp_path / "out")[0]
    for name, tensor in load_any(weights)[0].state_dict().items():
        torch.testing.assert_close(exported.state_dict()[name], tensor, rtol=0, atol=0)


def test_times_of_clouds_and_of_images_are_of_the_same_moments(
    weights: Path, tmp_path: Path
) -> None:
    of_clouds, out = save_teacher(tmp_path / "clouds.safetensors", LABELS), tmp_path / "times.json"
    done = sr3d("model", "times", weights, of_clouds, "--num", "1", "--json", out)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())["weights"]
    assert all(found[str(each)]["total_ms"]["median"] > 0 for each in (weights, of_clouds))
    refused = sr3d("model", "times", weights, "--data", "votenet:.")
    assert_one_line_error(refused, "votenet", "no color images", "rooms")


def test_the_doctor_shows_a_student_an_image(weights: Path) -> None:
    done = sr3d("doctor", "--weights", weights)
    assert "ok   inference" in done.stdout, done.output
    assert "for a black image" in done.stdout


def test_scores_and_spread_of_a_student_are_measured_on_images(weights: Path) -> None:
    """One that has learnt nothing has no right boxes; scenes without images are not what fails."""
    done = sr3d("model", "calibrate", weights, "--num", "2")
    assert done.exit_code == 1
    assert "boxes are right, expected at least" in done.stderr
    done = sr3d("model", "measure-spread", weights, "--rooms", "1", "--score", "0")
    assert done.exit_code == 1
    assert "nothing was stored" in done.stderr


def test_what_needs_points_is_refused_for_a_student(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    shown = sr3d("view", save_room(tmp_path), "--weights", weights)
    assert_one_line_error(shown, str(weights), "color images", "sr3d detect photo.jpg")
    probed = sr3d("model", "probe", weights, "--num", "1")
    assert_one_line_error(probed, str(weights), "color images", "expected weights of clouds")
    for way in ("size", "floor", "yaw"):
        stored = sr3d("model", "set-refinement", weights, f"--refine-{way}", "all")
        assert_one_line_error(stored, f"--refine-{way}", "color images", "--refine-vote")
        scored = sr3d("eval", "--weights", weights, f"--refine-{way}", "all")
        assert_one_line_error(scored, f"--refine-{way}", "color images")
    with pytest.raises(CheckpointError, match="of a network of color images; expected weights of"):
        take_weights(SR3D.from_preset("lite"), LABELS, weights)


def test_a_student_may_vote(weights: Path) -> None:
    done = sr3d("model", "set-refinement", weights, "--refine-vote", "chair")
    assert done.exit_code == 0, done.output
    rewrite_manifest(weights, refinement=Refinement())


def test_a_folder_that_is_called_as_weights_that_do_not_ship_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sr3d_core.checkpoint.CAMERA_WEIGHTS", tmp_path / "none.safetensors")
    monkeypatch.setattr("sr3d_core.checkpoint.SHIPPED", {"camera": tmp_path / "none.safetensors"})
    monkeypatch.chdir(tmp_path)
    assert "./camera" not in sr3d("eval", "--weights", "camera").stderr
    (tmp_path / "camera").mkdir()
    assert_one_line_error(sr3d("eval", "--weights", "camera"), "is named ./camera")
