"""What is wrong with how the node was started, as far as it can know.

Another node of its name, parameter files that are for others, a manager that never comes: nothing
of it stops the node, and nothing else would tell of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rclpy.node import Node

from sr3d_ros.node.remarks import Remarks
from sr3d_ros.parameters.command_line import files_for_others
from sr3d_ros.parameters.record import Parameters


class Setup:
    """Watches a node from its start on; `arguments` are those of its process.

    What is found is in `advice` as long as it is so, and is logged when it is new.
    """

    def __init__(self, node: Node, arguments: Sequence[str], parameters: Parameters) -> None:
        self.advice = ""
        self._node = node
        self._parameters = parameters
        self._name = node.get_fully_qualified_name()
        self._on_files = "; ".join(files_for_others(arguments, self._name))
        self._made_s = time.monotonic()
        self._was_started = parameters.autostart
        self._remarks = Remarks(node)

    def note_start(self) -> None:
        """Somebody has activated the node, or shut it down: nobody needs to activate it."""
        self._was_started = True

    def refresh(self) -> None:
        """Look again; asks the graph, so not to be called often."""
        found = [self._on_files, self._on_namesakes(), self._on_start()]
        said = [text for text in found if text]
        for text in said:
            self._remarks.tell(text)
        self.advice = "; ".join(said)

    def _on_namesakes(self) -> str:
        names = [
            f"{namespace.rstrip('/')}/{name}"
            for name, namespace in self._node.get_node_names_and_namespaces()
        ]
        count = names.count(self._name)
        if count < 2:
            return ""
        return (
            f"{count} nodes are named {self._name}: their topics, services and parameters cannot "
            "be told apart; give this one another name or namespace (launch argument "
            "namespace:=), or end the other (one that was killed may be listed for some seconds "
            "more)"
        )

    def _on_start(self) -> str:
        """Where a manager is to start the node, it may be that there is none."""
        limit_s = self._parameters.silence_warning_s
        is_in_time = limit_s == 0.0 or time.monotonic() - self._made_s < limit_s
        if self._was_started or is_in_time:
            return ""
        return (
            "nobody has activated this node, and lifecycle.autostart is false: start the "
            f"lifecycle manager with {self._name} among its node_names, or ros2 lifecycle set "
            f"{self._name} configure, then activate; or set lifecycle.autostart to true (launch "
            "argument autostart:=true)"
        )
