"""`sr3d distill`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sr3d_core.cli.training import run_and_tell
from sr3d_core.console import SCENES, chosen, one_line_errors

if TYPE_CHECKING:
    from sr3d_core.distill.settings import Preset

PRESETS = ("none", "plain", "monostl", "monostl_literal", "both")


def distill(
    config: Annotated[
        Path | None,
        typer.Argument(help="Configuration, YAML; default: a small student, see docs/camera.md."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help=f"Scenes with color images, such as rooms:,images=true. {SCENES}"),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Weights of the network that teaches; default: as shipped.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Weights of a student to go on from; default: a new one.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help=f"What is learnt of the teacher: one of {', '.join(PRESETS)}."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How many steps.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: runs/ and the config's name.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
) -> None:
    """Teach a network of color images with one of point clouds: boxes where depth has died.

    The student learns from labelled scenes with color images and clouds of the same moment: true
    boxes, true depth, and what the teacher makes of the cloud (MonoSTL, arXiv 2603.07464). Its
    weights are used as any others, on images in place of clouds. Ctrl-C saves and stops, --resume
    goes on exactly there; several GPUs: start it with torchrun.

    Examples:

      sr3d distill --steps 2000 --out runs/camera

      sr3d data rooms runs/looks --frames 0 --no-scan --images 4

      sr3d distill --data rooms:,images=true,prerendered=runs/looks --out runs/camera
    """
    with one_line_errors():
        if preset is not None:
            chosen("--preset", preset, PRESETS)
        from sr3d_core.config import ConfigError
        from sr3d_core.data.rooms.source import RoomsSource
        from sr3d_core.data.sources import source_of
        from sr3d_core.distill.learner import CameraLearner
        from sr3d_core.distill.settings import CameraConfig, load_camera_config

    with one_line_errors(ConfigError):
        default = CameraConfig(data=RoomsSource(images=True))
        asked = default if config is None else load_camera_config(config)
        if data is not None:
            asked = replace(asked, data=source_of(data))
        if teacher is not None:
            asked = replace(asked, teacher=replace(asked.teacher, weights=teacher))
        if student is not None:
            asked = replace(asked, student=replace(asked.student, weights=student))
        if preset is not None:
            asked = replace(asked, distill=replace(asked.distill, preset=cast("Preset", preset)))
        if steps is not None:
            asked = replace(asked, schedule=replace(asked.schedule, num_steps=steps))
    name = "camera" if config is None else config.stem
    run_and_tell(asked, out if out is not None else Path("runs") / name, resume, CameraLearner)
