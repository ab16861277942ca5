"""Live topics and a recording of them give the same boxes, to the last bit.

One parameter file serves both: two cameras that are joined, a crop, a thinned cloud, thresholds.
In the middle the memory is switched on; the robot drives all the while.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import NodeProcess
from rclpy.qos import QoSProfile
from robot import Robot, room, stamp_ns_of
from sensor_msgs.msg import PointCloud2
from small_bags import CAMERA_TURN, STORE, S, T, Write, cloud, tf, write_bag
from vision_msgs.msg import Detection3DArray

from sr3d_ros.bag.run import open_run
from sr3d_ros.bag.source import Topics
from sr3d_ros.messages.detections import detection_array
from sr3d_ros.parameters.detector import load_detector
from sr3d_ros.parameters.file import parameters_of_file
from sr3d_ros.pipeline import FrameResult

NAME = "/joined/sr3d_detector"
FRONT, REAR = "/front/points", "/rear/points"
REAR_TURN = (0.5, 0.5, -0.5, -0.5)
PARAMETERS = """
/**:
  ros__parameters:
    model.weights: {weights}
    input: {{extra_topics: [/rear/points], max_points: 1500, reliability: reliable}}
    frames: {{detection: odom, timeout_s: 10.0}}
    filter: {{max_range_m: 4.5, min_height_m: -0.5, max_height_m: 1.9}}
    output: {{score_threshold: 0.0, nms_iou: 0.2, max_detections: 40}}
    classes.table.enabled: false
"""


FIRST, REMEMBERING, END = 1, 3, 6
"""Ticks: a frame that is not compared, so that the node knows all transforms; frames alone; frames
with a memory."""
MEMORY = {"memory.seconds": 20.0, "memory.mode": "beside"}
REAR_LATE_NS = 10_000_000


def stamp_at(tick: int) -> int:
    return S + tick * S // 5


def recorded(tick: int) -> list[tuple[str, Any, int]]:
    """Topic, message and time of both cameras, the rear one 10 ms later."""
    messages = []
    for topic, frame, late_ns in ((FRONT, "camera", 0), (REAR, "rear", REAR_LATE_NS)):
        stamp_ns = stamp_at(tick) + late_ns
        points = room(2000, seed=2 * tick + (topic == REAR))
        messages.append((topic, cloud(stamp_ns, frame, points), stamp_ns))
    return messages


def odometry() -> list[Any]:
    """Transforms at all stamps; the robot drives 0.75 m/s."""
    return [
        tf("odom", "base_link", stamp_at(tick) + late_ns, (0.15 * tick, 0.0, 0.0))
        for tick in range(END)
        for late_ns in (0, REAR_LATE_NS)
    ]


PLACES = T["tf2_msgs/msg/TFMessage"](
    [
        *tf("base_link", "camera", 0, (0, 0, 1.0), CAMERA_TURN).transforms,
        *tf("base_link", "rear", 0, (-0.2, 0, 1.0), REAR_TURN).transforms,
    ]
)
"""In one message: a late subscriber gets the last one."""


@pytest.fixture(scope="module")
def params_file(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parameters") / "mine.yaml"
    path.write_text(PARAMETERS.format(weights=weights))
    return path


@pytest.fixture(scope="module")
def from_recording(params_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The arrays that the recording gives."""

    def fill(write: Write) -> None:
        write("/tf_static", PLACES, 0)
        for message in odometry():
            write("/tf", message, 0)
        for tick in range(FIRST, END):
            for topic, message, time_ns in recorded(tick):
                write(topic, message, time_ns)

    parameters = parameters_of_file(params_file)
    detector = load_detector(parameters)
    path = write_bag(tmp_path_factory.mktemp("bags") / "two_cameras", "mcap", fill)
    with open_run(path, detector, topics=Topics(FRONT), up=None, parameters=parameters) as run:
        results = []
        for result in run.frames():
            results.append(result)
            if FIRST + len(results) == REMEMBERING:
                run.pipeline.parameters = run.pipeline.parameters.with_values(MEMORY)
    used = [result.memory.num_frames if result.memory else 0 for result in results]
    assert used == [0, 0, 1, 2, 3]
    return [array_of(result, detector.classes) for result in results]


def array_of(result: Any, classes: tuple[str, ...]) -> Detection3DArray:
    assert isinstance(result, FrameResult), result
    assert not result.left_out
    return detection_array(
        result.detections,
        stamp_ns=result.stamp_ns,
        frame_id=result.frame_id,
        output_from_gravity=result.output_from_gravity,
        classes=classes,
    )


def test_the_node_and_the_recording_agree_to_the_last_bit(
    robot: Robot,
    start_node: Callable[..., NodeProcess],
    params_file: Path,
    from_recording: list[Detection3DArray],
) -> None:
    process = start_node(
        *("--ros-args", "-r", "__ns:=/joined", "-r", f"~/input/points:={FRONT}"),
        *("--params-file", str(params_file)),
    )
    process.wait_for_line("ready: 3 classes")
    robot.listen_to(NAME)
    robot.publish_raw_tf(raw(PLACES), static=True)
    publishers = {
        topic: robot.cloud_publisher(topic, QoSProfile(depth=1), PointCloud2)
        for topic in (FRONT, REAR)
    }

    def boxes_of(tick: int) -> Detection3DArray:
        def send() -> None:
            for message in odometry():
                robot.publish_raw_tf(raw(message), static=False)
            for topic, message, _ in recorded(tick):
                publishers[topic].publish(raw(message))

        def found() -> list[Detection3DArray]:
            return [array for array in robot.detections if stamp_ns_of(array) == stamp_at(tick)]

        robot.wait(found, f"no boxes of tick {tick}", send, every_s=10.0)
        return found()[0]

    boxes_of(0)
    for tick, expected in enumerate(from_recording, start=FIRST):
        if tick == REMEMBERING:
            for name, value in MEMORY.items():
                assert robot.set(name, value).successful
        array = boxes_of(tick)
        assert array.header.frame_id == expected.header.frame_id
        assert len(array.detections) > 10
        assert [told(entry) for entry in array.detections] == [
            told(entry) for entry in expected.detections
        ]


def raw(message: Any) -> bytes:
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def told(detection: Any) -> tuple[Any, ...]:
    """Everything that a detection says about its box, exactly."""
    pose, hypothesis = detection.bbox.center, detection.results[0].hypothesis
    place, turned, size = pose.position, pose.orientation, detection.bbox.size
    numbers = (place.x, place.y, place.z, turned.x, turned.y, turned.z, turned.w)
    return (hypothesis.class_id, hypothesis.score, *numbers, size.x, size.y, size.z)
