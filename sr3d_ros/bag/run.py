"""Detecting in a whole recording, and scoring what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sr3d_core.evaluate import FindsObjects
from sr3d_core.records import DetectionRecord, detection_records
from sr3d_ros.assembler import COLOR, FrameAssembler
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import Arrival, Bag, DroppedFrame, Source, arrivals, replay
from sr3d_ros.bag.source import Topics, choose_source, kind_of
from sr3d_ros.bag.tf_topics import TfTopics
from sr3d_ros.bag.up import find_up
from sr3d_ros.errors import TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.tf.imu import GravityFromImu
from sr3d_ros.tf.recorded import RecordedTransforms
from sr3d_ros.tf.up import UpMode
from sr3d_ros.tracking.identities import Identities

FrameRecord = dict[str, Any]
"""`stamp_ns`, `input`, `frame`, `num_points`, `time_ms`, `detections`."""


@dataclass(frozen=True, slots=True, eq=False)
class BagRun:
    """A recording that is ready to be replayed."""

    bag: Bag
    source: Source
    detector: FindsObjects
    transforms: RecordedTransforms
    transform_errors: list[TransformError]  # unusable transforms, left out
    parameters: Parameters
    pipeline: FramePipeline
    imu: GravityFromImu
    tf_topics: TfTopics
    remarks: tuple[str, ...] = ()  # what was chosen, and what of the transforms to know
    one_class: bool = True  # as in `FramePipeline`
    camera: FindsObjects | None = None  # looks at color images where `input.kind` is auto

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that labels index."""
        return self.detector.classes

    @property
    def topic(self) -> str:
        """Where clouds or depth images come from."""
        return self.source.topic

    @property
    def weights(self) -> str:
        """The weights of its detector: those of color images where it detects in these."""
        parameters = self.parameters
        return parameters.camera_weights if parameters.kind == "rgb" else parameters.weights

    @property
    def num_clouds(self) -> int:
        """How many clouds, depth images or color images there are to detect in, at most."""
        falls_back = self.parameters.kind == "auto"
        topics = [self.topic, *([self.source.inputs[COLOR]] if falls_back else ())]
        return sum(map(self.bag.num_messages, topics))

    def frames(self) -> Iterator[FrameResult | DroppedFrame]:
        """Every frame, in recorded order."""
        return replay(
            self.bag, self.source, self._assembler(), self.pipeline, self.transforms, self.imu
        )

    def arrivals(self) -> Iterator[Arrival | DroppedFrame]:
        """Every frame before anything is found in it, in recorded order."""
        return arrivals(self.bag, self.source, self._assembler(), self.transforms, self.imu)

    def _assembler(self) -> FrameAssembler:
        return FrameAssembler(self.parameters, with_color=COLOR in self.source.inputs)

    def pipeline_of(self, detector: FindsObjects) -> FramePipeline:
        """Another way for the same frames, which has seen none of them yet."""
        return _pipeline(
            detector, self.camera, self.transforms, self.parameters, self.imu, self.one_class
        )

    def afresh(self) -> BagRun:
        """The same recording and detector from its first frame: nothing is remembered of it."""
        imu = GravityFromImu()
        begun = replace(self, imu=imu)
        return replace(begun, pipeline=begun.pipeline_of(self.detector))


@contextmanager
def open_run(
    path: str | Path,
    detector: FindsObjects,
    *,
    topics: Topics | None = None,
    up: Literal["auto"] | UpMode | None = "auto",
    parameters: Parameters | None = None,
    one_class: bool = True,
    camera: FindsObjects | None = None,
) -> Iterator[BagRun]:
    """Open a bag, choose its topics, read its transforms; raises `ReplayError`.

    The parameters are the node's; `up` None = as they say, `auto` = tf where the transforms know
    a z-up frame, else from the floor. A topic of depth images that is asked for sets `input.kind`.
    `one_class` as in `FramePipeline`. `camera` looks at color images where `input.kind` is auto,
    which is refused without.
    """
    with Bag(path) as bag:
        try:
            run = _ready(bag, detector, topics or Topics(), up, parameters, one_class, camera)
        except ReplayError as error:  # what is missing may be what is damaged
            raise ReplayError("; ".join([str(error), *bag.notes])) from error
        yield run


