"""The commands, as a user types them: results, files, errors in one line, exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from sr3d_core.checkpoint import Manifest, save_checkpoint
from sr3d_core.cli.main import app
from sr3d_core.model.network import PRESETS, SR3D

CLASSES = ("chair", "table", "sofa")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network that has learnt nothing."""
    torch.manual_seed(0)
    architecture = replace(PRESETS["lite"], num_classes=len(CLASSES))
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    manifest = Manifest(architecture=architecture, classes=CLASSES, description="untrained")
    save_checkpoint(path, SR3D(architecture), manifest)
    return str(path)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A floor with a box on it."""
    rng = np.random.default_rng(0)
    floor = rng.uniform((0, 0, 0), (3, 3, 0.01), (2000, 3))
    box = rng.uniform((1, 1, 0), (1.6, 1.6, 0.8), (500, 3))
    path = tmp_path / "room.npz"
    np.savez(path, xyz=np.concatenate([floor, box]))
    return path


def sr3d(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_one_line_error(result: Result, *texts: str) -> None:
    assert result.exit_code == 1, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for text in texts:
        assert text in lines[0]


def test_detect_prints_a_table_and_writes_json_and_picture(
    weights: str, room: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    json_out, picture = tmp_path / "boxes.json", tmp_path / "boxes.png"
    result = sr3d(
        *("detect", room, "--weights", weights, "--score", "0.011"),
        *("--json", json_out, "--picture", picture),
    )
    assert result.exit_code == 0, result.output
    assert "2500 points" in result.stdout
    assert picture.stat().st_size > 1000
    found = json.loads(json_out.read_text())
    assert set(found) == {"file", "frame", "model", "classes", "time_ms", "detections"}
    assert (found["file"], found["frame"], found["model"]) == (str(room), "file", weights)
    assert found["classes"] == list(CLASSES)
    for each in found["detections"]:
        assert set(each) == {"class", "score", "center", "size", "yaw"}
        assert each["class"] in CLASSES


def test_several_files_give_a_list(weights: str, room: Path, tmp_path: Path) -> None:
    json_out = tmp_path / "boxes.json"
    result = sr3d("detect", room, room, "--weights", weights, "--json", json_out)
    assert result.exit_code == 0, result.output
    assert [each["file"] for each in json.loads(json_out.read_text())] == [str(room)] * 2


def test_turned_cloud_says_how_it_was_turned(weights: str, room: Path, tmp_path: Path) -> None:
    json_out = tmp_path / "boxes.json"
    result = sr3d("detect", room, "--weights", weights, "--up", "-y", "--json", json_out)
    assert result.exit_code == 0, result.output
    found = json.loads(json_out.read_text())
    assert found["frame"] == "levelled"
    assert found["levelled_from_file"] == [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    assert "turned so that z is up" in result.stderr


def test_one_point_is_a_cloud(weights: str, tmp_path: Path) -> None:
    path = tmp_path / "point.txt"
    path.write_text("1 2 3\n")
    assert sr3d("detect", path, "--weights", weights, "--up", "z").exit_code == 0


def test_bad_clouds_are_told_in_one_line(weights: str, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.ply"
    assert_one_line_error(sr3d("detect", missing, "--weights", weights), "no such file")
    prose = tmp_path / "prose.pcd"
    prose.write_text("Dear reader,\n")
    assert_one_line_error(sr3d("detect", prose, "--weights", weights), "is this really a PCD")


def test_bad_file_among_good_ones_fails_but_the_others_are_done(
    weights: str, room: Path, tmp_path: Path
) -> None:
    json_out = tmp_path / "boxes.json"
    missing = tmp_path / "nowhere.ply"
    result = sr3d("detect", missing, room, "--weights", weights, "--json", json_out)
    assert_one_line_error(result, "no such file")
    assert [each["file"] for each in json.loads(json_out.read_text())] == [str(room)]


def test_bad_weights_are_told_in_one_line(room: Path, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.safetensors"
    assert_one_line_error(sr3d("detect", room, "--weights", missing), "no such weights file")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not weights")
    assert_one_line_error(sr3d("model", "verify", damaged), "not a readable safetensors")


def test_wrong_usage_exits_with_two(room: Path) -> None:
    assert sr3d("detect", room, "--score", "7").exit_code == 2
    assert sr3d("detect").exit_code == 2
    assert sr3d("detect", room, "--up", "w").exit_code == 2


def test_model_info_names_classes_and_parameters(weights: str, tmp_path: Path) -> None:
    json_out = tmp_path / "info.json"
    result = sr3d("model", "info", weights, "--json", json_out)
    assert result.exit_code == 0, result.output
    info = json.loads(json_out.read_text())
    assert info["classes"] == list(CLASSES)
    assert info["num_parameters"] > 100_000
    assert "untrained" in result.stdout


def test_model_verify_accepts_sound_weights(weights: str) -> None:
    assert "sound, 3 classes" in sr3d("model", "verify", weights).stdout.replace("\n", " ")


def test_doctor_passes_with_sound_weights_and_fails_without(weights: str, tmp_path: Path) -> None:
    healthy = sr3d("doctor", "--weights", weights)
    assert healthy.exit_code == 0, healthy.output
    assert "ok   inference" in healthy.stdout
    ill = sr3d("doctor", "--weights", tmp_path / "none.safetensors")
    assert ill.exit_code == 1
    assert "FAIL weights" in ill.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("clouds", "labels"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    np.save(tmp_path / "clouds" / "a.npy", rng.uniform(0, 2, (3000, 3)))
    boxes = [{"class": "chair", "center": [1, 1, 0.5], "size": [1, 1, 1]}]
    boxes.append({"class": "throne", "center": [1, 1, 0.5], "size": [1, 1, 1]})
    (tmp_path / "labels" / "a.json").write_text(json.dumps({"boxes": boxes}))
    (tmp_path / "classes.txt").write_text("chair\nthrone\n")
    for split in ("train", "val"):
        (tmp_path / f"{split}.txt").write_text("a\n")
    return tmp_path


def test_eval_of_a_folder_reports_ap_and_what_is_left_out(weights: str, folder: Path) -> None:
    json_out = folder / "report.json"
    result = sr3d("eval", "--data", folder, "--weights", weights, "--json", json_out)
    assert result.exit_code == 0, result.output
    assert "not scored, the weights do not know them: throne" in result.stderr
    assert json.loads(json_out.read_text())["per_class"]["chair"]["boxes"] == 1
    assert "AP25" in result.stdout


def test_eval_on_rooms_asks_for_their_classes(weights: str) -> None:
    assert_one_line_error(
        sr3d("eval", "--weights", weights, "--num", "1"), "rooms have", "--data FOLDER"
    )


def test_inspect_counts_boxes_and_warns_about_millimetres(folder: Path) -> None:
    result = sr3d("data", "inspect", folder)
    assert result.exit_code == 0, result.output
    assert "1 scenes" in result.stdout
    far = folder / "far.npy"
    floor = np.random.default_rng(0).uniform((0, 0, 0), (4000, 4000, 1), (500, 3))
    np.save(far, floor)
    assert "m across is no room" in sr3d("data", "inspect", far).stderr.replace("\n", " ")


def test_room_is_written_as_a_cloud_file_with_labels(tmp_path: Path) -> None:
    path = tmp_path / "room.npz"
    result = sr3d("data", "room", path, "--sensor", "frame")
    assert result.exit_code == 0, result.output
    with np.load(path) as arrays:
        assert arrays["xyz"].shape == arrays["rgb"].shape
        assert len(arrays["boxes"]) == len(arrays["classes"])


def test_train_refuses_a_missing_or_unknown_configuration(tmp_path: Path) -> None:
    assert_one_line_error(sr3d("train", tmp_path / "none.yaml"), "none.yaml", "cannot be read")
    path = tmp_path / "odd.yaml"
    path.write_text("schedul: {}\n")
    assert_one_line_error(sr3d("train", path, "--out", tmp_path / "run"), "odd.yaml", "schedul")


def test_train_writes_weights_that_detect_takes(folder: Path) -> None:
    pytest.importorskip("accelerate")
    config = folder / "tiny.yaml"
    config.write_text(
        f"data: {{name: folder, path: {folder}}}\n"
        "schedule: {num_steps: 2, batch_size: 1, num_workers: 0}\n"
    )
    result = sr3d("train", config, "--out", folder / "run")
    assert result.exit_code == 0, result.output
    assert "steps 2/2" in result.stderr
    trained = folder / "run" / "weights.safetensors"
    assert (
        sr3d("detect", folder / "clouds" / "a.npy", "--up", "z", "--weights", trained).exit_code
        == 0
    )


@pytest.mark.parametrize(
    "command",
    [[], ["detect"], ["train"], ["eval"], ["doctor"], ["bag"], ["data"], ["data", "rooms"],
     ["data", "room"], ["data", "inspect"], ["data", "sheet"], ["model"], ["model", "info"]],
)  # fmt: skip
def test_every_command_has_help(command: list[str]) -> None:
    result = sr3d(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout
    if command and command[0] in ("detect", "train", "eval", "doctor"):
        assert "Example" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, sr3d_core.cli.main\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'pydantic', 'rosbags'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
