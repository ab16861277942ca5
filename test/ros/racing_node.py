"""The node, whose context is always shut down by somebody else while it ends."""

from __future__ import annotations

import sys
from typing import Any

import rclpy
from double_node import Double

from sr3d_ros.node.node import DetectorNode, main

_close, _ok = DetectorNode.close, rclpy.ok


def closing(node: DetectorNode) -> bool:
    """Leave the graph; from now on whoever asks whether the context is up loses the race."""
    is_idle = _close(node)

    def ok(*arguments: Any, **options: Any) -> bool:
        was_ok = _ok(*arguments, **options)
        rclpy.try_shutdown()
        return was_ok

    rclpy.ok = ok
    return is_idle


if __name__ == "__main__":
    DetectorNode.close = closing  # type: ignore[method-assign]
    sys.exit(main(sys.argv, load=Double))  # type: ignore[arg-type]
