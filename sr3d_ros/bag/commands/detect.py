"""`sr3d bag detect`: the objects in every cloud of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sr3d_core.console import (
    MergeViewsOption,
    one_line_errors,
    progress_of,
    result_console,
)
from sr3d_ros.bag.commands.many import Many, detect_in_all
from sr3d_ros.bag.commands.opening import opened, print_tally
from sr3d_ros.bag.commands.options import (
    Backend,
    BagPaths,
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
from sr3d_ros.bag.result import Found
from sr3d_ros.parameters.file import NODE


def detect(
    bags: BagPaths,
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
    video: Annotated[
        Path | None,
        typer.Option(
            help="What --pictures draws as a film, .mp4, at the recording's pace; needs the extra "
            "video."
        ),
    ] = None,
    rrd: Annotated[
        Path | None,
        typer.Option(
            help="Write clouds, boxes and transforms for the rerun viewer, .rrd; needs the extra "
            "rerun."
        ),
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
    out_dir: Annotated[
        Path | None,
        typer.Option(
            help="For several recordings: what --json writes, of each, into this folder, and "
            "summary.json."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="With --out-dir: how many recordings at once.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With --out-dir: split the recordings over the Ray cluster at HOST:PORT, or "
            '"local"; needs the extra ray, and the same paths on all nodes.',
        ),
    ] = None,
) -> None:
    """Detect objects in every cloud of recordings; boxes are in a z-up frame.

    Examples:

      sr3d bag detect drive/ --json boxes.json --pictures pictures/

      sr3d bag detect drive/ --params-file my_robot.yaml --tracking --json boxes.json

      sr3d bag detect monday/ tuesday/ friday/ --out-dir found/ --jobs 2
    """
    from sr3d_ros.bag.outputs import Outputs, detect_into
    from sr3d_ros.bag.source import Topics

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
    outputs = Outputs(
        json=json_out,
        pictures=pictures,
        bag=out,
        with_scene=foxglove,
        node=node,
        video=video,
        rerun=rrd,
    )
    with one_line_errors():
        outputs.check()
        if out_dir is not None or len(bags) > 1 or jobs > 1 or ray is not None:
            many = Many(bags, out_dir, jobs, ray)
            detect_in_all(many, outputs, topics, params_file, given, up, merge_views)
            return
    (bag,) = bags
    bag_run = opened(bag, topics, params_file, given, up, one_class=True, num_views=merge_views)
    with one_line_errors(), bag_run as run, progress_of("clouds", run.num_clouds) as progress:
        found, tally = detect_into(run, outputs, progress)
    result_console().print(_table(found))
    print_tally(tally)


def _table(found: Found) -> Table:
    table = Table(title=f"Detections in {found.num_frames} clouds")
    for heading in ("class", "clouds", "boxes", "best score"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name, best in sorted(found.best.items()):
        row = (str(found.frames[name]), str(found.boxes[name]), f"{best:.2f}")
        table.add_row(name, *row)
    return table
