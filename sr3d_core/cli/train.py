"""`sr3d train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sr3d_core.cli.running import run_and_tell
from sr3d_core.console import SCENES, AcceptDataOption, one_line_errors, say
from sr3d_core.presets import preset_names, preset_path
from sr3d_core.supervision.parts import ASSIGNERS, CLASSIFICATIONS
from sr3d_core.training.allocator import give_back_large

if TYPE_CHECKING:
    from sr3d_core.config import Config

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
    give_back_large()
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
