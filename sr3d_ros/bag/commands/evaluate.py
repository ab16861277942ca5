"""`sr3d bag eval`: how well the objects of a recording are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from sr3d_ros.bag.commands.figure_tables import comparison_table, object_table
from sr3d_ros.bag.commands.opening import opened, print_tally
from sr3d_ros.bag.commands.options import BagPath, Json, Memory, Recording, with_groups
from sr3d_ros.bag.result import head_of
from sr3d_ros.bag.words import comparison_lines, pace_lines, steady_lines

if TYPE_CHECKING:
    from sr3d_ros.bag.evaluation import Evaluation, Other
    from sr3d_ros.bag.run import BagRun
    from sr3d_ros.bag.truth import Truth
    from sr3d_ros.parameters.record import Parameters

GroundTruth = Annotated[
    Path | None, typer.Option("--gt", help="Ground truth, JSON; see docs/recordings.md.")
]
GroundTruthTopic = Annotated[
    str | None,
    typer.Option(
        help="Ground truth in the recording: a Detection3DArray topic, as simulators have it."
    ),
]
WeakScore = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Average precision leaves out boxes below this; it needs the weak ones too, so the "
        "file's threshold does not count for it. It does for all other figures.",
    ),
]
MinPoints = Annotated[
    int,
    typer.Option(
        min=0, help="A box of --gt-topic, or a static one, counts where it holds so many points."
    ),
]
Tracking = Annotated[
    bool, typer.Option("--tracking", help="Follow the objects, and count switches of their ids.")
]
Pace = Annotated[
    float | None,
    typer.Option(
        min=1e-9,
        help="Replay once more as if frames arrived at their own stamps, so many times as fast as "
        "the sensor: which frames the robot would have dropped, how old its boxes are, and "
        "precision over the frames that are left. 1 = the sensor's pace.",
    ),
]
Ros2Benchmark = Annotated[
    Path | None,
    typer.Option(
        help="Write the figures at the sensor's pace here, by the names that NVIDIA's "
        "ros2_benchmark has for them (JSON). Without --pace: at 1."
    ),
]
Compare = Annotated[
    str | None,
    typer.Option(
        help="Weights of another detector, which gets the same frames: how much better it is, how "
        "sure that is, and which objects only one of both finds."
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        help="Write all figures with plots and pictures of the worst frames here, as one page of "
        "HTML that loads nothing."
    ),
]
Worst = Annotated[
    int, typer.Option(min=0, max=50, help="With --report: pictures of so many frames, at most.")
]


@dataclass(frozen=True, kw_only=True)
class Files:
    """Where results are written."""

    report: Report = None
    worst: Worst = 6
    ros2_benchmark: Ros2Benchmark = None
    json_out: Json = None

    def check(self) -> None:
        """Raise now what would be raised in the end."""
        for path in (self.json_out, self.ros2_benchmark, self.report):
            require_writable(path)
        if self.report is not None:
            import sr3d_core.plots  # noqa: F401  what draws may be missing


@with_groups
def evaluate(
    bag: BagPath,
    recording: Recording,
    files: Files,
    truth: GroundTruth = None,
    gt_topic: GroundTruthTopic = None,
    min_points: MinPoints = 20,
    score: WeakScore = 0.01,
    memory: Memory = None,
    merge_views: MergeViewsOption = 1,
    tracking: Tracking = False,
    pace: Pace = None,
    compare: Compare = None,
) -> None:
    """Score the detections in a recording: precision, recall, steadiness, latency, drops.

    Examples:

      sr3d bag eval drive/ --gt truth.json --params-file my_robot.yaml

      sr3d bag eval drive/ --gt truth.json --pace 1 --report report.html

      sr3d bag eval drive/ --gt truth.json --input rgb --color /camera/image_raw
    """
    with one_line_errors():
        from sr3d_ros.bag.evaluation import Asked, evaluated
        from sr3d_ros.bag.figures.worst import WorstFrames
        from sr3d_ros.parameters.detector import postprocess_for

        files.check()
        if (truth is None) == (gt_topic is None):
            raise ValueError("what is the ground truth? Say either --gt or --gt-topic")
        robot = _robot(recording)
    more = {
        **_weak_boxes_too(robot, score),
        "memory.seconds": memory,
        "tracking.enabled": tracking or None,
    }
    bag_run = opened(bag, recording, more, one_class=False, num_views=merge_views)
    with one_line_errors(), bag_run as run, progress_of("clouds", run.num_clouds) as progress:
        other = None if compare is None else _other(run, compare, merge_views)
        asked = Asked(
            truth=_truths(run, other, truth, gt_topic, min_points),
            wanted=partial(postprocess_for, robot, of_images=run.parameters.kind == "rgb"),
            speed=1.0 if pace is None and files.ros2_benchmark is not None else pace,
            other=other,
        )
        worst = WorstFrames(run.num_clouds, files.worst if files.report else 0)
        found = evaluated(run, asked, progress, worst)
    _print(found, gt_topic or str(truth), min_points)
    with one_line_errors():
        head = {**head_of(bag, run), "ground_truth": gt_topic or str(truth)}
        write_json(files.json_out, {**head, **found.to_dict()})
        if found.pace is not None and files.ros2_benchmark is not None:
            from sr3d_ros.bag.ros2_benchmark import ros2_benchmark_report

            benchmark = ros2_benchmark_report(found.pace, bag, run.weights)
            write_json(files.ros2_benchmark, benchmark)
        if files.report is not None:
            from sr3d_ros.bag.about import about_run
            from sr3d_ros.bag.report.page import write_report

            about = about_run(bag, run, gt_topic or str(truth), robot)
            write_report(files.report, f"sr3d bag eval {bag.name}", about, found, worst.kept)


def _robot(recording: Recording) -> Parameters:
    """What the robot reports, before weak boxes are asked for as well."""
    from sr3d_ros.parameters.file import parameters_of_file
    from sr3d_ros.parameters.record import Parameters

    if recording.params_file is None:
        return Parameters()
    return parameters_of_file(recording.params_file, recording.node)


def _weak_boxes_too(robot: Parameters, score: float) -> dict[str, object]:
    """The thresholds that average precision wants, of all classes."""
    of_classes = {
        f"classes.{name}.score_threshold": score
        for name, rule in robot.class_rules.items()
        if rule.score_threshold
    }
    return {"output.score_threshold": score, **of_classes}


def _other(run: BagRun, weights: str, num_views: int) -> Other:
    """The other detector, as the run's own but for its weights."""
    from sr3d_ros.bag.evaluation import Other
    from sr3d_ros.bag.finder import load_finder

    name = "model.camera_weights" if run.parameters.kind == "rgb" else "model.weights"
    parameters = run.parameters.with_values({name: weights})
    return Other(weights, load_finder(parameters, one_class=False, num_views=num_views))


