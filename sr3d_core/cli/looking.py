"""`sr3d data inspect | stats`: what a cloud or a data set holds, and whether it is plausible."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sr3d_core.cli.scenes import opened
from sr3d_core.console import (
    SCENES,
    one_line_errors,
    progress_of,
    require_writable,
    result_console,
    say,
    warn_about_scale,
    write_json,
)
from sr3d_core.data.cloud_formats import SUFFIXES

if TYPE_CHECKING:
    from sr3d_core.data.cloud_file import CloudFile
    from sr3d_core.data.scene_figures import SceneFigures
    from sr3d_core.structures import PointCloud


def inspect(
    data: Annotated[str, typer.Argument(help=f"A cloud file, or scenes: {SCENES}")],
    split: Annotated[str, typer.Option(help="Which of the scenes.")] = "train",
    num: Annotated[
        int | None, typer.Option(min=1, help="How many scenes, at most; default: all.")
    ] = None,
) -> None:
    """Say what a cloud or a data set holds, and whether it is plausible.

    Of a folder of your own, what makes scenes unusable is an error, exit status 1, and what is
    probably wrong a warning. Trainings refuse and warn alike before their first step.

    Examples:

      sr3d data inspect room.ply

      sr3d data inspect my_rooms --split val
    """
    with one_line_errors():
        if Path(data).is_file() or Path(data).suffix.lower() in SUFFIXES:
            _inspect_cloud(Path(data))
        else:
            _inspect_scenes(data, split, num)


def _inspect_cloud(path: Path) -> None:
    from sr3d_core.data.cloud_file import open_cloud

    opened = open_cloud(path, up="z")
    cloud = opened.cloud
    table = Table(title=str(path), show_header=False)
    table.add_row("points", f"{len(cloud)}, and {opened.num_dropped} not finite or far off")
    table.add_row("color", "no" if bool(cloud.features.isnan().all()) else "yes")
    if opened.note:
        table.add_row("read as", opened.note)
    table.add_row("z up", _uprightness(cloud))
    for axis, low, high in _bounds(opened):
        table.add_row(axis, f"{low:.2f} .. {high:.2f} m")
    result_console().print(table)
    warn_about_scale(path, cloud)


def _uprightness(cloud: PointCloud) -> str:
    import torch

    from sr3d_core.geometry.gravity import GravityError, up_rotation

    try:
        rotation, confidence = up_rotation(cloud.xyz)
    except GravityError as error:
        return f"unclear, {error}"
    share = f"{100 * confidence:.0f} % of the surface is floor"
    is_upright = torch.equal(rotation, torch.eye(3, dtype=rotation.dtype))
    return f"{'yes' if is_upright else 'no, detect levels it'}; {share}"


def _bounds(opened: CloudFile) -> list[tuple[str, float, float]]:
    xyz = opened.cloud.xyz.double()
    low, high = (xyz.amin(dim=0) + opened.origin), (xyz.amax(dim=0) + opened.origin)
    return list(zip("xyz", low.tolist(), high.tolist(), strict=True))


def _inspect_scenes(data: str, split: str, num: int | None) -> None:
    from sr3d_core.data.inspection import Inspected, inspect_scenes
    from sr3d_core.data.sources import source_of

    source = source_of(data)
    scenes = source.open(split, source.classes, num)
    # Of each class, one row dx dy dz and the number of points inside for every box.
    sizes: dict[str, list[list[float]]] = {name: [] for name in scenes.classes}
    num_inside: dict[str, list[int]] = {name: [] for name in scenes.classes}
    num_ignored = dict.fromkeys(scenes.classes, 0)
    num_points = list[int]()
    with progress_of("scenes", len(scenes)) as tell:

        def on_scene(num_done: int, scene: Inspected | None) -> None:
            tell(num_done)
            if scene is None:
                return
            num_points.append(len(scene.sample.cloud))
            targets = scene.sample.targets
            for label in [] if targets.ignored is None else targets.ignored.labels.tolist():
                num_ignored[scenes.classes[label]] += 1
            for row, label in enumerate(targets.labels.tolist()):
                sizes[scenes.classes[label]].append(targets.boxes.size[row].tolist())
                num_inside[scenes.classes[label]].append(scene.num_inside[row])

        found = inspect_scenes(scenes, on_scene)
    if num_points:
        console = result_console()
        span = f"{min(num_points)} to {max(num_points)} points each"
        console.print(f"{data}, {split}: {len(num_points)} scenes, {span}", soft_wrap=True)
        console.print(_class_table(sizes, num_inside, num_ignored))
    for note in found.notes:
        say(f"read as: {note}")
    for warning in found.warnings:
        say(f"warning: {warning}")
    for fault in found.faults:
        say(f"error: {fault}")
    if found.num_unread:
        say(f"error: {found.num_unread} more scenes were not read, so many are faulty")
    if found.faults:
        raise typer.Exit(1)


def _class_table(
    sizes: dict[str, list[list[float]]],
    num_inside: dict[str, list[int]],
    num_ignored: dict[str, int],
) -> Table:
    """Per class: boxes, how many are nearly empty, median and range of each extent, ignored."""
    from sr3d_core.data.label_checks import FEW_POINTS

    table = Table("class")
    for heading in (
        "boxes",
        f"under {FEW_POINTS} points",
        "dx (m)",
        "dy (m)",
        "dz (m)",
        "ignored",
    ):
        table.add_column(heading, justify="right")
    for name, rows in sizes.items():
        spans = [
            f"{median(axis):.2f} ({min(axis):.2f}..{max(axis):.2f})"
            for axis in zip(*rows, strict=True)
        ] or ["", "", ""]
        num_few = sum(count < FEW_POINTS for count in num_inside[name])
        table.add_row(name, str(len(rows)), str(num_few), *spans, str(num_ignored[name]))
    return table


def stats(
    data: Annotated[str, typer.Argument(help=f"Scenes: {SCENES}")],
    split: Annotated[str, typer.Option(help="Which of the scenes.")] = "train",
    num: Annotated[
        int | None, typer.Option(min=1, help="How many scenes, at most; default: all.")
    ] = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here as JSON.")
    ] = None,
) -> None:
    """Count and measure labelled scenes: points, colors, floors, and the boxes of each class.

    Every number is a median with the span of nine tenths. What is unlike most other data, and so
    a trap, is told below the tables.

    Examples:

      sr3d data stats my_rooms

      sr3d data stats infos:data/sunrgbd --split val --json sunrgbd_val.json
    """
    with one_line_errors():
        from sr3d_core.data.scene_figures import scene_figures
        from sr3d_core.data.sources import source_of

        require_writable(json_out)
        source = source_of(data)
        scenes = opened(source, split, num=num)
        with progress_of("scenes", len(scenes)) as tell:
            figures = scene_figures(scenes, tell)
        console = result_console()
        console.print(_scenes_table(f"{data}, {split}", figures))
        console.print(_figures_table(figures))
        for remark in figures.remarks():
            say(f"note: {remark}")
        write_json(json_out, {"data": data, "split": split, **figures.to_dict()})


def _scenes_table(title: str, figures: SceneFigures) -> Table:
    table = Table(title=title, show_header=False)
    table.add_row("scenes", str(figures.num_scenes))
    table.add_row("points", str(figures.points))
    table.add_row("boxes", str(figures.boxes))
    for axis in "xyz":
        table.add_row(f"extent {axis} (m)", str(getattr(figures, f"extent_{axis}_m")))
    table.add_row("floor z (m)", str(figures.floor_z_m))
    table.add_row("with color", str(figures.num_colored))
    for name, values in (("mean", figures.color_mean), ("deviation", figures.color_std)):
        table.add_row(f"color {name}", " ".join(f"{value:.3f}" for value in values))
    return table


def _figures_table(figures: SceneFigures) -> Table:
    table = Table("class")
    headings = ("boxes", "scenes", "dx (m)", "dy (m)", "dz (m)", "points", "thin", "turned")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, each in figures.classes.items():
        spans = (each.dx_m, each.dy_m, each.dz_m, each.points)
        counts = (each.num_boxes, each.num_scenes, *spans, each.num_thin, each.num_turned)
        table.add_row(name, *(str(cell) for cell in counts))
    return table
