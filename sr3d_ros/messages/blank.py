"""Empty messages by the name of their type: those of ROS, unless somebody has others.

Messages are filled by the same functions on a robot and in recordings that are written without
ROS; only where an empty one comes from differs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

Blank = Callable[[str], Any]
"""A type such as "std_msgs/msg/Header" -> a new message, all fields empty."""


def ros_blank(kind: str) -> Any:
    """A new message of ROS."""
    return _class_of(kind)()


@cache
def _class_of(kind: str) -> Any:
    package, _, name = kind.split("/")
    return getattr(import_module(f"{package}.msg"), name)
