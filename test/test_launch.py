"""The launch files without ROS: run against modules that record what is constructed.

`launch` and `launch_ros` come only with a ROS installation. Recording stand-ins show which
arguments are declared and used, and what the nodes are given; the rest is compared with the
parameters and the entry points.
"""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.main import get_command

from sr3d_ros.bag.commands import app
from sr3d_ros.node.topics import OUTPUT_TOPICS
from sr3d_ros.parameters.record import specifications

ROOT = Path(__file__).parent.parent
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
MODULES = {
    "launch": ("LaunchContext", "LaunchDescription"),
    "launch.actions": (
        *("DeclareLaunchArgument", "GroupAction", "IncludeLaunchDescription"),
        *("SetLaunchConfiguration", "Shutdown"),
    ),
    "launch.conditions": ("IfCondition", "UnlessCondition"),
    "launch.events": (),
    "launch.events.process": ("ProcessExited",),
    "launch.launch_description_sources": ("PythonLaunchDescriptionSource",),
    "launch.substitutions": (
        "EnvironmentVariable",
        "EqualsSubstitution",
        "LaunchConfiguration",
        "NotEqualsSubstitution",
        "PathJoinSubstitution",
    ),
    "launch_ros": (),
    "launch_ros.actions": (
        *("ComposableNodeContainer", "LoadComposableNodes", "Node"),
        "SetParameter",
    ),
    "launch_ros.descriptions": ("ComposableNode",),
    "launch_ros.parameter_descriptions": ("ParameterValue",),
    "launch_ros.substitutions": ("FindPackageShare",),
}
INPUTS = ("points", "depth", "camera_info", "color", "imu")


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
    elif isinstance(value, partial):
        yield from walk([value.args, value.keywords])


