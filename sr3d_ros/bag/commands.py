"""`sr3d bag`: replay a recording without ROS.

The modules that need torch are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sr3d_core.console import (
    MergeViewsOption,
    one_line_errors,
    progress_of,
    require_writable,
    result_console,
    say,
    write_json,
)
from sr3d_ros.parameters.file import NODE

if TYPE_CHECKING:
    from sr3d_core.growing_json import GrowingList
    from sr3d_ros.bag.run import BagRun, FrameRecord, Tally
    from sr3d_ros.bag.source import Topics
    from sr3d_ros.pipeline import FrameResult

    _Record = Callable[[FrameResult, Sequence[str]], FrameRecord]

app = typer.Typer(
    help="Replay recordings (rosbag2 and ROS 1 bags) without ROS.",
    no_args_is_help=True,
    add_completion=False,  # `sr3d` has it
)


_MAX_NOTES = 5
"""What is said about frames at the end, at most; some name a number that is each frame's own."""


class WayUp(str, Enum):
    """How to find up in a recording."""

    AUTO = "auto"
    TF = "tf"
    IMU = "imu"
    FLOOR = "floor"
    NONE = "none"


BagPath = Annotated[Path, typer.Argument(help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag file.")]
Topic = Annotated[
    str | None,
    typer.Option(help="Point cloud or depth image topic; needed where the bag has several."),
]
CameraInfo = Annotated[
    str | None, typer.Option(help="CameraInfo of a depth topic; default: the one beside it.")
]
Color = Annotated[str | None, typer.Option(help="Color image topic for a depth topic.")]
Imu = Annotated[str | None, typer.Option(help="IMU topic, for --up imu.")]
TfNamespace = Annotated[
    str | None,
    typer.Option(
        help="Namespace of the transforms, such as /robot1 for /robot1/tf and /robot1/tf_static; "
        "default: /tf and /tf_static, or the only one there is."
    ),
]
ParamsFile = Annotated[
    Path | None,
    typer.Option(
        help="A robot's parameter file: the recording is worked on as that robot's detector does "
        "it, with its crop, thresholds, cameras and tracking. Options given here come first."
    ),
]
NodeName = Annotated[
    str,
    typer.Option(
        "--node",
        help="The robot's detector, with its namespace: whose section of the file, where it has "
        "several, and what relative names of topics begin with.",
    ),
]
Weights = Annotated[
    str | None, typer.Option(help='Weights file, or "default"; default: model.weights.')
]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda; default: model.device.")]
Backend = Annotated[
    str | None, typer.Option(help="Engine of the convolutions; default: model.backend.")
]
Score = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Leave out boxes below this; default: output.score_threshold"),
]
UpOption = Annotated[
    WayUp | None,
    typer.Option(
        help="tf: through a z-up frame of the bag's transforms; imu: from the accelerometer; "
        "floor: from the floor in the cloud; none: the cloud is z up; auto: tf where the bag "
        "knows such a frame, else floor, or none where that is level. Default: frames.up of "
        "--params-file, else auto."
    ),
]
DetectionFrame = Annotated[
    str | None,
    typer.Option(help="Z-up frame; default: base_footprint, base_link, odom, map, the first."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result here.")]


@app.command()
def info(bag: BagPath, tf_namespace: TfNamespace = None, json_out: Json = None) -> None:
    """List the topics of a recording and the frames of its transforms."""
    from sr3d_ros.bag.replay import Bag

    with one_line_errors(), Bag(bag) as opened:
        tf_topics = opened.tf_topics(tf_namespace)
        frames = list(opened.transforms(tf_topics)[0].frames)
        topics, duration_s = opened.topics, opened.duration_s
    table = Table(title=f"{bag}  {duration_s:.1f} s")
    for heading in ("topic", "type", "messages"):
        table.add_column(heading, overflow="fold")
    for topic in topics:
        table.add_row(topic.topic, topic.type_name, str(topic.num_messages))
    console = result_console()
    console.print(table)
    console.print(f"frames: {' '.join(frames) or 'none'}", markup=False, highlight=False)
    if tf_topics.remark:
        say(tf_topics.remark)
    listed = [{"topic": t.topic, "type": t.type_name, "messages": t.num_messages} for t in topics]
    with one_line_errors():
        write_json(json_out, {"duration_s": duration_s, "topics": listed, "frames": frames})


@app.command()
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
    json_out: Json = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Draw every frame into this folder.")
    ] = None,
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
    from sr3d_ros.bag.run import TrackRecords, detect_run, frame_record
    from sr3d_ros.bag.source import Topics

    with one_line_errors():
        require_writable(json_out)
    given = {
        "model.weights": weights,
        "model.device": device,
        "model.backend": backend,
        "output.score_threshold": score,
        "frames.detection": detection_frame,
        "tracking.enabled": tracking or None,
    }
    topics = Topics(topic, camera_info, color, imu, tf_namespace, node)
    opened = _opened(bag, topics, params_file, given, up, one_class=True, num_views=merge_views)
    with one_line_errors(), opened as run, progress_of("clouds", run.num_clouds) as progress:
        record = TrackRecords(run) if run.parameters.tracking else frame_record
        head = {**_head(bag, run), "classes": list(run.classes)}
        with _growing(json_out, head) as frames:
            draw = _drawing(pictures, run.classes)
            records, tally = detect_run(run, progress, draw, _writing(record, frames))
            if frames is not None:
                frames.end(tally.to_dict())
    result_console().print(_found_table(records))
    _print_tally(tally)


@app.command("eval")
def evaluate(
    bag: BagPath,
    truth: Annotated[
        Path, typer.Option("--gt", help="Ground truth, JSON; see docs/recordings.md.")
    ],
    topic: Topic = None,
    camera_info: CameraInfo = None,
    color: Color = None,
    imu: Imu = None,
    tf_namespace: TfNamespace = None,
    params_file: ParamsFile = None,
    node: NodeName = NODE,
    weights: Weights = None,
    score: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Leave out boxes below this; precision needs the weak ones too, so the file's "
            "threshold does not count.",
        ),
    ] = 0.01,
    up: UpOption = None,
    detection_frame: DetectionFrame = None,
    min_points: Annotated[
        int, typer.Option(min=0, help="A static box counts where it holds so many points.")
    ] = 20,
    device: Device = None,
    backend: Backend = None,
    json_out: Json = None,
    merge_views: MergeViewsOption = 1,
) -> None:
    """Score the detections in a recording: AP25, AP50, recall, latency, dropped frames.

    Example: sr3d bag eval drive/ --gt truth.json --params-file my_robot.yaml
    """
    from sr3d_ros.bag.run import score_run
    from sr3d_ros.bag.source import Topics
    from sr3d_ros.bag.truth import BagTruth

    with one_line_errors():
        require_writable(json_out)
    given = {
        "model.weights": weights,
        "model.device": device,
        "model.backend": backend,
        "output.score_threshold": score,
        "frames.detection": detection_frame,
    }
    topics = Topics(topic, camera_info, color, imu, tf_namespace, node)
    opened = _opened(bag, topics, params_file, given, up, one_class=False, num_views=merge_views)
    with one_line_errors(), opened as run, progress_of("clouds", run.num_clouds) as progress:
        result = score_run(run, BagTruth.load(truth, run.classes, min_points), progress)
    console = result_console()
    console.print(result.scores.table())
    if result.num_without_truth:
        console.print(f"{result.num_without_truth} clouds without ground truth were not scored")
    if result.num_truth_unused:
        console.print(f"{result.num_truth_unused} stamps of the ground truth have no cloud")
    if result.num_never_counted:
        console.print(
            f"{result.num_never_counted} static boxes count in no cloud: none has {min_points} "
            f"points of theirs (--min-points). If the sensor saw them, frame or units of {truth} "
            "are wrong",
            markup=False,
        )
    _print_tally(result.tally)
    with one_line_errors():
        write_json(json_out, {**_head(bag, run), "ground_truth": str(truth), **result.to_dict()})


