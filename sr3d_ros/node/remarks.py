"""What is odd, told in the log when it is new: it may hold for hours, and is looked at often."""

from __future__ import annotations

from rclpy.node import Node


class Remarks:
    """Warnings in the log of a node, each text once."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._told: set[str] = set()

    def tell(self, text: str) -> None:
        """Log a text, unless it is empty or was told before."""
        if text and text not in self._told:
            self._told.add(text)
            self._node.get_logger().warning(text)
