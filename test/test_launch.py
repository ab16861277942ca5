"""The launch file without ROS: run against modules that record what is constructed.

`launch` and `launch_ros` come only with a ROS installation. Recording stand-ins show which
arguments are declared and used, and what the nodes are given; the rest is compared with the
parameters, the entry points, rviz's layout and the message package.
"""

from __future__ import annotations

import ast
import re
import runpy
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from sr3d_ros.params import specifications

ROOT = Path(__file__).parent.parent
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
MODULES = {
    "launch": ("LaunchDescription",),
    "launch.actions": ("DeclareLaunchArgument", "GroupAction"),
    "launch.conditions": ("IfCondition",),
    "launch.substitutions": (
        "LaunchConfiguration",
        "NotEqualsSubstitution",
        "PathJoinSubstitution",
    ),
    "launch_ros": (),
    "launch_ros.actions": ("Node", "SetParameter", "SetParametersFromFile"),
    "launch_ros.parameter_descriptions": ("ParameterValue",),
    "launch_ros.substitutions": ("FindPackageShare",),
}


class Recorded:
    """Whatever the launch file constructs: its class's name and what it was given."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.positional = positional
        self.named = named

    @property
    def kind(self) -> str:
        return type(self).__name__

    def parts(self) -> Iterator[Any]:
        yield from walk([self.positional, self.named])


def walk(value: Any) -> Iterator[Recorded]:
    """Every recorded object inside a value, outermost first."""
    if isinstance(value, Recorded):
        yield value
        yield from value.parts()
    elif isinstance(value, dict):
        yield from walk([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from walk(item)


@pytest.fixture(params=LAUNCH_FILES, ids=lambda path: path.name)
def everything(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """All objects that one launch file makes."""
    for name, classes in MODULES.items():
        module = ModuleType(name)
        for kind in classes:
            setattr(module, kind, type(kind, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, name, module)
    return list(walk(runpy.run_path(str(request.param))["generate_launch_description"]()))


def named(everything: list[Recorded], kind: str) -> list[Recorded]:
    return [thing for thing in everything if thing.kind == kind]


def detector_of(everything: list[Recorded]) -> Recorded:
    nodes = [n for n in named(everything, "Node") if n.named["package"] == "sr3d_ros"]
    assert len(nodes) == 1
    return nodes[0]


def test_there_is_a_launch_file() -> None:
    assert [path.name for path in LAUNCH_FILES] == ["detector.launch.py"]


def test_every_argument_is_declared_once_described_and_used(everything: list[Recorded]) -> None:
    declared = [a.positional[0] for a in named(everything, "DeclareLaunchArgument")]
    used = {c.positional[0] for c in named(everything, "LaunchConfiguration")}
    assert len(declared) == len(set(declared))
    assert set(declared) == used
    assert all(a.named["description"] for a in named(everything, "DeclareLaunchArgument"))


def test_every_parameter_that_is_set_exists(everything: list[Recorded]) -> None:
    known = {specification.name: specification for specification in specifications()}
    for setting in named(everything, "SetParameter"):
        name, value = setting.positional
        assert value.named["value_type"] is type(known[name].default)


def test_an_argument_left_empty_does_not_override_the_parameter_file(
    everything: list[Recorded],
) -> None:
    defaults = {
        argument.positional[0]: argument.named["default_value"]
        for argument in named(everything, "DeclareLaunchArgument")
    }
    for setting in named(everything, "SetParameter"):
        (comparison,) = setting.named["condition"].positional
        configuration, nothing = comparison.positional
        assert configuration.positional == setting.positional[1].positional[0].positional
        assert defaults[configuration.positional[0]] == nothing == ""


def test_the_parameter_file_comes_before_the_arguments_and_the_node(
    everything: list[Recorded],
) -> None:
    (group,) = named(everything, "GroupAction")
    kinds = [action.kind for action in group.positional[0]]
    settings = len(kinds) - 2
    assert kinds == ["SetParametersFromFile", *["SetParameter"] * settings, "Node"]


def test_the_files_that_defaults_name_exist(everything: list[Recorded]) -> None:
    for join in named(everything, "PathJoinSubstitution"):
        share, *path = join.positional[0]
        assert share.positional == ("sr3d_ros",)
        assert ROOT.joinpath(*path).is_file()


def test_the_executable_is_installed_under_its_name(everything: list[Recorded]) -> None:
    executable = detector_of(everything).named["executable"]
    script = ROOT / "scripts" / executable
    assert f"install(PROGRAMS scripts/{executable} " in (ROOT / "CMakeLists.txt").read_text()
    assert script.stat().st_mode & 0o100
    assert "from sr3d_ros.node import main" in script.read_text()


def topics_of_the_node() -> set[str]:
    """The topic names that node.py creates, read from its source: rclpy may be missing here."""
    tree = ast.parse((ROOT / "sr3d_ros" / "node.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {
        str(argument.value)
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr.startswith("create_")
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


def test_the_topic_that_is_remapped_is_the_nodes(everything: list[Recorded]) -> None:
    ((topic, points),) = detector_of(everything).named["remappings"]
    assert topic in topics_of_the_node()
    assert points.positional == ("points",)


def rviz_layout() -> dict[str, Any]:
    layout = yaml.safe_load((ROOT / "config" / "sr3d.rviz").read_text())
    return dict(layout["Visualization Manager"])


def test_rviz_shows_the_topics_that_the_launch_file_maps(everything: list[Recorded]) -> None:
    (rviz,) = (n for n in named(everything, "Node") if n.named["package"] == "rviz2")
    mapped = {topic for topic, _ in rviz.named["remappings"]}
    shown = {d["Topic"]["Value"] for d in rviz_layout()["Displays"] if "Topic" in d}
    assert shown == mapped
    assert "/sr3d_detector/output/markers" in shown


def test_rviz_needs_only_stock_displays() -> None:
    enabled = [d for d in rviz_layout()["Displays"] if d["Enabled"]]
    assert {display["Class"].split("/")[0] for display in enabled} == {"rviz_default_plugins"}
    (cloud,) = (d for d in enabled if d["Class"].endswith("/PointCloud2"))
    assert cloud["Topic"]["Reliability Policy"] == "Best Effort"
    assert cloud["Color Transformer"] == "RGB8"


def test_rviz_names_topics_of_the_node() -> None:
    own = {
        d["Topic"]["Value"].removeprefix("/sr3d_detector/")
        for d in rviz_layout()["Displays"]
        if d.get("Topic", {}).get("Value", "").startswith("/sr3d_detector/")
    }
    assert {f"~/{topic}" for topic in own} <= topics_of_the_node()


def test_the_fast_dds_profile_is_valid_and_large() -> None:
    tree = ElementTree.parse(ROOT / "config" / "fastdds_large_data.xml")
    space = {"dds": "http://www.eprosima.com"}
    defined = {e.text for e in tree.findall(".//dds:transport_descriptor/dds:transport_id", space)}
    used = {e.text for e in tree.findall(".//dds:userTransports/dds:transport_id", space)}
    assert defined == used
    assert [e.text for e in tree.findall(".//dds:segment_size", space)] == [str(64 * 2**20)]


def test_every_message_package_that_is_imported_is_a_dependency() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    dependencies = {e.text for e in manifest if e.tag in ("depend", "exec_depend")}
    sources = "".join(path.read_text() for path in (ROOT / "sr3d_ros").glob("*.py"))
    imported = set(re.findall(r"(?:from |\")(\w+_(?:msgs|interfaces))\.msg", sources))
    assert imported
    assert imported <= dependencies
