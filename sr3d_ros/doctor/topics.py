"""The doctor's questions about a topic: is it there, does its QoS fit, does anything arrive?

Pure: `doctor/probe.py` subscribes, these functions judge what came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sr3d_core.machine.findings import Finding, fail, ok, warn
from sr3d_ros.assembler import depth_setting
from sr3d_ros.diagnostics.advice import AHEAD_MS, is_lossy
from sr3d_ros.sensors.ros_names import CLOUD_TYPE, IMU_TYPE

CLOCKS_DIFFER_S = 1.0
"""A sensor's message is tens of milliseconds old; a second is another clock."""
_STOPPED_S = 2.0
PROFILE = "config/fastdds_large_data.xml"
SEGMENT_BYTES = 67_108_864
"""The shared memory that the profile makes."""
_MESSAGES_AT_ONCE = 4  # some are read while others are written
_START_THE_DRIVER = (
    "start the camera driver; if it runs, compare ROS_DOMAIN_ID and ROS_AUTOMATIC_DISCOVERY_RANGE "
    "of both shells"
)


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes on a topic."""

    node: str
    reliability: str  # "reliable" or "best_effort"
    kind: str = CLOUD_TYPE  # type of its messages


@dataclass(frozen=True, slots=True, eq=False)
class TopicSample:
    """What came on one topic for some seconds; times in seconds."""

    topic: str
    kind: str  # type that is expected, as "sensor_msgs/msg/PointCloud2"
    argument: str  # the input that it is for, as the launch file names it: "points"
    topics: Mapping[str, Sequence[str]]  # every topic of the sensors with its types
    publishers: tuple[Publisher, ...]  # of the type that is expected
    waited_s: float
    arrivals_s: tuple[float, ...] = ()  # since the start, with the node's QoS
    num_lost: int = 0  # sent, as the middleware knows, but not handed on
    latest: Any = None  # the newest message
    age_s: float = 0.0  # from its stamp to its arrival
    asked: str = "best_effort"  # the reliability of the subscription
    has_profile: bool = False  # whether config/fastdds_large_data.xml is in use in this shell


def check_topic(sample: TopicSample) -> Finding:
    """Whether somebody publishes the right type on the topic."""
    name = _name_of(sample.kind)
    types = sample.topics.get(sample.topic, ())
    if types and sample.kind not in types:
        return fail(
            name,
            f"{sample.topic} carries {', '.join(types)}, expected {sample.kind}",
            _where_else(sample),
        )
    if not sample.publishers:
        return fail(name, f"nobody publishes {sample.topic}", _where_else(sample))
    nodes = ", ".join(sorted({publisher.node for publisher in sample.publishers}))
    text = f"{sample.topic} from {nodes}"
    others = [kind for kind in types if kind != sample.kind]
    if others:
        remedy = "what is of another type does not arrive: give it a topic of its own"
        return warn(name, f"{text}; it carries {', '.join(others)} as well", remedy)
    return ok(name, text)


def _where_else(sample: TopicSample) -> str:
    """Topics that carry what is expected, and how to choose one."""
    others = sorted(
        name
        for name, types in sample.topics.items()
        if sample.kind in types and name != sample.topic
    )
    short = sample.kind.rpartition("/")[2]
    setting = depth_setting(sample.kind, sample.topics.get(sample.topic, ()))
    depth = f"; {setting}" if setting else ""
    if not others:
        return f"no topic has a {short}: {_START_THE_DRIVER}{depth}"
    return (
        f"{short} comes on {', '.join(others)}: launch the detector with "
        f"{sample.argument}:={others[0]}, the doctor with {_option(sample.argument, others[0])}"
        f"{depth}"
    )


def not_one_topic(kind: str, argument: str, topics: Sequence[str]) -> Finding:
    """Why there is not one topic to look at: none has what is expected, or several have it."""
    name, short = _name_of(kind), kind.rpartition("/")[2]
    if not topics:
        return fail(name, f"no topic has a {short}", _START_THE_DRIVER)
    return fail(
        name,
        f"{len(topics)} topics have a {short}: {', '.join(topics)}",
        f"say which one is meant: {_option(argument, topics[0])}",
    )


def _name_of(kind: str) -> str:
    return "imu" if kind == IMU_TYPE else "topic"


def _option(argument: str, topic: str) -> str:
    """How the doctor is told a topic."""
    if argument in ("points", "depth"):
        return f"--points {topic}"
    return f"--ros-args -r '~/input/{argument}:={topic}'"


def check_qos(sample: TopicSample, asked: str) -> Finding:
    """Whether the reliability that is asked for is offered."""
    offered = sorted({publisher.reliability for publisher in sample.publishers})
    text = f"offered {' and '.join(offered)}, asked {asked}"
    if asked != "reliable" or "best_effort" not in offered:
        return ok("qos", text)
    remedy = "set input.reliability to best_effort, or make the publisher reliable"
    if offered == ["best_effort"]:
        return fail("qos", f"{text}: incompatible, nothing can arrive", remedy)
    return warn("qos", f"{text}: nothing of some publishers can arrive", remedy)


def check_arrival(sample: TopicSample) -> Finding:
    """Whether messages come, how often, and whether they have stopped."""
    num, lost = len(sample.arrivals_s), sample.num_lost
    if num == 0:
        return _nothing(sample)
    if is_lossy(num, lost):
        text = f"{num} of {num + lost} came, {lost} were lost on the way{_size_of(sample.latest)}"
        return warn("arrival", text, _against_loss(sample))
    silence_s = sample.waited_s - sample.arrivals_s[-1]
    span_s = sample.arrivals_s[-1] - sample.arrivals_s[0]
    period_s = span_s / (num - 1) if num > 1 else 0.0
    if silence_s > max(_STOPPED_S, 5.0 * period_s):
        return fail(
            "arrival",
            f"{num} came, then nothing for {silence_s:.1f} s: the sensor has stopped",
            "look at the driver's log and the cable; start the driver again",
        )
    rate = f"{1.0 / period_s:.1f} Hz" if period_s > 0.0 else "1 message"
    return ok("arrival", f"{rate}{_size_of(sample.latest)}")


def _nothing(sample: TopicSample) -> Finding:
    """Why nothing came at all."""
    if is_lossy(0, sample.num_lost):
        return fail(
            "arrival",
            f"all {sample.num_lost} messages of {sample.waited_s:.0f} s were lost on the way: "
            "they are too large for Fast DDS's shared memory, or for the network",
            _against_loss(sample),
        )
    remedy = "the sensor has stopped: look at the driver's log and the cable, start it again"
    if any(publisher.reliability == "best_effort" for publisher in sample.publishers):
        remedy += f"; if `ros2 topic hz {sample.topic}` is silent too, {_fast_dds(sample)}"
    return fail(
        "arrival", f"no message for {sample.waited_s:.0f} s although somebody publishes", remedy
    )


def _against_loss(sample: TopicSample) -> str:
    """What to do about messages that are lost on the way."""
    is_offered = any(publisher.reliability == "reliable" for publisher in sample.publishers)
    if is_offered and sample.asked != "reliable":
        return f"set input.reliability to reliable, or {_fast_dds(sample)}"
    return _fast_dds(sample)


def _fast_dds(sample: TopicSample) -> str:
    """How messages find room in Fast DDS's shared memory."""
    num_bytes = _num_bytes(sample.latest)
    if num_bytes * _MESSAGES_AT_ONCE > SEGMENT_BYTES:
        return (
            f"in a copy of {PROFILE} raise segment_size to {_MESSAGES_AT_ONCE * num_bytes} or "
            f"more, as {SEGMENT_BYTES} hold {SEGMENT_BYTES // num_bytes} of these messages, and "
            "start the publisher with the copy; or publish fewer points"
        )
    if sample.has_profile:
        return (
            f"{PROFILE} is in use here: start the publisher with it too; where it has it, slow "
            "down the sensor or publish fewer points"
        )
    return (
        "start the publisher in a shell with export FASTDDS_DEFAULT_PROFILES_FILE=$(ros2 pkg "
        f"prefix --share sr3d_ros)/{PROFILE} (Humble, Jazzy: FASTRTPS_DEFAULT_PROFILES_FILE)"
    )


def _num_bytes(message: Any) -> int:
    return len(getattr(message, "data", ()))


def _size_of(message: Any) -> str:
    num_bytes = _num_bytes(message)
    return f", {num_bytes / 1e6:.1f} MB each" if num_bytes else ""


def check_stamp(sample: TopicSample) -> Finding:
    """Whether the stamps fit the clock that transforms are looked up with."""
    if -1e-3 * AHEAD_MS <= sample.age_s <= CLOCKS_DIFFER_S:
        return ok("stamp", f"{1e3 * sample.age_s:.0f} ms old on arrival")
    where = "in the past" if sample.age_s > 0 else "in the future"
    return warn(
        "stamp",
        f"{abs(sample.age_s):,.1f} s {where}: the sensor has another clock than this process",
        "simulation or bag: set use_sim_time to true and play with --clock; two computers: "
        "synchronise their clocks (chrony)",
    )
