"""`sr3d bag`: replay a recording without ROS, or play it to a robot's nodes.

One file for each command; what they share is in `options` and `opening`. The modules that need
torch are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import typer

from sr3d_ros.bag.commands.clouds import clouds
from sr3d_ros.bag.commands.detect import detect
from sr3d_ros.bag.commands.evaluate import evaluate
from sr3d_ros.bag.commands.info import info
from sr3d_ros.bag.commands.map_objects import map_objects
from sr3d_ros.bag.commands.play import ANY_ARGUMENTS, play

app = typer.Typer(
    help="Replay recordings (rosbag2 and ROS 1 bags) without ROS.",
    no_args_is_help=True,
    add_completion=False,  # `sr3d` has it
)
app.command()(info)
app.command()(clouds)
app.command()(detect)
app.command("eval")(evaluate)
app.command("map")(map_objects)
app.command(context_settings=ANY_ARGUMENTS)(play)
