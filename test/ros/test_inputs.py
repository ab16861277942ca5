"""What the node hears: QoS of every kind, cameras that stop, depth images, several clouds, /clock.

One node for each way to listen, all started at once because each has to import torch first.
"""

from __future__ import annotations

import array
import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from double_node import QUICK
from processes import NodeProcess
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier
from robot import CAMERA_TILT, QUIET_EVENTS, Robot, cloud_message, stamp_ns_of
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, PointCloud2

COMMAND = (sys.executable, str(Path(__file__).parent / "double_node.py"))
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)

WAYS = {
    "plain": ("frames.up:=none", "input.silence_warning_s:=2.0"),
    "overridden": (
        "frames.up:=none",
        "qos_overrides./overridden/sr3d_detector/input/points.subscription.reliability:=reliable",
    ),
    "depth": (
        *("frames.up:=none", "input.kind:=depth", "input.match_tolerance_s:=0.05"),
        "input.silence_warning_s:=2.0",
    ),
    "compressed": (
        *("frames.up:=none", "input.kind:=depth", "input.depth_transport:=compressedDepth"),
        *("input.color_transport:=compressed", "input.match_tolerance_s:=0.05"),
    ),
    "several": ("input.extra_topics:=['/second/points']", "input.fuse_window_s:=0.2"),
    "imu": ("frames.up:=imu",),
    "simulated": ("frames.up:=none", "use_sim_time:=true", "input.max_age_s:=1.0"),
}


@pytest.fixture(scope="module")
def nodes(start_node: Callable[..., NodeProcess]) -> dict[str, NodeProcess]:
    started = {
        way: start_node(
            "--ros-args",
            *("-r", f"__ns:=/{way}"),
            *(word for parameter in parameters for word in ("-p", parameter)),
            command=COMMAND,
        )
        for way, parameters in WAYS.items()
    }
    for process in started.values():
        process.wait_for_line("ready: 1 classes")
    return started


@pytest.fixture
def hear(robot: Robot, nodes: dict[str, NodeProcess]) -> Callable[[str], str]:
    """Listens to the node of one way; comes back with its full name."""

    def listen(way: str) -> str:
        name = f"/{way}/sr3d_detector"
        robot.listen_to(name)
        return name

    return listen


def small_cloud(stamp_ns: int, frame_id: str = "camera", num_points: int = QUICK) -> PointCloud2:
    return cloud_message(np.ones((num_points, 3), np.float32), frame_id, stamp_ns)


def test_what_other_detectors_publish_is_no_camera(
    robot: Robot, hear: Callable[[str], str]
) -> None:
    """Every node of this module has a topic of clouds, those of objects; first: nobody sends."""
    name = hear("plain")
    camera = robot.node.create_publisher(PointCloud2, "/real/points", RELIABLE)
    status = robot.wait_for_diagnosis("input", DiagnosticStatus.ERROR, "/real/points")
    assert f"nothing on {name}/input/points" in status.message

    def is_theirs_left_out() -> bool:  # once all that tells detectors is in the graph
        return "output/object_clouds" not in robot.diagnosed("input").message

    robot.wait(is_theirs_left_out, "topics of other detectors are called cameras")
    assert "/real/points" in robot.diagnosed("input").message
    robot.node.destroy_publisher(camera)


@pytest.mark.parametrize("qos", [BEST_EFFORT, RELIABLE], ids=["best_effort", "reliable"])
def test_by_default_publishers_of_both_kinds_are_heard(
    robot: Robot, hear: Callable[[str], str], qos: QoSProfile
) -> None:
    publisher = robot.cloud_publisher(f"{hear('plain')}/input/points", qos)
    robot.wait(
        lambda: robot.detections,
        "not heard",
        lambda: publisher.publish(small_cloud(robot.now_ns())),
    )
    robot.node.destroy_publisher(publisher)


