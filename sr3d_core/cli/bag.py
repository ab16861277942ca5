"""`sr3d bag ...`: the commands live beside the node, whose path they replay.

Loaded by name, so that sr3d_core imports nothing of the ROS side.
"""

from importlib import import_module

import typer

app: typer.Typer = import_module("sr3d_ros.bag.commands").app
