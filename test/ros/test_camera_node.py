"""The node with a color camera: alone, and where depth dies, comes back, flickers or has holes.

Real networks, untrained and so small that they answer at once; each node in a process of its own.
What is measured is printed; what is asserted, a starved machine can bear.
"""

from __future__ import annotations

import array
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from processes import NodeProcess
from rclpy.qos import QoSProfile, ReliabilityPolicy
from robot import CAMERA_TILT, Robot, cloud_message, room, stamp_ns_of
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from sr3d_core.checkpoint import Manifest, save_checkpoint
from sr3d_core.model.camera_network import CameraArchitecture, CameraSR3D
from sr3d_core.model.network import LITE

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
CLASSES = ("chair", "table", "desk")
SIDES = (48, 64)
PERIOD_S = 0.1
FRAME = "camera"
LATE_S = 20.0
"""A starved machine may take so long for what takes 1.5 s."""


@pytest.fixture(scope="module")
def camera_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = replace(LITE, num_classes=3, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), neck_channels=8)
    camera = CameraArchitecture(size=SIDES[::-1], channels=8)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("camera") / "untrained.safetensors"
    save_checkpoint(
        path,
        CameraSR3D(small, camera),
        Manifest(architecture=small, classes=CLASSES, camera=camera),
    )
    return path


@pytest.fixture(scope="module")
def nodes(
    start_node: Callable[..., NodeProcess], weights: Path, camera_weights: Path
) -> dict[str, NodeProcess]:
    """One node for each way; the last one is given no weights of color images."""
    ways = {
        "cloud": ("input.kind:=auto",),
        "holes": ("input.kind:=auto", "input.preferred:=depth", "input.match_tolerance_s:=0.05"),
        "rgb": ("input.kind:=rgb",),
    }
    common = (f"model.weights:={weights}", "output.rgb_score_threshold:=0.0")
    common = (*common, "frames.timeout_s:=0.0", "frames.floor:=base_link")
    given = {way: (*parameters, *common) for way, parameters in ways.items()}
    given = {
        way: (*parameters, f"model.camera_weights:={camera_weights}")
        for way, parameters in given.items()
    }
    given["bare"] = ("input.kind:=auto", *common)
    started = {
        way: start_node(
            "--ros-args",
            *("-r", f"__ns:=/{way}"),
            *(word for parameter in parameters for word in ("-p", parameter)),
        )
        for way, parameters in given.items()
    }
    for way in ways:
        started[way].wait_for_line("ready: 3 classes")
    return started


def header_at(message: Any, stamp_ns: int, frame_id: str = FRAME) -> Any:
    message.header.stamp = rclpy.time.Time(nanoseconds=stamp_ns).to_msg()
    message.header.frame_id = frame_id
    return message


def image_message(stamp_ns: int, pixels: Any = None, encoding: str = "rgb8") -> Image:
    if pixels is None:
        pixels = np.random.default_rng(0).integers(40, 256, (*SIDES, 3), dtype=np.uint8)
    height, width = pixels.shape[:2]
    step = pixels.nbytes // height
    message = Image(height=height, width=width, step=step, encoding=encoding)
    message.data = array.array("B", pixels.tobytes())
    return header_at(message, stamp_ns)


def info_message(stamp_ns: int, **changes: Any) -> CameraInfo:
    height, width = SIDES
    message = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = np.array([55.0, 0, 31.5, 0, 55.0, 23.5, 0, 0, 1])
    for name, value in changes.items():
        setattr(message, name, value)
    return header_at(message, stamp_ns)