def test_a_sensor_that_stops_is_an_error_until_it_returns(
    robot: Robot, hear: Callable[[str], str]
) -> None:
    publisher = robot.cloud_publisher(f"{hear('plain')}/input/points", BEST_EFFORT)

    def send() -> None:
        publisher.publish(small_cloud(robot.now_ns()))

    robot.wait_for_diagnosis("input", DiagnosticStatus.OK, "frames per second", send)
    status = robot.wait_for_diagnosis("input", DiagnosticStatus.ERROR, "somebody publishes there")
    assert "robot_of_the_tests" in status.message
    robot.node.destroy_publisher(publisher)
    robot.wait_for_diagnosis("input", DiagnosticStatus.ERROR, "nobody publishes there")
    publisher = robot.cloud_publisher(f"{hear('plain')}/input/points", BEST_EFFORT)
    robot.wait_for_diagnosis("input", DiagnosticStatus.OK, "frames per second", send)
    robot.node.destroy_publisher(publisher)


def test_clouds_that_fast_dds_loses_are_called_lost(
    robot: Robot, hear: Callable[[str], str]
) -> None:
    """8 MB do not fit its shared memory of 0.5 MB: hardly any comes, and the node knows."""
    if not get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        pytest.skip("only Fast DDS loses them")
    publisher = robot.cloud_publisher(f"{hear('plain')}/input/points", BEST_EFFORT)
    cloud = small_cloud(robot.now_ns())
    cloud.row_step = 8_000_000
    cloud.data = array.array("B", bytes(cloud.data).ljust(cloud.row_step, b"\0"))

    def is_said() -> bool:
        message = robot.diagnosed("input").message
        return "lost on the way" in message and "fastdds_large_data.xml" in message

    robot.wait(is_said, "no loss is told", lambda: publisher.publish(cloud), every_s=0.1)
    robot.node.destroy_publisher(publisher)


def test_a_topic_of_another_type_is_pointed_out(robot: Robot, hear: Callable[[str], str]) -> None:
    stranger = robot.node.create_publisher(Image, f"{hear('plain')}/input/points", 1)
    robot.wait_for_diagnosis("input", DiagnosticStatus.ERROR, "sensor_msgs/msg/Image is published")
    robot.node.destroy_publisher(stranger)


def test_depth_of_another_transport_is_pointed_out_with_its_parameter(
    robot: Robot, hear: Callable[[str], str]
) -> None:
    stranger = robot.node.create_publisher(CompressedImage, f"{hear('depth')}/input/depth", 1)
    robot.wait_for_diagnosis(
        "input", DiagnosticStatus.ERROR, "input.depth_transport:=compressedDepth"
    )
    robot.node.destroy_publisher(stranger)


def test_an_override_of_the_qos_counts(robot: Robot, hear: Callable[[str], str]) -> None:
    """The override asks for reliable, so best effort is not heard, which is said."""
    topic = f"{hear('overridden')}/input/points"
    unheard = robot.node.create_publisher(
        PointCloud2, topic, BEST_EFFORT, event_callbacks=QUIET_EVENTS
    )
    robot.wait_for_diagnosis("input", DiagnosticStatus.ERROR, f"qos_overrides.{topic}")
    robot.node.destroy_publisher(unheard)
    publisher = robot.cloud_publisher(topic, RELIABLE)

    def send() -> None:
        publisher.publish(small_cloud(robot.now_ns()))

    robot.wait(lambda: robot.detections, "reliable is not heard", send)
    robot.wait_for_diagnosis("input", DiagnosticStatus.OK, "frames per second", send)
    robot.node.destroy_publisher(publisher)


