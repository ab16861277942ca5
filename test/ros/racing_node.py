"""The node, whose context is always shut down by somebody else just before it does so itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import rclpy
from double_node import Double

from sr3d_ros.node.node import main


def beaten(shut_down: Callable[..., Any]) -> Callable[..., Any]:
    """A way to shut down that comes second, as after rclpy's own signal thread."""

    def second() -> None:
        rclpy.utilities.get_default_context().try_shutdown()
        shut_down()

    return second


if __name__ == "__main__":
    rclpy.ok = lambda: True  # what it says may be over by the time it is acted on
    rclpy.shutdown, rclpy.try_shutdown = beaten(rclpy.shutdown), beaten(rclpy.try_shutdown)
    sys.exit(main(sys.argv, load=Double))  # type: ignore[arg-type]
