"""Recordings of depth images, of IMUs and without transforms, replayed as clouds are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_bags import BoundingBox, S, T, Write, cloud, header, optical_points, write_bag
from typer.testing import CliRunner

from sr3d_ros.bag.commands import app
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.run import detect_run, open_run
from sr3d_ros.bag.source import Topics
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult

HEIGHT, WIDTH, FOCAL = 8, 10, 10.0
DEPTH, INFO, COLOR, IMU = "/cam/depth/image", "/cam/depth/camera_info", "/cam/rgb", "/imu"


def image(stamp_ns: int, pixels: np.ndarray, encoding: str) -> Any:
    data = np.frombuffer(pixels.tobytes(), np.uint8)
    step = len(data) // len(pixels)
    kind = T["sensor_msgs/msg/Image"]
    return kind(header(stamp_ns, "optical"), HEIGHT, WIDTH, encoding, 0, step, data)


def depth(stamp_ns: int) -> Any:
    return image(stamp_ns, np.full((HEIGHT, WIDTH), 2000, np.uint16), "16UC1")


def info(stamp_ns: int) -> Any:
    cx, cy = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    k = np.array([FOCAL, 0, cx, 0, FOCAL, cy, 0, 0, 1])
    p = np.array([FOCAL, 0, cx, 0, 0, FOCAL, cy, 0, 0, 0, 1, 0])
    roi = T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    kind = T["sensor_msgs/msg/CameraInfo"]
    none, turn = np.zeros(0), np.eye(3).reshape(-1)
    return kind(
        header(stamp_ns, "optical"), HEIGHT, WIDTH, "plumb_bob", none, k, turn, p, 0, 0, roi
    )


def imu(stamp_ns: int) -> Any:
    three, nine = T["geometry_msgs/msg/Vector3"], np.zeros(9)
    still = T["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    push = three(0.0, -9.81, 0.0)
    kind = T["sensor_msgs/msg/Imu"]
    return kind(header(stamp_ns, "optical"), still, nine, three(0.0, 0.0, 0.0), nine, push, nine)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four depth images of a wall 2 m ahead; the color of the third was lost."""

    def fill(write: Write) -> None:
        red = np.zeros((HEIGHT, WIDTH, 3), np.uint8) + np.uint8([255, 0, 0])
        write(IMU, imu(S - 1), S - 1)
        write(INFO, info(S), S)
        for tick in range(4):
            stamp_ns = S + tick * S // 10
            write(IMU, imu(stamp_ns), stamp_ns)
            write(DEPTH, depth(stamp_ns), stamp_ns + 1000)
            if tick != 2:
                write(COLOR, image(stamp_ns + 1_000_000, red, "rgb8"), stamp_ns + 2000)

    return write_bag(tmp_path_factory.mktemp("bags") / "depth", "mcap", fill)


def frames_of(path: Path, topics: Topics, up: Any = "none") -> list[Any]:
    with open_run(path, BoundingBox(), topics=topics, up=up) as run:
        return list(run.frames())


def test_every_depth_image_is_a_frame(bag: Path) -> None:
    frames = frames_of(bag, Topics(DEPTH))
    assert [frame.stamp_ns for frame in frames] == [S + tick * S // 10 for tick in range(4)]
    for frame in frames:
        assert isinstance(frame, FrameResult)
        assert (frame.num_points, frame.frame_id) == (HEIGHT * WIDTH, "optical")
        size = frame.detections.boxes.size[0]
        torch.testing.assert_close(size, torch.tensor([1.8, 1.4, 0.0]), atol=1e-5, rtol=0)


def test_color_is_matched_and_images_without_it_are_dropped_with_a_reason(bag: Path) -> None:
    *found, dropped, last = frames_of(bag, Topics(DEPTH, color=COLOR))
    found.append(last)
    assert [frame.stamp_ns for frame in found] == [S + tick * S // 10 for tick in (0, 1, 3)]
    assert all(frame.cloud.features[:, 0].eq(1).all() for frame in found)
    assert (dropped.reason, dropped.stamp_ns) == ("unmatched", S + 2 * S // 10)


def test_up_is_taken_from_the_imu_of_the_bag(bag: Path) -> None:
    frame = frames_of(bag, Topics(DEPTH), up="imu")[-1]
    assert frame.gravity_frame == "optical_level"
    size = frame.detections.boxes.size[0]
    torch.testing.assert_close(size, torch.tensor([1.8, 0.0, 1.4]), atol=1e-4, rtol=0)


def test_a_wall_is_no_floor(bag: Path) -> None:
    assert {frame.reason for frame in frames_of(bag, Topics(DEPTH), up="floor")} == {"no_floor"}


@pytest.mark.parametrize(
    ("topics", "up", "complaint"),
    [
        (Topics(COLOR), "none", r"--camera-info: '/cam/camera_info' is not among .*: /cam/depth"),
        (Topics(DEPTH, info="/x"), "none", "--camera-info: '/x' is not among the topics"),
        (Topics(DEPTH, color="/x"), "none", "--color: '/x' is not among the topics of sensor_ms"),
        (Topics(DEPTH, imu="/x"), "imu", r"--imu: '/x' is not among .*: /imu; name one with"),
        (Topics("/x"), "none", "'/x' is not in this bag"),
    ],
)
def test_wrong_topics_are_answered_with_those_there_are(
    bag: Path, topics: Topics, up: Any, complaint: str
) -> None:
    with pytest.raises(ReplayError, match=complaint):
        frames_of(bag, topics, up)


def test_depth_images_without_camera_info_are_dropped_with_advice(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        write(DEPTH, depth(S), S)
        write(INFO, info(S), S)
        broken = info(2 * S)
        broken.p, broken.k = np.zeros(12), np.zeros(9)
        write(INFO, broken, 2 * S)
        write(DEPTH, depth(2 * S), 2 * S)

    path = write_bag(tmp_path / "bag", "mcap", fill)
    with open_run(path, BoundingBox(), topics=Topics(DEPTH), up="none") as run:
        records, tally = detect_run(run)
    assert len(records) == 1
    assert tally.drops_by_reason == {"camera_info": 1}


@pytest.mark.parametrize("up", ["imu", "none"])
def test_the_command_takes_depth_topics(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, up: str
) -> None:
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
    )
    out = tmp_path / "out.json"
    options = ["--topic", DEPTH, "--color", COLOR, "--up", up, "--json", str(out)]
    result = CliRunner().invoke(app, ["detect", str(bag), *options])
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    assert written["topic"] == DEPTH
    assert len(written["frames"]) == 3
    assert written["drops_by_reason"] == {"unmatched": 1}


@pytest.mark.parametrize(
    ("extra", "topic"),
    [
        ("/rear/points", "/rear/points"),
        ("rear", "/front/rear"),
        ("~/rear", "/front/detector/rear"),
    ],
)
def test_further_clouds_are_looked_for_under_the_name_of_the_node(
    tmp_path: Path, extra: str, topic: str
) -> None:
    def fill(write: Write) -> None:
        for name in ("/points", topic):
            write(name, cloud(S, "camera", optical_points(0.0)), S)

    path = write_bag(tmp_path / "bag", "mcap", fill)
    topics = Topics("/points", node="/front/detector")
    parameters = Parameters(extra_topics=(extra,))
    with open_run(path, BoundingBox(), topics=topics, parameters=parameters, up="none") as run:
        assert run.source.inputs == {"points": "/points", "points_2": topic}
        (frame,) = run.frames()
    assert frame.num_points == 2 * len(optical_points(0.0))
