"""A recording through the same path as the node, without ROS.

Reads ROS 2 bags (sqlite3, mcap) and ROS 1 bags (`storage/`). Transforms of the whole bag are
read ahead, so no frame is lost to a transform that was recorded late (`tf/recorded.py`). Clouds,
images and IMU messages come in recorded order, as a node gets them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from sr3d_ros.assembler import CAMERA_INFO, COLOR, Frame, FrameAssembler
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.storage.channel import Channel, Item, decoded
from sr3d_ros.bag.storage.file import END_NS, total
from sr3d_ros.bag.storage.folder import open_files
from sr3d_ros.bag.tf_topics import OPTION as TF_OPTION
from sr3d_ros.bag.tf_topics import TfTopics, choose_tf_topics
from sr3d_ros.errors import MessageError, Refused, TransformError
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.sensors.organized_color import image_of
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

TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
CLOCK, CLOCK_TYPE = "/clock", "rosgraph_msgs/msg/Clock"
DETECTIONS_TYPE = "vision_msgs/msg/Detection3DArray"
LABELS_TYPE = "vision_msgs/msg/LabelInfo"
SENSOR_TYPES = (CLOUD_TYPE, IMAGE_TYPE, COMPRESSED_IMAGE_TYPE, INFO_TYPE, IMU_TYPE)


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
    has_cloud_images: bool = False  # its color images are what organized clouds hold

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
    """An open recording; use it in a `with` statement. Raises `ReplayError`.

    `notes` say what of it is missing or damaged; they may grow while it is read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        with ExitStack() as stack:
            self._files = open_files(self.path, stack, self.notes)
            self._stack = stack.pop_all()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def topics(self) -> tuple[TopicSummary, ...]:
        """All topics, sorted by name."""
        counts = sorted(total(self._files).items())
        return tuple(TopicSummary(*key, count) for key, count in counts)

    @property
    def start_ns(self) -> int:
        """When the first message was received."""
        return min(file.start_ns for file in self._files)

    @property
    def duration_s(self) -> float:
        """Time between the first and the last message."""
        return max(0, max(file.end_ns for file in self._files) - self.start_ns) / 1e9

    @property
    def channels(self) -> dict[Channel, int]:
        """What each topic is in each file, and how many messages there are of it."""
        counts: Counter[Channel] = Counter()
        for file in self._files:
            counts.update(file.counts)
        return dict(counts)

    def num_messages(self, topic: str) -> int:
        """How many messages a topic has."""
        return sum(t.num_messages for t in self.topics if t.topic == topic)

    def tf_topics(self, namespace: str | None = None) -> TfTopics:
        """Where transforms come from; `namespace` None = choose."""
        kinds = [t for t in self.topics if t.type_name in TF_TYPES and t.num_messages > 0]
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
        for topic, time_ns, message in self.messages(*topics.is_static, CLOCK):
            if isinstance(message, MessageError):
                continue
            if topic == CLOCK:
                transforms.read_clock(stamp_to_ns(message.clock), time_ns)
                continue
            try:
                transforms.read(message, topics.is_static[topic], time_ns)
            except TransformError as error:
                errors.append(error)
        return transforms, errors

    def notes_on(self, transforms: RecordedTransforms) -> list[str]:
        """What of its transforms who looks at the results should know."""
        notes = [
            f"the static transform of '{change.child}' in '{change.parent}' was published again "
            f"with another value, {len(change.received_ns)} times, first "
            f"{(change.received_ns[0] - self.start_ns) / 1e9:.3f} s into the recording: a cloud "
            "uses the value that held when it was received, as on the robot"
            for change in transforms.static_changes
        ]
        if transforms.set_back:
            first, frames = transforms.set_back[0], {each.child for each in transforms.set_back}
            notes.append(
                f"the stamps of '{first.child}' go back by {first.by_ns / 1e9:.1f} s, "
                f"{(first.received_ns - self.start_ns) / 1e9:.3f} s into the recording "
                f"({len(transforms.set_back)} times in all, of {', '.join(sorted(frames))}): was "
                "a clock set? What was received before and after is kept apart"
            )
        return notes

    def receive_times(self) -> Iterator[tuple[str, str, int]]:
        """Topic, type and receive time in nanoseconds of every message, in recorded order."""
        for channel, time_ns, _ in self.raw_messages(lambda _: True):
            yield channel.topic, channel.type_name, time_ns

    def raw_messages(
        self, is_wanted: Callable[[Channel], bool], start_ns: int = 0, stop_ns: int = END_NS
    ) -> Iterator[Item]:
        """Messages as they were recorded, from `start_ns` on and before `stop_ns`, in order."""
        for file in self._files:
            yield from file.messages(is_wanted, start_ns, stop_ns)

    def messages(self, *topics: str) -> Iterator[tuple[str, int, Any]]:
        """Topic, receive time in nanoseconds and message, in recorded order.

        A message that cannot be decoded comes as the `MessageError` that says why.
        """
        usable = (*SENSOR_TYPES, *TF_TYPES, CLOCK_TYPE, DETECTIONS_TYPE, LABELS_TYPE)

        def is_wanted(channel: Channel) -> bool:
            return channel.topic in topics and channel.type_name in usable

        for channel, time_ns, raw in self.raw_messages(is_wanted):
            yield channel.topic, time_ns, _decoded(channel, raw)


