"""Live topics and a recording of them give the same boxes, to the last bit.

One parameter file serves both: two cameras that are joined, a crop, a thinned cloud, thresholds.
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
    frames: {{detection: base_link, timeout_s: 10.0}}
    filter: {{max_range_m: 4.5, min_height_m: -0.5, max_height_m: 1.9}}
    output: {{score_threshold: 0.0, nms_iou: 0.2, max_detections: 40}}
    classes.table.enabled: false
"""


def recorded() -> list[tuple[str, Any, int]]:
    """Topic, message and time: both cameras three times, the rear one 10 ms later."""
    messages = []
    for tick in range(3):
        stamp_ns = S + tick * S // 5
        for topic, frame, late_ns in ((FRONT, "camera", 0), (REAR, "rear", 10_000_000)):
            points = room(2000, seed=2 * tick + (topic == REAR))
            message = cloud(stamp_ns + late_ns, frame, points)
            messages.append((topic, message, stamp_ns + late_ns))
    return messages


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
        for topic, message, time_ns in recorded():
            write(topic, message, time_ns)

    parameters = parameters_of_file(params_file)
    detector = load_detector(parameters)
    path = write_bag(tmp_path_factory.mktemp("bags") / "two_cameras", "mcap", fill)
    with open_run(path, detector, topics=Topics(FRONT), up=None, parameters=parameters) as run:
        results = list(run.frames())
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
    robot.publish_raw_tf(bytes(STORE.serialize_cdr(PLACES, PLACES.__msgtype__)), static=True)
    publishers = {
        topic: robot.cloud_publisher(topic, QoSProfile(depth=1), PointCloud2)
        for topic in (FRONT, REAR)
    }
    clouds = recorded()
    for number, expected in enumerate(from_recording):
        pair = clouds[2 * number : 2 * number + 2]

        def send(pair: list[tuple[str, Any, int]] = pair) -> None:
            for topic, message, _ in pair:
                publishers[topic].publish(bytes(STORE.serialize_cdr(message, message.__msgtype__)))

        def found(stamp_ns: int = stamp_ns_of(expected)) -> list[Detection3DArray]:
            return [array for array in robot.detections if stamp_ns_of(array) == stamp_ns]

        robot.wait(found, f"no boxes of frame {number}", send, every_s=10.0)
        array = found()[0]
        assert array.header.frame_id == expected.header.frame_id
        assert len(array.detections) > 10
        assert [told(entry) for entry in array.detections] == [
            told(entry) for entry in expected.detections
        ]


def told(detection: Any) -> tuple[Any, ...]:
    """Everything that a detection says about its box, exactly."""
    pose, hypothesis = detection.bbox.center, detection.results[0].hypothesis
    place, turned, size = pose.position, pose.orientation, detection.bbox.size
    numbers = (place.x, place.y, place.z, turned.x, turned.y, turned.z, turned.w)
    return (hypothesis.class_id, hypothesis.score, *numbers, size.x, size.y, size.z)
