"""What a recording holds, what the detector would do with it, and what is missing for that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sr3d_ros.assembler import CAMERA_INFO, COLOR, DEPTH
from sr3d_ros.bag.alternatives import first_message
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import Bag, Source
from sr3d_ros.bag.source import Topics, choose_source, kind_of
from sr3d_ros.bag.up import FoundUp, find_up
from sr3d_ros.errors import MessageError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.compressed_color import plain_color
from sr3d_ros.sensors.depth_image import color_misfit, has_depth
from sr3d_ros.sensors.ros_names import CLOUD_TYPE, COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from sr3d_ros.tf.headers import frame_of
from sr3d_ros.tf.recorded import RecordedTransforms

_IS_GAP = 3.0
"""A pause of so many usual intervals is a gap."""

_PICTURES = (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)


@dataclass(frozen=True, slots=True)
class TopicSurvey:
    """One topic over time; seconds are of the recording, from its first message on."""

    topic: str
    type: str
    messages: int
    frame: str  # of its first message; "" where it has none, or is not read
    rate_hz: float | None  # mean; None below two messages
    num_gaps: int
    longest_gap_s: float
    longest_gap_at_s: float


@dataclass(frozen=True, slots=True)
class Survey:
    """All that `sr3d bag info` says."""

    duration_s: float
    topics: tuple[TopicSurvey, ...]
    frames: tuple[str, ...]  # of the transforms
    inputs: dict[str, str]  # topics by the detector's inputs; empty where none can be chosen
    up: str  # how up is found; "" where that is not known
    up_reason: str
    missing: tuple[str, ...]  # what is missing or odd, and what to do
    damage: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def survey(bag: Bag, topics: Topics) -> Survey:
    """Look through a whole recording."""
    tf_topics = bag.tf_topics(topics.tf_namespace)
    transforms, errors = bag.transforms(tf_topics)
    rows = _over_time(bag)
    missing = [tf_topics.remark] if tf_topics.remark else []
    if errors:
        missing.append(f"{len(errors)} transforms cannot be used; the first: {errors[0]}")
    missing += [*bag.notes_on(transforms), *_gaps(rows)]
    inputs, found = dict[str, str](), FoundUp("none", "")
    is_up_known = False
    try:
        parameters = kind_of(bag, topics, Parameters())
        source = choose_source(bag, topics, parameters)
        inputs = dict(source.inputs)
        missing += _about_frame(rows, source, transforms)
        missing += _about_color(bag, source)
        found = find_up(bag, source, transforms, parameters, tf_topics.remark)
        is_up_known = True
    except ReplayError as error:
        missing.append(str(error).removeprefix(f"{bag.path}: "))
    return Survey(
        duration_s=bag.duration_s,
        topics=rows,
        frames=tuple(transforms.frames),
        inputs=inputs,
        up=found.mode if is_up_known else "",
        up_reason=found.reason,
        missing=tuple(missing),
        damage=tuple(bag.notes),
    )


def _over_time(bag: Bag) -> tuple[TopicSurvey, ...]:
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    for name, kind, time_ns in bag.receive_times():
        times[name, kind].append(time_ns)
    rows = []
    for topic in bag.topics:
        received = np.sort(np.array(times[topic.topic, topic.type_name], np.int64))
        steps = np.diff(received) / 1e9
        usual = float(np.median(steps)) if len(steps) else 0.0
        is_sensor = topic.type_name in (CLOUD_TYPE, *_PICTURES)  # others come as they please
        is_gap = (steps > _IS_GAP * usual) & (usual > 0.0) & is_sensor
        longest = int(steps.argmax()) if is_gap.any() else 0
        at_s = float(received[longest] - bag.start_ns) / 1e9 if is_gap.any() else 0.0
        rows.append(
            TopicSurvey(
                topic=topic.topic,
                type=topic.type_name,
                messages=topic.num_messages,
                frame=_frame(bag, topic.topic, topic.type_name),
                rate_hz=round(len(steps) / float(steps.sum()), 3) if usual > 0.0 else None,
                num_gaps=int(is_gap.sum()),
                longest_gap_s=float(steps[longest]) if is_gap.any() else 0.0,
                longest_gap_at_s=at_s,
            )
        )
    return tuple(rows)


def _frame(bag: Bag, topic: str, kind: str) -> str:
    message = first_message(bag, topic) if kind in (CLOUD_TYPE, *_PICTURES) else None
    try:
        return "" if message is None else frame_of(message)
    except MessageError:
        return ""


def _gaps(rows: tuple[TopicSurvey, ...]) -> Iterator[str]:
    for row in rows:
        if row.num_gaps:
            yield (
                f"{row.topic} pauses {row.num_gaps} times; longest {row.longest_gap_s:.2f} s, at "
                f"{row.longest_gap_at_s:.2f} s: were messages lost while it was recorded?"
            )


def _about_frame(
    rows: tuple[TopicSurvey, ...], source: Source, transforms: RecordedTransforms
) -> Iterator[str]:
    """What is missing between the sensor's frame and the transforms."""
    frame = next(row.frame for row in rows if row.topic == source.topic)
    if not frame:
        yield f"{source.topic} has no frame_id: say --up none, floor or imu"
    elif not transforms.frames:
        yield (
            "no transforms: boxes are in the sensor's frame, and cannot be tracked; record /tf "
            "and /tf_static as well"
        )
    elif frame not in transforms.frames:
        yield (
            f"the frame '{frame}' of {source.topic} is not among the transforms' frames: was "
            "/tf_static recorded?"
        )


def _about_color(bag: Bag, source: Source) -> Iterator[str]:
    """Which color images would fit depth images that are used without."""
    if DEPTH not in source.inputs or COLOR in source.inputs:
        return
    depth = first_message(bag, source.inputs[DEPTH])
    fitting = []
    for topic in bag.topics:
        if topic.type_name not in _PICTURES or topic.num_messages == 0:
            continue
        image = first_message(bag, topic.topic)
        try:
            if image is not None and not has_depth(image):
                misfit = color_misfit(depth, plain_color(image))
                fitting += [] if misfit else [f"--color {topic.topic}"]
        except MessageError:
            continue
    if fitting:
        yield f"depth is used without color; what fits: {' or '.join(fitting)}"
    else:
        where = source.inputs[CAMERA_INFO].rpartition("/")[0]
        yield (
            f"depth is used without color: no color image fits that of {where}; let the driver "
            "align depth to color"
        )
