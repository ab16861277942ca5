"""`sr3d bag detect`: the objects in every cloud of a recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sr3d_core.console import (
    MergeViewsOption,
    one_line_errors,
    progress_of,
    require_writable,
    result_console,
)
from sr3d_ros.bag.commands.opening import head_of, opened, print_tally
from sr3d_ros.bag.commands.options import (
    Backend,
    BagPath,
    CameraInfo,
    Color,
    DetectionFrame,
    Device,
    Imu,
    Json,
    Memory,
    NodeName,
    ParamsFile,
    Score,
    TfNamespace,
    Topic,
    UpOption,
    Weights,
)
from sr3d_ros.parameters.file import NODE

if TYPE_CHECKING:
    from sr3d_core.growing_json import GrowingList
    from sr3d_ros.bag.output_bag import OutputBag
    from sr3d_ros.bag.run import FrameRecord
    from sr3d_ros.pipeline import FrameResult

    _Record = Callable[[FrameResult, Sequence[str]], FrameRecord]


def detect(
    bag: BagPath,
    topic: Topic = None,
    camera_info: CameraInfo = None,
    color: Color = None,
    imu: Imu = None,
    tf_namespace: TfNamespace = None,
    params_file: ParamsFile = None,
    node: NodeName = NODE,
    weights: Weights = None,
    score: Score = None,
    up: UpOption = None,
    detection_frame: DetectionFrame = None,
    device: Device = None,
    backend: Backend = None,
    memory: Memory = None,
    json_out: Json = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Draw every frame into this folder.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write a new recording (mcap) here: detections, markers and class names, as the "
            "node publishes them, beside the transforms; for rviz2 and Foxglove."
        ),
    ] = None,
    foxglove: Annotated[
        bool, typer.Option("--foxglove", help="With --out: SceneUpdate for Foxglove as well.")
    ] = False,
    tracking: Annotated[
        bool, typer.Option("--tracking", help="Add ids that stay with objects, and tracks.")
    ] = False,
    merge_views: MergeViewsOption = 1,
) -> None:
    """Detect objects in every cloud of a recording; boxes are in a z-up frame.

    Examples:

      sr3d bag detect drive/ --json boxes.json --pictures pictures/

      sr3d bag detect drive/ --params-file my_robot.yaml --tracking --json boxes.json
    """
    from sr3d_ros.bag.output_bag import writing_bag
    from sr3d_ros.bag.run import TrackRecords, detect_run, frame_record
    from sr3d_ros.bag.source import Topics

    with one_line_errors():
        require_writable(json_out)
        if foxglove and out is None:
            raise ValueError("--foxglove belongs to a new recording: say --out as well")
    given = {
        "model.weights": weights,
        "model.device": device,
        "model.backend": backend,
        "memory.seconds": memory,
        "output.score_threshold": score,
        "frames.detection": detection_frame,
        "tracking.enabled": tracking or None,
    }
    topics = Topics(topic, camera_info, color, imu, tf_namespace, node)
    bag_run = opened(bag, topics, params_file, given, up, one_class=True, num_views=merge_views)
    with one_line_errors(), bag_run as run, progress_of("clouds", run.num_clouds) as progress:
        record = TrackRecords(run) if run.parameters.tracking else frame_record
        head = {**head_of(bag, run), "classes": list(run.classes)}
        bag_out = writing_bag(out, run, node, foxglove)
        with bag_out as written, _growing(json_out, head) as frames:
            draw = _drawing(pictures, written, run.classes)
            found = _Found()
            _, tally = detect_run(run, progress, draw, _writing(record, found, frames))
            if frames is not None:
                frames.end(tally.to_dict())
    result_console().print(found.table())
    print_tally(tally)


def _growing(
    json_out: Path | None, head: Mapping[str, object]
) -> AbstractContextManager[GrowingList | None]:
    """The frames of a result, as a list that grows in its file, where one is wanted."""
    from sr3d_core.growing_json import growing_object

    return nullcontext() if json_out is None else growing_object(json_out, head, "frames")


def _writing(record: _Record, found: _Found, frames: GrowingList | None) -> _Record:
    """What counts a frame and writes it down, and keeps nothing: recordings may be long."""

    def written(result: FrameResult, classes: Sequence[str]) -> FrameRecord:
        frame = record(result, classes)
        found.add(frame)
        if frames is not None:
            frames.add(frame)
        return {}

    return written


def _drawing(
    folder: Path | None, written: OutputBag | None, classes: tuple[str, ...]
) -> Callable[[FrameResult], object] | None:
    """What draws a frame into a folder, named after its stamp, and into the new recording."""
    if folder is None:
        return None if written is None else written.add
    from sr3d_core.picture import draw_detections

    folder.mkdir(parents=True, exist_ok=True)

    def draw(frame: FrameResult) -> None:
        if written is not None:
            written.add(frame)
        path = folder / f"{frame.stamp_ns}.png"
        draw_detections(
            frame.cloud, frame.detections, classes, path, f"{frame.stamp_ns / 1e9:.3f} s"
        )

    return draw


class _Found:
    """Per class: in how many frames, how many boxes, the best score."""

    def __init__(self) -> None:
        self._num_frames = 0
        self._frames: Counter[str] = Counter()
        self._boxes: Counter[str] = Counter()
        self._best: dict[str, float] = {}

    def add(self, record: FrameRecord) -> None:
        """Count one frame."""
        self._num_frames += 1
        names = [found["class"] for found in record["detections"]]
        self._boxes.update(names)
        self._frames.update(set(names))
        for found in record["detections"]:
            name = found["class"]
            self._best[name] = max(self._best.get(name, 0.0), found["score"])

    def table(self) -> Table:
        """For the terminal."""
        table = Table(title=f"Detections in {self._num_frames} clouds")
        for heading in ("class", "clouds", "boxes", "best score"):
            table.add_column(heading, justify="left" if heading == "class" else "right")
        for name, best in sorted(self._best.items()):
            table.add_row(name, str(self._frames[name]), str(self._boxes[name]), f"{best:.2f}")
        return table
