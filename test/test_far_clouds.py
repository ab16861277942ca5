"""Clouds in frames that are far away, such as a survey's map: the same boxes, only elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_bags import STILL, BoundingBox, S, T, Write, header, tf, write_bag

from sr3d_core.data.rooms import room_sample
from sr3d_core.detector import Detector
from sr3d_core.records import detection_records
from sr3d_ros.bag.run import detect_run, open_run
from sr3d_ros.bag.score import Scoring, score_run
from sr3d_ros.bag.truth import BagTruth
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.sensors.pointcloud2 import cloud_from_message
from sr3d_ros.tf.buffer import TransformBuffer
from sr3d_ros.tracking.identities import Identities

FAR = np.array([400_000.0, 4_000_000.0, 100.0])
LOW = np.array([0.0, 0.0, 100.0])  # as high, but near
CORNERS = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), axis=-1).reshape(-1, 3)


def message(points: Any, numpy_type: str = "<f8", frame: str = "map", stamp_ns: int = S) -> Any:
    """A PointCloud2 without color, x y z in one type."""
    rows = np.asarray(points, numpy_type).reshape(-1, 3)
    size = rows.dtype.itemsize
    fields = [
        SimpleNamespace(name=name, offset=size * axis, datatype=8 if size == 8 else 7, count=1)
        for axis, name in enumerate("xyz")
    ]
    stamp = SimpleNamespace(sec=stamp_ns // S, nanosec=stamp_ns % S)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id=frame),
        height=1,
        width=len(rows),
        fields=fields,
        point_step=3 * size,
        row_step=3 * size * len(rows),
        is_bigendian=False,
        data=rows.tobytes(),
    )


def result_of(*messages: Any, buffer: TransformBuffer | None = None, **options: Any) -> Any:
    parameters = Parameters(**{"up": "none", **options})
    detector = BoundingBox()
    return FramePipeline(detector.detect, buffer or TransformBuffer(), parameters).process(
        *messages
    )


def placed(result: FrameResult) -> NDArray[np.float64]:
    """The first box's centre in the output frame."""
    center = result.detections.boxes.center[0].double().numpy()
    return (result.output_from_gravity @ [*center, 1.0])[:3]


@pytest.fixture(scope="module")
def room() -> NDArray[np.float64]:
    """A room about the origin, in steps that float64 holds exactly as far away as `FAR`."""
    xyz = room_sample(900_002, "scan").cloud.xyz[::3].double().numpy()
    xyz = np.round(xyz * 1024) / 1024
    return xyz - [*np.round(np.median(xyz, axis=0))[:2], 0.0]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.from_checkpoint(backend="torch", device="cpu")


def test_the_same_room_far_away_gives_the_same_boxes_to_the_last_bit(
    room: NDArray[np.float64], detector: Detector
) -> None:
    pipeline = FramePipeline(detector.detect, TransformBuffer(), Parameters(up="none"))
    near, far = (pipeline.process(message(room + place)) for place in (LOW, FAR))
    assert len(near.detections) > 2
    assert torch.equal(far.detections.labels, near.detections.labels)
    assert torch.equal(far.detections.scores, near.detections.scores)
    assert torch.equal(far.detections.boxes.size.float(), near.detections.boxes.size)
    moved = far.detections.boxes.center - torch.from_numpy(FAR - LOW)
    torch.testing.assert_close(
        moved, near.detections.boxes.center.double(), atol=1e-8, rtol=0
    )  # float64 itself is this coarse there
    assert far.sensor_cloud.xyz.dtype == torch.float32
    assert torch.equal(far.sensor_cloud.xyz, near.sensor_cloud.xyz)


def test_the_cloud_of_a_far_frame_keeps_its_millimetres() -> None:
    points = CORNERS + FAR + 0.001
    torch.testing.assert_close(
        result_of(message(points)).cloud.xyz, torch.from_numpy(points), atol=1e-6, rtol=0
    )


def test_a_far_cloud_is_brought_to_a_robot_that_is_there() -> None:
    buffer = TransformBuffer()
    buffer.insert("map", "base_link", 0, (*FAR[:2], 0.0), STILL, static=True)
    points = CORNERS + np.add(FAR, (3.125, -1.0625, -99.0))
    options: dict[str, Any] = {"up": "tf", "detection_frame": "base_link"}
    result = result_of(message(points), buffer=buffer, **options)
    np.testing.assert_allclose(
        result.detections.boxes.center[0].tolist(), [3.125, -1.0625, 1.0], atol=1e-6
    )
    np.testing.assert_allclose(placed(result), np.add(FAR, (3.125, -1.0625, -99.0)), atol=1e-6)


