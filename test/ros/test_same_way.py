"""Live topics and a recording of them give the same boxes, to the last bit.

One parameter file serves both: two cameras that are joined, a crop, a thinned cloud, thresholds.
In the middle the memory is switched on; the robot drives all the while. The map is compared, too.
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
from sr3d_ros.tracking.mapping import Mapped, Mapping

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
    map.frame: odom
"""


FIRST, REMEMBERING, END = 1, 3, 6
"""Ticks: a frame that is not compared, so that the node knows all transforms; frames alone; frames
with a memory."""
MEMORY = {"memory.seconds": 20.0, "memory.mode": "beside"}
MAP = {"map.min_seen": 1, "map.enabled": True}  # from the first frame that is compared
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
def from_recording(
    params_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Detection3DArray, Detection3DArray]]:
    """The boxes and the map after each frame that the recording gives."""

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
        results, maps = [], []
        mapping = Mapping(run.transforms)
        mapping.apply(run.parameters.with_values(MAP))
        for result in run.frames():
            results.append(result)
            maps.append(objects_of(mapping.of(result, detector.classes), detector.classes))
            if FIRST + len(results) == REMEMBERING:
                run.pipeline.parameters = run.pipeline.parameters.with_values(MEMORY)
    used = [result.memory.num_frames if result.memory else 0 for result in results]
    assert used == [0, 0, 1, 2, 3]
    arrays = [array_of(result, detector.classes) for result in results]
    return list(zip(arrays, maps, strict=True))


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


def objects_of(mapped: Mapped | None, classes: tuple[str, ...]) -> Detection3DArray:
    assert mapped is not None
    return detection_array(
        mapped.objects,
        stamp_ns=0,
        frame_id=mapped.place.frame_id,
        output_from_gravity=mapped.place.output_from_static,
        classes=classes,
        ids=mapped.ids,
    )


def test_the_node_and_the_recording_agree_to_the_last_bit(
    robot: Robot,
    start_node: Callable[..., NodeProcess],
    params_file: Path,
    from_recording: list[tuple[Detection3DArray, Detection3DArray]],
) -> None:
    process = start_node(
        *("--ros-args", "-r", "__ns:=/joined", "-r", f"~/input/points:={FRONT}"),
        *("--params-file", str(params_file)),
    )
    process.wait_for_line("ready: 3 classes")
    robot.listen_to(NAME)
    robot.publish_raw_tf(raw(PLACES), static=True)
    maps: list[Detection3DArray] = []
    robot.node.create_subscription(Detection3DArray, f"{NAME}/output/objects", maps.append, 10)
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

        # Sent twice, a frame would count twice in the map; once one has come, all do.
        again_s = 10.0 if tick == 0 else 1e6
        robot.wait(found, f"no boxes of tick {tick}", send, every_s=again_s)
        return found()[0]

    def map_after(tick: int) -> Detection3DArray:
        def known() -> list[Detection3DArray]:
            return [array for array in maps if stamp_ns_of(array) == stamp_at(tick)]

        robot.wait(known, f"no map of tick {tick}")
        return known()[0]

    boxes_of(0)
    robot.wait(robot.adds_up, "frames unaccounted for")  # none of them is to be in the map
    for name, value in MAP.items():
        assert robot.set(name, value).successful
    for tick, (expected, objects) in enumerate(from_recording, start=FIRST):
        if tick == REMEMBERING:
            for name, value in MEMORY.items():
                assert robot.set(name, value).successful
        array = boxes_of(tick)
        assert array.header.frame_id == expected.header.frame_id
        assert len(array.detections) > 10
        assert [told(entry) for entry in array.detections] == [
            told(entry) for entry in expected.detections
        ]
        known = map_after(tick)
        assert known.header.frame_id == objects.header.frame_id == "odom"
        assert len(known.detections) > 3
        assert [(entry.id, *told(entry)) for entry in known.detections] == [
            (entry.id, *told(entry)) for entry in objects.detections
        ]


def raw(message: Any) -> bytes:
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def told(detection: Any) -> tuple[Any, ...]:
    """Everything that a detection says about its box, exactly."""
    pose, hypothesis = detection.bbox.center, detection.results[0].hypothesis
    place, turned, size = pose.position, pose.orientation, detection.bbox.size
    numbers = (place.x, place.y, place.z, turned.x, turned.y, turned.z, turned.w)
    return (hypothesis.class_id, hypothesis.score, *numbers, size.x, size.y, size.z)