def depth_messages(stamp_ns: int) -> tuple[Image, CameraInfo, Image]:
    """A wall at two metres: 16UC1, its intrinsics, and a picture of it."""
    header = small_cloud(stamp_ns, "camera_optical_frame").header
    depth = Image(header=header, height=4, width=6, encoding="16UC1", step=12)
    depth.data = array.array("B", np.full((4, 6), 2000, "<u2").tobytes())
    info = CameraInfo(header=header, height=4, width=6)
    info.k = [5.0, 0.0, 3.0, 0.0, 5.0, 2.0, 0.0, 0.0, 1.0]
    info.p = [5.0, 0.0, 3.0, 0.0, 0.0, 5.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    color = Image(header=header, height=4, width=6, encoding="rgb8", step=18)
    color.data = array.array("B", bytes(4 * 18))
    return depth, info, color


def test_depth_images_are_detected_in_with_and_without_color(
    robot: Robot, hear: Callable[[str], str]
) -> None:
    name = hear("depth")
    depths = robot.cloud_publisher(f"{name}/input/depth", BEST_EFFORT, Image)
    infos = robot.cloud_publisher(f"{name}/input/camera_info", BEST_EFFORT, CameraInfo)
    colors = robot.cloud_publisher(f"{name}/input/color", BEST_EFFORT, Image)

    def send(with_color: bool) -> None:
        depth, info, color = depth_messages(robot.now_ns())
        infos.publish(info)
        if with_color:
            colors.publish(color)
        depths.publish(depth)

    robot.wait(lambda: robot.detections, "no detections without color", lambda: send(False))
    assert robot.detections[0].header.frame_id == "camera_optical_frame"
    before = robot.latest_status().processed
    robot.wait(lambda: robot.latest_status().processed > before + 3, "color", lambda: send(True))
    robot.wait(robot.adds_up, "frames unaccounted for")
    robot.wait(lambda: robot.count_of("unmatched") > 0, "not counted", lambda: send(False))
    for publisher in (depths, infos, colors):
        robot.node.destroy_publisher(publisher)


RVL_WALL = struct.pack("<4I", 0x0838CE70, 0, 0, 0)
"""24 pixels of 2000 mm in RVL, by hand: 0 zeros, 24 others, 2000 once and 23 times 0.

24 = 30 octal and 4000 = 7640 octal, the lowest digit first: nibbles 0, 8 3, 8 c e 7, zeros.
"""


def rvl_wall(info: CameraInfo, numbers: bytes = RVL_WALL) -> CompressedImage:
    """The wall of `depth_messages` as compressedDepth."""
    sent = CompressedImage(header=info.header, format="16UC1; compressedDepth rvl")
    sent.data = array.array("B", struct.pack("<iff2I", 0, 0.0, 0.0, 6, 4) + numbers)
    return sent


def test_compressed_depth_images_are_detected_in_and_damaged_ones_are_counted(
    robot: Robot, hear: Callable[[str], str]
) -> None:
    name = hear("compressed")
    depths = robot.cloud_publisher(f"{name}/input/depth", BEST_EFFORT, CompressedImage)
    infos = robot.cloud_publisher(f"{name}/input/camera_info", BEST_EFFORT, CameraInfo)

    def send(numbers: bytes) -> None:
        _, info, _ = depth_messages(robot.now_ns())
        infos.publish(info)
        depths.publish(rvl_wall(info, numbers))

    robot.wait(lambda: robot.detections, "no detections", lambda: send(RVL_WALL))
    assert robot.detections[0].header.frame_id == "camera_optical_frame"
    robot.wait(lambda: robot.count_of("truncated") > 0, "not counted", lambda: send(RVL_WALL[:8]))
    robot.wait(robot.adds_up, "frames unaccounted for")
    for publisher in (depths, infos):
        robot.node.destroy_publisher(publisher)


def test_compressed_color_is_read_and_damaged_one_is_counted(
    robot: Robot, hear: Callable[[str], str]
) -> None:
    name, png = hear("compressed"), io.BytesIO()
    PIL.Image.fromarray(np.full((4, 6, 3), 200, np.uint8)).save(png, "PNG")
    publishers = [
        robot.cloud_publisher(f"{name}/input/{what}", BEST_EFFORT, kind)
        for what, kind in (
            ("camera_info", CameraInfo),
            ("color", CompressedImage),
            ("depth", CompressedImage),
        )
    ]

    def send(image: bytes) -> None:
        _, info, _ = depth_messages(robot.now_ns())
        color = CompressedImage(header=info.header, format="rgb8; png compressed bgr8")
        color.data = array.array("B", image)
        for publisher, message in zip(publishers, (info, color, rvl_wall(info)), strict=True):
            publisher.publish(message)

    whole = png.getvalue()
    broken = whole[:30] + whole[-12:]  # its last chunk is there
    before = robot.latest_status().processed
    robot.wait(lambda: robot.latest_status().processed > before + 3, "color", lambda: send(whole))
    robot.wait(lambda: robot.count_of("data") > 0, "not counted", lambda: send(broken))
    robot.wait(robot.adds_up, "frames unaccounted for")
    for publisher in publishers:
        robot.node.destroy_publisher(publisher)


def test_color_of_another_transport_is_pointed_out_with_its_parameter(
    robot: Robot, hear: Callable[[str], str], nodes: dict[str, NodeProcess]
) -> None:
    stranger = robot.node.create_publisher(CompressedImage, f"{hear('depth')}/input/color", 1)
    nodes["depth"].wait_for_line("input.color_transport:=compressed")
    robot.node.destroy_publisher(stranger)


def test_clouds_of_two_cameras_are_one_frame(robot: Robot, hear: Callable[[str], str]) -> None:
    first = robot.cloud_publisher(f"{hear('several')}/input/points", BEST_EFFORT)
    second = robot.cloud_publisher("/second/points", BEST_EFFORT)
    for camera in ("left", "right"):
        robot.publish_static("base_link", camera, rotation=CAMERA_TILT)

    def send() -> None:
        stamp_ns = robot.now_ns()
        first.publish(small_cloud(stamp_ns, "left", QUICK // 2))
        second.publish(small_cloud(stamp_ns, "right", QUICK - QUICK // 2))

    robot.wait(lambda: robot.detections, "no detections", send)
    assert robot.detections[-1].header.frame_id == "left"
    robot.wait(robot.adds_up, "frames unaccounted for")
    for publisher in (first, second):
        robot.node.destroy_publisher(publisher)


def test_up_comes_from_the_imu_and_without_one_that_is_the_reason(
    robot: Robot, hear: Callable[[str], str]
) -> None:
    name = hear("imu")
    clouds = robot.cloud_publisher(f"{name}/input/points", BEST_EFFORT)
    robot.wait(
        lambda: "no_imu" in robot.latest_status().drop_reasons and robot.count_of("no_imu") > 0,
        "no_imu is not counted",
        lambda: clouds.publish(small_cloud(robot.now_ns(), "cam")),
    )
    imus = robot.cloud_publisher(f"{name}/input/imu", BEST_EFFORT, Imu)

    def send() -> None:
        stamp_ns = robot.now_ns()
        for milliseconds in range(-200, 1, 20):
            message = Imu(header=small_cloud(stamp_ns + milliseconds * 10**6, "cam").header)
            message.linear_acceleration.y = -9.81
            imus.publish(message)
        clouds.publish(small_cloud(stamp_ns, "cam"))

    robot.wait(lambda: robot.detections, "no detections with an IMU", send)
    for publisher in (clouds, imus):
        robot.node.destroy_publisher(publisher)


def test_simulated_time_decides_about_age_and_may_start_anew(
    robot: Robot, hear: Callable[[str], str]
) -> None:
    publisher = robot.cloud_publisher(f"{hear('simulated')}/input/points", RELIABLE)
    clock = robot.cloud_publisher("/clock", QoSProfile(depth=1), Clock)

    def send(now_s: int, age_s: int) -> None:
        time = Clock()
        time.clock.sec = now_s
        clock.publish(time)
        publisher.publish(small_cloud((now_s - age_s) * 10**9))

    def is_answered(stamp_s: int) -> Callable[[], Any]:
        return lambda: any(stamp_ns_of(each) == stamp_s * 10**9 for each in robot.detections)

    robot.wait(is_answered(1000), "no array at 1000 s", lambda: send(1000, age_s=0))
    robot.wait(lambda: robot.count_of("too_old") > 0, "never too old", lambda: send(1010, age_s=5))
    robot.wait(is_answered(10), "no array after time was set back", lambda: send(10, age_s=0))
    for each in (publisher, clock):
        robot.node.destroy_publisher(each)


def test_every_node_ends_cleanly(nodes: dict[str, NodeProcess]) -> None:
    """Last, because the nodes are gone afterwards."""
    for process in nodes.values():
        process.interrupt()
    for process in nodes.values():
        process.require_end()
