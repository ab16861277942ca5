"""`sr3d view`: pictures and windows, boxes found now or read, and what is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from cli_harness import assert_one_line_error, save_room, save_untrained, sr3d

from sr3d_core import open3d_bridge, viewer
from sr3d_core.structures import Boxes3D, Detections, PointCloud

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_untrained(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def room(tmp_path: Path) -> Path:
    return save_room(tmp_path)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a desktop with Open3D would show."""
    calls: list[Any] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(open3d_bridge, "load_open3d", lambda: None)
    monkeypatch.setattr(viewer, "show", lambda *what, title: calls.append(what))
    return calls


def test_without_a_display_the_way_without_one_is_named(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for options in ([], ["--open3d"]):
        assert_one_line_error(sr3d("view", room, *options), "DISPLAY", "--picture room.png")


def test_without_open3d_the_extra_is_named(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setitem(sys.modules, "open3d", None)
    assert_one_line_error(sr3d("view", room, "--open3d"), ".[open3d]")


def test_a_picture_is_drawn_and_opened(
    weights: str, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(typer, "launch", lambda path: opened.append(path) or 0)
    result = sr3d("view", room, "--weights", weights)
    assert result.exit_code == 0, result.output
    assert Path(opened[0]).stat().st_size > 1000
    assert "0 objects in 2500 points" in result.stdout


def test_a_window_gets_what_was_found(weights: str, room: Path, shown: list[Any]) -> None:
    result = sr3d("view", room, "--weights", weights, "--score", "0.01", "--open3d")
    assert result.exit_code == 0, result.output
    cloud, found, classes = shown[0]
    assert len(cloud) == 2500
    assert len(found) > 0
    assert classes == ("chair", "table", "sofa")


@pytest.mark.parametrize(("shift", "up"), [(0.0, "z"), (0.0, "-y"), (500_000.0, "z")])
def test_boxes_of_a_file_lie_where_they_were_found(
    weights: str, room: Path, tmp_path: Path, shown: list[Any], shift: float, up: str
) -> None:
    with np.load(room) as arrays:
        np.savez(room, xyz=arrays["xyz"] + np.array([shift, 0, 0]))
    options = ("--weights", weights, "--score", "0.01", "--up", up)
    json_out = tmp_path / "boxes.json"
    assert sr3d("detect", room, *options, "--json", json_out).exit_code == 0
    assert sr3d("view", room, *options, "--open3d").exit_code == 0
    result = sr3d("view", room, "--boxes", json_out, "--score", "0.01", "--open3d")
    assert result.exit_code == 0, result.output
    (cloud, found, classes), (same_cloud, same, names) = shown
    assert len(found) > 0
    torch.testing.assert_close(same_cloud.xyz, cloud.xyz)
    torch.testing.assert_close(same.boxes.array.float(), found.boxes.array, atol=1e-4, rtol=0)
    torch.testing.assert_close(same.scores, found.scores)
    assert [names[label] for label in same.labels] == [classes[label] for label in found.labels]


def test_boxes_below_the_score_are_not_shown(room: Path, tmp_path: Path, shown: list[Any]) -> None:
    box = {"class": "chair", "center": [1, 1, 0], "size": [1, 1, 1]}
    content = {
        **{"file": "a", "frame": "file", "model": "b", "classes": ["chair"], "time_ms": {}},
        "detections": [{**box, "score": 0.9}, {**box, "score": 0.2}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    assert sr3d("view", room, "--boxes", tmp_path / "boxes.json", "--open3d").exit_code == 0
    assert shown[0][1].scores.tolist() == pytest.approx([0.9])


def test_a_file_that_holds_no_boxes_is_refused(
    room: Path, tmp_path: Path, shown: list[Any]
) -> None:
    (tmp_path / "boxes.json").write_text("[]")
    result = sr3d("view", room, "--boxes", tmp_path / "boxes.json", "--open3d")
    assert_one_line_error(result, "boxes.json", "object")
    assert not shown


def test_a_display_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("open3d", exc_type=ImportError)
    if sys.platform != "linux":
        pytest.skip("displays have names on Linux alone")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":987")
    nothing = PointCloud.single(torch.zeros(1, 3), None)
    with pytest.raises(open3d_bridge.Open3DError, match="--picture"):
        viewer.show(nothing, Detections.empty(), [], "room")


def test_the_scene_is_a_cloud_and_a_box_with_its_heading_for_each_object() -> None:
    pytest.importorskip("open3d", exc_type=ImportError)
    boxes = Boxes3D.from_array(torch.tensor([[1.0, 2.0, 0.5, 0.8, 0.4, 1.0, np.pi / 2]]))
    found = Detections(boxes, torch.tensor([0.9]), torch.tensor([0]))
    cloud = PointCloud.single(torch.zeros(5, 3), None)
    points, box, heading = viewer.geometries(cloud, found, ["chair"])
    assert len(points.points) == 5
    assert tuple(box.color) == pytest.approx(viewer.class_color("chair"))
    np.testing.assert_allclose(np.asarray(heading.points), [[1, 2, 1], [1, 2.4, 1]], atol=1e-6)
