"""What a detector that runs says about itself: its state and its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from sr3d_ros.doctor.detector import Running

Spin = Callable[[Callable[[], bool], float], None]
"""Spins until something is true, or for so many seconds."""


def ask(node: Node, spin: Spin, detector: str, limit_s: float) -> Running | None:
    """What a detector says about itself; None where it does not answer in time."""

    def call(kind: Any, service: str, request: Any) -> Any:
        client = node.create_client(kind, f"{detector}/{service}")
        try:
            spin(client.service_is_ready, limit_s)
            answer = client.call_async(request)
            spin(answer.done, limit_s)
            return answer.result() if answer.done() else None
        finally:
            node.destroy_client(client)

    state = call(GetState, "get_state", GetState.Request())
    listed = None if state is None else call(ListParameters, "list_parameters", _everything())
    if listed is None:
        return None
    names = list(listed.result.names)
    values = call(GetParameters, "get_parameters", GetParameters.Request(names=names))
    if values is None:
        return None
    parameters = {
        name: Parameter.from_parameter_msg(ParameterMessage(name=name, value=value)).value
        for name, value in zip(names, values.values, strict=True)
    }
    return Running(detector, state.current_state.label, parameters)


def _everything() -> Any:
    return ListParameters.Request(depth=ListParameters.Request.DEPTH_RECURSIVE)
