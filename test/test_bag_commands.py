"""`sr3d bag`: what the commands write and how they fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_bags import CENTER, SIZE, BoundingBox, S, interrupt_at, write_bag
from test_bag_sources import COLOR, DEPTH, HEIGHT, INFO, WIDTH, depth, image, info
from typer.testing import CliRunner

from sr3d_ros.bag.commands import app


@pytest.fixture(scope="module")
def one_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "sqlite3")


@pytest.fixture
def with_fake_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
    )


def run_command(*arguments: Any) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.mark.usefixtures("with_fake_weights")
@pytest.mark.slow
def test_bag_detect_writes_json_and_pictures(one_bag: Path, tmp_path: Path) -> None:
    out, pictures = tmp_path / "out.json", tmp_path / "pictures"
    code, text = run_command("detect", one_bag, "--json", out, "--pictures", pictures)
    assert code == 0, text
    written = json.loads(out.read_text())
    assert written["topic"] == "/points"
    assert written["classes"] == ["chair", "sofa"]
    assert len(written["frames"]) == 5
    found = written["frames"][0]["detections"][0]
    assert found["class"] == "chair"
    assert found["center"] == pytest.approx(CENTER, abs=1e-5)
    assert len(list(pictures.glob("*.png"))) == 5


@pytest.mark.usefixtures("with_fake_weights")
def test_what_ends_bag_detect_loses_no_frame_that_was_done(
    one_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "out.json"
    interrupt_at(4, monkeypatch)
    code, text = run_command("detect", one_bag, "--up", "tf", "--json", out)
    assert code == 130, text
    written = json.loads(out.read_text())
    assert len(written["frames"]) == 3
    assert "num_frames" not in written  # what is counted at the end


@pytest.mark.usefixtures("with_fake_weights")
def test_bag_eval_prints_precision_and_latency(one_bag: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    box = {"class": "chair", "center": CENTER, "size": SIZE, "yaw": 0.0}
    truth.write_text(json.dumps({"frame": "map", "static": [box]}))
    out = tmp_path / "out.json"
    code, text = run_command("eval", one_bag, "--gt", truth, "--json", out)
    assert code == 0, text
    assert "AP25" in text
    assert "p99" in text
    assert json.loads(out.read_text())["map50"] == 1.0


@pytest.mark.usefixtures("with_fake_weights")
def test_boxes_that_no_cloud_shows_are_told(one_bag: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    box = {"class": "chair", "center": [1000 * value for value in CENTER], "size": SIZE}
    truth.write_text(json.dumps({"frame": "map", "static": [box]}))
    code, text = run_command("eval", one_bag, "--gt", truth)
    assert code == 0
    assert "1 static boxes" in text
    assert "--min-points" in text


def test_bag_info_says_what_is_there_and_what_would_be_used(one_bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    code, text = run_command("info", one_bag, "--json", out)
    assert code == 0, text
    assert "base_link camera map" in text
    found = json.loads(out.read_text())
    assert (found["inputs"], found["up"]) == ({"points": "/points"}, "tf")
    points = next(row for row in found["topics"] if row["topic"] == "/points")
    assert (points["messages"], points["rate_hz"], points["frame"]) == (5, 10.0, "camera")
    assert points["num_gaps"] == 0
    assert found["missing"] == found["damage"] == []


def test_bag_info_names_gaps_missing_transforms_and_what_could_be_used(tmp_path: Path) -> None:
    def fill(write: Any) -> None:
        write(INFO, info(S), S)
        for tick in (0, 1, 2, 3, 13, 14):
            stamp_ns = S + tick * S // 10
            write(DEPTH, depth(stamp_ns), stamp_ns)
            red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            write(COLOR, image(stamp_ns, red, "rgb8"), stamp_ns)

    path, out = write_bag(tmp_path / "bag", "mcap", fill), tmp_path / "out.json"
    code, text = run_command("info", path, "--json", out)
    assert code == 0, text
    found = json.loads(out.read_text())
    assert found["inputs"] == {}
    assert any(f"--topic {DEPTH}" in line for line in found["missing"])
    row = next(row for row in found["topics"] if row["topic"] == DEPTH)
    assert (row["num_gaps"], row["longest_gap_s"]) == (1, pytest.approx(1.0))
    assert row["rate_hz"] == pytest.approx(5 / 1.4, abs=0.01)
    assert row["longest_gap_at_s"] == pytest.approx(0.3)
    code, text = run_command("info", path, "--topic", DEPTH, "--json", out)
    assert code == 0, text
    found = json.loads(out.read_text())
    assert found["inputs"] == {"depth": DEPTH, "camera_info": INFO}
    assert any(f"--color {COLOR}" in line for line in found["missing"])
    assert any("/tf_static" in line for line in found["missing"])
    assert found["up"] == ""
    assert any("--up" in line for line in found["missing"])


@pytest.mark.usefixtures("with_fake_weights")
def test_commands_fail_with_one_line(tmp_path: Path) -> None:
    for command in (("info",), ("detect",), ("eval", "--gt", tmp_path / "x.json")):
        code, text = run_command(*command, tmp_path / "gone")
        assert code == 1
        assert "Traceback" not in text


def test_views_of_a_recording_are_merged(
    one_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The box around all points is the same in every view, and so is what they are merged to."""
    detector = BoundingBox()
    monkeypatch.setattr("sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: detector)
    out = tmp_path / "out.json"
    code, text = run_command("detect", one_bag, "--json", out, "--merge-views", "4")
    assert code == 0, text
    frames = json.loads(out.read_text())["frames"]
    assert len(frames) == 5
    assert len(detector.clouds) == 5 * 4
    found = frames[0]["detections"][0]
    assert found["score"] == pytest.approx(0.9)
    assert found["center"] == pytest.approx(CENTER, abs=1e-5)
    assert found["size"] == pytest.approx(SIZE, abs=1e-5)


@pytest.mark.usefixtures("with_fake_weights")
def test_scores_of_a_recording_can_be_those_of_merged_views(one_bag: Path, tmp_path: Path) -> None:
    truth, out = tmp_path / "truth.json", tmp_path / "out.json"
    box = {"class": "chair", "center": CENTER, "size": SIZE, "yaw": 0.0}
    truth.write_text(json.dumps({"frame": "map", "static": [box]}))
    arguments = ("eval", one_bag, "--gt", truth, "--json", out, "--merge-views", "2")
    code, text = run_command(*arguments)
    assert code == 0, text
    assert json.loads(out.read_text())["map50"] == 1.0
