"""Names of topics, with the namespace of the node that they are parameters of."""

from __future__ import annotations

import pytest

from sr3d_ros.sensors.ros_names import full_name


@pytest.mark.parametrize(
    ("topic", "full"),
    [("/a/b", "/a/b"), ("left", "/front/left"), ("~/left", "/front/sr3d_detector/left")],
)
def test_topics_in_parameters_get_the_namespace_of_the_node(topic: str, full: str) -> None:
    assert full_name(topic, "/front/sr3d_detector") == full
    assert full_name("left", "/sr3d_detector") == "/left"
