"""The doctor's way through a robot: parameters, machine, topics, one cloud, transforms, up.

Each step asks one small check; where one fails, those that need its result are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rclpy

from sr3d_core.machine import checks
from sr3d_core.machine.findings import Finding, fail, ok
from sr3d_core.structures import PointCloud
from sr3d_ros.doctor.cloud import (
    check_cloud,
    check_filter,
    check_level,
    check_transform,
    check_units,
    read_or_none,
    reader_of,
    way_of,
)
from sr3d_ros.doctor.detector import check_running, full_name, no_answer, not_chosen, parameters_of
from sr3d_ros.doctor.probe import SETTLE_S, Probe
from sr3d_ros.doctor.report import LOOKED_AT, Report
from sr3d_ros.doctor.topics import (
    CLOUD_TYPE,
    IMAGE_TYPE,
    IMU_TYPE,
    INFO_TYPE,
    Heard,
    check_arrival,
    check_qos,
    check_stamp,
    check_topic,
    not_one_topic,
)
from sr3d_ros.parameters.detector import load_detector
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.depth_image import DepthSet
from sr3d_ros.tf.imu import GravityFromImu

_DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
_FRAMES = (CLOUD_TYPE, IMAGE_TYPE)
_OF_ONE_DETECTOR = ("parameters", "gpu", "engine", "weights", *LOOKED_AT, "inference")


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """The detector that is examined: as it runs, or as it would run."""

    parameters: Parameters
    name: str  # of the one that runs; "" where none does, or several
    topics: Mapping[str, Sequence[str]]  # that it listens to, by type


def examine_robot(
    report: Report, arguments: Sequence[str], node: str, points: str, wait_s: float
) -> None:
    """Everything that needs ROS and torch; adds its findings to the report.

    `node` is the detector that is meant, "" = the one that runs or, where parameters are given or
    none runs, what would run with them; `points` a topic to look at instead of its own.
    """
    rclpy.init(args=list(arguments))
    try:
        probe = Probe()
        try:
            subject = _chosen(report, probe, node and f"/{node.lstrip('/')}", wait_s)
            if subject is None:
                report.skip_rest(_OF_ONE_DETECTOR, "it is not clear which detector is meant")
            else:
                _examine(report, probe, subject, points, wait_s)
        finally:
            probe.close()
    finally:
        rclpy.try_shutdown()


def _chosen(report: Report, probe: Probe, wanted: str, wait_s: float) -> _Subject | None:
    """The detector that is meant; None, and the reason in the report, where that is unknown."""
    given = probe.given_parameters()
    names = probe.detectors(wanted, SETTLE_S if given and not wanted else wait_s)
    if not wanted and (given or not names):
        return _as_given(report, probe, given, names)
    name = wanted or names[0]
    if name not in names or not (wanted or len(names) == 1):
        report.add(not_chosen(names, wanted))
        return None
    running = probe.ask(name, wait_s)
    if running is None:
        report.add(no_answer(name, wait_s))
        return None
    if running.is_on_simulated_time:
        probe.follow_clock()
    topics = probe.heard_by(name)
    report.add(check_running(running, is_listening=not topics.keys().isdisjoint(_FRAMES)))
    finding, parameters = parameters_of({**running.parameters, **given}, f"of {name}: ")
    report.add(finding)
    return _Subject(parameters, name, topics)


def _as_given(
    report: Report, probe: Probe, given: dict[str, Any], names: Sequence[str]
) -> _Subject:
    """What would run; where one detector runs, it looks at the topics of that one."""
    what = "the parameters given here" if given else "default parameters"
    now = ", ".join(names) or "none"
    report.add(ok("detector", f"running: {now}; examined is what would run with {what}"))
    finding, parameters = parameters_of(given)
    report.add(finding)
    name = names[0] if len(names) == 1 else ""
    return _Subject(parameters, name, probe.heard_by(name) if name else {})


def _examine(report: Report, probe: Probe, subject: _Subject, points: str, wait_s: float) -> None:
    parameters = subject.parameters
    device, backend, weights = parameters.device, parameters.backend, parameters.weights
    report.examine("gpu", lambda: checks.check_gpu(device, "model.device"))
    report.examine("engine", lambda: checks.check_engine(device, backend, "model.backend"))
    has_weights = report.examine("weights", lambda: checks.check_weights(weights, "model.weights"))
    cloud = _Visit(report, probe, subject, wait_s).examine(points)
    report.skip_rest(LOOKED_AT, "what comes before it failed")
    if has_weights:
        relief = "lower input.max_points, raise model.num_threads, or use a GPU"
        report.examine(
            "inference",
            lambda: checks.check_inference(lambda: load_detector(parameters), cloud, relief),
        )
    report.skip_rest(("inference",), "no usable weights")


class _Visit:
    """What is looked at with real messages."""

    def __init__(self, report: Report, probe: Probe, subject: _Subject, wait_s: float) -> None:
        self._report = report
        self._probe = probe
        self._parameters = subject.parameters
        self._subject = subject
        self._wait_s = wait_s

    def examine(self, points: str) -> PointCloud | None:
        """One frame, from its topic to its floor; the cloud z up, None where there is none."""
        imu = self._imu() if self._parameters.up == "imu" else None
        message = self._frame(points)
        if message is None:
            return None
        read = reader_of(message, self._parameters.drop_zeros)
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
        heard = self._hear(private, kind, topic)
        if heard is None:
            return None
        report, asked = self._report, self._parameters.reliability
        if not report.examine("topic", lambda: check_topic(heard)):
            return None
        if not report.examine("qos", lambda: check_qos(heard, asked)):
            return None
        report.examine("arrival", lambda: check_arrival(heard))
        if heard.latest is not None:
            report.examine("stamp", lambda: check_stamp(heard))
        return heard.latest

    def _hear(self, private: str, kind: str, topic: str = "") -> Heard | None:
        """What comes on a topic; None where there is not one topic to listen to."""
        argument = private.rpartition("/")[2]
        asked = "best_effort" if kind == IMU_TYPE else self._parameters.reliability
        try:
            topic = topic or self._probe.remapped(private) or self._heard_by_detector(kind)
            topics = [topic] if topic else self._probe.topics_with(kind, self._wait_s)
            if len(topics) == 1:
                return self._probe.listen(topics[0], asked, self._wait_s, kind, argument)
        except RuntimeError as error:  # of rclpy: a name that cannot be one
            text = f"cannot listen to {topic!r}: {str(error).partition(', at ')[0]}"
            self._report.add(fail("topic", text, "name a topic such as /camera/points"))
            return None
        self._report.add(not_one_topic(kind, argument, topics))
        return None

    def _heard_by_detector(self, kind: str) -> str:
        """The topic that the detector listens to, of those of a type; "" where that is unknown."""
        extra = self._parameters.extra_topics
        others = {full_name(topic, self._subject.name) for topic in extra if topic}
        topics = [name for name in self._subject.topics.get(kind, ()) if name not in others]
        if kind == IMAGE_TYPE and len(topics) > 1:
            topics = [name for name in topics if self._has_depth(name)]
        return topics[0] if len(topics) == 1 else ""

    def _has_depth(self, topic: str) -> bool:
        """Whether the images of a topic are depth, not color."""
        asked = self._parameters.reliability
        image = self._probe.listen(topic, asked, self._wait_s, IMAGE_TYPE).latest
        return image is not None and image.encoding in _DEPTH_ENCODINGS

    def _imu(self) -> GravityFromImu | None:
        """Up from the IMU's topic, after it was examined; None where there is none."""
        heard = self._hear("~/input/imu", IMU_TYPE)
        if heard is None:
            return None
        self._report.examine("imu", lambda: check_topic(heard))
        return self._probe.listen_to_imu(heard.topic)

    def _level(
        self, message: Any, cloud: PointCloud, imu: GravityFromImu | None
    ) -> PointCloud | None:
        """The cloud z up, after the transforms and its floor were examined."""
        report, parameters = self._report, self._parameters
        way = way_of(parameters, self._probe.transforms, imu)

        def transform() -> Finding:
            return check_transform(message, way, parameters)

        self._probe.spin_until(lambda: transform().status == "ok", self._wait_s)
        if not report.examine("tf", transform):
            return None
        result = way(message)
        report.examine("up", lambda: check_level(cloud, result, parameters))
        report.examine("filter", lambda: check_filter(cloud, result))
        return result.cloud
