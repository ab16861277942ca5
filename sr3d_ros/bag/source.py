"""Which topics of a recording to detect in: clouds, or depth images with what belongs to them."""

from __future__ import annotations

from dataclasses import dataclass

from sr3d_ros.bag.replay import IMAGE_TYPE, IMU_TYPE, INFO_TYPE, Bag, ReplayError, Source


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics that somebody asked for; None = choose."""

    topic: str | None = None
    """Point clouds or depth images; chosen where the bag has one topic of clouds."""
    info: str | None = None
    """CameraInfo of the depth images; chosen: the one beside them."""
    color: str | None = None
    """Color images for the depth images; chosen: none."""
    imu: str | None = None
    """IMU, where it says which way is up; chosen where the bag has one."""


def choose_source(bag: Bag, wanted: Topics, *, needs_imu: bool = False) -> Source:
    """The topics to use; raises `ReplayError` that lists what the bag has."""
    imu = _topic(bag, IMU_TYPE, wanted.imu, "--imu") if needs_imu else ""
    images = _names(bag, IMAGE_TYPE)
    if wanted.topic is None or wanted.topic not in images:
        return Source(bag.cloud_topic(wanted.topic), imu=imu)
    beside = wanted.topic.rpartition("/")[0] + "/camera_info"
    info = _topic(bag, INFO_TYPE, wanted.info or beside, "--camera-info")
    color = _topic(bag, IMAGE_TYPE, wanted.color, "--color") if wanted.color else ""
    return Source(wanted.topic, info, color, imu)


def _names(bag: Bag, kind: str) -> list[str]:
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