def _head(bag: Path, run: BagRun) -> dict[str, object]:
    """What a result is about."""
    return {"bag": str(bag), "topic": run.topic, "model": run.parameters.weights}


@contextmanager
def _opened(
    bag: Path,
    topics: Topics,
    params_file: Path | None,
    given: Mapping[str, object],
    up: WayUp | None,
    *,
    one_class: bool,
    num_views: int,
) -> Iterator[BagRun]:
    """The recording with a detector, and what there is to say about it.

    `given` are options by the parameters that they set, None = not given. `one_class`: boxes of
    different classes suppress each other, as on a robot; average precision is defined without.
    `num_views` are looked at of each frame and merged, which no robot does.
    """
    from dataclasses import replace

    from sr3d_core.merged_views import merge_views
    from sr3d_ros.bag.run import open_run
    from sr3d_ros.parameters.detector import load_detector
    from sr3d_ros.parameters.file import parameters_of_file
    from sr3d_ros.parameters.record import Parameters

    parameters = (
        Parameters() if params_file is None else parameters_of_file(params_file, topics.node)
    )
    if up is None and params_file is None:
        up = WayUp.AUTO
    options = {name: value for name, value in given.items() if value is not None}
    parameters = parameters.with_values(options)
    detector = load_detector(parameters)
    detector.postprocess = replace(detector.postprocess, one_class=one_class)
    chosen: Any = None if up is None else up.value
    finder = merge_views(detector, num_views)
    with open_run(bag, finder, topics=topics, up=chosen, parameters=parameters) as run:
        for error in run.transform_errors[:1]:
            say(f"{len(run.transform_errors)} transforms left out; the first: {error}")
        for remark in run.remarks:
            say(remark)
        if parameters.adaptive:
            say("load.adaptive: the points of a frame follow this machine's speed, as on a robot")
        yield run


