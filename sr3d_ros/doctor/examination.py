"""The doctor examines a robot: parameters, machine, topics, one cloud, transforms, up.

Each step asks one small check; where one fails, those that need its result are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions

from sr3d_core.machine import checks
from sr3d_core.machine.findings import Finding, fail, ok
from sr3d_core.structures import PointCloud
from sr3d_ros.assembler import COLOR, DEPTH, type_of
from sr3d_ros.doctor.cloud import (
    check_cloud,
    check_filter,
    check_image,
    check_level,
    check_transform,
    check_units,
    read_or_none,
    reader_of,
    way_of,
)
from sr3d_ros.doctor.detector import check_running, no_answer, not_chosen, parameters_of
from sr3d_ros.doctor.findings import LOOKED_AT, Findings
from sr3d_ros.doctor.probe import Probe
from sr3d_ros.doctor.topics import (
    TopicSample,
    check_arrival,
    check_qos,
    check_stamp,
    check_topic,
    not_one_topic,
)
from sr3d_ros.node.interrupts import Interrupts
from sr3d_ros.parameters.command_line import explained, values_of_files
from sr3d_ros.parameters.detector import load_detector, weights_of
from sr3d_ros.parameters.file import NODE
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.parameters.rules import ParameterError
from sr3d_ros.sensors.camera_image import CameraView
from sr3d_ros.sensors.depth_image import DepthSet, has_depth
from sr3d_ros.sensors.ros_names import (
    CLOUD_TYPE,
    COMPRESSED_IMAGE_TYPE,
    IMAGE_TYPE,
    IMU_TYPE,
    INFO_TYPE,
    full_name,
)
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.imu import GravityFromImu

_FRAMES = (CLOUD_TYPE, IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)
_OF_ONE_DETECTOR = ("parameters", "gpu", "engine", "weights", *LOOKED_AT, "inference")


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """The detector that is examined: as it runs, or as it would run."""

    parameters: Parameters
    name: str  # of the one that runs; "" where none does, or several


def examine_robot(
    findings: Findings, arguments: Sequence[str], node: str, points: str, wait_s: float
) -> None:
    """Everything that needs ROS and torch; adds its findings to the findings.

    `node` is the detector that is meant, "" = the one that runs or, where parameters are given or
    none runs, what would run with them; `points` a topic to look at instead of its own.
    """
    interrupts = Interrupts()
    try:
        rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
        probe = Probe(interrupts)
    except Exception as error:  # of rclpy: RCLError, which is not public, or a ValueError
        remedy = "correct what stands after --ros-args; see docs/parameters.md"
        findings.add(fail("parameters", str(explained(error, arguments)), remedy))
        findings.skip_rest(("detector", *_OF_ONE_DETECTOR), "ROS does not take the arguments")
        rclpy.try_shutdown()
        return
    try:
        try:
            name = node and f"/{node.lstrip('/')}"
            given = _given(findings, probe, arguments, name)
            subject = _chosen(findings, probe, given, name, wait_s)
            if subject is None:
                findings.skip_rest(_OF_ONE_DETECTOR, "it is not clear which detector is meant")
            else:
                _examine(findings, probe, subject, points, wait_s)
        finally:
            probe.close()
    finally:
        rclpy.try_shutdown()


def _given(
    findings: Findings, probe: Probe, arguments: Sequence[str], wanted: str
) -> dict[str, Any]:
    """What the command line sets of the detector; files may name it, and not the doctor."""
    given = probe.given_parameters()
    try:
        return {**given, **values_of_files(arguments, wanted or NODE)}
    except ParameterError as error:
        remedy = "name the detector that the file is for: --node; what it sets is left out"
        findings.add(fail("parameters", str(error), remedy))
        return given


def _chosen(
    findings: Findings, probe: Probe, given: dict[str, Any], wanted: str, wait_s: float
) -> _Subject | None:
    """The detector that is meant; None, and the reason in the findings, where that is unknown."""
    names = probe.detectors(wanted, wait_s, is_needed=bool(wanted) or not given)
    if not wanted and (given or not names):
        return _as_given(findings, probe, given, names)
    name = wanted or names[0]
    if name not in names or not (wanted or len(names) == 1):
        findings.add(not_chosen(names, wanted))
        return None
    running = probe.ask(name, wait_s)
    if running is None:
        findings.add(no_answer(name, wait_s))
        return None
    if running.is_on_simulated_time:
        probe.follow_clock()
    topics = probe.subscriptions_of(name)
    findings.add(check_running(running, is_listening=not topics.keys().isdisjoint(_FRAMES)))
    finding, parameters = parameters_of({**running.parameters, **given}, f"of {name}: ")
    findings.add(finding)
    return _Subject(parameters, name)


def _as_given(
    findings: Findings, probe: Probe, given: dict[str, Any], names: Sequence[str]
) -> _Subject:
    """What would run; where one detector runs, it looks at the topics of that one."""
    what = "the parameters given here" if given else "default parameters"
    now = ", ".join(names) or "none"
    findings.add(ok("detector", f"running: {now}; examined is what would run with {what}"))
    finding, parameters = parameters_of(given)
    findings.add(finding)
    return _Subject(parameters, names[0] if len(names) == 1 else "")


def _examine(
    findings: Findings, probe: Probe, subject: _Subject, points: str, wait_s: float
) -> None:
    parameters = subject.parameters
    device, backend = parameters.device, parameters.backend
    findings.examine("gpu", lambda: checks.check_gpu(device, "model.device"))
    findings.examine("engine", lambda: checks.check_engine(device, backend, "model.backend"))
    has_weights = findings.examine("weights", lambda: _check_weights(parameters))
    examination = _FrameExamination(findings, probe, subject, wait_s)
    if parameters.kind == "rgb":
        examination.examine_image(points)
        why = "a color image alone has none; a detector that runs says its times in ~/status"
        findings.skip_rest((*LOOKED_AT, "inference"), why)
        return
    cloud = examination.examine(points)
    findings.skip_rest(LOOKED_AT, "what comes before it failed")
    if has_weights:
        relief = "lower input.max_points, raise model.num_threads, or use a GPU"
        findings.examine(
            "inference",
            lambda: checks.check_inference(lambda: load_detector(parameters), cloud, relief),
        )
    findings.skip_rest(("inference",), "no usable weights")


def _check_weights(parameters: Parameters) -> Finding:
    """Of all weights that the node loads, what fails, else those of `input.kind`."""
    name = "model.camera_weights" if parameters.kind == "rgb" else "model.weights"
    finding = checks.check_weights(weights_of(parameters), name)
    if parameters.kind != "auto" or finding.status != "ok":
        return finding
    camera = checks.check_weights(parameters.camera_weights, "model.camera_weights")
    return finding if camera.status == "ok" else camera


class _FrameExamination:
    """Examines one frame of real messages: its topics, cloud, transforms and floor."""

    def __init__(self, findings: Findings, probe: Probe, subject: _Subject, wait_s: float) -> None:
        self._findings = findings
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
        self._findings.examine("cloud", lambda: check_cloud(message, read))
        cloud = read_or_none(read)
        if cloud is None:
            return None
        frame = frame_name(message.header.frame_id)
        if not self._findings.examine("units", lambda: check_units(cloud, frame)):
            return None
        return self._level(message, cloud, imu)

    def examine_image(self, points: str) -> None:
        """One color image alone, from its topic to where its camera stands."""
        imu = self._imu() if self._parameters.up == "imu" else None
        kind = type_of(COLOR, self._parameters)
        image = self._newest("~/input/color", kind, points)
        info = None if image is None else self._newest("~/input/camera_info", INFO_TYPE, "")
        if info is None:
            return
        view, way = CameraView(image, info), way_of(self._parameters, self._probe.transforms, imu)
        self._probe.spin_until(lambda: check_image(view, way).status == "ok", self._wait_s)
        self._findings.examine("image", lambda: check_image(view, way))

    def _frame(self, points: str) -> Any:
        """What the node takes for a frame; None where none comes."""
        parameters = self._parameters
        if (parameters.preferred if parameters.kind == "auto" else parameters.kind) == "cloud":
            return self._newest("~/input/points", CLOUD_TYPE, points)
        kind = type_of(DEPTH, self._parameters)
        depth = self._newest("~/input/depth", kind, points)
        info = None if depth is None else self._newest("~/input/camera_info", INFO_TYPE, "")
        return None if info is None else DepthSet(depth, info)

    def _newest(self, private: str, kind: str, topic: str) -> Any:
        """The newest message of a topic, after it was examined."""
        sample = self._sample(private, kind, topic)
        if sample is None:
            return None
        findings, asked = self._findings, self._parameters.reliability
        if not findings.examine("topic", lambda: check_topic(sample)):
            return None
        if not findings.examine("qos", lambda: check_qos(sample, asked)):
            return None
        findings.examine("arrival", lambda: check_arrival(sample))
        if sample.latest is not None:
            findings.examine("stamp", lambda: check_stamp(sample))
        return sample.latest

    def _sample(self, private: str, kind: str, topic: str = "") -> TopicSample | None:
        """What comes on a topic; None unless there is exactly one topic."""
        argument = private.rpartition("/")[2]
        asked = "best_effort" if kind == IMU_TYPE else self._parameters.reliability
        try:
            topic = topic or self._probe.remapped(private) or self._topic_of_detector(kind)
            topics = [topic] if topic else self._probe.topics_with(kind, self._wait_s)
            if kind == IMAGE_TYPE and len(topics) > 1:
                topics = self._those_meant(topics) or topics
            if len(topics) == 1:
                return self._probe.sample(topics[0], asked, self._wait_s, kind, argument)
        except RuntimeError as error:  # of rclpy: a name that cannot be one
            text = f"cannot subscribe to {topic!r}: {str(error).partition(', at ')[0]}"
            self._findings.add(fail("topic", text, "name a topic such as /camera/points"))
            return None
        self._findings.add(not_one_topic(kind, argument, topics))
        return None

    def _topic_of_detector(self, kind: str) -> str:
        """The one topic of a type that the detector subscribes to; "" where that is unknown."""
        detector = self._subject.name
        subscribed = self._probe.subscriptions_of(detector) if detector else {}
        extra = {full_name(topic, detector) for topic in self._parameters.extra_topics if topic}
        topics = [name for name in subscribed.get(kind, ()) if name not in extra]
        if kind == IMAGE_TYPE and len(topics) > 1:
            topics = self._those_meant(topics)
        return topics[0] if len(topics) == 1 else ""

    def _those_meant(self, topics: Sequence[str]) -> list[str]:
        """Of topics of images, those of depth, or of color where no depth is wanted."""
        wants_depth = self._parameters.kind != "rgb"
        return [name for name in topics if self._has_depth(name) == wants_depth]

    def _has_depth(self, topic: str) -> bool:
        """Whether the images of a topic are depth, not color."""
        asked = self._parameters.reliability
        image = self._probe.sample(topic, asked, self._wait_s, IMAGE_TYPE).latest
        return image is not None and has_depth(image)

    def _imu(self) -> GravityFromImu | None:
        """Up from the IMU's topic, after it was examined; None where there is none."""
        sample = self._sample("~/input/imu", IMU_TYPE)
        if sample is None:
            return None
        self._findings.examine("imu", lambda: check_topic(sample))
        return self._probe.subscribe_to_imu(sample.topic)

    def _level(
        self, message: Any, cloud: PointCloud, imu: GravityFromImu | None
    ) -> PointCloud | None:
        """The cloud z up, after the transforms and its floor were examined."""
        findings, parameters = self._findings, self._parameters
        way = way_of(parameters, self._probe.transforms, imu)

        def transform() -> Finding:
            return check_transform(message, way, parameters)

        self._probe.spin_until(lambda: transform().status == "ok", self._wait_s)
        if not findings.examine("tf", transform):
            return None
        result = way(message)
        findings.examine("up", lambda: check_level(cloud, result, parameters))
        findings.examine("filter", lambda: check_filter(cloud, result))
        return result.cloud
