"""What is odd, told in the log when it is new: it may hold for hours, and is looked at often."""

from __future__ import annotations

from collections.abc import Hashable

from rclpy.node import Node


class Remarks:
    """Warnings in the log of a node, each once."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._told: set[Hashable] = set()

    def tell(self, text: str, subject: Hashable = None) -> None:
        """Log a text, unless it is empty, or it or its subject was told before."""
        if text and (subject or text) not in self._told:
            self._told.add(subject or text)
            self._node.get_logger().warning(text)
