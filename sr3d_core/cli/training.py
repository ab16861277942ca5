"""`sr3d train` and `sr3d eval`."""

from __future__ import annotations

import math
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sr3d_core.cli.accuracy import (
    AS_STORED,
    RefineFloorOption,
    RefineOption,
    RefineSizeOption,
    RefineVoteOption,
    RefineYawOption,
    VoteIouOption,
    with_switches,
)
from sr3d_core.cli.scenes import labelled_scenes, named_config
from sr3d_core.console import (
    SCENES,
    AcceptDataOption,
    BackendOption,
    MergeViewsOption,
    chosen,
    one_line_errors,
    progress_in_turn,
    progress_of,
    require_resume,
    require_writable,
    result_console,
    say,
    some_views,
    write_json,
)
from sr3d_core.presets import preset_names, preset_path
from sr3d_core.supervision.parts import ASSIGNERS, CLASSIFICATIONS

if TYPE_CHECKING:
    from torch.utils.data import DataLoader, Dataset

    from sr3d_core.analysis.analyse import Analysis
    from sr3d_core.config import Config
    from sr3d_core.data.sources import Scenes
    from sr3d_core.train import Progress, Validated
    from sr3d_core.training.learner import Learner


STOPPED_BY_USER = 130
"""Exit code of a training that Ctrl-C stopped: it is saved, but not done."""

_PRESETS = ", ".join(preset_names())


