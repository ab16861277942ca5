"""Recordings through the node's path: small bags that the tests write, and real ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from small_bags import (
    CENTER,
    SIZE,
    STILL,
    BoundingBox,
    S,
    Write,
    cloud,
    optical_points,
    tf,
    write_bag,
)

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import DroppedFrame
from sr3d_ros.bag.run import detect_run, open_run
from sr3d_ros.errors import TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline
from sr3d_ros.tf.buffer import TransformBuffer


@pytest.fixture(scope="module", params=["sqlite3", "mcap"])
def bag_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", request.param)


@pytest.fixture(scope="module")
def one_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "sqlite3")


def test_every_cloud_gives_boxes_in_the_gravity_frame(bag_path: Path) -> None:
    with open_run(bag_path, BoundingBox()) as run:
        frames = list(run.frames())
    assert [frame.stamp_ns for frame in frames] == [S + tick * S // 10 for tick in range(5)]
    for tick, frame in enumerate(frames):
        assert not isinstance(frame, DroppedFrame)
        assert (frame.gravity_frame, frame.frame_id) == ("base_link", "camera")
        center = torch.tensor([[CENTER[0] - tick / 10, *CENTER[1:]]])
        torch.testing.assert_close(frame.detections.boxes.center, center, atol=1e-5, rtol=0)
        torch.testing.assert_close(frame.detections.boxes.size, torch.tensor([SIZE]))
        assert frame.num_points == 64
        assert set(frame.time_ms) == {"parse", "transform", "detect"}


def test_output_matrix_leads_back_to_the_clouds_frame(one_bag: Path) -> None:
    with open_run(one_bag, BoundingBox()) as run:
        frame = next(iter(run.frames()))
    assert not isinstance(frame, DroppedFrame)
    center = frame.output_from_gravity @ [*frame.detections.boxes.center[0].tolist(), 1.0]
    np.testing.assert_allclose(center[:3], optical_points(0.0).mean(axis=0), atol=1e-5)


def test_target_frame_is_reached_at_the_clouds_stamp(one_bag: Path) -> None:
    parameters = Parameters(target_frame="/map")
    with open_run(one_bag, BoundingBox(), parameters=parameters) as run:
        frame = list(run.frames())[-1]
    assert not isinstance(frame, DroppedFrame)
    assert frame.frame_id == "map"
    center = frame.output_from_gravity @ [*frame.detections.boxes.center[0].tolist(), 1.0]
    np.testing.assert_allclose(center[:3], CENTER, atol=1e-5)


def test_the_detector_sees_the_sensor_at_the_origin_of_the_ground(one_bag: Path) -> None:
    detector = BoundingBox()
    parameters = Parameters(detection_frame="map")
    with open_run(one_bag, detector, parameters=parameters) as run:
        last = list(run.frames())[-1]
    assert not isinstance(last, DroppedFrame)
    torch.testing.assert_close(last.detections.boxes.center.float(), torch.tensor([CENTER]))
    seen = detector.clouds[-1].xyz
    expected = torch.tensor([CENTER[0] - 0.4, CENTER[1], CENTER[2]])
    torch.testing.assert_close((seen.amin(0) + seen.amax(0)) / 2, expected)


def test_an_empty_cloud_has_no_detections_and_is_no_error() -> None:
    detector = BoundingBox()
    parameters = Parameters(detection_frame="none")
    pipeline = FramePipeline(detector.detect, TransformBuffer(), parameters)
    result = pipeline.process(cloud(S, "/base", np.zeros((0, 3))))
    assert len(result.detections) == 0
    assert result.gravity_frame == result.frame_id == "base"
    assert detector.clouds == []


def test_a_frame_without_transforms_says_why() -> None:
    pipeline = FramePipeline(BoundingBox().detect, TransformBuffer())
    with pytest.raises(TransformError, match="set the detection frame") as caught:
        pipeline.process(cloud(S, "camera", np.ones((3, 3))))
    assert caught.value.reason == "no_transform"


def test_a_chosen_gravity_frame_that_is_late_does_not_make_boxes_jump() -> None:
    buffer = TransformBuffer()
    buffer.insert("base_link", "camera", S, (0, 0, 1), STILL)
    buffer.insert("camera", "odom", 0, (0, 0, -1), STILL, static=True)
    pipeline = FramePipeline(BoundingBox().detect, buffer)
    assert pipeline.process(cloud(S, "camera", np.ones((3, 3)))).gravity_frame == "base_link"
    with pytest.raises(TransformError) as caught:
        pipeline.process(cloud(2 * S, "camera", np.ones((3, 3))))
    assert caught.value.reason == "extrapolation"


def test_bad_clouds_are_dropped_with_their_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        write("/points", cloud(S, "map", np.ones((4, 3)), names="abc"), S)
        write("/points", cloud(2 * S, "nowhere", np.ones((4, 3))), 2 * S)
        write("/points", cloud(3 * S, "map", np.ones((4, 3))), 3 * S)
        write("/tf_static", tf("map", "base", 0, (0, 0, 0)), S)

    with open_run(write_bag(tmp_path / "bag", "mcap", fill), BoundingBox()) as run:
        records, tally = detect_run(run)
    assert tally.drops_by_reason == {"no_transform": 1, "no_xyz": 1}
    assert [drop.stamp_ns for drop in tally.dropped] == [S, 2 * S]
    assert [record["stamp_ns"] for record in records] == [3 * S]


def test_a_bag_without_transforms_cannot_be_turned_through_them(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        write("/points", cloud(S, "lidar", np.eye(3)), S)

    path = write_bag(tmp_path / "bag", "sqlite3", fill)
    with (
        open_run(path, BoundingBox(), up="tf") as run,
        pytest.raises(ReplayError, match=r"all 1 clouds .* use --up none"),
    ):
        detect_run(run)


REAL_DATA = os.environ.get("SR3D_REAL_DATA")


@pytest.mark.skipif(not REAL_DATA, reason="SR3D_REAL_DATA is not set")
@pytest.mark.parametrize("name", ["open3d_redwood_5frames_db3", "open3d_redwood_5frames_mcap"])
def test_real_ros_2_bags_are_replayed(name: str) -> None:
    with open_run(Path(str(REAL_DATA)) / "bags" / name, BoundingBox()) as run:
        frames = list(run.frames())
    assert len(frames) == 5
    for frame in frames:
        assert not isinstance(frame, DroppedFrame)
        assert frame.gravity_frame == "map"
        assert frame.num_points > 20_000
        assert not frame.cloud.features.isnan().any()
        lowest = torch.quantile(frame.cloud.xyz[::10, 2], 0.01)
        assert 0.0 < float(lowest) < 0.5  # the floor is at z = 0.12


@pytest.mark.skipif(not REAL_DATA, reason="SR3D_REAL_DATA is not set")
def test_real_ros_1_bag_is_replayed_or_says_that_its_transforms_are_late() -> None:
    path = Path(str(REAL_DATA)) / "bags" / "watercan.bag"
    with open_run(path, BoundingBox(), up="none") as run:
        frame = next(iter(run.frames()))
    assert not isinstance(frame, DroppedFrame)
    assert (frame.num_points, frame.frame_id) == (13_966, "ground")
    with open_run(path, BoundingBox()) as run:
        late = next(iter(run.frames()))
    assert isinstance(late, DroppedFrame)
    assert late.reason == "extrapolation"
