"""The house keeps its shape: who may import whom, in sr3d_core and inside sr3d_ros.

A part is a file or a folder right under the package. A new part gets a line here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CORE = {
    "structures": set(),
    "arrays": {"geometry", "structures"},
    "choices": set(),
    "colors": set(),
    "plain_text": set(),
    "plain_yaml": {"plain_text"},
    "whole_files": set(),
    "growing_json": set(),
    "records": {"plain_text", "structures"},
    "geometry": {"choices", "structures"},
    "sparse": {"structures"},
    "model": {"sparse", "geometry", "structures"},
    "supervision": {"geometry", "sparse", "structures"},
    "data": {
        *{"choices", "geometry", "open3d_bridge", "plain_text", "structures", "records"},
        "plain_yaml",
        "whole_files",
    },
    "mistakes": {"model"},
    "config": {
        *{"mistakes", "model", "supervision", "sparse", "data", "geometry", "plain_yaml"},
        "structures",
    },
    "checkpoint": {"config", "model", "plain_text", "refinement", "whole_files"},
    "torch_file": set(),
    "tr3d_import": {"checkpoint", "data", "model", "torch_file"},
    "model_card": {"checkpoint", "model"},
    "export": {"checkpoint", "model_card", "whole_files"},
    "detector": {"arrays", "checkpoint", "model", "geometry", "refinement", "structures"},
    "memory": {"detector", "geometry", "records", "structures", "whole_files"},
    "matches": {"geometry", "structures"},
    "right_fronts": {"matches", "structures"},
    "evaluate": {"config", "detector", "matches", "right_fronts", "structures"},
    "paired": {"evaluate", "structures"},
    "evaluate_several": {"evaluate", "right_fronts"},
    "evaluate_views": {"detector", "evaluate", "evaluate_several", "geometry", "structures"},
    "evaluate_images": {"detector", "evaluate", "geometry", "model", "right_fronts", "structures"},
    "evaluate_tests": {"data", "evaluate", "evaluate_several", "structures"},
    "merged_views": {"arrays", "detector", "evaluate", "geometry", "refinement", "structures"},
    "refinement": {"choices", "geometry", "structures"},
    "calibration": {"evaluate", "matches", "model", "structures"},
    "html": set(),
    "inconsistency": {"detector", "geometry", "matches", "structures", "supervision"},
    "analysis": {
        *{"calibration", "detector", "evaluate", "geometry", "html", "inconsistency"},
        *{"matches", "picture", "plots", "structures", "supervision", "whole_files"},
    },
    "spread": {"detector", "evaluate", "geometry", "matches", "checkpoint", "structures"},
    "open3d_bridge": {"structures"},
    "viewer": {"open3d_bridge", "colors", "structures"},
    "picture": {"colors", "geometry", "structures"},
    "photo_picture": {"colors", "geometry", "structures"},
    "plots": {"colors", "evaluate", "matches", "picture", "structures", "supervision", "sweeps"},
    "sweeps": set(),
    "timing": {"checkpoint", "detector", "model", "structures"},
    "map_picture": {"colors", "geometry", "memory", "structures", "whole_files"},
    "pretrain": {
        *{"checkpoint", "choices", "data", "geometry", "mistakes", "model", "plain_yaml"},
        *{"plots", "sparse", "structures", "training", "whole_files"},
    },
    "train": {
        *{"config", "model", "supervision", "data", "evaluate", "checkpoint", "structures"},
        *{"training", "whole_files"},
    },
    "distill": {
        *{"checkpoint", "config", "data", "detector", "evaluate", "evaluate_images", "geometry"},
        *{"mistakes", "model", "plain_yaml", "records", "sparse", "structures", "supervision"},
        *{"training", "whole_files"},
    },
    "study": {
        *{"checkpoint", "choices", "config", "data", "detector", "distill", "evaluate"},
        *{"evaluate_images", "evaluate_tests", "mistakes", "paired", "plain_yaml", "presets"},
        *{"pretrain", "structures", "training", "whole_files"},
    },
    "training": {
        *{"config", "model", "supervision", "data", "checkpoint", "choices", "structures"},
        *{"sparse", "geometry", "whole_files", "detector", "evaluate", "plots"},
        "inconsistency",
    },
    "console": {"choices", "machine", "sparse", "geometry", "structures", "whole_files"},
    "presets": set(),
    "machine": {"checkpoint", "detector", "sparse", "structures"},
}
"""Parts of sr3d_core and what else of it they may import; `cli` may import all of them."""

ROS = {
    "errors": set(),
    "versions": set(),
    "newest": {"errors"},
    "parameters": {"errors"},
    "tf": {"errors"},
    "sensors": {"errors", "tf"},
    "budget": {"errors", "parameters"},
    "fallback": set(),
    "assembler": {"errors", "fallback", "parameters", "sensors", "tf"},
    "images": {"errors", "parameters", "sensors", "tf"},
    "frame_notes": {"sensors"},
    "scene": {"errors", "parameters", "sensors", "tf"},
    "pipeline": {
        *{"assembler", "errors", "parameters", "sensors", "tf", "budget", "frame_notes", "scene"},
        "images",
    },
    "messages": {"errors", "sensors", "tf"},
    "tracking": {"errors", "parameters", "pipeline", "tf"},
    "diagnostics": {"errors", "parameters"},
}
EVERYTHING_BUT = {
    "node": {"bag", "doctor"},
    "bag": {"node", "doctor"},  # of `messages` what fills them, without ROS
    "doctor": {"bag"},
}
"""Parts of sr3d_ros: the same, and for the programs what they must not import."""

CORE_FOR_ROS = {
    *{"detector", "structures", "config", "geometry", "checkpoint", "colors", "machine"},
    "sparse",  # the names of its engines
    *{"choices", "console", "evaluate", "matches", "data", "picture", "records"},  # recordings
    *{"growing_json", "whole_files"},  # what is found in them
    "plain_yaml",  # parameter files
    *{"html", "merged_views", "paired", "plots"},  # recordings
    *{"memory", "map_picture"},  # what was seen before
}
INFERENCE = {
    *{"structures", "geometry", "sparse", "model", "checkpoint", "refinement", "detector"},
}
TRAINING = {
    "train",
    "training",
    "supervision",
    "evaluate",
    "inconsistency",
    "analysis",
    "spread",
    "calibration",
    "study",
    "pretrain",
}
NEED_ROS = {"messages", "node", "doctor"}
"""Parts of sr3d_ros that may import ROS at the top of a file; the others run on a laptop."""
PUBLISHERS = ROOT / "sr3d_ros" / "bag" / "play" / "publishers.py"
"""Nor does this file of recordings: `sr3d bag play` imports it when it runs."""
ROS_PACKAGES = {
    *{"rclpy", "sensor_msgs", "vision_msgs", "geometry_msgs", "tf2_ros", "std_msgs"},
    *{"builtin_interfaces", "diagnostic_msgs", "visualization_msgs", "diagnostic_updater"},
    "rosgraph_msgs",
}
ENGINES = {"torchsparse", "spconv", "numba", "llvmlite", "triton"}


@cache
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


def roots(path: Path, at_top_only: bool = False) -> set[str]:
    """The packages that a file imports from."""
    return {name.partition(".")[0] for name in imports(path, at_top_only)}


def files(package: str) -> Iterator[tuple[str, Path]]:
    """Every file of a package, with the part that it belongs to."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT / package).parts[0].removesuffix(".py"), path