def _ready(
    bag: Bag,
    detector: FindsObjects,
    topics: Topics,
    up: Literal["auto"] | UpMode | None,
    parameters: Parameters | None,
    one_class: bool,
    camera: FindsObjects | None,
) -> BagRun:
    """A bag with its topics and transforms, as `open_run`."""
    tf_topics = bag.tf_topics(topics.tf_namespace)
    transforms, errors = bag.transforms(tf_topics)
    parameters = kind_of(bag, topics, parameters or Parameters(), has_camera=camera is not None)
    if up is not None:
        parameters = parameters.with_values({"frames.up": "none" if up == "auto" else up})
    source = choose_source(bag, topics, parameters)
    remarks = [tf_topics.remark, *bag.notes_on(transforms), *bag.notes]
    if up == "auto":
        found = find_up(bag, source, transforms, parameters, tf_topics.remark)
        parameters = parameters.with_values({"frames.up": found.mode})
        remarks.append(found.reason)
    if topics.imu is not None and not source.imu:
        remarks.append(f"--imu {topics.imu} is not used; say --up imu as well")
    if source.has_cloud_images:
        remarks.append(f"{source.topic}: its clouds are organized; their colors are the images")
    imu = GravityFromImu()
    pipeline = _pipeline(detector, camera, transforms, parameters, imu, one_class)
    said = tuple(filter(None, remarks))
    return BagRun(
        bag,
        source,
        detector,
        transforms,
        errors,
        parameters,
        pipeline,
        imu,
        tf_topics,
        said,
        one_class,
        camera,
    )


def _pipeline(
    detector: FindsObjects,
    camera: FindsObjects | None,
    transforms: RecordedTransforms,
    parameters: Parameters,
    imu: GravityFromImu,
    one_class: bool,
) -> FramePipeline:
    """The node's own, with one detector or two."""
    images = None if camera is None else camera.detect
    return FramePipeline(detector.detect, transforms, parameters, imu, one_class, images)


@dataclass(slots=True, eq=False)
class Tally:
    """Times and drops of a replay, gathered frame by frame."""

    time_ms: list[float] = field(default_factory=list)
    dropped: list[DroppedFrame] = field(default_factory=list)
    num_empty: int = 0  # frames without a point to detect in
    inputs: Counter[str] = field(default_factory=Counter)  # frames by what they were made of
    notes: list[str] = field(default_factory=list)  # what is odd about frames, each once
    damage: list[str] = field(default_factory=list)  # what of the recording could not be read

    def count(self, frame: FrameResult | DroppedFrame) -> None:
        """Take one frame in."""
        if isinstance(frame, DroppedFrame):
            self.dropped.append(frame)
        else:
            self.time_ms.append(sum(frame.time_ms.values()))
            self.inputs[frame.input] += 1
            self.num_empty += frame.input != "rgb" and not frame.num_points
            self.note(*frame.notes, *(f"a view was left out: {error}" for error in frame.left_out))

    def note(self, *notes: str) -> None:
        """Keep what is odd about a frame."""
        self.notes += [note for note in notes if note not in self.notes]

    @property
    def latency_ms(self) -> dict[str, float]:
        """p50, p90 and p99 of cloud to boxes; empty where no frame went through."""
        if not self.time_ms:
            return {}
        values = np.percentile(self.time_ms, (50, 90, 99)).tolist()
        return dict(zip(("p50", "p90", "p99"), values, strict=True))

    @property
    def drops_by_reason(self) -> dict[str, int]:
        """How many frames were dropped for which reason."""
        return dict(sorted(Counter(frame.reason for frame in self.dropped).items()))

    def require_any(self, run: BagRun) -> None:
        """Raise `ReplayError` with the first reason where every cloud was dropped."""
        if self.time_ms:
            return
        if not self.dropped:
            raise ReplayError(f"{run.bag.path}: no cloud on {run.topic}; record longer")
        first = self.dropped[0]
        is_image = run.parameters.kind == "rgb"  # which shows no floor
        advice = (
            "; where the cloud itself is z up, use --up none, where it shows the floor, --up floor"
        )
        raise ReplayError(
            f"{run.bag.path}: all {len(self.dropped)} {'images' if is_image else 'clouds'} of "
            f"{run.topic} were dropped; the first ({first.reason}): {first.text}"
            f"{'' if is_image else advice}"
        )

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        drops = [
            {"stamp_ns": d.stamp_ns, "reason": d.reason, "text": d.text} for d in self.dropped
        ]
        return {
            "num_frames": len(self.time_ms),
            "num_empty": self.num_empty,
            "frames_by_input": dict(sorted(self.inputs.items())),
            "latency_ms": self.latency_ms,
            "drops_by_reason": self.drops_by_reason,
            "dropped": drops,
            "notes": self.notes,
            "damage": self.damage,
        }