def _truths(
    run: BagRun, other: Other | None, path: Path | None, topic: str | None, min_points: int
) -> Callable[[Sequence[str]], Truth]:
    """The ground truth that was asked for, for the classes of a detector.

    With two of them the file may have boxes of a class that one of them alone knows.
    """
    from sr3d_ros.bag.truth import BagTruth
    from sr3d_ros.bag.truth_file import read_truth
    from sr3d_ros.bag.truth_topic import TopicTruth

    if path is not None:
        known = dict.fromkeys((*run.classes, *(() if other is None else other.finder.classes)))
        boxes = read_truth(path, tuple(known))
        if boxes.static is not None:
            _require_points(run, min_points, f"static boxes of {path} count")
        return lambda classes: BagTruth(boxes, classes, min_points)
    _require_points(run, min_points, f"boxes of {topic} count")
    said = set[str]()

    def of_topic(classes: Sequence[str]) -> TopicTruth:
        in_bag = TopicTruth(run.bag, topic or "", classes, min_points)
        for note in in_bag.notes:
            if note not in said:
                say(note)
        said.update(in_bag.notes)
        return in_bag

    return of_topic


def _require_points(run: BagRun, min_points: int, what: str) -> None:
    """Refuse images where boxes count by the points they hold: none would ever count."""
    from sr3d_ros.bag.errors import ReplayError

    if run.parameters.kind == "rgb" and min_points > 0:
        raise ReplayError(
            f"{what} where they hold {min_points} points of the frame, and color images have "
            "none; expected a file with the boxes of each stamp, or --min-points 0: then all "
            "count in every image, also those out of sight"
        )


def _print(found: Evaluation, truth: str, min_points: int) -> None:
    console, result = result_console(), found.result
    console.print(result.scores.table())
    if result.objects:
        console.print(object_table(result.objects))
    said = list(steady_lines(result))
    if result.num_without_truth:
        said.append(f"{result.num_without_truth} clouds without ground truth were not scored")
    if result.num_truth_unused:
        said.append(f"{result.num_truth_unused} stamps of the ground truth have no cloud")
    if result.num_never_counted:
        said.append(
            f"{result.num_never_counted} static boxes count in no cloud: none has {min_points} "
            f"points of theirs (--min-points). If the sensor saw them, frame or units of {truth} "
            "are wrong"
        )
    _print_lines(said)
    print_tally(result.tally)
    if found.pace is not None:
        _print_lines(pace_lines(result, found.pace))
    if found.comparison is not None:
        console.print(comparison_table(found.comparison))
        _print_lines(comparison_lines(found.comparison))


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        result_console().print(line, markup=False, highlight=False, soft_wrap=True)
