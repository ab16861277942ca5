"""The detectors of the graph and their topics, as any node sees them.

A detector is known by its `~/status` and `~/load_model`, whatever it is called; a recording that
is played has the one without the other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from rclpy.node import Node

STATUS_TYPE = "sr3d_ros/msg/DetectorStatus"


def names_of_detectors(node: Node) -> list[str]:
    """Full names of the detectors that are in the graph now."""
    found: set[str] = set()
    for topic, types in node.get_topic_names_and_types():
        if STATUS_TYPE in types:
            for info in node.get_publishers_info_by_topic(topic):
                found.add(f"{info.node_namespace.rstrip('/')}/{info.node_name}")
    return sorted(name for name in found if _serves_models(node, name))


def sensor_topics(node: Node) -> dict[str, list[str]]:
    """Every topic that somebody publishes, detectors apart, with its types."""
    of_detectors = {topic for name in names_of_detectors(node) for topic in _published(node, name)}
    return {
        name: types
        for name, types in node.get_topic_names_and_types()
        if name not in of_detectors and node.count_publishers(name)
    }


def subscriptions_of(node: Node, detector: str) -> dict[str, list[str]]:
    """The topics that a detector subscribes to, by type."""
    found: dict[str, list[str]] = {}
    for topic, types in _of_node(node.get_subscriber_names_and_types_by_node, detector).items():
        for kind in types:
            found.setdefault(kind, []).append(topic)
    return found


def _published(node: Node, detector: str) -> set[str]:
    return set(_of_node(node.get_publisher_names_and_types_by_node, detector))


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
