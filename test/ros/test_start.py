"""What keeps the node from starting is said in one line; without a model it lives and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processes import NodeProcess
from robot import Robot


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def failures(start_node: Any, folder: Path) -> dict[str, NodeProcess]:
    """Nodes that cannot start, all at once because each has to import torch first."""
    file = folder / "mine.yaml"
    file.write_text("/**:\n  ros__parameters:\n    output:\n      score_treshold: 0.5\n")
    empty = folder / "empty.yaml"
    empty.write_text("/**:\n  ros__parameters:\n    filter:\n      roi: []\n")
    broken = folder / "broken.yaml"
    broken.write_text("/**:\n  ros__parameters:\n    filter:\n\troi: 3\n")
    arguments = {
        "range": ("-p", "output.score_threshold:=1.5"),
        "type": ("-p", "model.weights:=5"),
        "name": ("--params-file", str(file)),
        "empty": ("--params-file", str(empty)),
        "nothing": ("-p", "input.extra_topics:=[]"),
        "no_file": ("--params-file", "/nowhere/mine.yaml"),
        "no_yaml": ("--params-file", str(broken)),
        "odds": ("-p", "filter.min_range_m:=5.0", "-p", "filter.max_range_m:=1.0"),
    }
    return {key: start_node("--ros-args", *given) for key, given in arguments.items()}


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (
            "range",
            "cannot start: parameter output.score_threshold: 1.5, expected a number from 0 to 1",
        ),
        ("type", "cannot start: parameter model.weights: 5, expected a text"),
        (
            "name",
            "parameter output.score_treshold does not exist; did you mean output.score_threshold",
        ),
        ("empty", "empty.yaml: parameter filter.roi: a value without a type"),
        ("nothing", "parameter input.extra_topics on the command line: a value without a type"),
        ("no_file", "cannot start: /nowhere/mine.yaml: cannot be read (No such file"),
        ("no_yaml", "broken.yaml: not YAML"),
        ("odds", "filter.min_range_m: 5 is not below filter.max_range_m: 1"),
    ],
)
def test_the_node_says_in_one_line_why_it_cannot_start(
    failures: dict[str, NodeProcess], failure: str, expected: str
) -> None:
    process = failures[failure]
    process.require_end(1)
    lines = [line for line in process.output.splitlines() if line.strip()]
    (line,) = (line for line in lines if "[rcl]" not in line)  # which has its own before ours
    assert "FATAL" in line
    assert expected in line


@pytest.fixture(scope="module")
def refusals(start_node: Any, folder: Path, weights: Path) -> dict[str, NodeProcess]:
    """Nodes whose model cannot be loaded."""
    damaged = folder / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:-100])
    paths = {"missing": "/nowhere/weights.safetensors", "damaged": str(damaged)}
    return {
        key: start_node("--ros-args", "-r", f"__ns:=/{key}", "-p", f"model.weights:={path}")
        for key, path in paths.items()
    }


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ("missing", "cannot configure: /nowhere/weights.safetensors: no such weights file"),
        ("damaged", "damaged.safetensors: not a readable safetensors file"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_and_the_node_lives(
    refusals: dict[str, NodeProcess], robot: Robot, refusal: str, expected: str
) -> None:
    assert expected in refusals[refusal].wait_for_line("ERROR.*cannot configure")
    robot.listen_to(f"/{refusal}/sr3d_detector")
    assert expected in robot.trigger("load_model").message
    refusals[refusal].interrupt()
    assert refusals[refusal].wait_for_end() == 0
    assert "Traceback" not in refusals[refusal].output
