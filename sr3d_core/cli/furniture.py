"""`sr3d data furniture`: make a library that rooms take furniture from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sr3d_core.choices import FURNITURE_SOURCES
from sr3d_core.console import (
    chosen,
    one_line_errors,
    progress_of,
    require_writable,
    result_console,
    say,
)
from sr3d_core.machine.extras import how_to_install

_INSTALL = (
    f"with Python 3.11, best in an environment of its own, {how_to_install('bpy')} and "
    "pip install --no-deps infinigen==1.15.5; then give its interpreter with --python"
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sr3d_core.data.rooms.furniture.library.file import About, Model


def furniture(
    out: Annotated[Path, typer.Option(help="File to write, .npz.")],
    source: Annotated[
        str, typer.Option(help=f"Who makes it: {', '.join(FURNITURE_SOURCES)}.")
    ] = "infinigen",
    num: Annotated[int, typer.Option(min=3, help="Models of each class.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal models.")] = 0,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="A class, once for each; default: all that it makes."),
    ] = None,
    python: Annotated[
        Path | None, typer.Option(help="Python 3.11 with infinigen and bpy; default: this one.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds a model may take.")] = 180.0,
    folder: Annotated[
        Path | None, typer.Option(help="Of the source folder: models and furniture.yaml.")
    ] = None,
) -> None:
    """Make furniture once that rooms then take beside our own: `sr3d data rooms --furniture`.

    Infinigen's factories run in a process of their own, some seconds for each model. They need
    Python 3.11 with bpy and infinigen, best in an environment of its own, given by --python. A
    model that fails or takes too long is lost alone, and said.

    A folder holds OBJ, PLY or GLB models and furniture.yaml: `licence: ...` and `models: [{file,
    class, kind, up: z|y, front: +x|-x|+y|-y|+z|-z, size: [depth, width, height]}]`; only file and
    class must be told.

    Examples:

      sr3d data furniture --num 20 --out runs/furniture.npz --python blender/bin/python

      sr3d data furniture --source folder --folder my_models --out runs/furniture.npz
    """
    with one_line_errors():
        from sr3d_core.data.rooms.furniture.library.file import write_library

        chosen("--source", source, FURNITURE_SOURCES)
        if out.suffix != ".npz":
            raise ValueError(f"{out}: expected a file that ends in .npz")
        if (source == "folder") is (folder is None):
            raise ValueError("--folder: expected with --source folder, and only there")
        require_writable(out)
        if folder is not None:
            models, about = _from_folder(folder)
        else:
            models, about = _from_infinigen(
                num, seed, classes or [], str(python or sys.executable), timeout
            )
        write_library(out, models, about)
        result_console().print(_table(models))
    say(f"{out}: {len(models)} models")


def _from_folder(folder: Path) -> tuple[list[Model], About]:
    from sr3d_core.data.rooms.furniture.library.folder import read_folder

    return read_folder(folder)


def _from_infinigen(
    num: int, seed: int, classes: Sequence[str], python: str, timeout_s: float
) -> tuple[list[Model], About]:
    """What Infinigen makes; says what was lost, and leaves out classes with too few models."""
    from sr3d_core.data.rooms.furniture.library import factories
    from sr3d_core.data.rooms.furniture.library.file import enough

    offered = factories.class_names()
    names = [chosen("--class", name, offered) for name in classes or offered]
    with progress_of("models", len(factories.planned(num, names))) as tell:
        try:
            models, lost, about = factories.make_furniture(
                num, seed, classes=names, python=python, timeout_s=timeout_s, tell=tell
            )
        except factories.BlenderError as error:
            raise ValueError(f"{error}; {_INSTALL}") from error
    for each in lost:
        say(f"lost: {each.factory.path} with seed {each.seed}: {each.reason}")
    kept, too_few = enough(models)
    for name in names:
        if name not in {model.class_name for model in kept}:
            say(f"left out: {name}, {too_few.get(name, 0)} models are too few")
    return kept, about


def _table(models: Sequence[Model]) -> Table:
    """Per class: models, triangles, and median and range of each extent."""
    import numpy as np

    table = Table("class")
    for heading in ("models", "triangles", "dx (m)", "dy (m)", "dz (m)"):
        table.add_column(heading, justify="right")
    for name in dict.fromkeys(each.class_name for each in models):
        some = [each.mesh for each in models if each.class_name == name]
        faces = f"{np.median([len(mesh.faces) for mesh in some]):.0f}"
        sizes = np.array([mesh.bounds[1] - mesh.bounds[0] for mesh in some])
        low, middle, high = np.quantile(sizes, (0.05, 0.5, 0.95), axis=0)
        spans = [f"{m:.2f} ({a:.2f}..{b:.2f})" for a, m, b in zip(low, middle, high, strict=True)]
        table.add_row(name, str(len(some)), faces, *spans)
    return table
