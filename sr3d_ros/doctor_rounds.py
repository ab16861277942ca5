"""The doctor's way through a robot: parameters, machine, topics, one cloud, transforms, up.

Each step asks one small check; where one fails, those that need its result are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import rclpy

from sr3d_core.cli import checks
from sr3d_core.cli.findings import Finding, fail, ok
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.geometry.gravity import GravityError
from sr3d_core.structures import PointCloud
from sr3d_ros.doctor_cloud import (
    Reader,
    UpSettings,
    check_cloud,
    check_floor,
    check_transform,
    check_units,
    check_up,
    gravity_of,
    read_or_none,
    reader_of,
)
from sr3d_ros.doctor_graph import (
    CLOUD_TYPE,
    Heard,
    check_arrival,
    check_qos,
    check_stamp,
    check_topic,
)
from sr3d_ros.doctor_probe import Probe
from sr3d_ros.params import ParameterError, Parameters
from sr3d_ros.transforms import stamp_to_ns

if TYPE_CHECKING:
    from sr3d_ros.doctor import Report

IMAGE_TYPE = "sensor_msgs/msg/Image"
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
IMU_TYPE = "sensor_msgs/msg/Imu"
_OF_ONE_CLOUD = ("topic", "qos", "arrival", "stamp", "cloud", "units", "tf", "up")
_FOREIGN = ("use_sim_time", "start_type_description_service")


def examine_robot(report: Report, arguments: Sequence[str], points: str, wait_s: float) -> None:
    """Everything that needs ROS and torch; adds its findings to the report."""
    rclpy.init(args=list(arguments))
    try:
        probe = Probe()
        try:
            _examine(report, probe, points, wait_s)
        finally:
            probe.close()
    finally:
        rclpy.shutdown()


def _examine(report: Report, probe: Probe, points: str, wait_s: float) -> None:
    finding, parameters = parameters_of(probe.given_parameters())
    report.add(finding)
    backend = str(parameters.values.get("model.backend", "auto"))
    report.examine("gpu", lambda: checks.check_gpu(parameters.device))
    report.examine("engine", lambda: checks.check_engine(parameters.device, backend))
    has_weights = report.examine("weights", lambda: checks.check_weights(parameters.weights))
    cloud = _Visit(report, probe, parameters, wait_s).examine(points)
    report.skip_rest(_OF_ONE_CLOUD, "no cloud that could be looked at")
    if has_weights:
        report.examine(
            "inference", lambda: checks.check_inference(lambda: load(parameters), cloud)
        )
    report.skip_rest(("inference",), "no usable weights")


def parameters_of(given: dict[str, Any]) -> tuple[Finding, Parameters]:
    """The detector's parameters, and whether all that was given can be used."""
    values = {
        name: value
        for name, value in given.items()
        if name not in _FOREIGN and not name.startswith(("qos_overrides.", "diagnostic_updater."))
    }
    try:
        parameters = Parameters.from_values(values)
    except ParameterError as error:
        remedy = "see docs/parameters.md; the defaults are examined"
        return fail("parameters", str(error), remedy), Parameters()
    text = ", ".join(f"{name}: {value}" for name, value in sorted(values.items()))
    return ok("parameters", text or "all at their defaults"), parameters


def load(parameters: Parameters) -> Detector:
    """The detector as the node makes it."""
    postprocess = Postprocess(score_threshold=parameters.score_threshold, one_class=True)
    return Detector.from_checkpoint(
        parameters.weights, device=parameters.device, postprocess=postprocess
    )


class _Visit:
    """What is looked at with real messages."""

    def __init__(
        self, report: Report, probe: Probe, parameters: Parameters, wait_s: float
    ) -> None:
        self._report = report
        self._probe = probe
        self._parameters = parameters
        self._wait_s = wait_s
        self._settings = UpSettings(
            up=parameters.up,
            detection_frame=parameters.detection_frame,
            target_frame=parameters.target_frame,
        )

    def examine(self, points: str) -> PointCloud | None:
        """One frame, from its topic to its floor; the cloud z up, None where there is none."""
        found = self._frame(points)
        if found is None:
            return None
        message, read = found
        self._report.examine("cloud", lambda: check_cloud(message, read))
        cloud = read_or_none(read)
        if cloud is None:
            return None
        is_metric = self._report.examine("units", lambda: check_units(cloud))
        frame_id, stamp_ns = message.header.frame_id, stamp_to_ns(message.header.stamp)

        def transform() -> Finding:
            return check_transform(self._settings, self._probe.transforms, frame_id, stamp_ns)

        self._probe.spin_until(lambda: transform().status == "ok", self._wait_s)
        if not self._report.examine("tf", transform) or not is_metric:
            return None
        return self._level(cloud, frame_id, stamp_ns)

    def _frame(self, points: str) -> tuple[Any, Reader] | None:
        """A message and how to read it; None where none comes."""
        drop_zeros = self._parameters.drop_zeros
        if self._parameters.kind == "cloud":
            cloud = self._listen("~/input/points", CLOUD_TYPE, points)
            return None if cloud is None else (cloud, reader_of(cloud, drop_zeros=drop_zeros))
        depth = self._listen("~/input/depth", IMAGE_TYPE, points)
        info = None if depth is None else self._listen("~/input/camera_info", INFO_TYPE, "")
        return None if info is None else (depth, reader_of(depth, info))

    def _listen(self, private: str, kind: str, topic: str) -> Any:
        """The newest message of a topic, after it was examined."""
        report, asked = self._report, self._parameters.reliability
        topic = topic or self._probe.topic_in_use(private, kind, self._wait_s)
        argument = private.rpartition("/")[2]
        heard = self._probe.listen(topic, asked, self._wait_s, kind, argument)
        if not report.examine("topic", lambda: check_topic(heard)):
            return None
        if not report.examine("qos", lambda: check_qos(heard, asked)):
            return None
        report.examine("arrival", lambda: check_arrival(heard))
        if heard.latest is not None:
            report.examine("stamp", lambda: check_stamp(heard))
        return heard.latest

    def _level(self, cloud: PointCloud, frame_id: str, stamp_ns: int) -> PointCloud | None:
        """The cloud z up, after its floor was examined; None where up is not known."""
        report, settings = self._report, self._settings
        if settings.up == "imu" and not settings.is_cloud_z_up:
            heard = self._imu()
            report.examine("up", lambda: replace(check_topic(heard), name="up"))
            return None
        try:
            frame, level = gravity_of(settings, self._probe.transforms, cloud, frame_id, stamp_ns)
        except GravityError:
            report.examine("up", lambda: check_floor(cloud))
            return None
        is_fitted = settings.up == "floor" and not settings.is_cloud_z_up
        report.examine("up", lambda: check_floor(cloud) if is_fitted else check_up(level, frame))
        return level

    def _imu(self) -> Heard:
        topic = self._probe.topic_in_use("~/input/imu", IMU_TYPE, self._wait_s)
        return self._probe.listen(topic, "best_effort", self._wait_s, IMU_TYPE, "imu")
