"""A recording through the same path as the node, without ROS.

Reads ROS 2 bags (sqlite3, mcap) and ROS 1 bags through `rosbags`. Transforms of the whole bag are
read ahead, so no frame is lost to a transform that was recorded late (`tf/recorded.py`). Clouds,
images and IMU messages come in recorded order, as a node gets them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from sr3d_ros.assembler import Frame, FrameAssembler
from sr3d_ros.bag.tf_topics import OPTION as TF_OPTION
from sr3d_ros.bag.tf_topics import TfTopics, choose_tf_topics
from sr3d_ros.errors import MessageError, Refused, TransformError
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.sensors.ros_names import (
    CLOUD_TYPE,
    COMPRESSED_IMAGE_TYPE,
    IMAGE_TYPE,
    IMU_TYPE,
    INFO_TYPE,
)
from sr3d_ros.tf.headers import stamp_of, stamp_to_ns
from sr3d_ros.tf.imu import GravityFromImu
from sr3d_ros.tf.recorded import RecordedTransforms

_TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_CLOCK, _CLOCK_TYPE = "/clock", "rosgraph_msgs/msg/Clock"
_READ = (CLOUD_TYPE, IMAGE_TYPE, COMPRESSED_IMAGE_TYPE, INFO_TYPE, IMU_TYPE)


class ReplayError(ValueError):
    """A bag or a ground-truth file that cannot be used."""


@dataclass(frozen=True, slots=True)
class TopicSummary:
    """One topic of a bag."""

    topic: str
    type_name: str
    num_messages: int


@dataclass(frozen=True, slots=True)
class Source:
    """The topics of a bag that frames come from."""

    inputs: Mapping[str, str]
    """Topics by the names of `FrameAssembler`'s inputs; the first one decides about frames."""
    imu: str = ""  # Imu; "" = none

    @property
    def topic(self) -> str:
        """Where clouds or depth images come from."""
        return next(iter(self.inputs.values()))


@dataclass(frozen=True, slots=True)
class DroppedFrame:
    """A cloud that could not be used, and why."""

    stamp_ns: int
    reason: str  # slug, as `Refused.reason`
    text: str


