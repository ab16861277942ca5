"""Our reader of parameter files beside rcl's: the same values for every node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from sr3d_ros.parameters.file import values_of_file
from sr3d_ros.parameters.rules import ParameterError

FILES = {
    "every node": "/**: {ros__parameters: {a: 1}}",
    "every node, without a slash": "'**': {ros__parameters: {a: 1}}",
    "in any namespace": "/**/sr3d_detector: {ros__parameters: {a: 1}}",
    "in any namespace above": "/**/front/sr3d_detector: {ros__parameters: {a: 1}}",
    "in one namespace": "/front/**: {ros__parameters: {a: 1}}",
    "in a namespace of one name": "/*/sr3d_detector: {ros__parameters: {a: 1}}",
    "every node without a namespace": "/*: {ros__parameters: {a: 1}}",
    "its name": "sr3d_detector: {ros__parameters: {a: 1}}",
    "its full name": "/front/sr3d_detector: {ros__parameters: {a: 1}}",
    "nested": "front: {sr3d_detector: {ros__parameters: {a: 1}}}",
    "any node, nested": "/front: {'*': {ros__parameters: {a: 1}}}",
    "another name": "/sr3d_detektor: {ros__parameters: {a: 1}}",
    "with and without a slash": "sr3d_detector: {ros__parameters: {a: 1, b: 1}}\n"
    "/sr3d_detector: {ros__parameters: {b: 2}}",
    "what is later wins": "/**: {ros__parameters: {a: 1, b: 1}}\n"
    "/sr3d_detector: {ros__parameters: {a: 2}}\n"
    "/front/**: {ros__parameters: {a: 3}}",
    "all later": "/sr3d_detector: {ros__parameters: {a: 2}}\n/**: {ros__parameters: {a: 1, b: 1}}",
    "empty": "",
}


def values_by_rcl(path: Path, namespace: str) -> dict[str, Any]:
    """What a node of that namespace gets."""
    context = Context()
    arguments = ["--params-file", str(path), *(["-r", f"__ns:={namespace}"] if namespace else [])]
    rclpy.init(args=["node", "--ros-args", *arguments], context=context)
    node = Node(
        "sr3d_detector", context=context, automatically_declare_parameters_from_overrides=True
    )
    values = {name: node.get_parameter_or(name).value for name in ("a", "b")}
    node.destroy_node()
    rclpy.shutdown(context=context)
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("namespace", ["", "/front", "/robot/front"])
@pytest.mark.parametrize("kind", FILES)
def test_a_node_gets_what_rcl_gives_it(tmp_path: Path, kind: str, namespace: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILES[kind])
    expected = values_by_rcl(path, namespace)
    if expected:
        assert values_of_file(path, f"{namespace}/sr3d_detector") == expected
    else:
        with pytest.raises(ParameterError, match=r"mine\.yaml"):
            values_of_file(path, f"{namespace}/sr3d_detector")