class Cameras:
    """Publishes what a robot's cameras do, and remembers the stamps of what was sent."""

    def __init__(self, robot: Robot, way: str, depth: tuple[str, type]) -> None:
        self.robot, self.name = robot, f"/{way}/sr3d_detector"
        robot.listen_to(self.name)
        robot.publish_static("base_link", FRAME, translation=(0.0, 0.0, 1.2), rotation=CAMERA_TILT)
        self._depth = robot.cloud_publisher(f"{self.name}/input/{depth[0]}", BEST_EFFORT, depth[1])
        self._info = self._publisher("camera_info", CameraInfo)
        self._color = self._publisher("color", Image)
        self.depth_stamps: set[int] = set()
        self.image_stamps: set[int] = set()
        self.last_depth_s = 0.0
        self.xyz = room(200)

    def close(self) -> None:
        for publisher in (self._depth, self._info, self._color):
            self.robot.node.destroy_publisher(publisher)

    def _publisher(self, topic: str, kind: type) -> Any:
        return self.robot.cloud_publisher(f"{self.name}/input/{topic}", BEST_EFFORT, kind)

    def images(self) -> None:
        """One color image."""
        stamp_ns = self.robot.now_ns()
        self.image_stamps.add(stamp_ns)
        self._info.publish(info_message(stamp_ns))
        self._color.publish(image_message(stamp_ns))

    def both(self) -> None:
        """A cloud, then a color image."""
        self.clouds()
        self.images()

    def clouds(self) -> None:
        """One cloud."""
        stamp_ns = self.robot.now_ns()
        self.depth_stamps.add(stamp_ns)
        self._depth.publish(cloud_message(self.xyz, FRAME, stamp_ns))
        self.last_depth_s = time.monotonic()

    def depth_set(self, millimetres: int) -> None:
        """A depth image of one depth, 0 = holes, and its color, of one stamp."""
        stamp_ns = self.robot.now_ns()
        self.image_stamps.add(stamp_ns)
        pixels = np.full(SIDES, millimetres, np.uint16)
        self._info.publish(info_message(stamp_ns))
        self._depth.publish(image_message(stamp_ns, pixels, "16UC1"))
        self._color.publish(image_message(stamp_ns))

    def send_for(self, seconds: float, what: Callable[[], None]) -> None:
        end_s = time.monotonic() + seconds
        self.robot.wait(lambda: time.monotonic() >= end_s, "time", what, PERIOD_S)

    def until_input(self, kind: str, what: Callable[[], None]) -> None:
        self.robot.wait(
            lambda: self.robot.statuses and self.robot.statuses[-1].input == kind,
            f"no boxes of {kind}",
            what,
            PERIOD_S,
        )

    def until_boxes_of(self, stamps: set[int], what: Callable[[], None]) -> int:
        """Send until boxes come that belong to one of the stamps; comes back with its stamp."""
        heard = len(self.robot.detections)

        def found() -> list[int]:
            new = map(stamp_ns_of, self.robot.detections[heard:])
            return [stamp_ns for stamp_ns in new if stamp_ns in stamps]

        self.robot.wait(found, "no such boxes", what, PERIOD_S)
        return found()[0]

    def require_exact_counts(self) -> None:
        """Every frame was processed or dropped, and all that was processed was heard of."""

        def at_rest() -> bool:
            processed = self.robot.latest_status().processed
            return self.robot.adds_up() and processed == len(self.robot.detections)

        self.robot.wait(at_rest, "frames unaccounted for")
        stamps = [*map(stamp_ns_of, self.robot.detections)]
        assert len(stamps) == len(set(stamps))
        assert set(stamps) <= self.depth_stamps | self.image_stamps


def test_the_camera_steps_in_for_a_cloud_and_steps_back(
    robot: Robot, nodes: dict[str, NodeProcess], capsys: pytest.CaptureFixture[str]
) -> None:
    cameras = Cameras(robot, "cloud", ("points", PointCloud2))
    cameras.until_input("cloud", cameras.both)
    cameras.send_for(1.5, cameras.both)
    assert robot.latest_status().fallback_count == 0
    assert not cameras.image_stamps & {*map(stamp_ns_of, robot.detections)}

    used_ns = cameras.until_boxes_of(cameras.image_stamps, cameras.images)
    waited_s = time.monotonic() - cameras.last_depth_s
    silent_s = 1e-9 * (used_ns - max(cameras.depth_stamps))
    with capsys.disabled():
        print(f"\nfirst camera boxes {waited_s:.2f} s after depth died", end=", ")
        print(f"of an image that came {silent_s:.2f} s after it")
    assert 0.8 < silent_s < waited_s < LATE_S  # the arrivals are compared, not the stamps
    cameras.until_input("rgb", cameras.images)
    robot.wait_for_diagnosis(
        "input", DiagnosticStatus.WARN, "camera-only boxes, accuracy reduced", cameras.images
    )
    assert robot.latest_status().fallback_count == 1
    nodes["cloud"].wait_for_line(r"depth silent for 1\.\d s: camera-only boxes")

    for _ in range(3):  # flickers
        cameras.send_for(0.35, cameras.both)
        cameras.send_for(1.5, cameras.images)
    status = robot.latest_status()
    assert (status.input, status.fallback_count) == ("rgb", 1)
    assert robot.count_of("depth_not_steady") > 0

    started_s = time.monotonic()
    cameras.until_boxes_of(cameras.depth_stamps, cameras.both)
    with capsys.disabled():
        print(f"depth came back: boxes of it after {time.monotonic() - started_s:.2f} s")
    assert time.monotonic() - started_s > 1.8
    nodes["cloud"].wait_for_line("depth is steady again")
    cameras.until_input("cloud", cameras.both)

    cameras.until_boxes_of(cameras.image_stamps, cameras.images)
    robot.wait(lambda: robot.latest_status().fallback_count == 2, "no second fallback")
    cameras.until_input("cloud", cameras.clouds)
    said = robot.wait_for_diagnosis(
        "input", DiagnosticStatus.WARN, "the camera could not step in", cameras.clouds
    )
    assert f"nothing comes on {cameras.name}/input/color, so" in said.message
    cameras.require_exact_counts()
    cameras.close()


