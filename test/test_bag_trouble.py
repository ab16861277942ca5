"""What a newcomer meets: missing packages, outputs that are there, empty clouds, odd paths."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_bags import BoundingBox, S, Write, cloud, drive, interrupt_at, tf, write_bag
from typer.testing import CliRunner

from sr3d_core.console import progress_of
from sr3d_ros.bag.commands import app
from sr3d_ros.bag.replay import Bag


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "mcap")


@pytest.fixture(autouse=True)
def with_fake_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
    )


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a package was never installed, for what is imported from now on."""
    ours = ("sr3d_core.picture", "sr3d_core.map_picture", "sr3d_ros.bag.map_run")
    for name in [*sys.modules]:
        if name.partition(".")[0] == package or name in (*ours, "sr3d_ros.bag.video"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def run_command(*arguments: Any) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result.exit_code, result.stdout, result.stderr


def test_a_map_without_a_picture_needs_nothing_that_draws(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("matplotlib", monkeypatch)
    out = tmp_path / "map.json"
    code, _, errors = run_command("map", bag, "--json", out)
    assert code == 0, errors
    assert out.exists()


@pytest.mark.parametrize(
    ("command", "option", "missing", "extra"),
    [
        ("map", "--picture", ["matplotlib"], "viz"),
        ("detect", "--pictures", ["matplotlib"], "viz"),
        ("detect", "--video", ["av", "matplotlib"], "video"),
    ],
)
def test_a_picture_names_the_extra_before_anything_is_written(
    bag: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    option: str,
    missing: list[str],
    extra: str,
) -> None:
    for package in missing:
        without(package, monkeypatch)
    old = tmp_path / "old.json"
    old.write_text("of an earlier run")
    code, _, errors = run_command(command, bag, "--json", old, option, tmp_path / "new")
    assert code == 1
    (line,) = errors.splitlines()
    assert f"pip install '.[{extra}]'" in line
    assert old.read_text() == "of an earlier run"


def test_a_picture_of_no_known_kind_is_refused_before_the_work(bag: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("of an earlier run")
    code, _, errors = run_command("map", bag, "--json", old, "--picture", tmp_path / "map.foo")
    assert code == 1
    assert "map.foo" in errors
    assert old.read_text() == "of an earlier run"


def test_a_recording_that_is_there_already_is_said_before_anything_is_written(
    bag: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old.json"
    old.write_text("of an earlier run")
    code, _, errors = run_command("detect", bag, "--json", old, "--out", tmp_path)
    assert code == 1
    assert str(tmp_path) in errors
    assert old.read_text() == "of an earlier run"


def test_what_ends_the_work_leaves_a_recording_of_what_was_found(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(4, monkeypatch)
    new = tmp_path / "new"
    code, _, errors = run_command("detect", bag, "--out", new)
    assert code == 130, errors
    with Bag(new) as read:
        assert read.notes == []
        assert read.num_messages("/sr3d_detector/output/detections") == 3


@pytest.mark.parametrize("points", [np.full((50, 3), np.nan), np.zeros((0, 3))])
def test_clouds_without_a_point_are_counted_and_said(tmp_path: Path, points: np.ndarray) -> None:
    def nothing_seen(write: Write) -> None:
        write("/tf", tf("map", "camera", S, (0, 0, 0)), S)
        write("/points", cloud(S, "camera", points), S + 1)
        drive(write)

    path = write_bag(tmp_path / "bag", "mcap", nothing_seen)
    code, _, errors = run_command("detect", path, "--up", "none")
    assert code == 0
    assert "1 of 6 clouds" in errors


def test_what_is_damaged_stands_beside_what_is_missing(tmp_path: Path) -> None:
    whole = write_bag(tmp_path / "whole", "mcap")
    (file,) = whole.glob("*.mcap")
    content = file.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(content[: content.index(b"/points") + 400])  # its first cloud is not whole
    code, _, errors = run_command("detect", cut)
    assert code == 1
    assert "0 point cloud topics" in errors
    assert "last record" in errors


@pytest.mark.parametrize("option", ["--camera-info", "--color"])
def test_what_belongs_to_depth_images_is_refused_for_clouds(bag: Path, option: str) -> None:
    code, _, errors = run_command("detect", bag, option, "/camera/other")
    assert code == 1
    assert f"{option} /camera/other" in errors


def test_an_imu_that_is_not_used_is_said(bag: Path) -> None:
    code, _, errors = run_command("detect", bag, "--imu", "/imu")
    assert code == 0
    assert "--imu /imu is not used" in errors


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mcap"
    os.mkfifo(pipe)
    code, _, errors = run_command("info", pipe)
    assert code == 1
    assert "pipe" in errors.replace(str(pipe), "")


def test_clocks_that_were_set_back_are_said(tmp_path: Path) -> None:
    def twice(write: Write) -> None:
        for received_s in (10, 20):
            for stamp_s in (1, 3):
                time_ns = (received_s + stamp_s) * S
                write("/tf", tf("map", "base_link", stamp_s * S, (0, 0, 0)), time_ns)
        drive(write)

    path = write_bag(tmp_path / "bag", "mcap", twice)
    _, _, errors = run_command("info", path)
    assert "'base_link' go back by 2.0 s" in errors


def test_where_no_terminal_watches_a_number_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_of("recordings", 2) as tell:
        for done, clouds in ((0, 1), (0, 2), (0, 3), (1, 3), (1, 4), (2, 5)):
            tell(done, f"{clouds} clouds")
    lines = capsys.readouterr().err.splitlines()  # each may go on with the time that is left
    said = ("recordings 0/2 1 clouds", "recordings 1/2 3 clouds", "recordings 2/2 5 clouds")
    assert [line.startswith(start) for line, start in zip(lines, said, strict=True)] == [True] * 3
