"""The doctor's way through a robot: parameters, machine, topics, one cloud, transforms, up.

Each step asks one small check; where one fails, those that need its result are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import rclpy

from sr3d_core.cli import checks
from sr3d_core.cli.findings import Finding, fail, ok
from sr3d_core.detector import Detector
from sr3d_core.structures import PointCloud
from sr3d_ros.checks.cloud import (
    check_cloud,
    check_filter,
    check_level,
    check_transform,
    check_units,
    read_or_none,
    reader_of,
    way_of,
)
from sr3d_ros.checks.graph import (
    CLOUD_TYPE,
    IMAGE_TYPE,
    IMU_TYPE,
    INFO_TYPE,
    check_arrival,
    check_qos,
    check_stamp,
    check_topic,
)
from sr3d_ros.checks.probe import Probe
from sr3d_ros.doctor import LOOKED_AT, Report
from sr3d_ros.input.depth_image import DepthSet
from sr3d_ros.parameters.settings import frame_settings, postprocess
from sr3d_ros.params import ParameterError, Parameters
from sr3d_ros.tf.up_imu import GravityFromImu

_FOREIGN = ("use_sim_time", "start_type_description_service")
_FOREIGN_GROUPS = ("qos_overrides.", "diagnostic_updater.")


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
    report.skip_rest(LOOKED_AT, "what comes before it failed")
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
        if name not in _FOREIGN and not name.startswith(_FOREIGN_GROUPS)
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
    from sr3d_ros.node_parts.work import load_detector

    detector = load_detector(parameters)
    detector.postprocess = postprocess(parameters, detector.classes)
    return detector


class _Visit:
    """What is looked at with real messages."""

    def __init__(
        self, report: Report, probe: Probe, parameters: Parameters, wait_s: float
    ) -> None:
        self._report = report
        self._probe = probe
        self._parameters = parameters
        self._wait_s = wait_s
        self._settings = frame_settings(parameters, parameters.max_points)

    def examine(self, points: str) -> PointCloud | None:
        """One frame, from its topic to its floor; the cloud z up, None where there is none."""
        imu = self._imu() if self._settings.up == "imu" else None
        message = self._frame(points)
        if message is None:
            return None
        read = reader_of(message, self._settings.drop_zeros)
        self._report.examine("cloud", lambda: check_cloud(message, read))
        cloud = read_or_none(read)
        if cloud is None or not self._report.examine("units", lambda: check_units(cloud)):
            return None
        return self._level(message, cloud, imu)

    def _frame(self, points: str) -> Any:
        """What the node takes for a frame; None where none comes."""
        if self._parameters.kind == "cloud":
            return self._listen("~/input/points", CLOUD_TYPE, points)
        depth = self._listen("~/input/depth", IMAGE_TYPE, points)
        info = None if depth is None else self._listen("~/input/camera_info", INFO_TYPE, "")
        return None if info is None else DepthSet(depth, info)

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

    def _imu(self) -> GravityFromImu:
        """Up from the IMU's topic, after it was examined."""
        topic = self._probe.topic_in_use("~/input/imu", IMU_TYPE, self._wait_s)
        imu = self._probe.listen_to_imu(topic)
        heard = self._probe.listen(topic, "best_effort", self._wait_s, IMU_TYPE, "imu")
        self._report.examine("imu", lambda: replace(check_topic(heard), name="imu"))
        return imu

    def _level(
        self, message: Any, cloud: PointCloud, imu: GravityFromImu | None
    ) -> PointCloud | None:
        """The cloud z up, after the transforms and its floor were examined."""
        report, settings = self._report, self._settings
        way = way_of(settings, self._probe.transforms, imu)

        def transform() -> Finding:
            return check_transform(message, way, settings)

        self._probe.spin_until(lambda: transform().status == "ok", self._wait_s)
        if not report.examine("tf", transform):
            return None
        result = way(message)
        report.examine("up", lambda: check_level(cloud, result, settings))
        report.examine("filter", lambda: check_filter(cloud, result))
        return result.cloud
