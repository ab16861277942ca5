"""What keeps the node from starting is said in one line, and the exit status is not 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from processes import NodeProcess


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def failures(start_node: Any, folder: Path, weights: Path) -> dict[str, NodeProcess]:
    """Nodes that cannot start, all at once because each has to import torch first."""
    damaged = folder / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:-100])
    file = folder / "mine.yaml"
    file.write_text("/**:\n  ros__parameters:\n    output:\n      score_treshold: 0.5\n")
    arguments = {
        "range": ("-p", "output.score_threshold:=1.5"),
        "type": ("-p", "model.weights:=5"),
        "name": ("--params-file", str(file)),
        "missing": ("-p", "model.weights:=/nowhere/weights.safetensors"),
        "damaged": ("-p", f"model.weights:={damaged}"),
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
        ("missing", "cannot start: /nowhere/weights.safetensors: no such weights file"),
        ("damaged", "damaged.safetensors: not a readable safetensors file"),
    ],
)
def test_the_node_says_in_one_line_why_it_cannot_start(
    failures: dict[str, NodeProcess], failure: str, expected: str
) -> None:
    process = failures[failure]
    assert process.wait_for_end() == 1
    (line,) = (line for line in process.output.splitlines() if line.strip())
    assert "FATAL" in line
    assert expected in line