def frame_record(result: FrameResult, classes: Sequence[str]) -> FrameRecord:
    """One frame as plain JSON values; boxes upright in `frame`, the gravity-aligned one.

    With `memory.seconds` it has `memory` too: what was remembered when it was detected in.
    """
    record: FrameRecord = {
        "stamp_ns": result.stamp_ns,
        "input": result.input,
        "frame": result.gravity_frame,
        "num_points": result.num_points,
        "time_ms": result.time_ms,
        "detections": detection_records(result.detections, classes),
    }
    if (use := result.memory) is not None:
        record["memory"] = {
            "frame": use.fixed_frame,
            "num_points": use.num_points,
            "trouble": use.alone_because,
        }
    return record


class TrackRecords:
    """Writes the frames of one recording down, in their order, as the parameters say.

    Beside what `frame_record` gives, each detection has an `id` ("" = not confirmed yet), and
    `tracks` has the `frame` that stands still, the `objects` with their ids, upright in it, and
    `trouble`: why there are none, where that frame is not known.
    """

    def __init__(self, run: BagRun) -> None:
        self._identities = Identities(run.transforms)
        self._identities.apply(run.parameters.with_values({"tracking.enabled": True}))

    def __call__(self, result: FrameResult, classes: Sequence[str]) -> FrameRecord:
        """One frame as plain JSON values."""
        record = frame_record(result, classes)
        ids: Sequence[str] = [""] * len(result.detections)
        frame, objects, trouble = "", list[DetectionRecord](), ""
        try:
            tracked = self._identities.of(result, classes)
        except TransformError as error:
            tracked, trouble = None, str(error)
        if tracked is not None:
            ids, frame = tracked.ids, tracked.place.static_frame
            objects = detection_records(tracked.tracks.boxes, classes)
            objects = _named(objects, tracked.tracks.ids)
        tracks = {"frame": frame, "objects": objects, "trouble": trouble}
        return {**record, "detections": _named(record["detections"], ids), "tracks": tracks}


def _named(records: list[DetectionRecord], ids: Sequence[str]) -> list[DetectionRecord]:
    return [{"id": name, **record} for record, name in zip(records, ids, strict=True)]


def detect_run(
    run: BagRun,
    progress: Callable[[int], object] | None = None,
    show: Callable[[FrameResult], object] | None = None,
    record: Callable[[FrameResult, Sequence[str]], FrameRecord] = frame_record,
) -> tuple[list[FrameRecord], Tally]:
    """Replay; `progress` is told how many clouds are done, `show` gets every frame that was used.

    `record` writes a frame down; `TrackRecords` does so with ids and tracks. Raises `ReplayError`
    where every cloud was dropped.
    """
    records, tally = list[FrameRecord](), Tally(damage=run.bag.notes)
    for done, frame in enumerate(run.frames(), start=1):
        tally.count(frame)
        if isinstance(frame, FrameResult):
            records.append(record(frame, run.classes))
            if show is not None:
                show(frame)
        if progress is not None:
            progress(done)
    tally.require_any(run)
    return records, tally
