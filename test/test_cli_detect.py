"""`sr3d detect`, as a user types it: tables, JSON, pictures, and files that go wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cli_harness import CLASSES, assert_one_line_error, save_room, save_untrained, sr3d

from sr3d_core.cli import detect as detect_command
from sr3d_core.console import explain
from sr3d_core.data.cloud_file import CloudFile
from sr3d_core.detector import Detector


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_untrained(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def room(tmp_path: Path) -> Path:
    return save_room(tmp_path)


@pytest.mark.slow
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
    assert "turned so that z is up, by 90.0 degrees" in result.stderr


def test_levelled_cloud_tells_angle_and_confidence(
    weights: str, room: Path, tmp_path: Path
) -> None:
    with np.load(room) as arrays:
        xyz = arrays["xyz"]
    tilted = tmp_path / "tilted.npz"
    cos, sin = np.cos(0.2), np.sin(0.2)
    np.savez(tilted, xyz=xyz @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]))
    result = sr3d("detect", tilted, "--weights", weights)
    told = re.search(r"by ([\d.]+) degrees, floor confidence (0\.\d\d)", result.stderr)
    assert told is not None, result.stderr
    assert float(told[1]) == pytest.approx(np.degrees(0.2), abs=0.5)
    assert float(told[2]) > 0.3


def test_where_nothing_scores_enough_the_strongest_is_told(
    weights: str, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("detect", room, "--weights", weights, "--json", tmp_path / "boxes.json")
    assert "nothing scores" not in sr3d(*asked, "--score", "0.9").stderr  # nothing but noise
    found = sr3d(*asked, "--score", "0.005")
    assert "nothing scores" not in found.stderr
    boxes = json.loads((tmp_path / "boxes.json").read_text())["detections"]
    best = max(boxes, key=lambda box: float(box["score"]))
    monkeypatch.setattr("sr3d_core.cli.detect._FAINTEST", 0.005)
    none = sr3d(*asked, "--score", "0.9")
    assert none.exit_code == 0
    assert "0 objects" in none.stdout
    assert f"nothing scores 0.9; the strongest box is a {best['class']} of " in none.stderr
    assert f" {best['score']:.2f} " in none.stderr
    assert json.loads((tmp_path / "boxes.json").read_text())["detections"] == []


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


def test_an_interrupt_keeps_what_was_detected_before(
    weights: str, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = detect_command.tell_what_was_done

    def interrupted(file: Path, opened: CloudFile, max_points: int) -> None:
        if file.stem == "third":
            raise KeyboardInterrupt
        tell(file, opened, max_points)

    monkeypatch.setattr(detect_command, "tell_what_was_done", interrupted)
    (tmp_path / "third.npz").write_bytes(room.read_bytes())
    json_out = tmp_path / "boxes.json"
    files = (room, room, tmp_path / "third.npz", room)
    result = sr3d("detect", *files, "--weights", weights, "--json", json_out)
    assert result.exit_code == 130, result.output
    assert [each["file"] for each in json.loads(json_out.read_text())] == [str(room)] * 2


@pytest.mark.parametrize(("scale", "unit"), [(1000.0, "millimetres"), (100.0, "centimetres")])
def test_a_cloud_in_another_unit_is_told_by_its_unit(
    weights: str, room: Path, tmp_path: Path, scale: float, unit: str
) -> None:
    with np.load(room) as arrays:
        np.savez(tmp_path / "other.npz", xyz=scale * arrays["xyz"])
    result = sr3d("detect", tmp_path / "other.npz", "--weights", weights)
    assert_one_line_error(result, f"{tmp_path / 'other.npz'}: ", unit, f"{1 / scale:g}")
    assert "--up" not in result.stderr


def test_disk_error_at_one_file_keeps_the_results_of_the_others(
    weights: str, room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = pytest.importorskip("sr3d_core.picture")
    monkeypatch.setattr(picture, "draw_detections", full_disk_at("room-first"))
    (tmp_path / "first.npz").write_bytes(room.read_bytes())
    result = sr3d(
        *("detect", tmp_path / "first.npz", room, "--weights", weights),
        *("--json", tmp_path / "boxes.json", "--picture", tmp_path / "room.png"),
    )
    assert result.exit_code == 1
    assert "room-first.png: the disk is full; make room" in result.stderr
    found = json.loads((tmp_path / "boxes.json").read_text())
    assert [each["file"] for each in found] == [str(room)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_of_having_no_room_asks_for_another_disk(number: int) -> None:
    told = explain(OSError(number, os.strerror(number), "boxes.json"))
    assert told.startswith("boxes.json: ")
    assert "choose another disk" in told


def full_disk_at(stem: str) -> Callable[..., None]:
    def draw(cloud: object, found: object, classes: object, path: Path, title: str) -> None:
        if path.stem == stem:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    return draw


@pytest.mark.slow
def test_clouds_of_one_name_get_a_picture_each(weights: str, room: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / room.name
    other.write_bytes(room.read_bytes())
    out = tmp_path / "out" / "p.png"
    result = sr3d("detect", room, other, "--weights", weights, "--picture", out)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.parent.iterdir()) == ["p-room-2.png", "p-room.png"]


def test_outputs_that_cannot_be_written_are_told_before_the_weights_are_read(
    room: Path, tmp_path: Path
) -> None:
    missing = ("--weights", tmp_path / "none.safetensors")
    in_a_file = sr3d("detect", room, "--json", room / "boxes.json", *missing)
    assert_one_line_error(in_a_file, f"{room}: a", "expected", "choose another path")
    onto_a_folder = sr3d("detect", room, "--json", tmp_path, *missing)
    assert_one_line_error(onto_a_folder, f"{tmp_path}: a folder, expected a file")
    odd = sr3d("detect", room, "--picture", tmp_path / "boxes.docx", *missing)
    assert_one_line_error(odd, "ending '.docx', expected one of .png")


def test_missing_folders_of_outputs_are_made(weights: str, room: Path, tmp_path: Path) -> None:
    json_out = tmp_path / "new" / "deep" / "boxes.json"
    assert sr3d("detect", room, "--weights", weights, "--json", json_out).exit_code == 0
    assert json_out.is_file()


@pytest.mark.slow
def test_boxes_of_a_survey_cloud_have_its_coordinates(
    weights: str, room: Path, tmp_path: Path
) -> None:
    with np.load(room) as arrays:
        xyz = arrays["xyz"]
    far, json_out = tmp_path / "far.npz", tmp_path / "boxes.json"
    np.savez(far, xyz=xyz + np.array([500_000.0, 5_600_000.0, 0.0]))
    result = sr3d(
        *("detect", far, room, "--weights", weights, "--json", json_out, "--score", "0.01")
    )
    assert result.exit_code == 0, result.output
    assert "far from the origin" in result.stderr
    there, here = (each["detections"] for each in json.loads(json_out.read_text()))
    assert there, "nothing found, nothing compared"
    for box in there:
        assert abs(box["center"][0] - 500_000) < 10
        assert abs(box["center"][1] - 5_600_000) < 10
    assert len(there) == pytest.approx(len(here), rel=0.3)


def test_thinning_is_told(weights: str, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Detector.from_checkpoint
    monkeypatch.setattr(Detector, "from_checkpoint", partial(load, max_points=1000))
    result = sr3d("detect", room, "--weights", weights)
    assert "using 1000 of 2500 points" in result.stderr


def test_merged_views_are_seen_in_the_times(weights: str, room: Path, tmp_path: Path) -> None:
    json_out = tmp_path / "boxes.json"
    options = ("--weights", weights, "--json", json_out, "--merge-views", "2")
    result = sr3d("detect", room, *options)
    assert result.exit_code == 0, result.output
    assert "merging" in json.loads(json_out.read_text())["time_ms"]


def test_a_number_of_views_that_there_is_not_is_wrong_usage(room: Path) -> None:
    result = sr3d("detect", room, "--merge-views", "5")
    assert result.exit_code == 2
    assert "--merge-views" in result.stderr
    assert "1, 2, 4, 8" in result.stderr


def test_refining_a_class_that_the_weights_lack_is_refused(weights: str, room: Path) -> None:
    result = sr3d("detect", room, "--weights", weights, "--refine-size", "Chairs")
    assert_one_line_error(result, "'Chairs'", "chair", "refinement.size")


def test_switches_reach_the_boxes(weights: str, room: Path, tmp_path: Path) -> None:
    json_out = tmp_path / "boxes.json"

    def rows(*options: str) -> list[list[float]]:
        common = ("--weights", weights, "--score", "0.009", "--json", json_out)
        result = sr3d("detect", room, *common, *options)
        assert result.exit_code == 0, result.output
        found = json.loads(json_out.read_text())["detections"]
        return [[*each["center"], *each["size"], each["yaw"]] for each in found]

    plain = rows()
    assert plain
    voted = rows("--vote-iou", "0.1")
    refined = rows("--refine-size", "all", "--refine-floor", "chair", "--refine-yaw", "all")
    assert len(voted) == len(refined) == len(plain)
    assert voted != plain
    assert refined != plain
    assert rows("--vote-iou", "0.1", "--refine-vote", "none") == plain


def test_what_weights_say_about_refinement_holds_until_it_is_overruled(
    weights: str, room: Path, tmp_path: Path
) -> None:
    json_out, told = tmp_path / "boxes.json", str(tmp_path / "told.safetensors")
    shutil.copy(weights, told)

    def rows(path: str, *options: str) -> list[list[float]]:
        common = ("--weights", path, "--score", "0.009", "--json", json_out)
        result = sr3d("detect", room, *common, *options)
        assert result.exit_code == 0, result.output
        found = json.loads(json_out.read_text())["detections"]
        return [[*each["center"], *each["size"], each["yaw"]] for each in found]

    plain, asked = rows(weights), ("--refine-size", "chair", "--vote-iou", "0.1")
    assert sr3d("model", "set-refinement", told, *asked).exit_code == 0
    assert rows(told) == rows(weights, *asked) != plain
    assert rows(told, "--refine", "none") == plain
    assert rows(told, "--refine-vote", "none") == rows(weights, "--refine-size", "chair")
    sized = rows(told, "--refine", "none", "--refine-size", "all")
    assert sized == rows(weights, "--refine-size", "all")
    merged = ("--merge-views", "2")  # are means already, whatever the weights say
    assert rows(told, *merged) == rows(weights, *merged)
    assert sr3d("model", "set-refinement", told, "--refine", "none").exit_code == 0
    assert rows(told) == plain


def test_options_of_refinement_that_contradict_each_other_are_refused(
    weights: str, room: Path
) -> None:
    given = ("detect", room, "--weights", weights)
    merged = sr3d(*given, "--merge-views", "2", "--vote-iou", "0.5")
    assert_one_line_error(merged, "--merge-views", "--vote-iou")
    both = sr3d(*given, "--refine-floor", "none", "--refine-floor", "chair")
    assert_one_line_error(both, "--refine-floor", "none, chair")
    assert_one_line_error(sr3d(*given, "--refine", "maybe"), "'maybe'", "weights, none")