def train(
    config: Annotated[
        Path | None,
        typer.Argument(
            help=f"Configuration, YAML. Its criterion.assigner is one of {', '.join(ASSIGNERS)}; "
            f"its criterion.classification one of {', '.join(CLASSIFICATIONS)}."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help=f"A training that ships, instead of a file: {_PRESETS}."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help=f"Scenes to train on, instead of those of the configuration: {SCENES}"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: runs/ and the config's name.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Weights to start from, of `sr3d pretrain` or of any training; as "
            "`network.weights` of the configuration."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    accept_data: AcceptDataOption = False,
) -> None:
    """Train a network; Ctrl-C saves and stops, --resume goes on exactly there.

    The folder of the run gets config.yaml, log.csv, curves.png and weights.safetensors, which
    every other command takes as --weights; where schedule.validate_steps asks for it, the best
    weights on the split val as best.safetensors, and validation.jsonl. Several GPUs or processors:
    start it with torchrun, which shares the scenes of a step among as many processes.

    Examples:

      sr3d train --preset rooms

      sr3d train my_rooms/my_rooms.yaml --resume

      sr3d train --data infos:data/sunrgbd         as the preset own_data, on other scenes

      sr3d detect room.ply --weights runs/my_rooms/weights.safetensors

      torchrun --nproc_per_node 2 -m sr3d_core.cli.main train my_rooms/my_rooms.yaml
    """
    if data is not None and config is None and preset is None:
        preset = "own_data"
    if (config is None) == (preset is None):
        raise typer.BadParameter(f"give a YAML file, or --preset with one of {_PRESETS}")
    with one_line_errors():
        path = config if config is not None else preset_path(str(preset))
        from sr3d_core.config import load_config
        from sr3d_core.data.sources import source_of
        from sr3d_core.train import TrainingError
        from sr3d_core.training.learner import Learner

    with one_line_errors(TrainingError):
        parsed = load_config(path)
        if data is not None:
            parsed = replace(parsed, data=source_of(data))
        if init is not None:
            parsed = replace(parsed, network=replace(parsed.network, weights=init))
        if data is not None and preset is not None:
            parsed = validated_where_possible(parsed)
    folder = out if out is not None else Path("runs") / path.stem
    run_and_tell(parsed, folder, Learner, resume=resume, accept_data=accept_data)


def run_and_tell(
    config: Config, folder: Path, learner: type[Learner], *, resume: bool, accept_data: bool
) -> None:
    """Train, with progress, and say what came out; raises typer.Exit where the user stopped it."""
    from sr3d_core.data.sources import data_argument
    from sr3d_core.train import BEST, TrainingError
    from sr3d_core.train import train as run
    from sr3d_core.training.processes import is_main_process

    with one_line_errors(TrainingError):
        require_resume(resume, accept_data)
        is_main = is_main_process(os.environ)
    with one_line_errors(TrainingError), progress_in_turn() if is_main else nullcontext() as tell:
        last_step = num_steps = 0
        stopped = ""
        validated: Validated | None = None

        def on_step(at: Progress) -> None:
            nonlocal last_step, num_steps
            last_step, num_steps = at.step, at.num_steps
            if tell is not None:
                tell("steps", at.step, at.num_steps, _note(at))

        def on_scored(num_done: int, num: int) -> None:
            if tell is not None and last_step > 0:
                tell("steps", last_step, num_steps, f"validation: scene {num_done} of {num}")

        def on_validated(found: Validated) -> None:
            nonlocal validated
            validated = found
            say(_note_of(found))

        def on_stopped(step: int, num_steps: int) -> None:
            nonlocal stopped
            stopped = f"stopped at step {step} of {num_steps}"

        def on_inspected(num_done: int, num: int) -> None:
            if tell is not None:
                tell("scenes inspected", num_done, num)

        weights = run(
            config,
            folder,
            resume=resume,
            accept_data=accept_data,
            learner=learner,
            on_step=on_step,
            on_inspected=on_inspected,
            on_scored=on_scored,
            on_validated=on_validated,
            on_stopped=on_stopped,
        )
    if is_main:
        say(f"weights: {weights}")
    best = weights.with_name(BEST)
    if validated is not None:
        weights = best
        say(f"the best on val: {weights}, of step {validated.best_step}")
    elif is_main and config.schedule.validate_steps > 0 and best.is_file():  # of a session before
        weights = best
        say(f"the best on val: {weights}")
    if stopped:
        say(f"{stopped}; everything is saved: the same command with --resume goes on")
        raise typer.Exit(STOPPED_BY_USER)
    if last_step < num_steps and validated is not None and validated.is_last:
        say(
            f"ended at step {last_step} of {num_steps}: {validated.without_gain} validations "
            "brought no gain (schedule.patience)"
        )
    if is_main:
        scenes = data_argument(config.data)
        say(f"make its scores chances: sr3d model calibrate {weights} --data {scenes}")


def validated_where_possible(config: Config) -> Config:
    """A preset on other scenes: validated as it says where these have a split val, else not."""
    from sr3d_core.data.split import how_to_split

    try:
        num_scenes = len(config.data.open("val")) if config.schedule.validate_steps else 0
    except ValueError as error:
        num_scenes = 0
        say(f"there is no split val: {error}")
    if num_scenes or not config.schedule.validate_steps:
        return config
    how = how_to_split(config.data) or "list scenes of val beside those of train"
    say(
        "not validated while it trains, so the last weights are kept and not the best; to mend "
        f"it: {how}"
    )
    return replace(config, schedule=replace(config.schedule, validate_steps=0, patience=0))


def _note(at: Progress) -> str:
    classification, box = (float(t.detach()) for t in (at.losses.classification, at.losses.box))
    memory = "" if math.isnan(at.memory_gb) else f"  {at.memory_gb:.1f} GB"
    return (
        f"loss {classification:.3f} + box {box:.3f}  rate {at.learning_rate:.2g}  "
        f"{at.scenes_per_s:.1f} scenes/s{memory}"
    )


def _note_of(found: Validated) -> str:
    ap25, ap50 = (100 * found.report[name] for name in ("map25", "map50"))
    rank = "the best so far" if found.is_best else f"the best is step {found.best_step}"
    aic = found.report["aic"]
    apart = "" if aic is None else f", AIC {aic:.3f}"
    return f"step {found.step} on val: AP25 {ap25:.1f}, AP50 {ap50:.1f}{apart} ({rank})"


def evaluate(
    data: Annotated[str, typer.Option(help=SCENES)] = "rooms",
    split: Annotated[str, typer.Option(help="Which scenes; NAME.txt in a folder.")] = "val",
    num: Annotated[
        int,
        typer.Option(min=1, help="How many scenes, at most; of rooms: frames and scans in turn."),
    ] = 600,
    weights: Annotated[
        str,
        typer.Option(
            help='Weights file, or those that ship: "default" of clouds, "camera" of images.'
        ),
    ] = "default",
    input_kind: Annotated[
        str,
        typer.Option(
            "--input",
            help="What the weights have to take: points, rgb (scenes with color images, their "
            "depth scored too), or auto, as they do.",
        ),
    ] = "auto",
    true_depth: Annotated[
        bool,
        typer.Option(
            "--true-depth",
            help="Of color images: see each cell as far away as it is, not as far as the network "
            "believes; says what a better depth would bring.",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    backend: BackendOption = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare scenes.")] = 0,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the report here.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            help="Write one page that says where it fails: precision over recall, how far scores "
            "can be believed, size, distance, confusion, pictures of the worst scenes. --json "
            'then has the same under "analysis".',
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="Evaluate as the `evaluation` of this configuration says, a YAML file or one of "
            f"{_PRESETS}; without, as a robot detects."
        ),
    ] = None,
    views: Annotated[
        int,
        typer.Option(
            callback=some_views,
            help="Score all scenes in each of 1, 2, 4 or 8 views, turned by quarters and then "
            "mirrored, and report means and standard deviations over the views.",
        ),
    ] = 1,
    tests: Annotated[
        int,
        typer.Option(
            min=1,
            help="Test so often, the first time on points as they come, then on others at random, "
            "and report the best, mean and standard deviation, as the papers do.",
        ),
    ] = 1,
    merge_views: MergeViewsOption = 1,
    refine: RefineOption = AS_STORED,
    vote_iou: VoteIouOption = None,
    refine_vote: RefineVoteOption = None,
    refine_size: RefineSizeOption = None,
    refine_floor: RefineFloorOption = None,
    refine_yaw: RefineYawOption = None,
) -> None:
    """Score weights on labelled scenes: AP and recall per class at overlap 0.25 and 0.5.

    Weights of color images are scored on the images of scenes that have some (rooms, sunrgbd,
    recording): the same figures, the depth of every cell (AbsRel, the share that is off by a
    factor below 1.25, the share on objects whose error is within the deviation that is told), and
    AP with each box moved along its line of sight to where its object is, which says what the
    depth costs.

    Examples:

      sr3d eval --num 50

      sr3d eval --num 50 --views 8           figures with their spread

      sr3d eval --data my_rooms --weights runs/my_rooms/weights.safetensors --json report.json

      sr3d eval --data my_rooms --report report.html --json report.json

      sr3d eval --data folder:scannet --weights w.safetensors --config sr3d_paper

      sr3d eval --data folder:scannet --weights w.safetensors --config sr3d_paper --tests 5

      sr3d eval --input rgb --weights camera --num 100

      sr3d eval --input rgb --weights camera --data sunrgbd:data/sunrgbd/OFFICIAL_SUNRGBD
    """
    kind = chosen("--input", input_kind, ("auto", "points", "rgb"))
    with one_line_errors():
        from sr3d_core.checkpoint import read_manifest
        from sr3d_core.config import Evaluation
        from sr3d_core.detector import Detector
        from sr3d_core.evaluate import EvaluationReport, detector_rules, fronts_table
        from sr3d_core.evaluate import evaluate as score
        from sr3d_core.evaluate_images import (
            ImagesReport,
            evaluate_images,
            lift_to_true_depth,
        )
        from sr3d_core.evaluate_tests import InRandomOrder, TestsReport, evaluate_tests
        from sr3d_core.evaluate_views import ViewsReport, evaluate_in_views

        if views > 1 and tests > 1:
            raise ValueError(
                f"--views {views} and --tests {tests}: their spreads are of different things; "
                "expected one of both"
            )
        if page is not None:
            _check_page(page, json_out, views, tests)
        require_writable(json_out)
        rules = named_config(config)
        evaluation = Evaluation() if rules is None else rules.evaluation
        detector = Detector.from_checkpoint(
            weights,
            device=device,
            backend=backend,
            **detector_rules(evaluation),
        )
        _check_input(kind, weights, takes_images=detector.takes_images)
        if detector.takes_images:
            _check_of_images(views, tests, page)
        if true_depth:
            lift_to_true_depth(detector)
        finder = with_switches(
            detector,
            merge_views,
            refine,
            vote_iou,
            vote=refine_vote,
            size=refine_size,
            floor=refine_floor,
            yaw=refine_yaw,
        )
        if views > 1 and merge_views > 2:
            say(
                f"--views {views} of --merge-views {merge_views}: merged views are the same turns "
                "in whichever view, so deviations are too small"
            )
        scenes = labelled_scenes(
            data, split, num, detector.classes, has_images=detector.takes_images
        )
        num = len(scenes)
        loader, *others = (
            _loader(InRandomOrder(scenes, test), workers) for test in range(1, tests + 1)
        )
        analysis: Analysis | None = None
        report: EvaluationReport | ViewsReport | TestsReport | ImagesReport
        with progress_of("scenes", num * tests) as tell:
            fronts = detector.front_classes
            if detector.takes_images:
                report = evaluate_images(detector, loader, tell, fronts)
            elif tests > 1:
                report = evaluate_tests(finder, [loader, *others], tell, fronts)
            elif views > 1:
                report = evaluate_in_views(finder, loader, views, tell, fronts)
            elif page is None:
                report = score(finder, loader, tell, fronts)
            else:
                from sr3d_core.analysis.analyse import analyse

                assigner = None if rules is None else rules.criterion.assigner
                analysis = analyse(finder, loader, tell, fronts, assigner)
                report = analysis.scores
        result_console().print(report.table())
        if isinstance(report, ImagesReport):
            result_console().print(report.depth_table())
        if report.fronts:
            result_console().print(fronts_table(report.fronts))
        sha256 = read_manifest(weights).sha256
        head = {"data": data, "split": split, "model": weights, "sha256": sha256}
        if true_depth:
            head["lifted to"] = "the true depth"
        more = {} if analysis is None else {"analysis": analysis.to_dict()}
        write_json(json_out, {**head, **report.to_dict(), **more})
        if page is not None and analysis is not None:
            from sr3d_core.analysis.page import write_page

            about = {
                **head,
                "scenes": num,
                "evaluation": config or "as a robot detects",
                "merged views": merge_views,
                "refinement": str(finder.refinement),
            }
            write_page(page, f"sr3d eval {data} {split}", about, analysis)


def _loader(scenes: Scenes, workers: int) -> DataLoader[Any]:
    """Scenes one by one, prepared in other processes if there are any."""
    from torch.utils.data import DataLoader

    return DataLoader(
        cast("Dataset[Any]", scenes),
        batch_size=None,
        sampler=range(len(scenes)),
        num_workers=workers,
    )


def _check_input(kind: str, weights: str, *, takes_images: bool) -> None:
    """Refuse weights that do not take what `--input` says; ValueError."""
    takes = "rgb" if takes_images else "points"
    if kind not in ("auto", takes):
        raise ValueError(
            f"--input {kind}, and the weights {weights} take {takes}; expected weights that take "
            f"{kind}, such as --weights {'camera' if kind == 'rgb' else 'default'}"
        )


def _check_of_images(views: int, tests: int, page: Path | None) -> None:
    """Refuse what is of clouds alone; ValueError."""
    for option, is_asked, why in (
        ("--views", views > 1, "turns of the room change no pixel of an image"),
        ("--tests", tests > 1, "an image has no points to draw others from"),
        ("--report", page is not None, "its pictures are of clouds"),
    ):
        if is_asked:
            raise ValueError(f"{option}: {why}, and these weights take color images; leave it out")


def _check_page(page: Path, json_out: Path | None, views: int, tests: int) -> None:
    """Refuse what cannot be written, before the work starts; ValueError or OSError."""
    import sr3d_core.plots  # noqa: F401  what is missing to draw is said now

    for option, value in (("--views", views), ("--tests", tests)):
        if value > 1:
            raise ValueError(
                f"--report and {option} {value}: the page is of one look at each scene, expected "
                f"{option} 1; for figures with their spread run it again without --report"
            )
    if json_out is not None and page.resolve() == json_out.resolve():
        raise ValueError(f"--report and --json are both {page}; expected two files")
    require_writable(page)
