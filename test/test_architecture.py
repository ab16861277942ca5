"""The house keeps its shape: who may import whom, and how long files and functions may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*(ROOT / "sr3d_core").rglob("*.py"), *(ROOT / "sr3d_ros").rglob("*.py")])
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60

MAY_IMPORT = {
    "structures": set(),
    "colors": set(),
    "geometry": {"structures"},
    "sparse": {"structures"},
    "model": {"sparse", "geometry", "structures"},
    "supervision": {"geometry", "structures"},
    "data": {"geometry", "structures"},
    "config": {"model", "supervision", "data", "geometry"},
    "checkpoint": {"config", "model"},
    "detector": {"checkpoint", "model", "geometry", "structures"},
    "evaluate": {"detector", "data", "supervision", "geometry", "structures"},
    "analysis": {"detector", "data", "supervision", "geometry", "structures"},
    "spread": {"evaluate", "checkpoint", "structures"},
    "picture": {"colors", "geometry", "structures"},
    "train": {
        *{"config", "model", "supervision", "data", "evaluate", "checkpoint", "structures"},
    },
}
"""Parts of sr3d_core; `cli` may import all of them, `__init__` what it hands on."""

ROS_MAY_IMPORT = {
    *{"detector", "structures", "config", "geometry", "checkpoint", "colors"},
    *{"evaluate", "data", "picture", "cli"},  # replay and its commands
}
NEED_ROS = (
    "node.py",
    "node_parts/",
    *(f"checks/{name}.py" for name in ("ear", "probe", "rounds", "running")),
)
"""Of sr3d_ros, what imports rclpy at its top; the rest imports it where it is there, or never."""
INFERENCE = {"structures", "geometry", "sparse", "model", "checkpoint", "detector"}
TRAINING = {"train", "supervision", "evaluate", "analysis", "spread"}
ROS_PACKAGES = ("rclpy", "sensor_msgs", "vision_msgs", "geometry_msgs", "tf2_ros", "std_msgs")
ENGINES = ("torchsparse", "spconv", "numba", "llvmlite", "triton")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, at_top_only: bool = False) -> Iterator[str]:
    """Dotted names of the modules that a file imports."""
    module = tree(path)
    nodes = ast.iter_child_nodes(module) if at_top_only else ast.walk(module)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(path: Path) -> str:
    """The part of sr3d_core that a file belongs to."""
    return path.relative_to(ROOT / "sr3d_core").parts[0].removesuffix(".py")


def parts_imported(path: Path) -> set[str]:
    names = [name.split(".") for name in imports(path)]
    return {name[1] for name in names if name[0] == "sr3d_core" and len(name) > 1}


CORE = [path for path in FILES if "sr3d_core" in path.relative_to(ROOT).parts]
ROS = [path for path in FILES if "sr3d_ros" in path.relative_to(ROOT).parts]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_part_imports_only_what_it_may(path: Path) -> None:
    mine = part(path)
    if mine in ("cli", "__init__"):
        return
    assert mine in MAY_IMPORT, f"{mine} is a new part: say here what it may import"
    assert parts_imported(path) - {mine} <= MAY_IMPORT[mine]


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_imports_no_ros(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & {*ROS_PACKAGES, "sr3d_ros"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_back_ends_know_other_engines(path: Path) -> None:
    if path.is_relative_to(ROOT / "sr3d_core" / "sparse" / "backends"):
        return
    assert not {name.split(".")[0] for name in imports(path)} & set(ENGINES)


@pytest.mark.parametrize("path", ROS, ids=name_of)
def test_ros_side_imports_only_the_detector_and_what_it_needs(path: Path) -> None:
    assert parts_imported(path) <= ROS_MAY_IMPORT


@pytest.mark.parametrize("path", ROS, ids=name_of)
def test_only_the_node_and_the_doctor_of_a_graph_need_ros(path: Path) -> None:
    """So that replay, the doctor and all parsing work on a laptop without ROS."""
    names = {name.split(".")[0] for name in imports(path, at_top_only=True)}
    inside = str(path.relative_to(ROOT / "sr3d_ros"))
    if not inside.startswith(NEED_ROS):
        assert not names & {*ROS_PACKAGES, "builtin_interfaces", "diagnostic_msgs"}
        assert not any(
            name.startswith("sr3d_ros.node") for name in imports(path, at_top_only=True)
        )


def test_inference_never_imports_training() -> None:
    for path in CORE:
        if part(path) in INFERENCE:
            assert not parts_imported(path) & TRAINING, name_of(path)


def test_commands_import_nothing_heavy_before_they_run() -> None:
    for path in (ROOT / "sr3d_core" / "cli").glob("*.py"):
        roots = {name.split(".")[0] for name in imports(path, at_top_only=True)}
        assert not roots & {"torch", "numpy", "matplotlib", "accelerate", "rosbags"}, path.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    if path.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(tree(path))