def parts_imported(path: Path, package: str) -> set[str]:
    names = [name.split(".") for name in imports(path)]
    return {name[1] for name in names if name[0] == package and len(name) > 1}


def test_parts_of_the_core_import_only_what_they_may() -> None:
    for part, path in files("sr3d_core"):
        if part not in ("cli", "__init__"):
            assert part in CORE, f"{part} is a new part: say in CORE what it may import"
            found = parts_imported(path, "sr3d_core") - {part} - CORE[part]
            assert not found, f"{path} imports {found}"


def test_parts_of_the_ros_side_import_only_what_they_may() -> None:
    parts = {part for part, _ in files("sr3d_ros")} - {"__init__"}
    for part, path in files("sr3d_ros"):
        if part != "__init__":
            assert part in ROS or part in EVERYTHING_BUT, f"{part} is a new part: add it to ROS"
            allowed = ROS.get(part, parts - EVERYTHING_BUT.get(part, set()))
            found = parts_imported(path, "sr3d_ros") & parts - {part} - allowed
            assert not found, f"{path} imports {found}"


def test_no_part_of_the_ros_side_imports_in_a_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for part, path in files("sr3d_ros"):
        arrows.setdefault(part, set()).update(parts_imported(path, "sr3d_ros") - {part})
    while arrows:
        ends = [part for part, targets in arrows.items() if not targets & arrows.keys()]
        assert ends, f"a circle among {sorted(arrows)}"
        for part in ends:
            del arrows[part]


def test_the_core_knows_nothing_of_ros() -> None:
    for _, path in files("sr3d_core"):
        assert not roots(path) & {*ROS_PACKAGES, "sr3d_ros"}, path


def test_the_ros_side_imports_only_the_detector_and_what_it_needs() -> None:
    for _, path in files("sr3d_ros"):
        found = parts_imported(path, "sr3d_core") - CORE_FOR_ROS
        assert not found, f"{path} imports {found}"


def test_only_messages_and_programs_need_ros() -> None:
    """So that replay, the doctor's judgements and all parsing work on a laptop without ROS."""
    for part, path in files("sr3d_ros"):
        if part not in NEED_ROS and path != PUBLISHERS:
            assert not roots(path, at_top_only=True) & ROS_PACKAGES, path
            assert "sr3d_ros.bag.play.publishers" not in imports(path, at_top_only=True), path


def test_only_the_back_ends_know_other_engines() -> None:
    for _, path in files("sr3d_core"):
        if not path.is_relative_to(ROOT / "sr3d_core" / "sparse" / "backends"):
            assert not roots(path) & ENGINES, path


def test_only_the_bridge_loads_open3d_and_only_when_asked() -> None:
    """So that the node, which is never asked, never loads it."""
    for package in ("sr3d_core", "sr3d_ros"):
        for part, path in files(package):
            assert "open3d" not in roots(path, at_top_only=True), path
            assert part == "open3d_bridge" or "open3d" not in roots(path), path


def test_inference_never_imports_training() -> None:
    for part, path in files("sr3d_core"):
        if part in INFERENCE:
            assert not parts_imported(path, "sr3d_core") & TRAINING, path


def test_commands_import_nothing_heavy_before_they_run() -> None:
    for path in (ROOT / "sr3d_core" / "cli").glob("*.py"):
        heavy = {"torch", "numpy", "matplotlib", "accelerate", "rosbags", "open3d"}
        assert not roots(path, at_top_only=True) & heavy, path


def test_every_module_says_what_it_is_for() -> None:
    for package in ("sr3d_core", "sr3d_ros"):
        for _, path in files(package):
            assert ast.get_docstring(tree(path)), path


def test_what_takes_several_times_as_long_is_not_for_the_node() -> None:
    for part, path in files("sr3d_ros"):
        if part != "bag":
            assert not parts_imported(path, "sr3d_core") & {"merged_views", "refinement"}, path
