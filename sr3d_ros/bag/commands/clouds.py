"""`sr3d bag clouds`: the clouds of a recording as files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from sr3d_core.console import one_line_errors, progress_of, result_console, say
from sr3d_ros.bag.commands.opening import replayed, values_asked
from sr3d_ros.bag.commands.options import BagPath, Replayed, with_groups


@with_groups
def clouds(
    bag: BagPath,
    recording: Replayed,
    out: Annotated[Path, typer.Option(help="A new folder: PLY files and keyframes.json.")],
    distance: Annotated[
        float, typer.Option(min=0, help="A new cloud once the sensor has moved so many metres,")
    ] = 0.3,
    angle: Annotated[float, typer.Option(min=0, help="or has turned by so many degrees.")] = 15.0,
    seconds: Annotated[
        float,
        typer.Option(
            min=0,
            max=3600,
            help="Fused with what was seen within so many seconds before, by the recording's "
            "odometry; 0 = single clouds.",
        ),
    ] = 5.0,
) -> None:
    """Write clouds of a recording as files: z up, one for each place and direction.

    `sr3d pretrain`, `sr3d detect` and `sr3d view` take them. Where the recording does not say how
    the sensor moved, a cloud is written whenever what it shows has changed by a third.

    Example: sr3d bag clouds drive/ --out clouds/drive
    """
    with one_line_errors():
        from sr3d_core.data.keyframes import KeyframeSettings
        from sr3d_core.data.recordings import alone
        from sr3d_ros.bag.clouds import remarks
        from sr3d_ros.bag.keyframes import FindsNothing, parameters_of, write_clouds_of
        from sr3d_ros.parameters.record import Parameters

        settings = KeyframeSettings(
            keyframe_distance_m=distance, keyframe_angle_rad=math.radians(angle), window_s=seconds
        )
        parameters = Parameters.from_values(values_asked(recording, parameters_of(settings)))
        bag_run = replayed(bag, recording, parameters, FindsNothing(), one_class=True)
        with (
            bag_run as run,
            alone(out),
            progress_of("clouds", run.num_clouds) as progress,
        ):
            written = write_clouds_of(run, out, settings, progress)
        first, *others = remarks(run, written)
    for remark in others:
        say(remark)
    result_console().print(f"{out}: {first}", markup=False, soft_wrap=True)
