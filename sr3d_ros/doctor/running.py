"""The detectors that run, seen from outside: their names, state, parameters, topics.

A detector is known by its `~/status` and `~/load_model`, whatever it is called; a recording that
is played has the one without the other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.node import Node
from rclpy.parameter import Parameter

from sr3d_ros.doctor.detector import Running

STATUS_TYPE = "sr3d_ros/msg/DetectorStatus"

Spin = Callable[[Callable[[], bool], float], None]
"""Spins until something is true, or for so many seconds."""


def names_of_detectors(node: Node) -> list[str]:
    """Full names of the detectors that are in the graph now."""
    found: set[str] = set()
    for topic, types in node.get_topic_names_and_types():
        if STATUS_TYPE in types:
            for info in node.get_publishers_info_by_topic(topic):
                found.add(f"{info.node_namespace.rstrip('/')}/{info.node_name}")
    return sorted(name for name in found if _serves_models(node, name))


def publications_of(node: Node, detector: str) -> set[str]:
    """The topics that a detector publishes."""
    return set(_of_node(node.get_publisher_names_and_types_by_node, detector))


def subscriptions_of(node: Node, detector: str) -> dict[str, list[str]]:
    """The topics that a detector subscribes to, by type."""
    found: dict[str, list[str]] = {}
    for topic, types in _of_node(node.get_subscriber_names_and_types_by_node, detector).items():
        for kind in types:
            found.setdefault(kind, []).append(topic)
    return found


def _serves_models(node: Node, name: str) -> bool:
    services = _of_node(node.get_service_names_and_types_by_node, name)
    return any(service.endswith("/load_model") for service in services)


def _of_node(
    look_up: Callable[[str, str], list[tuple[str, list[str]]]], full_name: str
) -> dict[str, list[str]]:
    """What the graph knows of a node, types by name; nothing where the node is gone by now."""
    namespace, _, name = full_name.rpartition("/")
    with suppress(RuntimeError):
        return dict(look_up(name, namespace or "/"))
    return {}


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
