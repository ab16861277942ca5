"""`sr3d doctor`: does everything work here, and if not, what to do."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from sr3d_core.cli.console import BackendOption, result_console


def doctor(
    weights: Annotated[str, typer.Option(help='Weights file, or "default".')] = "default",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    backend: BackendOption = "auto",
) -> None:
    """Check this machine: Python, torch, threads, extras, the weights, one inference.

    Exit status 1 where something that detection needs does not work.

    Example: sr3d doctor --device cuda
    """
    checks: dict[str, Callable[[], str]] = {
        "python": lambda: f"{platform.python_version()} at {sys.executable}",
        "torch": _torch,
        "extras": _extras,
        "weights": lambda: _weights(weights),
        "engines": lambda: _engines(device),
        "inference": lambda: _inference(weights, device, backend),
    }
    console, num_failed = result_console(), 0
    for name, check in checks.items():
        try:
            mark, text = "ok  ", check()
        except Exception as error:  # a doctor reports every illness, whatever its type
            mark, text = "FAIL", f"{type(error).__name__}: {error}"
            num_failed += 1
        console.print(f"{mark} {name:10} {text}", markup=False, highlight=False, soft_wrap=True)
    if num_failed:
        raise typer.Exit(1)


def _torch() -> str:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{torch.__version__}, {torch.get_num_threads()} threads, {gpu}"


def _extras() -> str:
    found = []
    for package, extra in (("matplotlib", "viz"), ("accelerate", "train"), ("rosbags", "bag")):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package} (pip install 'sr3d[{extra}]')")
    return ", ".join(found)


def _engines(device: str) -> str:
    """Which engines run on the device, and why the others do not."""
    from sr3d_core.detector import choose_device
    from sr3d_core.sparse.engine import ENGINE_NAMES, engine_for

    chosen = choose_device(device)
    lines = [f"auto is {engine_for('auto', chosen).name} on {chosen}"]
    for name in ENGINE_NAMES:
        try:
            engine_for(name, chosen)
            lines.append(f"{name}: runs")
        except ValueError as error:
            lines.append(f"{name}: no, {error}")
    return "\n                ".join(lines)


def _weights(weights: str) -> str:
    from sr3d_core.checkpoint import read_manifest

    manifest = read_manifest(weights)
    return f"{weights}: sound, {len(manifest.classes)} classes"


def _inference(weights: str, device: str, backend: str) -> str:
    """A floor of 20,000 points, twice: the first run warms up."""
    import torch

    from sr3d_core.detector import Detector

    detector = Detector.from_checkpoint(weights, device=device, backend=backend)
    floor = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0))
    floor = floor * torch.tensor([5.0, 5.0, 0.02])
    detector(floor)
    started = time.perf_counter()
    detector(floor)
    elapsed = 1e3 * (time.perf_counter() - started)
    return f"{elapsed:.0f} ms for 20,000 points on {detector.device}"
