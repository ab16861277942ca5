"""What was run on a recording, in words, for a report that is read later by someone else."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from pathlib import Path

import torch

from sr3d_ros import __version__
from sr3d_ros.bag.run import BagRun
from sr3d_ros.parameters.record import Parameters


def about_run(bag: Path, run: BagRun, truth: str, robot: Parameters) -> dict[str, object]:
    """One entry for each thing to know; `robot` are the parameters before weak boxes are kept."""
    usual = Parameters().values
    changed = [f"{name}: {value}" for name, value in robot.values.items() if value != usual[name]]
    seconds = run.parameters.memory_seconds
    inputs = ", ".join(f"{name} {topic}" for name, topic in run.source.inputs.items())
    return {
        "recording": bag,
        "length": f"{run.bag.duration_s:.1f} s, {run.num_clouds} clouds",
        "topics": inputs,
        "which way is up": run.parameters.up,
        "what was chosen": "; ".join(run.remarks) or "nothing",
        "ground truth": truth,
        "weights": run.weights,
        "classes": ", ".join(run.classes),
        "memory": f"{seconds:g} s" if seconds else "no",
        "parameters that are not the default": ", ".join(changed) or "none",
        "sr3d": __version__,
        "Python, torch": f"{platform.python_version()}, {torch.__version__}",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