def _decoded(channel: Channel, raw: bytes) -> Any:
    try:
        return decoded(channel, raw)
    except Exception as error:  # of the readers of other people's formats
        text = f"{channel.type_name} of {len(raw)} bytes: {error}"
        return MessageError("undecodable", " ".join(text.split()))


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A frame that is ready to be detected in."""

    frame: Frame
    received_ns: int  # of the message that completed it; 0 = none did, the recording ended
    stamp_ns: int  # of its first view; where that has none, when it was received


def replay(
    bag: Bag,
    source: Source,
    assembler: FrameAssembler,
    pipeline: FramePipeline,
    transforms: RecordedTransforms,
    imu: GravityFromImu | None = None,
) -> Iterator[FrameResult | DroppedFrame]:
    """Every frame of a source through the node's own way, in recorded order.

    `transforms` and `imu` are those that the pipeline asks; they go along.
    """
    for arrival in arrivals(bag, source, assembler, transforms, imu):
        yield arrival if isinstance(arrival, DroppedFrame) else detected(pipeline, arrival)


def arrivals(
    bag: Bag,
    source: Source,
    assembler: FrameAssembler,
    transforms: RecordedTransforms,
    imu: GravityFromImu | None = None,
) -> Iterator[Arrival | DroppedFrame]:
    """Every frame of a source before anything is found in it, in recorded order.

    Views that find no partners are dropped where the node would drop them, those that still wait
    come last. While a frame is in hand, `transforms` and `imu` are as they were when it came.
    """
    names = {topic: name for name, topic in source.inputs.items()}
    for topic, time_ns, message in bag.messages(*source.inputs.values(), source.imu):
        transforms.go_to(time_ns)
        if isinstance(message, MessageError):
            yield DroppedFrame(time_ns, message.reason, str(message))
        elif topic == source.imu:
            if imu is not None:
                imu.add(message)
        elif source.has_cloud_images:
            yield from _of_cloud(message, assembler, time_ns)
        else:
            yield from _arrived(assembler.add(names[topic], message, time_ns), time_ns)
    yield from _arrived(assembler.finish(), 0)


def detected(pipeline: FramePipeline, arrival: Arrival) -> FrameResult | DroppedFrame:
    """What is found in a frame, or why nothing is."""
    try:
        return pipeline.process(*arrival.frame)
    except Refused as error:
        return DroppedFrame(arrival.stamp_ns, error.reason, str(error))


def _of_cloud(
    cloud: Any, assembler: FrameAssembler, time_ns: int
) -> Iterator[Arrival | DroppedFrame]:
    """What becomes of the color image that a cloud holds."""
    try:
        image, info = image_of(cloud)
    except MessageError as error:
        yield DroppedFrame(_stamp_or(cloud, time_ns), error.reason, str(error))
        return
    for name, message in ((CAMERA_INFO, info), (COLOR, image)):
        yield from _arrived(assembler.add(name, message, time_ns), time_ns)


def _arrived(
    assembled: tuple[Frame | None, list[Refused]], time_ns: int
) -> Iterator[Arrival | DroppedFrame]:
    """What the assembler handed out at a time."""
    frame, refused = assembled
    for error in refused:
        yield DroppedFrame(error.stamp_ns or time_ns, error.reason, str(error))
    if frame is not None:
        yield Arrival(frame, time_ns, _stamp_or(frame[0], time_ns))


def _stamp_or(message: Any, time_ns: int) -> int:
    """The stamp of a message, or when it was received where it has none."""
    try:
        return stamp_of(message)
    except MessageError:
        return time_ns
