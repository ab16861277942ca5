"""`sr3d eval`."""

from __future__ import annotations

from dataclasses import dataclass
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
    BackendOption,
    MergeViewsOption,
    chosen,
    one_line_errors,
    progress_of,
    require_writable,
    result_console,
    say,
    some_views,
    write_json,
)
from sr3d_core.presets import preset_names

if TYPE_CHECKING:
    from torch.utils.data import DataLoader, Dataset

    from sr3d_core.analysis.analyse import Analysis
    from sr3d_core.config import Config
    from sr3d_core.data.sources import Scenes
    from sr3d_core.detector import Detector
    from sr3d_core.evaluate import EvaluationReport
    from sr3d_core.evaluate_images import ImagesReport
    from sr3d_core.evaluate_tests import TestsReport
    from sr3d_core.evaluate_views import ViewsReport
    from sr3d_core.merged_views import MergedViews

    Report = EvaluationReport | ViewsReport | TestsReport | ImagesReport

_PRESETS = ", ".join(preset_names())


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

        how = _How(views, tests, page)
        how.check(json_out, merge_views)
        rules = named_config(config)
        detector = _detector(weights, device, backend, rules)
        _check_input(kind, weights, takes_images=detector.takes_images)
        if detector.takes_images:
            how.check_of_images()
        if true_depth:
            from sr3d_core.evaluate_images import lift_to_true_depth

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
        scenes = labelled_scenes(
            data, split, num, detector.classes, has_images=detector.takes_images
        )
        report, analysis = _scored(detector, finder, scenes, workers, how, rules)
        _print(report)
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
                "scenes": len(scenes),
                "evaluation": config or "as a robot detects",
                "merged views": merge_views,
                "refinement": str(finder.refinement),
            }
            write_page(page, f"sr3d eval {data} {split}", about, analysis)


@dataclass(frozen=True)
class _How:
    """What is looked at how often, and whether a page says where it fails."""

    views: int
    tests: int
    page: Path | None

    def check(self, json_out: Path | None, merge_views: int) -> None:
        """Refuse what does not go together or cannot be written, before the work starts.

        Raises ValueError or OSError.
        """
        if self.views > 1 and self.tests > 1:
            raise ValueError(
                f"--views {self.views} and --tests {self.tests}: their spreads are of different "
                "things; expected one of both"
            )
        if self.page is not None:
            self._check_page(self.page, json_out)
        require_writable(json_out)
        if self.views > 1 and merge_views > 2:
            say(
                f"--views {self.views} of --merge-views {merge_views}: merged views are the same "
                "turns in whichever view, so deviations are too small"
            )

    def check_of_images(self) -> None:
        """Refuse what is of clouds alone; ValueError."""
        for option, is_asked, why in (
            ("--views", self.views > 1, "turns of the room change no pixel of an image"),
            ("--tests", self.tests > 1, "an image has no points to draw others from"),
            ("--report", self.page is not None, "its pictures are of clouds"),
        ):
            if is_asked:
                raise ValueError(
                    f"{option}: {why}, and these weights take color images; leave it out"
                )

    def _check_page(self, page: Path, json_out: Path | None) -> None:
        import sr3d_core.plots  # noqa: F401  what is missing to draw is said now

        for option, value in (("--views", self.views), ("--tests", self.tests)):
            if value > 1:
                raise ValueError(
                    f"--report and {option} {value}: the page is of one look at each scene, "
                    f"expected {option} 1; for figures with their spread run it again without "
                    "--report"
                )
        if json_out is not None and page.resolve() == json_out.resolve():
            raise ValueError(f"--report and --json are both {page}; expected two files")
        require_writable(page)


def _detector(weights: str, device: str, backend: str, rules: Config | None) -> Detector:
    """A detector that sorts boxes out as the configuration says, or as a robot does."""
    from sr3d_core.config import Evaluation
    from sr3d_core.detector import Detector
    from sr3d_core.evaluate import detector_rules

    evaluation = Evaluation() if rules is None else rules.evaluation
    return Detector.from_checkpoint(
        weights, device=device, backend=backend, **detector_rules(evaluation)
    )


def _scored(
    detector: Detector,
    finder: Detector | MergedViews,
    scenes: Scenes,
    workers: int,
    how: _How,
    rules: Config | None,
) -> tuple[Report, Analysis | None]:
    """The figures of all scenes, with progress; where a page is asked for, where it fails."""
    from sr3d_core.evaluate import evaluate as score
    from sr3d_core.evaluate_images import evaluate_images
    from sr3d_core.evaluate_tests import InRandomOrder, evaluate_tests
    from sr3d_core.evaluate_views import evaluate_in_views

    orders = (InRandomOrder(scenes, test) for test in range(1, how.tests + 1))
    loader, *others = (_loader(order, workers) for order in orders)
    fronts = detector.front_classes
    with progress_of("scenes", len(scenes) * how.tests) as tell:
        if detector.takes_images:
            return evaluate_images(detector, loader, tell, fronts), None
        if how.tests > 1:
            return evaluate_tests(finder, [loader, *others], tell, fronts), None
        if how.views > 1:
            return evaluate_in_views(finder, loader, how.views, tell, fronts), None
        if how.page is None:
            return score(finder, loader, tell, fronts), None
        from sr3d_core.analysis.analyse import analyse

        assigner = None if rules is None else rules.criterion.assigner
        analysis = analyse(finder, loader, tell, fronts, assigner)
        return analysis.scores, analysis


def _print(report: Report) -> None:
    from sr3d_core.evaluate import fronts_table
    from sr3d_core.evaluate_images import ImagesReport

    console = result_console()
    console.print(report.table())
    if isinstance(report, ImagesReport):
        console.print(report.depth_table())
    if report.fronts:
        console.print(fronts_table(report.fronts))


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