def test_a_cloud_of_another_camera_is_joined_in_the_far_frame() -> None:
    buffer = TransformBuffer()
    buffer.insert("map", "camera", 0, FAR, STILL, static=True)
    near = message(np.add(CORNERS, (2.125, 0, 0)), "<f4", "camera")
    for pair in ((message(CORNERS + FAR), near), (near, message(CORNERS + FAR))):
        result = result_of(*pair, buffer=buffer)
        assert result.num_points == 16
        np.testing.assert_allclose(
            result.detections.boxes.size[0].tolist(), [3.125, 1, 1], atol=1e-6
        )


def test_a_region_in_a_far_frame_cuts_there() -> None:
    points = np.add(FAR, [[0.0, 0, 0], [0.75, 0, 0], [1.25, 0, 0]])
    high = np.add(FAR, (1.0, 1.0, 1.0))
    roi = (*(FAR - 0.5).tolist(), *high.tolist())
    assert result_of(message(points), roi=roi).num_points == 2


@pytest.mark.parametrize("scale", [1.0, 300.0, 1e-42])
def test_near_clouds_of_float64_are_what_they_are_as_float32(scale: float) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, size=(100, 3)) * scale
    sent = cloud_from_message(message(points)).xyz
    assert sent.dtype == torch.float32
    assert torch.equal(sent, cloud_from_message(message(points, "<f4")).xyz)


def test_what_a_driver_rounded_away_is_told() -> None:
    lossy = result_of(message(CORNERS + FAR, "<f4"))
    (note,) = lossy.notes
    assert "'map'" in note
    assert "0.25 m" in note  # the spacing of float32 between 2^21 and 2^22
    assert "FLOAT64" in note
    assert not result_of(message(CORNERS + FAR)).notes
    assert not result_of(message(np.add(CORNERS, (9_000, 0, 0)), "<f4")).notes


def test_tracks_in_a_far_frame_keep_their_place() -> None:
    parameters = Parameters(up="none", tracking=True, track_min_hits=1)
    identities = Identities(TransformBuffer())
    identities.apply(parameters)
    for tick in range(3):
        result = result_of(message(CORNERS + FAR + 0.125, stamp_ns=S + tick * S // 10))
        tracked = identities.of(result, BoundingBox.classes)
    assert tracked is not None
    np.testing.assert_allclose(tracked.tracks.boxes.boxes.center[0].tolist(), FAR + 0.125)


def far_bag(path: Path, numpy_type: str) -> Path:
    """A map's clouds of one object, seen five times."""

    def fill(write: Write) -> None:
        write("/tf", tf("map", "base_link", S, (*FAR[:2], 0.0)), S)
        grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 4)] * 3), axis=-1).reshape(-1, 3)
        points = grid * (0.6, 0.4, 0.8) + np.add(FAR, (3.0, 1.0, 0.4))
        rows = np.asarray(points, numpy_type)
        size = rows.dtype.itemsize
        make = T["sensor_msgs/msg/PointField"]
        fields = [make(n, size * i, 8 if size == 8 else 7, 1) for i, n in enumerate("xyz")]
        for tick in range(5):
            stamp_ns = S + tick * S // 10
            cloud = T["sensor_msgs/msg/PointCloud2"](
                header(stamp_ns, "map"),
                *(1, len(rows), fields, False, 3 * size, 3 * size * len(rows)),
                np.frombuffer(rows.tobytes(), np.uint8),
                True,
            )
            write("/map_points", cloud, stamp_ns)

    return write_bag(path, "mcap", fill)


def test_a_recording_in_a_far_frame_is_found_and_scored_there(tmp_path: Path) -> None:
    bag = far_bag(tmp_path / "far", "<f8")
    center = np.add(FAR, (3.0, 1.0, 0.4)).tolist()
    box = {"class": "chair", "center": center, "size": [0.6, 0.4, 0.8]}
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"frame": "map", "static": [box]}))
    parameters = Parameters(detection_frame="map")
    with open_run(bag, BoundingBox(), parameters=parameters) as run:
        records, _ = detect_run(run)
        score = score_run(
            run, Scoring(run, BagTruth.load(truth, run.classes, min_points=8))
        ).to_dict()
    assert [record["frame"] for record in records] == ["map"] * 5
    for record in records:
        (found,) = json.loads(json.dumps(record["detections"]))
        assert found["center"] == pytest.approx(center, rel=0, abs=1e-5)
        assert found["size"] == pytest.approx(box["size"], rel=0, abs=2e-5)
    assert score["map50"] == 1.0
    assert score["per_class"]["chair"]["boxes"] == 5


def test_far_boxes_are_written_as_they_are() -> None:
    result = result_of(message(CORNERS + FAR + 0.0625))
    (record,) = detection_records(result.detections, BoundingBox.classes)
    assert record["center"] == (FAR + 0.0625).tolist()
