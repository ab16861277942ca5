"""Ids and tracks of a recording: the node's, in the frame that stands still."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_harness import sr3d
from small_bags import (
    CAMERA_TURN,
    CENTER,
    BoundingBox,
    S,
    Write,
    cloud,
    optical_points,
    tf,
    write_bag,
)

from sr3d_ros.bag.run import TrackRecords, detect_run, open_run
from sr3d_ros.parameters.record import Parameters

HIDDEN, LOST, FRAMES = 3, 5, 6


def drive(write: Write) -> None:
    """A robot passes an object, which is hidden once; at the end the localisation is lost."""
    write("/tf_static", tf("base_link", "camera", 0, (0, 0, 1), CAMERA_TURN), S)
    for tick in range(FRAMES):
        stamp_ns = S + tick * S // 10
        points = np.zeros((0, 3)) if tick == HIDDEN else optical_points(tick / 10)
        write("/points", cloud(stamp_ns, "camera", points), stamp_ns + 1000)
        if tick < LOST:
            write("/tf", tf("map", "base_link", stamp_ns, (tick / 10, 0, 0)), stamp_ns + 2000)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "mcap", drive)


@pytest.fixture(scope="module")
def records(bag: Path) -> list[dict[str, Any]]:
    with open_run(bag, BoundingBox()) as run:
        return detect_run(run, record=TrackRecords(run))[0]


def test_an_object_keeps_its_id_and_its_place_while_the_robot_drives(
    records: list[dict[str, Any]],
) -> None:
    ids = [[found["id"] for found in record["detections"]] for record in records]
    assert ids == [[""], [""], ["1"], [], ["1"], [""]]
    for record in records[2:LOST]:
        (known,) = record["tracks"]["objects"]
        assert (record["tracks"]["frame"], known["id"], known["class"]) == ("map", "1", "chair")
        assert known["center"] == pytest.approx(CENTER, abs=1e-4)


def test_before_the_first_confirmation_there_is_no_track(
    records: list[dict[str, Any]],
) -> None:
    assert records[0]["tracks"] == {"frame": "map", "objects": [], "trouble": ""}


def test_a_frame_that_is_lost_costs_the_tracks_and_not_the_boxes(
    records: list[dict[str, Any]],
) -> None:
    tracks = records[LOST]["tracks"]
    assert (tracks["frame"], tracks["objects"]) == ("", [])
    assert "'map'" in tracks["trouble"]
    assert len(records[LOST]["detections"]) == 1


def test_with_memory_a_hidden_object_is_found_and_a_lost_frame_is_detected_in_alone(
    bag: Path,
) -> None:
    parameters = Parameters(memory_seconds=5.0)
    with open_run(bag, BoundingBox(), parameters=parameters) as run:
        records, tally = detect_run(run)
    (found,) = records[HIDDEN]["detections"]
    seen_from = np.subtract(CENTER, (HIDDEN / 10, 0, 0))
    assert found["center"] == pytest.approx(seen_from.tolist(), abs=0.03)  # of voxels of 2 cm
    assert [record["memory"]["frame"] for record in records] == ["map"] * LOST + [""]
    assert "odom or map" in records[LOST]["memory"]["trouble"]
    assert records[LOST]["memory"]["trouble"] in tally.notes
    assert len(records[LOST]["detections"]) == 1


@pytest.mark.slow
def test_the_command_adds_ids_and_tracks_on_request(bag: Path, tmp_path: Path) -> None:
    def frames(*options: str) -> list[dict[str, Any]]:
        path = tmp_path / "boxes.json"
        result = sr3d("bag", "detect", bag, "--json", path, *options)
        assert result.exit_code == 0, result.output
        return list(json.loads(path.read_text())["frames"])

    assert all({"tracks", "memory"}.isdisjoint(frame) for frame in frames())
    assert {frame["tracks"]["frame"] for frame in frames("--tracking")} == {"map", ""}
    assert all(frame["memory"]["num_points"] for frame in frames("--memory", "5"))
    assert all("memory" not in frame for frame in frames("--memory", "0"))
