"""`sr3d distill`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sr3d_core.cli.recorded import Agreement, going_on_from, on_recording
from sr3d_core.cli.running import run_and_tell
from sr3d_core.console import SCENES, AcceptDataOption, chosen, one_line_errors
from sr3d_core.training.allocator import give_back_large

if TYPE_CHECKING:
    from sr3d_core.distill.settings import CameraConfig
    from sr3d_core.distill.term_settings import Preset

STEPS_OF_A_NEW_STUDENT = 16_000
"""Where no configuration and no --steps say how many."""
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
    bag: Annotated[
        Path | None,
        typer.Option(
            help="In place of --data a recording without labels, with color images, CameraInfo, "
            "clouds or depth images, and tf: the teacher's steady boxes are taken as true."
        ),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(help="Of --bag: clouds or depth images; default: the only clouds there are."),
    ] = None,
    color: Annotated[
        str | None,
        typer.Option(
            help="Of --bag: color images, raw or compressed, or organized clouds with colors; "
            "default: the only images, else what the clouds hold."
        ),
    ] = None,
    camera_info: Annotated[
        str | None,
        typer.Option(help="Of --bag: CameraInfo of these; default: the one beside them."),
    ] = None,
    camera_height: Annotated[
        float | None,
        typer.Option(help="Of --bag: the color camera's metres above the floor, where known."),
    ] = None,
    period: Annotated[
        float | None,
        typer.Option(min=0, help="Of --bag: seconds between frames, at least; default: 0.5."),
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
    accept_data: AcceptDataOption = False,
) -> None:
    """Teach a network of color images with one of point clouds: boxes where depth has died.

    The student learns from labelled scenes with color images and clouds of the same moment: true
    boxes, true depth, and what the teacher makes of the cloud (MonoSTL, arXiv 2603.07464). Its
    weights are used as any others, on images in place of clouds. In three quarters of its steps a
    new student learns of cells alone how far away they are and what they show. Ctrl-C saves and
    stops, --resume goes on exactly there; several GPUs: start it with torchrun.

    With --bag it learns one place, without labels: boxes that the teacher scores 0.3 or more and
    finds in the same place in three frames in a row are taken as true. The last fifth of the
    recording is held out; said is how far the student agrees with the teacher there, before and
    after, and scores are made chances there. Frames are kept in a folder beside the run.

    Examples:

      sr3d distill --steps 2000 --out runs/camera

      sr3d data rooms runs/looks --frames 0 --no-scan --images 4

      sr3d distill --data rooms:,images=true,prerendered=runs/looks --out runs/camera

      sr3d distill --bag my_flat.mcap --student camera --out runs/my_flat
    """
    give_back_large()
    out = out if out is not None else Path("runs") / _name(config, bag)
    given = {
        "--topic": topic,
        "--color": color,
        "--camera-info": camera_info,
        "--camera-height": camera_height,
        "--period": period,
    }
    with one_line_errors():
        if preset is not None:
            chosen("--preset", preset, PRESETS)
        _check_data(data, bag, [name for name, value in given.items() if value is not None])
        from sr3d_core.config import ConfigError
        from sr3d_core.data.image_frames import FrameSettings
        from sr3d_core.distill.learner import CameraLearner
        from sr3d_core.distill.recordings import RecordedFrames
        from sr3d_core.training.errors import TrainingError
        from sr3d_core.training.folder import RunFolder

    with one_line_errors(ConfigError, TrainingError):
        asked = _asked(config, data, teacher, student, preset)
        if bag is None:
            asked = _seen_in_color(asked)
        else:
            RunFolder(out).require_fit(to_resume=resume)  # before minutes of work
            frames = RecordedFrames(
                folder=out.with_name(out.name + ".frames"),
                settings=FrameSettings(
                    period_s=0.5 if period is None else period, camera_height_m=camera_height
                ),
                topic=topic,
                color=color,
                camera_info=camera_info,
            )
            asked = on_recording(asked, bag, frames, is_short=config is None)
        asked = _in_steps(asked, steps, is_new=config is None and bag is None and student is None)
    how = {"resume": resume, "accept_data": accept_data}
    if bag is None:
        run_and_tell(asked, out, CameraLearner, **how)
        return
    with one_line_errors(ConfigError):
        agreement = Agreement(asked, out)
    run_and_tell(asked, out, CameraLearner, **how)
    with one_line_errors(ConfigError):
        agreement.tell()


def for_a_new_student(asked: CameraConfig, steps: int) -> CameraConfig:
    """The same with the schedule of a student that begins from nothing, in so many steps.

    Most of them teach cells alone: the image network begins from nothing, and where depth is
    unknown there is nothing to learn boxes from.
    """
    first = replace(asked.depth, first_steps=3 * steps // 4)
    schedule = replace(
        asked.schedule, num_steps=steps, batch_size=4, learning_rate=0.002, warmup_steps=200
    )
    return replace(asked, depth=first, schedule=schedule)


def _asked(
    config: Path | None,
    data: str | None,
    teacher: str | None,
    student: str | None,
    preset: str | None,
) -> CameraConfig:
    """The configuration of a file, or that which ships, as far as options do not overrule it."""
    from sr3d_core.data.rooms.source import RoomsSource
    from sr3d_core.data.sources import source_of
    from sr3d_core.distill.settings import CameraConfig, load_camera_config

    default = CameraConfig(data=RoomsSource(images=True))
    asked = default if config is None else load_camera_config(config)
    if data is not None:
        asked = replace(asked, data=source_of(data))
    if teacher is not None:
        asked = replace(asked, teacher=replace(asked.teacher, weights=teacher))
    if student is not None:
        asked = going_on_from(asked, student, is_shape_free=config is None)
    if preset is not None:
        asked = replace(asked, distill=replace(asked.distill, preset=cast("Preset", preset)))
    return asked


def _seen_in_color(asked: CameraConfig) -> CameraConfig:
    """The same with images of the scenes it learns from."""
    from sr3d_core.data.sources import with_images

    unlabelled = None if asked.unlabelled is None else with_images(asked.unlabelled)
    return replace(asked, data=with_images(asked.data), unlabelled=unlabelled)


def _in_steps(asked: CameraConfig, steps: int | None, *, is_new: bool) -> CameraConfig:
    """The same in so many steps, where they are given; a new student has its own schedule."""
    if is_new:
        return for_a_new_student(asked, steps or STEPS_OF_A_NEW_STUDENT)
    if steps is None:
        return asked
    return replace(asked, schedule=replace(asked.schedule, num_steps=steps, epochs=None))


def _name(config: Path | None, bag: Path | None) -> str:
    """What a run is called that nobody named."""
    if config is not None:
        return config.stem
    return "camera" if bag is None else bag.stem


def _check_data(data: str | None, bag: Path | None, of_bag: list[str]) -> None:
    """Refuse options that would not act; ValueError."""
    if bag is None and of_bag:
        raise ValueError(f"{', '.join(of_bag)}: of --bag, and there is none; leave out")
    if bag is not None and data is not None:
        raise ValueError(f"--data {data} and --bag {bag}; expected one of both")
