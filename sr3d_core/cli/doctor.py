"""`sr3d doctor`: does everything work here, and if not, what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from sr3d_core.cli.detect import open_detector
from sr3d_core.console import BackendOption, result_console, write_json
from sr3d_core.machine import checks
from sr3d_core.machine.findings import Finding, as_record, examined, is_healthy, lines_of, verdict


def doctor(
    weights: Annotated[str, typer.Option(help='Weights file, or "default".')] = "default",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    backend: BackendOption = "auto",
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write the findings here.")
    ] = None,
) -> None:
    """Check this machine: Python, torch, GPU, engine, extras, the weights, one inference.

    Exit status 0 where detection works, also with warnings; 1 where it does not.

    Example: sr3d doctor --device cuda
    """
    examinations: dict[str, Callable[[], Finding]] = {
        "python": checks.check_python,
        "torch": checks.check_torch,
        "packages": checks.check_packages,
        "gpu": lambda: checks.check_gpu(device),
        "engine": lambda: checks.check_engine(device, backend),
        "engines": lambda: checks.check_engines(device),
        "extras": checks.check_extras,
        "weights": lambda: checks.check_weights(weights),
        "inference": lambda: checks.check_inference(
            lambda: open_detector(weights, device=device, backend=backend)
        ),
    }
    console, findings = result_console(), []
    for name, check in examinations.items():
        findings.append(examined(name, check))
        text = lines_of(findings[-1], colored=False)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(verdict(findings), markup=False, highlight=False)
    write_json(json_out, as_record(findings))
    if not is_healthy(findings):
        raise typer.Exit(1)
