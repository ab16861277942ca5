"""Ground truth in the recording, as simulators publish it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from small_bags import CENTER, SIZE, BoundingBox, S, drive, header
from typer.testing import CliRunner

from sr3d_ros.bag.commands import app
from sr3d_ros.bag.written_types import blank, written_types

GT = "/ground_truth"
UPRIGHT, ON_ITS_SIDE = (0.0, 0.0, 0.0, 1.0), (0.5**0.5, 0.0, 0.0, 0.5**0.5)


def detection(name: str, size: Any = SIZE, turn: Any = UPRIGHT, center: Any = CENTER) -> Any:
    found = blank("vision_msgs/msg/Detection3D")
    result = blank("vision_msgs/msg/ObjectHypothesisWithPose")
    result.hypothesis.class_id, result.hypothesis.score = name, 1.0
    found.results = [result]
    box = found.bbox
    box.center.position.x, box.center.position.y, box.center.position.z = center
    turned = box.center.orientation
    turned.x, turned.y, turned.z, turned.w = turn
    box.size.x, box.size.y, box.size.z = size
    return found


def simulated(
    path: Path,
    boxes: list[Any],
    names: Sequence[str] = (),
    frame: str = "map",
    storage: str = "mcap",
) -> Path:
    """The drive with boxes at the stamps of all clouds but the last, and one without a cloud."""
    store = written_types()
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with Writer(path, version=8, storage_plugin=plugin) as writer:
        connections: dict[str, Any] = {}

        def write(topic: str, message: Any, time_ns: int) -> None:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], time_ns, store.serialize_cdr(message, kind))

        drive(write)
        for stamp_ns in (*(S + tick * S // 10 for tick in range(4)), 9 * S):
            array = blank("vision_msgs/msg/Detection3DArray")
            array.header = header(stamp_ns, frame)
            array.detections = boxes
            write(GT, array, stamp_ns)
        if names:
            labels = blank("vision_msgs/msg/LabelInfo")
            for number, name in enumerate(names):
                entry = blank("vision_msgs/msg/VisionClass")
                entry.class_id, entry.class_name = number, name
                labels.class_map.append(entry)
            write("/labels", labels, S)
    return path


def evaluated(
    path: Path, monkeypatch: pytest.MonkeyPatch, topic: str = GT
) -> tuple[int, str, dict[str, Any]]:
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
    )
    out = path.parent / "out.json"
    command = ["eval", str(path), "--gt-topic", topic, "--json", str(out)]
    result = CliRunner().invoke(app, command)
    return result.exit_code, result.output, json.loads(out.read_text()) if out.exists() else {}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_boxes_of_the_topic_are_compared_at_their_stamps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    far = detection("sofa", center=(50.0, 0.0, 0.0))  # in no cloud
    path = simulated(tmp_path / "bag", [detection("chair"), far], storage=storage)
    code, text, found = evaluated(path, monkeypatch)
    assert code == 0, text
    assert (found["map50"], found["num_scenes"]) == (1.0, 4)
    assert (found["num_without_truth"], found["num_truth_unused"]) == (1, 1)
    assert found["per_class"]["sofa"]["boxes"] == 0
    assert found["ground_truth"] == GT


def test_a_box_whose_y_axis_is_up_is_the_same_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y, z = SIZE
    box = detection("1", (x, z, y), ON_ITS_SIDE)
    wall = detection("0")
    path = simulated(tmp_path / "bag", [box, wall], names=["wall", "chair"])
    code, text, found = evaluated(path, monkeypatch)
    assert code == 0, text
    assert found["map50"] == 1.0
    assert "wall (5)" in text


def test_boxes_in_the_cameras_frame_are_carried_into_the_z_up_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a camera sees them from x = 0: right, down, forward; right at the first cloud alone."""
    x, y, z = CENTER
    width, depth, height = SIZE[1], SIZE[0], SIZE[2]
    box = detection("chair", (width, height, depth), UPRIGHT, (-y, 1.0 - z, x))
    code, text, found = evaluated(simulated(tmp_path / "bag", [box], frame="camera"), monkeypatch)
    assert code == 0, text
    assert found["per_class"]["chair"]["recall50"] >= 0.25
    assert found["per_class"]["chair"]["boxes"] == 4


@pytest.mark.parametrize(
    ("box", "topic", "named"),
    [
        (detection("7"), GT, "7 (5)"),
        (detection("chair"), "/points", GT),
        (detection("chair", turn=(0.2588, 0.0, 0.0, 0.9659)), GT, "30 degrees"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box: Any, topic: str, named: str
) -> None:
    code, text, _ = evaluated(simulated(tmp_path / "bag", [box]), monkeypatch, topic)
    assert code == 1
    assert named in text
    assert "Traceback" not in text
