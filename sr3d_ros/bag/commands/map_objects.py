"""`sr3d bag map`: replay a recording and write down which objects the place holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sr3d_core.console import (
    one_line_errors,
    progress_of,
    require_writable,
    result_console,
    say,
)
from sr3d_ros.bag.commands.opening import opened, print_tally
from sr3d_ros.bag.commands.options import BagPath, Recording, Score, with_groups

if TYPE_CHECKING:
    from sr3d_core.memory.object_map import MapObject
    from sr3d_ros.bag.map_run import MapRun


@with_groups
def map_objects(
    bag: BagPath,
    recording: Recording,
    score: Score = None,
    map_frame: Annotated[
        str | None,
        typer.Option(help="Frame that stands still; default: map, else odom. See map.frame."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Go on with this map, of an earlier recording or the node.")
    ] = None,
    json_out: Annotated[
        Path | None,
        typer.Option("--json", help="Write the map here; the node and --start read it."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the plan from above, with ids, classes and ages.")
    ] = None,
) -> None:
    """Map the objects of a recording: one entry for each, fused over all its views.

    Example: sr3d bag map drive/ --json map.json --picture map.png
    """
    with one_line_errors():
        from sr3d_ros.bag.map_run import map_run

        require_writable(json_out)
        require_writable(picture)
        if picture is not None:
            from sr3d_core.map_picture import require_picture

            require_picture(picture)
    more: dict[str, Any] = {
        "output.score_threshold": score,
        "map.enabled": True,
        "map.frame": map_frame,
    }
    bag_run = opened(bag, recording, more, one_class=True, num_views=1)
    with one_line_errors(), bag_run as run, progress_of("clouds", run.num_clouds) as progress:
        done = map_run(run, progress, start, has_plan=picture is not None)
        if json_out is not None:
            done.mapping.save(json_out)
        if picture is not None:
            _draw(done, picture, f"{bag.name}: objects in {done.frame}")
    result_console().print(_table(done))
    for remark in done.remarks:
        say(remark)
    print_tally(done.tally)


def _draw(done: MapRun, picture: Path, title: str) -> None:
    from sr3d_core.map_picture import draw_map

    draw_map([*done.objects, *done.gone], done.stamp_ns, picture, title, done.plan)


def _table(done: MapRun) -> Table:
    """One row for each object."""
    from sr3d_core.map_picture import age_text

    table = Table(title=f"{len(done.objects)} objects in {done.frame}, {len(done.gone)} gone")
    for heading in ("id", "class", "probability", "x y z (m)", "size (m)", "seen", "age"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    columns: list[Callable[[MapObject], str]] = [
        lambda each: each.identity,
        lambda each: each.class_name,
        lambda each: f"{each.probability:.2f}",
        lambda each: " ".join(f"{value:.2f}" for value in each.box[:3]),
        lambda each: " ".join(f"{value:.2f}" for value in each.box[3:6]),
        lambda each: str(each.times_seen),
        lambda each: age_text(each, done.stamp_ns) + (" gone" if each.gone_ns else ""),
    ]
    for each in (*done.objects, *done.gone):
        table.add_row(*(column(each) for column in columns))
    return table