class Bag:
    """An open recording; use it in a `with` statement. Raises `ReplayError`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise ReplayError(f"{self.path}: no such file or folder, expected a bag")
        if self.path.is_dir() and not (self.path / "metadata.yaml").exists():
            raise ReplayError(
                f"{self.path}: no metadata.yaml, expected a ROS 2 bag folder; give the .mcap or "
                ".db3 file itself, or rebuild the file with `ros2 bag reindex`"
            )
        # Imported here: only who reads bags needs rosbags.
        any_reader = import_module("rosbags.highlevel").AnyReader
        with self._explained("cannot be opened"):
            self._reader = any_reader([self.path], default_typestore=_types_for_old_bags())
            self._reader.open()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    @property
    def topics(self) -> tuple[TopicSummary, ...]:
        """All topics, sorted by name."""
        counts: dict[tuple[str, str], int] = {}
        for connection in self._reader.connections:
            key = (connection.topic, connection.msgtype)
            counts[key] = counts.get(key, 0) + connection.msgcount
        return tuple(TopicSummary(*key, count) for key, count in sorted(counts.items()))

    @property
    def duration_s(self) -> float:
        """Time between the first and the last message."""
        return max(0, self._reader.duration) / 1e9

    def num_messages(self, topic: str) -> int:
        """How many messages a topic has."""
        return sum(t.num_messages for t in self.topics if t.topic == topic)

    def tf_topics(self, namespace: str | None = None) -> TfTopics:
        """Where transforms come from; `namespace` None = choose."""
        kinds = [t for t in self.topics if t.type_name in _TF_TYPES and t.num_messages > 0]
        names = [topic.topic for topic in kinds]
        chosen = choose_tf_topics(names, namespace)
        if chosen is None:
            raise ReplayError(
                f"{self.path}: {TF_OPTION} {namespace}: no tf and no tf_static there; topics with "
                f"transforms: {', '.join(names) or 'none'}"
            )
        return chosen

    def transforms(
        self, topics: TfTopics | None = None
    ) -> tuple[RecordedTransforms, list[TransformError]]:
        """Every transform of the bag, and what was wrong with unusable ones."""
        topics = topics or self.tf_topics()
        transforms, errors = RecordedTransforms(), []
        for topic, time_ns, message in self.messages(*topics.is_static, _CLOCK):
            if isinstance(message, MessageError):
                continue
            if topic == _CLOCK:
                transforms.read_clock(stamp_to_ns(message.clock), time_ns)
                continue
            try:
                transforms.read(message, topics.is_static[topic], time_ns)
            except TransformError as error:
                errors.append(error)
        return transforms, errors

    def notes_on(self, transforms: RecordedTransforms) -> list[str]:
        """What of its transforms who looks at the results should know."""
        start_ns = int(self._reader.start_time)
        return [
            f"the static transform of '{change.child}' in '{change.parent}' was published again "
            f"with another value, {len(change.received_ns)} times, first "
            f"{(change.received_ns[0] - start_ns) / 1e9:.3f} s into the recording: a cloud uses "
            "the value that held when it was received, as on the robot"
            for change in transforms.static_changes
        ]

    def messages(self, *topics: str) -> Iterator[tuple[str, int, Any]]:
        """Topic, receive time in nanoseconds and message, in recorded order.

        A message that cannot be decoded comes as the `MessageError` that says why.
        """
        usable = (*_READ, *_TF_TYPES, _CLOCK_TYPE)
        chosen = [c for c in self._reader.connections if c.topic in topics and c.msgtype in usable]
        if not chosen:
            return
        with self._explained("is damaged"):
            for connection, time_ns, raw in self._reader.messages(connections=chosen):
                yield connection.topic, time_ns, self._decoded(raw, connection.msgtype)

    def _decoded(self, raw: bytes, type_name: str) -> Any:
        try:
            return self._reader.deserialize(raw, type_name)
        except Exception as error:
            return MessageError("undecodable", f"{type_name} of {len(raw)} bytes: {error}")

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn what the readers of other people's files raise into one error of ours.

        They raise errors of SQLite, YAML, zstd, struct and their own; any of them means the same.
        """
        try:
            yield
        except ReplayError:
            raise
        except Exception as error:
            detail = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ReplayError(
                f"{self.path}: bag {what} ({type(error).__name__}: {detail}); expected a rosbag2 "
                "folder, .mcap, .db3 or ROS 1 .bag file; try `ros2 bag reindex`, or record again"
            ) from error


def replay(
    bag: Bag,
    source: Source,
    assembler: FrameAssembler,
    pipeline: FramePipeline,
    transforms: RecordedTransforms,
    imu: GravityFromImu | None = None,
) -> Iterator[FrameResult | DroppedFrame]:
    """Every frame of a source through the node's own way, in recorded order.

    `transforms` and `imu` are those that the pipeline asks; they go along. Views that find no
    partners are dropped where the node would drop them, those that still wait come last.
    """
    names = {topic: name for name, topic in source.inputs.items()}
    for topic, time_ns, message in bag.messages(*source.inputs.values(), source.imu):
        transforms.go_to(time_ns)
        if isinstance(message, MessageError):
            yield DroppedFrame(time_ns, message.reason, str(message))
        elif topic == source.imu:
            if imu is not None:
                imu.add(message)
        else:
            yield from _detected(pipeline, assembler.add(names[topic], message), time_ns)
    yield from _detected(pipeline, assembler.finish(), 0)


def _detected(
    pipeline: FramePipeline, assembled: tuple[Frame | None, list[Refused]], time_ns: int
) -> Iterator[FrameResult | DroppedFrame]:
    """What the assembler handed out at a time, as results."""
    frame, refused = assembled
    for error in refused:
        yield DroppedFrame(error.stamp_ns or time_ns, error.reason, str(error))
    if frame is None:
        return
    try:
        yield pipeline.process(*frame)
    except Refused as error:
        yield DroppedFrame(_stamp_or(frame[0], time_ns), error.reason, str(error))


def _stamp_or(message: Any, time_ns: int) -> int:
    """The stamp of a message, or when it was received where it has none."""
    try:
        return stamp_of(message)
    except MessageError:
        return time_ns


def _types_for_old_bags() -> Any:
    """What bags that carry no message definitions hold (sqlite3 of Humble and before)."""
    typesys = import_module("rosbags.typesys")
    return typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