def _growing(
    json_out: Path | None, head: Mapping[str, object]
) -> AbstractContextManager[GrowingList | None]:
    """The frames of a result, as a list that grows in its file, where one is wanted."""
    from sr3d_core.growing_json import growing_object

    return nullcontext() if json_out is None else growing_object(json_out, head, "frames")


def _writing(record: _Record, frames: GrowingList | None) -> _Record:
    """What writes a frame down, in the file as well."""

    def written(result: FrameResult, classes: Sequence[str]) -> FrameRecord:
        frame = record(result, classes)
        if frames is not None:
            frames.add(frame)
        return frame

    return written


def _drawing(
    folder: Path | None, classes: tuple[str, ...]
) -> Callable[[FrameResult], object] | None:
    """What draws a frame into a folder, named after its stamp."""
    if folder is None:
        return None
    from sr3d_core.picture import draw_detections

    folder.mkdir(parents=True, exist_ok=True)

    def draw(frame: FrameResult) -> None:
        path = folder / f"{frame.stamp_ns}.png"
        draw_detections(
            frame.cloud, frame.detections, classes, path, f"{frame.stamp_ns / 1e9:.3f} s"
        )

    return draw


def _found_table(records: list[FrameRecord]) -> Table:
    """Per class: in how many frames, how many boxes, the best score."""
    table = Table(title=f"Detections in {len(records)} clouds")
    for heading in ("class", "clouds", "boxes", "best score"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    scores: dict[str, list[float]] = {}
    clouds: Counter[str] = Counter()
    for record in records:
        for found in record["detections"]:
            scores.setdefault(found["class"], []).append(found["score"])
        clouds.update({found["class"] for found in record["detections"]})
    for name, of_class in sorted(scores.items()):
        table.add_row(name, str(clouds[name]), str(len(of_class)), f"{max(of_class):.2f}")
    return table


def _print_tally(tally: Tally) -> None:
    console = result_console()
    times = "  ".join(f"{name} {value:.1f}" for name, value in tally.latency_ms.items())
    console.print(f"latency, cloud to boxes (ms): {times}")
    for reason, count in tally.drops_by_reason.items():
        first = next(drop for drop in tally.dropped if drop.reason == reason)
        console.print(f"dropped, {reason}: {count}; the first: {first.text}", markup=False)
    for note in tally.notes[:_MAX_NOTES]:
        say(note)
    if len(tally.notes) > _MAX_NOTES:
        say(f"{len(tally.notes) - _MAX_NOTES} further notes are in the file of --json")


from sr3d_ros.bag.map_command import map_objects  # noqa: E402  (it takes its options from here)

app.command("map")(map_objects)
