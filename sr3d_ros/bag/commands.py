"""`sr3d bag`: replay a recording without ROS.

The modules that need torch are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sr3d_core.console import (
    BackendOption,
    one_line_errors,
    progress_of,
    result_console,
    say,
    write_json,
)

if TYPE_CHECKING:
    from sr3d_ros.bag.run import BagRun, FrameRecord, Tally
    from sr3d_ros.bag.source import Topics
    from sr3d_ros.pipeline import FrameResult

app = typer.Typer(help="Replay recordings (rosbag2 and ROS 1 bags) without ROS.")


class Up(str, Enum):
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
Weights = Annotated[str, typer.Option(help='Weights file, or "default".')]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
UpOption = Annotated[
    Up,
    typer.Option(
        help="tf: through a z-up frame of the bag's transforms; imu: from the accelerometer; "
        "floor: from the floor in the cloud; none: the cloud is z up; auto: tf where the bag "
        "knows such a frame, else none."
    ),
]
DetectionFrame = Annotated[
    str,
    typer.Option(help="Z-up frame; default: base_footprint, base_link, odom, map, the first."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result here.")]


@app.command()
def info(bag: BagPath, json_out: Json = None) -> None:
    """List the topics of a recording and the frames of its transforms."""
    from sr3d_ros.bag.replay import Bag

    with one_line_errors(), Bag(bag) as opened:
        frames = list(opened.transforms()[0].frames)
        topics, duration_s = opened.topics, opened.duration_s
    table = Table(title=f"{bag}  {duration_s:.1f} s")
    for heading in ("topic", "type", "messages"):
        table.add_column(heading, overflow="fold")
    for topic in topics:
        table.add_row(topic.topic, topic.type_name, str(topic.num_messages))
    console = result_console()
    console.print(table)
    console.print(f"frames: {' '.join(frames) or 'none'}", markup=False, highlight=False)
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
    weights: Weights = "default",
    score: Annotated[float, typer.Option(min=0, max=1, help="Leave out boxes below this.")] = 0.3,
    up: UpOption = Up.AUTO,
    detection_frame: DetectionFrame = "",
    device: Device = "auto",
    backend: BackendOption = "auto",
    json_out: Json = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Draw every frame into this folder.")
    ] = None,
    tracking: Annotated[
        bool, typer.Option("--tracking", help="Add ids that stay with objects, and tracks.")
    ] = False,
) -> None:
    """Detect objects in every cloud of a recording; boxes are in a z-up frame."""
    from sr3d_ros.bag.run import detect_run, frame_record
    from sr3d_ros.bag.source import Topics
    from sr3d_ros.bag.tracks import TrackRecords

    topics = Topics(topic, camera_info, color, imu)
    opened = _opened(
        bag, topics, weights, device, backend, score, up, detection_frame, one_class=True
    )
    with one_line_errors(), opened as run, progress_of("clouds", run.num_clouds) as progress:
        record = TrackRecords(run.transforms) if tracking else frame_record
        records, tally = detect_run(run, progress, _drawing(pictures, run.classes), record)
    result_console().print(_found_table(records))
    _print_tally(tally)
    head = {"bag": str(bag), "topic": run.topic, "model": weights, "classes": list(run.classes)}
    with one_line_errors():
        write_json(json_out, {**head, **tally.to_dict(), "frames": records})


@app.command("eval")
def evaluate(
    bag: BagPath,
    truth: Annotated[Path, typer.Option("--gt", help="Ground truth, JSON; see the README.")],
    topic: Topic = None,
    camera_info: CameraInfo = None,
    color: Color = None,
    imu: Imu = None,
    weights: Weights = "default",
    score: Annotated[float, typer.Option(min=0, max=1, help="Leave out boxes below this.")] = 0.01,
    up: UpOption = Up.AUTO,
    detection_frame: DetectionFrame = "",
    min_points: Annotated[
        int, typer.Option(min=0, help="A static box counts where it holds so many points.")
    ] = 20,
    device: Device = "auto",
    backend: BackendOption = "auto",
    json_out: Json = None,
) -> None:
    """Score the detections in a recording: AP25, AP50, recall, latency, dropped frames."""
    from sr3d_ros.bag.run import score_run
    from sr3d_ros.bag.source import Topics
    from sr3d_ros.bag.truth import BagTruth

    topics = Topics(topic, camera_info, color, imu)
    opened = _opened(
        bag, topics, weights, device, backend, score, up, detection_frame, one_class=False
    )
    with one_line_errors(), opened as run, progress_of("clouds", run.num_clouds) as progress:
        result = score_run(run, BagTruth.load(truth, run.classes, min_points), progress)
    console = result_console()
    console.print(result.scores.table())
    if result.num_without_truth:
        console.print(f"{result.num_without_truth} clouds without ground truth were not scored")
    _print_tally(result.tally)
    head = {"bag": str(bag), "topic": run.topic, "model": weights, "ground_truth": str(truth)}
    with one_line_errors():
        write_json(json_out, {**head, **result.to_dict()})


@contextmanager
def _opened(
    bag: Path,
    topics: Topics,
    weights: str,
    device: str,
    backend: str,
    score: float,
    up: Up,
    frame: str,
    *,
    one_class: bool,
) -> Iterator[BagRun]:
    """The recording with a detector, and what there is to say about its transforms."""
    from sr3d_core.detector import Detector, Postprocess
    from sr3d_ros.bag.run import open_run
    from sr3d_ros.pipeline import FrameSettings

    settings = FrameSettings(detection_frame=frame, score_threshold=score)
    postprocess = Postprocess(score_threshold=score, one_class=one_class)
    detector = Detector.from_checkpoint(
        weights, device=device, backend=backend, postprocess=postprocess
    )
    with open_run(bag, detector, topics=topics, up=up.value, settings=settings) as run:
        for error in run.transform_errors[:1]:
            say(f"{len(run.transform_errors)} transforms left out; the first: {error}")
        if up is Up.AUTO and run.pipeline.settings.up == "none":
            say("no z-up frame among the bag's transforms: taking the cloud as z up")
        yield run


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
