"""`sr3d model`: what a weights file is and whether it is whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sr3d_core.cli.console import one_line_errors, result_console, write_json

app = typer.Typer(help="Look at weights files.", no_args_is_help=True)

Weights = Annotated[str, typer.Argument(help='Weights file, or "default".')]


@app.command()
def info(
    weights: Weights = "default",
    json_out: Annotated[Path | None, typer.Option("--json", help="Write it here.")] = None,
) -> None:
    """Show classes, network, origin and measured figures of a weights file.

    Example: sr3d model info runs/my/weights.safetensors
    """
    with one_line_errors():
        from sr3d_core.checkpoint import load_checkpoint

        network, manifest = load_checkpoint(weights)
        num_parameters = sum(parameter.numel() for parameter in network.parameters())
        content = {**asdict(manifest), "num_parameters": num_parameters}
        table = Table(title=f"weights {weights}", show_header=False)
        for name, value in content.items():
            table.add_row(name, ", ".join(value) if name == "classes" else str(value))
        result_console().print(table)
        write_json(json_out, content)


@app.command()
def verify(weights: Weights = "default") -> None:
    """Check that a weights file is whole and fits its network; exit status 1 where not.

    Example: sr3d model verify default
    """
    with one_line_errors():
        from sr3d_core.checkpoint import load_checkpoint

        _, manifest = load_checkpoint(weights)
        result_console().print(
            f"{weights}: sound, {len(manifest.classes)} classes, sha256 {manifest.sha256}"
        )
