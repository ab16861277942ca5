"""`sr3d bag eval`: how well the objects of a recording are found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sr3d_core.console import (
    MergeViewsOption,
    one_line_errors,
    progress_of,
    require_writable,
    result_console,
    say,
    write_json,
)
from sr3d_ros.bag.commands.opening import opened, print_tally
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
    TfNamespace,
    Topic,
    UpOption,
    Weights,
)
from sr3d_ros.bag.result import head_of
from sr3d_ros.parameters.file import NODE


def evaluate(
    bag: BagPath,
    truth: Annotated[
        Path | None, typer.Option("--gt", help="Ground truth, JSON; see docs/recordings.md.")
    ] = None,
    gt_topic: Annotated[
        str | None,
        typer.Option(
            help="Ground truth in the recording: a Detection3DArray topic, as simulators have it."
        ),
    ] = None,
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
        int,
        typer.Option(
            min=0,
            help="A box of --gt-topic, or a static one, counts where it holds so many points.",
        ),
    ] = 20,
    device: Device = None,
    backend: Backend = None,
    memory: Memory = None,
    json_out: Json = None,
    merge_views: MergeViewsOption = 1,
) -> None:
    """Score the detections in a recording: AP25, AP50, recall, latency, dropped frames.

    Example: sr3d bag eval drive/ --gt truth.json --params-file my_robot.yaml
    """
    from sr3d_ros.bag.run import score_run
    from sr3d_ros.bag.source import Topics
    from sr3d_ros.bag.truth import BagTruth
    from sr3d_ros.bag.truth_topic import TopicTruth

    with one_line_errors():
        require_writable(json_out)
        if (truth is None) == (gt_topic is None):
            raise ValueError("what is the ground truth? Say either --gt or --gt-topic")
    given = {
        "model.weights": weights,
        "model.device": device,
        "model.backend": backend,
        "memory.seconds": memory,
        "output.score_threshold": score,
        "frames.detection": detection_frame,
    }
    topics = Topics(topic, camera_info, color, imu, tf_namespace, node)
    bag_run = opened(bag, topics, params_file, given, up, one_class=False, num_views=merge_views)
    with one_line_errors(), bag_run as run, progress_of("clouds", run.num_clouds) as progress:
        if gt_topic is not None:
            in_bag = TopicTruth(run.bag, gt_topic, run.classes, min_points)
            for note in in_bag.notes:
                say(note)
            result = score_run(run, in_bag, progress)
        elif truth is not None:
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
    print_tally(result.tally)
    with one_line_errors():
        about = {**head_of(bag, run), "ground_truth": gt_topic or str(truth)}
        write_json(json_out, {**about, **result.to_dict()})