def description_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """All objects that one launch file makes."""
    for name, classes in MODULES.items():
        module = ModuleType(name)
        for kind in classes:
            setattr(module, kind, type(kind, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, name, module)
    return list(walk(runpy.run_path(str(path))["generate_launch_description"]()))


@pytest.fixture(params=LAUNCH_FILES, ids=lambda path: path.name)
def any_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """All objects of each launch file in turn."""
    return description_of(request.param, monkeypatch)


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """All objects that the detector's launch file makes."""
    return description_of(ROOT / "launch" / "detector.launch.py", monkeypatch)


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    return description_of(ROOT / "launch" / "replay.launch.py", monkeypatch)


@pytest.fixture
def depth_to_cloud(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    return description_of(ROOT / "launch" / "depth_to_cloud.launch.py", monkeypatch)


def named(everything: list[Recorded], kind: str) -> list[Recorded]:
    return [thing for thing in everything if thing.kind == kind]


def declared(everything: list[Recorded]) -> dict[str, Recorded]:
    return {a.positional[0]: a for a in named(everything, "DeclareLaunchArgument")}


def fallbacks(everything: list[Recorded]) -> dict[str, Any]:
    """What arguments are that were left empty, by name."""
    found = {}
    for setting in named(everything, "SetLaunchConfiguration"):
        if "condition" in setting.named:
            (comparison,) = setting.named["condition"].positional
            configuration, nothing = comparison.positional
            name, value = setting.positional
            assert (comparison.kind, nothing) == ("EqualsSubstitution", "")
            assert configuration.positional == (name,)
            found[name] = value
    return found


def node_of(everything: list[Recorded], package: str) -> Recorded:
    (node,) = [n for n in named(everything, "Node") if n.named["package"] == package]
    return node


def test_there_are_three_launch_files() -> None:
    assert [path.name for path in LAUNCH_FILES] == [
        "depth_to_cloud.launch.py",
        "detector.launch.py",
        "replay.launch.py",
    ]


def test_every_argument_is_declared_once_described_and_used(
    any_file: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [a.positional[0] for a in named(any_file, "DeclareLaunchArgument")]
    names = [c.positional[0] for c in named(any_file, "LaunchConfiguration")]
    used = {name for name in names if isinstance(name, str)}
    assert len(arguments) == len(set(arguments))
    assert set(arguments) <= used
    others = used - set(arguments)
    if named(any_file, "IncludeLaunchDescription"):  # declares its own in the same place
        detector = description_of(ROOT / "launch" / "detector.launch.py", monkeypatch)
        assert not set(arguments) & set(declared(detector))
        others -= set(declared(detector))
    assert not others
    assert all(a.named["description"] for a in named(any_file, "DeclareLaunchArgument"))


def test_no_launch_file_runs_python_while_it_launches() -> None:
    for path in LAUNCH_FILES:
        source = path.read_text()
        assert "import OpaqueFunction" not in source
        assert "PythonExpression" not in source


def test_every_parameter_that_is_set_exists(everything: list[Recorded]) -> None:
    known = {specification.name: specification for specification in specifications()}
    for setting in named(everything, "SetParameter"):
        name, value = setting.positional
        assert value.named["value_type"] is type(known[name].default)


def test_an_argument_left_empty_does_not_override_the_parameter_file(
    everything: list[Recorded],
) -> None:
    arguments = declared(everything)
    for setting in named(everything, "SetParameter"):
        (comparison,) = setting.named["condition"].positional
        configuration, nothing = comparison.positional
        assert configuration.positional == setting.positional[1].positional[0].positional
        assert arguments[configuration.positional[0]].named["default_value"] == nothing == ""


def test_the_parameter_file_comes_before_the_arguments_and_the_node(
    everything: list[Recorded],
) -> None:
    """rcl takes the last value of a parameter; launch_ros puts a node's arguments first."""
    (group,) = named(everything, "GroupAction")
    kinds = [action.kind for action in group.positional[0]]
    assert kinds == [*["SetParameter"] * (len(kinds) - 1), "Node"]
    *_, flag, file = node_of(everything, "sr3d_ros").named["arguments"]
    assert (flag, file.positional) == ("--params-file", ("params_file",))


def test_show_args_prints_no_code(any_file: list[Recorded]) -> None:
    for argument in named(any_file, "DeclareLaunchArgument"):
        default = argument.named.get("default_value")
        assert default is None or isinstance(default, str)


def test_the_files_that_are_named_exist(any_file: list[Recorded]) -> None:
    for join in named(any_file, "PathJoinSubstitution"):
        share, *path = join.positional[0]
        assert share.positional == ("sr3d_ros",)
        assert ROOT.joinpath(*path).is_file()


def test_every_topic_argument_looks_its_sensor_up(everything: list[Recorded]) -> None:
    table = {s.positional[0] for s in named(everything, "SetLaunchConfiguration")}
    for name in INPUTS:
        ((prefix, sensor),) = fallbacks(everything)[name].positional
        assert sensor.positional == ("sensor",)
        for choice in declared(everything)["sensor"].named["choices"]:
            assert f"{prefix}{choice}" in table


def test_what_is_left_empty_is_made_up_from_the_table_before_it_is_used(
    everything: list[Recorded],
) -> None:
    (description,) = named(everything, "LaunchDescription")
    actions = description.positional[0]
    order = [
        "fallback"
        if "condition" in action.named and action.kind.startswith("Set")
        else action.kind
        for action in actions
    ]
    expected = (
        "DeclareLaunchArgument",
        "SetLaunchConfiguration",
        "fallback",
        "GroupAction",
        "Node",
    )
    assert tuple(dict.fromkeys(order)) == expected
    assert order == sorted(order, key=expected.index)
    for name in fallbacks(everything):
        assert declared(everything)[name].named["default_value"] == ""


def test_the_executables_are_installed_under_their_names(everything: list[Recorded]) -> None:
    assert node_of(everything, "sr3d_ros").named["executable"] == "detector_node"
    cmake = " ".join((ROOT / "CMakeLists.txt").read_text().split())
    programs = {"detector_node": "node.node import main", "doctor": "doctor.main import main"}
    programs["play"] = "bag.commands import app"
    for script, imported in programs.items():
        path = ROOT / "scripts" / script
        assert re.search(rf"install\(PROGRAMS [^)]*scripts/{script} ", cmake)
        assert path.stat().st_mode & 0o100
        assert f"from sr3d_ros.{imported}" in path.read_text()


def topics_of_the_node() -> set[str]:
    """The private topics that the node's files name, read from their sources.

    They are not imported: rclpy may be missing here.
    """
    found: set[str] = set()
    for path in (ROOT / "sr3d_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and str(node.value).startswith("~/"):
                found.add(str(node.value))
    return found


def test_every_input_is_remapped_to_its_argument(everything: list[Recorded]) -> None:
    remaps = node_of(everything, "sr3d_ros").named["remappings"]
    assert [(topic, argument.positional) for topic, argument in remaps] == [
        (f"~/input/{name}", (name,)) for name in INPUTS
    ]
    assert {"~/input/points", "~/input/imu"} <= topics_of_the_node()


def test_a_replay_gives_the_recordings_clock_to_the_detector(replay: list[Recorded]) -> None:
    (clock,) = named(replay, "SetLaunchConfiguration")
    assert clock.positional == ("use_sim_time", "true")
    (description,) = named(replay, "LaunchDescription")
    kinds = [action.kind for action in description.positional[0]]
    assert kinds.index("SetLaunchConfiguration") < kinds.index("IncludeLaunchDescription")
    # The players know the detector's name, which its file declares.
    assert kinds.index("IncludeLaunchDescription") < kinds.index("Node")


def players(replay: list[Recorded]) -> list[Recorded]:
    return [node for node in named(replay, "Node") if node.named["executable"] == "play"]


def test_a_replay_loops_or_does_not(replay: list[Recorded]) -> None:
    last = {node.named["condition"].kind: node.named["arguments"][-1] for node in players(replay)}
    assert last["IfCondition"] == "--loop"
    assert last["UnlessCondition"] != "--loop"


def test_the_player_takes_what_it_is_given(replay: list[Recorded]) -> None:
    """As the command itself reads it, with the default of every argument in its place."""
    defaults = {name: a.named["default_value"] for name, a in declared(replay).items()}
    defaults |= {"bag": "my_bag", "namespace": "", "name": "sr3d_detector"}

    def text(part: Any) -> str:
        if isinstance(part, list):
            return "".join(map(text, part))
        return defaults[part.positional[0]] if isinstance(part, Recorded) else part

    command = get_command(app).get_command(None, "play")  # type: ignore[attr-defined]
    for player in players(replay):
        words = [text(part) for part in player.named["arguments"]]
        given = command.make_context("play", [*words, "--ros-args"]).params
        assert given["wait_for"] == "/sr3d_detector"
        assert given["ros_arguments"] == ["--ros-args"]
        assert given["loop"] is (player.named["condition"].kind == "IfCondition")
        assert (str(given["bag"]), given["rate"], given["topics"]) == ("my_bag", 1.0, "")
        left_out = {topic.name.replace("~", "/sr3d_detector") for topic in OUTPUT_TOPICS}
        assert set(given["exclude"]) == left_out - {"/diagnostics"}


def after(player: Recorded, status: int) -> Recorded:
    """What is done when a player has ended with an exit status."""
    action = player.named["on_exit"](SimpleNamespace(returncode=status), None)
    assert isinstance(action, Recorded)
    return action


def test_only_the_end_of_the_recording_that_was_asked_for_ends_all(
    replay: list[Recorded],
) -> None:
    for player in players(replay):
        end = after(player, 0)
        assert end.kind == "Shutdown"
        assert end.named["condition"].positional[0].positional == ("shutdown",)
    assert declared(replay)["shutdown"].named["default_value"] == "false"


def test_a_recording_that_cannot_be_played_ends_all(replay: list[Recorded]) -> None:
    for player in players(replay):
        end = after(player, 1)
        assert end.kind == "Shutdown"
        assert "condition" not in end.named


def test_a_recording_must_be_named(replay: list[Recorded]) -> None:
    assert declared(replay)["bag"].named["default_value"] is None


def test_who_publishes_clouds_has_room_for_them(depth_to_cloud: list[Recorded]) -> None:
    (publisher,) = named(depth_to_cloud, "ComposableNodeContainer")
    room = publisher.named["additional_env"]
    assert set(room) == {"FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"}
    for name, profile in room.items():
        assert profile.kind == "EnvironmentVariable"  # a profile of the user's comes first
        assert profile.positional == (name,)
        (path,) = profile.named["default_value"].positional
        assert path[1:] == ["config", "fastdds_large_data.xml"]


def test_depth_is_registered_or_taken_as_it_is(depth_to_cloud: list[Recorded]) -> None:
    loaded = {
        load.named["condition"].kind: [
            node.named["plugin"].removeprefix("depth_image_proc::")
            for node in load.named["composable_node_descriptions"]
        ]
        for load in named(depth_to_cloud, "LoadComposableNodes")
    }
    assert loaded == {
        "IfCondition": ["RegisterNode", "PointCloudXyzrgbNode"],
        "UnlessCondition": ["PointCloudXyzrgbNode"],
    }
    (container,) = named(depth_to_cloud, "ComposableNodeContainer")
    for load in named(depth_to_cloud, "LoadComposableNodes"):
        assert load.named["target_container"] == container.named["name"]
