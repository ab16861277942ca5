"""What the tests of the commands share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from click.testing import Result
from typer.testing import CliRunner

from sr3d_core.checkpoint import Manifest, save_checkpoint
from sr3d_core.cli.main import app
from sr3d_core.model.network import PRESETS, SR3D

CLASSES = ("chair", "table", "sofa")


def save_untrained(folder: Path, classes: tuple[str, ...] = CLASSES) -> str:
    """The weights of a small network that has learnt nothing."""
    torch.manual_seed(0)
    architecture = replace(PRESETS["lite"], num_classes=len(classes))
    path = folder / "untrained.safetensors"
    manifest = Manifest(architecture=architecture, classes=classes, description="untrained")
    save_checkpoint(path, SR3D(architecture), manifest)
    return str(path)


def save_room(folder: Path) -> Path:
    """A floor with a box on it."""
    rng = np.random.default_rng(0)
    floor = rng.uniform((0, 0, 0), (3, 3, 0.01), (2000, 3))
    box = rng.uniform((1, 1, 0), (1.6, 1.6, 0.8), (500, 3))
    path = folder / "room.npz"
    np.savez(path, xyz=np.concatenate([floor, box]))
    return path


def sr3d(*arguments: str | Path) -> Result:
    """Run the command `sr3d`."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_one_line_error(result: Result, *texts: str) -> None:
    """It failed, and said so in one line that holds all of `texts`."""
    assert result.exit_code == 1, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for text in texts:
        assert text in lines[0]
