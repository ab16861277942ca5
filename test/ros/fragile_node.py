"""The node, spun by calls that break when a KeyboardInterrupt comes in the middle of them.

So do some of rclpy's: they raise a RuntimeError then, while `rclpy.ok()` still says that all is
well, as its signal thread has not come to shut the context down.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import rclpy
from double_node import Double

from sr3d_ros.node.node import main

_BREAKABLE_S = 0.2


def spin(node: Any) -> None:
    """Until the context is shut down; what is spun is of no matter here."""
    is_valid = node.context.ok
    try:
        while is_valid():
            print("spinning", flush=True)
            time.sleep(_BREAKABLE_S)
    except KeyboardInterrupt:
        rclpy.ok = lambda: True
        raise RuntimeError("Unable to convert call argument '0' to Python object") from None


if __name__ == "__main__":
    rclpy.spin = spin
    sys.exit(main(sys.argv, load=Double))  # type: ignore[arg-type]
