"""The commands, as a user types them: results, files, errors in one line, exit statuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_harness import CLASSES, assert_one_line_error, save_room, save_untrained, sr3d

from sr3d_core.console import progress_of
from sr3d_core.detector import Detector
from sr3d_core.structures import Detections, PointCloud


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_untrained(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def room(tmp_path: Path) -> Path:
    return save_room(tmp_path)


def test_rooms_into_a_file_say_that_a_folder_is_expected(room: Path) -> None:
    result = sr3d("data", "rooms", room, "--num", "1")
    assert result.exit_code == 1
    assert f"error: {room}: a file, expected a folder" in result.stderr
    assert "Errno" not in result.stderr


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


@pytest.mark.slow
def test_doctor_passes_with_sound_weights_and_fails_without(weights: str, tmp_path: Path) -> None:
    healthy = sr3d("doctor", "--weights", weights)
    assert healthy.exit_code == 0, healthy.output
    assert " inference " in healthy.stdout
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


def test_eval_on_rooms_scores_the_classes_that_both_know(tmp_path: Path) -> None:
    known = ("bed", "chair", "spoon")
    weights, json_out = save_untrained(tmp_path, known), tmp_path / "report.json"
    result = sr3d("eval", "--weights", weights, "--num", "1", "--json", json_out)
    assert result.exit_code == 0, result.output
    assert set(json.loads(json_out.read_text())["per_class"]) == set(known)
    lines = [line for line in result.stderr.splitlines() if line.startswith("not scored")]
    assert ["shower_curtain" in line for line in lines] == [True, False]
    assert lines[1].endswith(": spoon")


@pytest.mark.parametrize(
    ("arguments", "nms", "max_points"),
    [((), "3d", 200_000), (("--config", "sr3d_paper"), "bev", sys.maxsize)],
)
def test_eval_can_look_as_the_paper_does(
    weights: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    nms: str,
    max_points: int,
) -> None:
    used: list[Detector] = []
    detect = Detector.detect

    def spy(self: Detector, cloud: PointCloud) -> Detections:
        used.append(self)
        return detect(self, cloud)

    monkeypatch.setattr(Detector, "detect", spy)
    result = sr3d("eval", "--data", folder, "--weights", weights, *arguments)
    assert result.exit_code == 0, result.output
    assert {each.postprocess.nms for each in used} == {nms}
    assert {each.max_points for each in used} == {max_points}


def test_eval_names_a_configuration_that_is_not_there(weights: str, folder: Path) -> None:
    asked = ("eval", "--data", folder, "--weights", weights, "--config", "sr3d_papr")
    assert_one_line_error(sr3d(*asked), "sr3d_papr")


def test_eval_asks_for_a_common_class(tmp_path: Path) -> None:
    weights = save_untrained(tmp_path, ("spoon", "fork"))
    assert_one_line_error(sr3d("eval", "--weights", weights, "--num", "1"), "chair", "spoon, fork")


def test_inspect_counts_boxes_and_warns_about_millimetres(folder: Path) -> None:
    result = sr3d("data", "inspect", folder)
    assert result.exit_code == 0, result.output
    assert "1 scenes" in result.stdout
    far = folder / "far.npy"
    floor = np.random.default_rng(0).uniform((0, 0, 0), (4000, 4000, 1), (500, 3))
    np.save(far, floor)
    assert "far.npy: the cloud is " in sr3d("data", "inspect", far).stderr
    (folder / "clouds" / "a.npy").unlink()
    np.save(folder / "clouds" / "a.npy", floor)
    result = sr3d("data", "inspect", folder)
    assert result.exit_code == 1
    assert "a.npy with labels/a.json: the cloud is " in result.stderr


def test_inspect_shows_sizes_boxes_without_points_and_ignored_ones(folder: Path) -> None:
    boxes = [
        {"class": "chair", "center": [1, 1, 0.5], "size": [0.5, 1, 2]},
        {"class": "chair", "center": [1, 1, 0.5], "size": [0.7, 1, 2]},
        {"class": "chair", "center": [30, 30, 0.5], "size": [4, 1, 2]},
        {"class": "chair", "center": [2, 1, 0.5], "size": [9, 9, 9], "ignored": True},
    ]
    (folder / "labels" / "a.json").write_text(json.dumps({"boxes": boxes}))
    result = sr3d("data", "inspect", folder)
    row = next(line for line in result.stdout.splitlines() if "chair" in line)
    cells = [cell.strip() for cell in re.split("[│┃|]", row) if cell.strip()]
    assert cells == [
        *("chair", "3", "1"),
        *("0.70 (0.50..4.00)", "1.00 (1.00..1.00)", "2.00 (2.00..2.00)"),
        "1",
    ]
    assert "throne" in result.stdout
    assert "a: boxes[2]" in result.stderr
    assert "fewer than" not in result.stderr


def test_inspect_warns_about_labels_in_another_frame(folder: Path) -> None:
    boxes = [{"class": "chair", "center": [10, 10, 5], "size": [5, 5, 10]}]
    (folder / "labels" / "a.json").write_text(json.dumps({"boxes": boxes}))
    result = sr3d("data", "inspect", folder)
    assert result.exit_code == 0, result.output
    assert "1 of 1 boxes hold fewer than 20 points" in result.stderr


def test_inspect_tells_every_faulty_scene_and_fails(folder: Path) -> None:
    boxes = [{"class": "chair", "center": [1, 1, 0.5], "size": [1, 1, 1], "yaw": 90}]
    for name in ("a", "b"):
        (folder / "labels" / f"{name}.json").write_text(json.dumps({"boxes": boxes}))
    shutil.copy(folder / "clouds" / "a.npy", folder / "clouds" / "b.npy")
    (folder / "train.txt").write_text("a\nb\n")
    result = sr3d("data", "inspect", folder)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    for line, name in zip(errors, ("a", "b"), strict=True):
        assert f"{name}.json: boxes[0].yaw: 90" in line


def test_eval_names_the_class_that_is_only_spelled_otherwise(folder: Path) -> None:
    (folder / "classes.txt").write_text("chair\nSofas\nthrone\n")
    result = sr3d("eval", "--data", folder, "--weights", save_untrained(folder))
    assert result.exit_code == 0, result.output
    line = next(line for line in result.stderr.splitlines() if "Sofas" in line)
    assert "their sofa" in line


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


def test_train_refuses_a_folder_in_millimetres_before_the_first_step(folder: Path) -> None:
    pytest.importorskip("accelerate")
    np.save(folder / "clouds" / "a.npy", np.load(folder / "clouds" / "a.npy") * 1000)
    config = folder / "tiny.yaml"
    config.write_text(
        f"data: {{name: folder, path: {folder}}}\n"
        "schedule: {num_steps: 2, batch_size: 1, num_workers: 0}\n"
    )
    result = sr3d("train", config, "--out", folder / "run")
    assert result.exit_code == 1
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    for text in ("a.npy", "0.001", "sr3d data inspect"):
        assert text in line
    assert not (folder / "run" / "log.csv").exists()


@pytest.mark.slow
def test_train_says_what_validations_find_and_where_the_best_weights_are(folder: Path) -> None:
    pytest.importorskip("accelerate")
    config = folder / "validated.yaml"
    config.write_text(
        f"data: {{name: folder, path: {folder}}}\n"
        "schedule: {num_steps: 9, batch_size: 1, validate_steps: 1, patience: 1}\n"
    )
    result = sr3d("train", config, "--out", folder / "run")
    assert result.exit_code == 0, result.output
    assert "step 1 on val: AP25 " in result.stderr
    assert "schedule.patience" in result.stderr
    ended = re.search(r"ended at step (\d) of 9", result.stderr)
    assert ended is not None
    best = int(ended[1]) - 1  # the last validation brought no gain
    assert f"{folder / 'run' / 'best.safetensors'}, of step {best}" in result.stderr
    assert f"calibrate {folder / 'run' / 'best.safetensors'}" in result.stderr
    assert "rate 3.3e-06" in result.stderr  # 1e-3 in the first of 301 steps of the warm-up
    assert " GB" in result.stderr
    again = sr3d("train", config, "--out", folder / "run", "--resume")  # nothing is left to do
    assert again.exit_code == 0, again.output
    assert f"calibrate {folder / 'run' / 'best.safetensors'}" in again.stderr


def test_plain_progress_is_never_silent_for_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 59.0, 61.0, 62.0, 125.0])
    monkeypatch.setattr("sr3d_core.console.time.monotonic", lambda: next(seconds))
    with progress_of("steps", 10_000) as tell:
        for done in (1, 2, 3, 4, 5):
            tell(done)
    words = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert words == ["3/10000", "5/10000"]


def test_plain_progress_says_how_long_the_rest_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([100.0, 130.0, 220.0])
    monkeypatch.setattr("sr3d_core.console.time.monotonic", lambda: next(seconds))
    with progress_of("steps", 5) as tell:
        for done in (1, 2, 5):
            tell(done, "fine")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["steps 1/5 fine", "steps 2/5 fine  0:01:30 left", "steps 5/5 fine"]


@pytest.mark.slow
def test_train_writes_weights_that_detect_takes(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("accelerate")
    config = folder / "tiny.yaml"
    config.write_text(
        f"data: {{name: folder, path: {folder}}}\n"
        "schedule: {num_steps: 2, batch_size: 1, num_workers: 0}\n"
    )
    result = sr3d("train", config, "--out", folder / "run")
    assert result.exit_code == 0, result.output
    works = [line.split() for line in result.stderr.splitlines()]
    assert ["scenes", "inspected", "1/1"] in works
    assert "train.txt and in val.txt" in caplog.text  # what is suspicious about the folder
    assert ["steps", "2/2"] in [words[:2] for words in works]
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


@pytest.mark.parametrize(
    "command",
    [
        ("eval", "--weights", "missing.safetensors"),
        ("model", "measure-spread", "missing.safetensors"),
        ("model", "calibrate", "missing.safetensors"),
        ("bag", "eval", "missing.mcap", "--gt", "missing.json"),
    ],
    ids=["eval", "spread", "calibration", "bag"],
)
def test_a_result_that_could_not_be_written_is_told_before_the_work(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    result = sr3d(*command, "--json", tmp_path)
    assert_one_line_error(result, str(tmp_path))
    assert "missing" not in result.stderr