def test_a_depth_image_of_holes_is_no_depth(robot: Robot, nodes: dict[str, NodeProcess]) -> None:
    cameras = Cameras(robot, "holes", ("depth", Image))
    cameras.until_input("depth", lambda: cameras.depth_set(1500))
    cameras.until_input("rgb", lambda: cameras.depth_set(0))
    robot.wait_for_diagnosis(
        "input", DiagnosticStatus.WARN, "too few returns", lambda: cameras.depth_set(0)
    )
    cameras.until_input("depth", lambda: cameras.depth_set(1500))
    assert robot.latest_status().fallback_count == 1
    cameras.require_exact_counts()
    cameras.close()


def test_an_image_that_cannot_be_used_is_counted_under_its_reason_and_the_node_goes_on(
    robot: Robot, nodes: dict[str, NodeProcess]
) -> None:
    name = "/rgb/sr3d_detector"
    robot.listen_to(name)
    color = robot.cloud_publisher(f"{name}/input/color", BEST_EFFORT, Image)
    infos = robot.cloud_publisher(f"{name}/input/camera_info", BEST_EFFORT, CameraInfo)
    robot.publish_static("base_link", FRAME, translation=(0.0, 0.0, 1.2), rotation=CAMERA_TILT)
    dark = np.full((*SIDES, 3), 2, np.uint8)

    def send(info: CameraInfo | None, **changes: Any) -> None:
        stamp_ns, frame_id = robot.now_ns(), changes.pop("frame_id", FRAME)
        if info is not None:
            infos.publish(header_at(info, stamp_ns, frame_id))
        color.publish(header_at(image_message(stamp_ns, **changes), stamp_ns, frame_id))

    bad: dict[str, Callable[[], None]] = {
        "no_camera_info": lambda: send(None),  # first: the node keeps the newest
        "image_size_differs_from_camera_info": lambda: send(info_message(0, width=65)),
        "dark_image": lambda: send(info_message(0), pixels=dark),
        "unsupported_encoding": lambda: send(info_message(0), encoding="bayer_rggb8"),
        "not_rectified": lambda: send(info_message(0, distortion_model="fish_bowl", d=[0.1] * 5)),
        "no_gravity_transform": lambda: send(info_message(0), frame_id="elsewhere"),
    }
    for reason, publish in bad.items():
        robot.wait(
            lambda reason=reason: robot.statuses and robot.count_of(reason) > 0,
            f"nothing was dropped as {reason}",
            publish,
            PERIOD_S,
        )
        text = robot.latest_status().last_error
        assert text.startswith(f"{reason}: "), text
        if reason == "no_camera_info":
            continue
        heard = len(robot.detections)
        robot.wait(
            lambda heard=heard: len(robot.detections) > heard,
            "no boxes any more",
            lambda: send(info_message(0)),
            PERIOD_S,
        )
    found = robot.detections[-1]
    assert found.header.frame_id == FRAME
    assert len(found.detections) > 0
    covariances = [
        np.asarray(each.results[0].pose.covariance).reshape(6, 6) for each in found.detections
    ]
    assert any(covariance.any() for covariance in covariances)
    for covariance in covariances:
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-9)
        assert np.linalg.eigvalsh(covariance).min() > -1e-9
    robot.wait(robot.adds_up, "frames unaccounted for")
    assert (robot.latest_status().input, robot.latest_status().fallback_count) == ("rgb", 0)


def test_weights_of_other_classes_beside_those_of_clouds_are_refused(
    nodes: dict[str, NodeProcess],
) -> None:
    """Those that ship know more of them than the tests' own."""
    nodes["bare"].wait_for_line("expected the same classes")
