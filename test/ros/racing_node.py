"""The node, whose context is always shut down by somebody else just before it does so itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import rclpy
from double_node import Double

from sr3d_ros.node.node import DetectorNode, main


def beaten(shut_down: Callable[..., Any]) -> Callable[..., Any]:
    """A way to shut down that comes second, as after rclpy's own signal thread."""

    def second() -> None:
        rclpy.utilities.get_default_context().try_shutdown()
        shut_down()

    return second


def outdated(close: Callable[..., Any]) -> Callable[..., Any]:
    """From the closing on, rclpy says that all is well, as it may just before it is over."""

    def closed(node: DetectorNode) -> Any:
        rclpy.ok = lambda: True
        return close(node)

    return closed


if __name__ == "__main__":
    DetectorNode.close = outdated(DetectorNode.close)  # type: ignore[method-assign]
    rclpy.shutdown, rclpy.try_shutdown = beaten(rclpy.shutdown), beaten(rclpy.try_shutdown)
    sys.exit(main(sys.argv, load=Double))  # type: ignore[arg-type]
