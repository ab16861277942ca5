"""Detections written as a recording: read back, its messages say what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability
from small_bags import CENTER, SIZE, BoundingBox, S, write_bag
from typer.testing import CliRunner

from sr3d_ros.bag.commands import app

TOPIC = "/detector/output/detections"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("out")
    path, out = write_bag(folder / "drive", "sqlite3"), folder / "new" / "found"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
        )
        command = ["detect", str(path), "--out", str(out), "--foxglove", "--node", "/detector"]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return path, out


def messages(path: Path) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([path]) as reader:  # by the definitions in the file, not by ours
        for connection, time_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append((time_ns, message))
    return found


def test_every_frame_has_its_boxes_at_the_time_its_cloud_was_received(
    written: tuple[Path, Path],
) -> None:
    arrays = messages(written[1])[TOPIC]
    assert [time_ns for time_ns, _ in arrays] == [S + t * S // 10 + 1000 for t in range(5)]
    for _, array in arrays:
        (found,) = array.detections
        assert array.header.frame_id == found.header.frame_id == "camera"
        assert found.results[0].hypothesis.class_id == "chair"
        assert found.results[0].hypothesis.score == pytest.approx(0.9)
        size, center = found.bbox.size, found.bbox.center.position
        assert [size.x, size.y, size.z] == pytest.approx(SIZE, abs=1e-5)
    first = arrays[0][1].detections[0].bbox.center.position
    x, y, z = CENTER  # the camera's frame: right, down, forward; it is 1 m above the floor
    assert [first.x, first.y, first.z] == pytest.approx([-y, 1.0 - z, x], abs=1e-5)
    assert center.z < first.z  # the robot comes nearer


def test_transforms_go_along_and_names_are_latched(written: tuple[Path, Path]) -> None:
    old, new = (messages(path) for path in written)
    for topic in ("/tf", "/tf_static"):
        assert [time_ns for time_ns, _ in new[topic]] == [time_ns for time_ns, _ in old[topic]]
    moved = [message.transforms[0].transform.translation.x for _, message in new["/tf"]]
    assert moved == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    (_, labels), *_ = new["/detector/label_info"]
    assert [entry.class_name for entry in labels.class_map] == ["chair", "sofa"]
    with AnyReader([written[1]]) as reader:
        kept = {
            connection.topic: connection.ext.offered_qos_profiles[0].durability
            for connection in reader.connections
        }
    latched = {topic for topic, kind in kept.items() if kind == QosDurability.TRANSIENT_LOCAL}
    assert latched == {"/tf_static", "/detector/label_info"}
    metadata = yaml.safe_load((written[1] / "metadata.yaml").read_text())
    assert metadata["rosbag2_bagfile_information"]["storage_identifier"] == "mcap"


def test_markers_and_foxglove_show_the_same_box(written: tuple[Path, Path]) -> None:
    new = messages(written[1])
    markers = new["/detector/output/markers"][0][1].markers
    cube = next(marker for marker in markers if marker.ns == "boxes")
    assert markers[0].action == 3  # DELETEALL
    entity = new["/detector/output/scene"][0][1].entities[0]
    found = new[TOPIC][0][1].detections[0].bbox
    for pose, size in ((cube.pose, cube.scale), (entity.cubes[0].pose, entity.cubes[0].size)):
        for part in ("position", "orientation"):
            assert getattr(pose, part) == getattr(found.center, part)
        np.testing.assert_allclose(
            [size.x, size.y, size.z], [found.size.x, found.size.y, found.size.z]
        )
    assert entity.frame_id == "camera"
    assert "chair" in entity.texts[0].text


@pytest.mark.parametrize("options", [["--out"], ["--foxglove"]])
def test_nothing_is_written_over_and_foxglove_needs_a_recording(
    written: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
    )
    before = sorted(written[1].iterdir())
    more = [str(written[1])] if options == ["--out"] else []
    result = CliRunner().invoke(app, ["detect", str(written[0]), *options, *more])
    assert result.exit_code == 1
    assert "--out" in result.output or str(written[1].name) in result.output
    assert sorted(written[1].iterdir()) == before
