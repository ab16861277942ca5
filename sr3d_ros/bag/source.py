"""Which topics of a recording to detect in: clouds, or depth images with what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sr3d_ros.assembler import CAMERA_INFO, COLOR, DEPTH, POINTS, FrameAssembler
from sr3d_ros.bag.replay import Bag, ReplayError, Source
from sr3d_ros.parameters.file import NODE
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.ros_names import CLOUD_TYPE, IMAGE_TYPE, IMU_TYPE, INFO_TYPE, full_name


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics that somebody asked for, None = choose; and the node whose work is done."""

    topic: str | None = None
    """Point clouds or depth images; chosen where the bag has one topic of clouds."""
    info: str | None = None
    """CameraInfo of the depth images; chosen: the one beside them."""
    color: str | None = None
    """Color images for the depth images; chosen: none."""
    imu: str | None = None
    """IMU, where it says which way is up; chosen where the bag has one."""
    tf_namespace: str | None = None
    """Of the transforms; chosen: none, or the only one that there is."""
    node: str = NODE
    """The detector's name, with its namespace: what relative names of topics begin with."""


def kind_of(bag: Bag, wanted: Topics, parameters: Parameters) -> Parameters:
    """Parameters with the `input.kind` that the topic asked for has."""
    if wanted.topic is None:
        return parameters
    is_image = wanted.topic in _names(bag, IMAGE_TYPE)
    return parameters.with_values({"input.kind": "depth" if is_image else "cloud"})


def choose_source(bag: Bag, wanted: Topics, parameters: Parameters) -> Source:
    """The topics to use; raises `ReplayError` that lists what the bag has.

    Further clouds (`input.extra_topics`) are those of the parameters.
    """
    imu = _topic(bag, IMU_TYPE, wanted.imu, "--imu") if parameters.up == "imu" else ""
    if parameters.kind == "depth":
        return Source(_depth_topics(bag, wanted), imu)
    inputs = FrameAssembler(parameters).topics
    inputs[POINTS] = bag.cloud_topic(wanted.topic)
    for name in inputs:
        if name != POINTS:
            extra = full_name(inputs[name], wanted.node)
            inputs[name] = _topic(bag, CLOUD_TYPE, extra, "input.extra_topics")
    return Source(inputs, imu)


def _depth_topics(bag: Bag, wanted: Topics) -> dict[str, str]:
    depth = _topic(bag, IMAGE_TYPE, wanted.topic, "--topic")
    beside = depth.rpartition("/")[0] + "/camera_info"
    info = _topic(bag, INFO_TYPE, wanted.info or beside, "--camera-info")
    topics = {DEPTH: depth, CAMERA_INFO: info}
    if wanted.color:
        topics[COLOR] = _topic(bag, IMAGE_TYPE, wanted.color, "--color")
    return topics


def _names(bag: Bag, kind: str) -> Sequence[str]:
    return [t.topic for t in bag.topics if t.type_name == kind and t.num_messages > 0]


def _topic(bag: Bag, kind: str, wanted: str | None, option: str) -> str:
    """The topic of a type that was asked for, or the only one."""
    names = _names(bag, kind)
    if wanted in names or (wanted is None and len(names) == 1):
        return wanted or names[0]
    found = f"'{wanted}' is not among" if wanted else "expected one of"
    raise ReplayError(
        f"{bag.path}: {option}: {found} the topics of {kind} with messages: "
        f"{', '.join(names) or 'none'}; name one with {option}"
    )
