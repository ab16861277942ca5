"""`sr3d model measure-spread | calibrate | set-refinement`: what is stored in a weights file."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sr3d_core.cli.accuracy import (
    AS_STORED,
    RefineFloorOption,
    RefineOption,
    RefineSizeOption,
    RefineVoteOption,
    RefineYawOption,
    VoteIouOption,
    refinement_of,
    require_no_points,
)
from sr3d_core.cli.detect import open_detector
from sr3d_core.cli.scenes import labelled_scenes
from sr3d_core.console import (
    SCENES,
    one_line_errors,
    progress_of,
    require_writable,
    result_console,
    say,
    write_json,
)

if TYPE_CHECKING:
    from sr3d_core.calibration import Measured
    from sr3d_core.data.sources import Scenes
    from sr3d_core.detector import Detector

WEAKEST = 0.1
"""Boxes that score less are nearly never right and too many to count."""


def measure_spread(
    weights: Annotated[Path, typer.Argument(help="Weights file to measure and to write to.")],
    rooms: Annotated[
        int, typer.Option(help="How many unseen rooms, one frame each.", min=1)
    ] = 300,
    score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out boxes that score less.")
    ] = 0.3,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json_out: Annotated[Path | None, typer.Option("--json", help="Also write it here.")] = None,
) -> None:
    """Measure how far found boxes lie from the true ones, and store it in the weights file.

    The node makes the covariances of its messages from this. Weights of a robot's own classes
    that no procedural room has stay without: their covariances are 0, which is "unknown".

    Example: sr3d model measure-spread runs/my/weights.safetensors
    """
    with one_line_errors():
        from sr3d_core.checkpoint import require_own, rewrite_manifest
        from sr3d_core.data.rooms.source import RoomsSource
        from sr3d_core.spread import measure_spread as measure

        require_own(weights)
        require_writable(json_out)
        detector = open_detector(weights, score, device)
        source = RoomsSource(sensors=("frame",), images=detector.takes_images)
        samples = source.open("val", detector.classes, rooms)
        with progress_of("rooms", rooms) as tell:
            spread = measure(detector, (samples[index] for index in range(rooms)), tell)
        if not spread:
            raise ValueError(
                f"{weights}: no class has enough boxes that score {score:g} and are right, in "
                f"{rooms} rooms; nothing was stored: more --rooms, or a lower --score"
            )
        rewrite_manifest(weights, spread=spread)
        table = Table(title=f"spread over {rooms} rooms, stored in {weights}")
        for heading in ("class", "boxes", "short cm", "long cm", "up cm", "yaw deg"):
            table.add_column(heading)
        for name, one in spread.items():
            figures = [100 * part for part in one.center_m] + [math.degrees(one.yaw_rad)]
            table.add_row(name, str(one.num_boxes), *(f"{figure:.1f}" for figure in figures))
        result_console().print(table)
        write_json(json_out, {name: asdict(one) for name, one in spread.items()})


def calibrate(
    weights: Annotated[Path, typer.Argument(help="Weights file to measure and to write to.")],
    data: Annotated[str, typer.Option(help=SCENES)] = "rooms",
    split: Annotated[str, typer.Option(help="Which scenes; NAME.txt in a folder.")] = "val",
    num: Annotated[int, typer.Option(min=1, help="How many scenes, at most.")] = 400,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    json_out: Annotated[Path | None, typer.Option("--json", help="Also write it here.")] = None,
) -> None:
    """Make scores chances: of boxes that score .8, eight of ten are right. Stored in the file.

    Take scenes that the weights have not learnt from; those of color images take their images.
    Right is a box that overlaps one of its class by a quarter, refined as the weights say.
    Compared on parts of the scenes that were left out of the fit: the network's own scores, one
    fit of all classes, and one of each class, towards that of all where its boxes are few; the
    best of them is stored. Within a class the order of boxes stays, and so does average
    precision. Thresholds mean something else afterwards: .3 is a good one.

    Examples:

      sr3d model calibrate runs/my/weights.safetensors --data my_rooms

      sr3d model calibrate runs/rooms/weights.safetensors          on procedural rooms
    """
    with one_line_errors():
        from sr3d_core.checkpoint import require_own

        require_own(weights)
        require_writable(json_out)
        detector = uncalibrated(weights, device)
        scenes = labelled_scenes(
            data, split, num, detector.classes, has_images=detector.takes_images
        )
        found = calibrate_on(scenes, detector, weights)
        result_console().print(_ways_table(found, len(scenes)))
        title = f"calibration over {len(scenes)} scenes, stored in {weights}"
        table = Table(title=title)
        for heading in ("class", "boxes", "right", "scale", "offset"):
            table.add_column(heading)
        for name, one in found.calibration.items():
            row = (one.num_boxes, one.num_right, f"{one.scale:.2f}", f"{one.offset:.2f}")
            table.add_row(name, *map(str, row))
        if found.calibration:
            result_console().print(table)
        write_json(
            json_out,
            {
                "held_out": {way: asdict(errors) for way, errors in found.errors.items()},
                "stored": found.best,
                "classes": {name: asdict(one) for name, one in found.calibration.items()},
            },
        )


def _ways_table(found: Measured, num_scenes: int) -> Table:
    """How far scores are from chances in the parts that were left out of the fit."""
    table = Table(title=f"calibration error on held-out parts of {num_scenes} scenes")
    for heading in ("scores", "all boxes", "within classes", ""):
        table.add_column(heading)
    for way, errors in found.errors.items():
        is_best = "stored" if way == found.best else ""
        table.add_row(way, f"{errors.together:.4f}", f"{errors.within_classes:.4f}", is_best)
    return table


def set_refinement(
    weights: Annotated[Path, typer.Argument(help="Weights file to write to.")],
    refine: RefineOption = AS_STORED,
    vote_iou: VoteIouOption = None,
    refine_vote: RefineVoteOption = None,
    refine_size: RefineSizeOption = None,
    refine_floor: RefineFloorOption = None,
    refine_yaw: RefineYawOption = None,
) -> None:
    """Store for which classes boxes are fitted to candidates and points, wherever they are used.

    Ways that are not named keep what the file says, or lose it with --refine none. Choose what
    gains on labelled scenes (sr3d eval with the same options) that are not those it is judged on.
    Boxes lie elsewhere afterwards: measure the spread again (sr3d model measure-spread).

    Example: sr3d model set-refinement my.safetensors --refine-vote all --refine-floor chair
    """
    with one_line_errors():
        from sr3d_core.checkpoint import read_manifest, rewrite_manifest

        manifest = read_manifest(weights)
        refinement = refinement_of(
            manifest.refinement,
            refine,
            vote_iou,
            vote=refine_vote,
            size=refine_size,
            floor=refine_floor,
            yaw=refine_yaw,
        )
        refinement.check(manifest.classes)
        if manifest.camera is not None:
            require_no_points(refinement)
        rewrite_manifest(weights, refinement=refinement)
        result_console().print(f"{weights}: {asdict(refinement)}", markup=False)


def uncalibrated(weights: Path, device: str = "auto", backend: str = "auto") -> Detector:
    """The detector of weights as on a robot, but with the network's own scores, weak ones too."""
    from sr3d_core.detector import Detector, Postprocess

    as_on_a_robot = Postprocess(score_threshold=WEAKEST, one_class=True)
    detector = Detector.from_checkpoint(
        weights, device=device, backend=backend, postprocess=as_on_a_robot
    )
    detector.calibration = {}
    return detector


def calibrate_on(scenes: Scenes, detector: Detector, weights: Path) -> Measured:
    """Fit on labelled scenes, and store in the file what is best.

    Raises ValueError where nothing can be said; the file is left as it is then.
    """
    from sr3d_core.calibration import measure_calibration
    from sr3d_core.checkpoint import rewrite_manifest

    with progress_of("scenes", len(scenes)) as tell:
        samples = (scenes[index] for index in range(len(scenes)))
        found = measure_calibration(detector, samples, tell)
    rewrite_manifest(weights, calibration=found.calibration)
    if not found.calibration:
        say(f"{weights}: scores stay the network's own, which are the better chances")
    return found
