"""`sr3d bag detect`: the objects in every cloud of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sr3d_core.console import (
    MergeViewsOption,
    one_line_errors,
    progress_of,
    result_console,
    say,
)
from sr3d_ros.bag.commands.many import Several, detect_in_all
from sr3d_ros.bag.commands.opening import opened, print_tally
from sr3d_ros.bag.commands.options import BagPaths, Json, Memory, Recording, Score, with_groups
from sr3d_ros.bag.result import Found
from sr3d_ros.bag.words import NOTHING_SCORES

if TYPE_CHECKING:
    from sr3d_ros.bag.outputs import Outputs

Pictures = Annotated[Path | None, typer.Option(help="Draw every frame into this folder.")]
Video = Annotated[
    Path | None,
    typer.Option(
        help="What --pictures draws as a film, .mp4, at the recording's pace; needs the extra "
        "video."
    ),
]
Rrd = Annotated[
    Path | None,
    typer.Option(
        help="Write clouds, boxes and transforms for the rerun viewer, .rrd; needs the extra "
        "rerun."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Write a new recording (mcap) here: detections, markers and class names, as the "
        "node publishes them, beside the transforms; for rviz2 and Foxglove."
    ),
]
Foxglove = Annotated[
    bool, typer.Option("--foxglove", help="With --out: SceneUpdate for Foxglove as well.")
]
Tracking = Annotated[
    bool, typer.Option("--tracking", help="Add ids that stay with objects, and tracks.")
]


@dataclass(frozen=True, kw_only=True)
class Files:
    """Where results of one recording are written."""

    json_out: Json = None
    pictures: Pictures = None
    video: Video = None
    rrd: Rrd = None
    out: Out = None
    foxglove: Foxglove = False

    def outputs(self, node: str) -> Outputs:
        """The same as the work takes it; `node` says whose topics a new recording has."""
        from sr3d_ros.bag.outputs import Outputs

        return Outputs(
            json=self.json_out,
            pictures=self.pictures,
            bag=self.out,
            with_scene=self.foxglove,
            node=node,
            video=self.video,
            rerun=self.rrd,
        )


@with_groups
def detect(
    bags: BagPaths,
    recording: Recording,
    files: Files,
    several: Several,
    score: Score = None,
    memory: Memory = None,
    tracking: Tracking = False,
    merge_views: MergeViewsOption = 1,
) -> None:
    """Detect objects in every cloud of recordings; boxes are in a z-up frame.

    Examples:

      sr3d bag detect drive/ --json boxes.json --pictures pictures/

      sr3d bag detect drive/ --params-file my_robot.yaml --tracking --json boxes.json

      sr3d bag detect drive/ --input rgb --color /camera/image_raw --weights camera

      sr3d bag detect drive/ --input auto --color /camera/image_raw --camera-weights runs/camera

      sr3d bag detect monday/ tuesday/ friday/ --out-dir found/ --jobs 2
    """
    from sr3d_ros.bag.outputs import detect_into

    more = {
        "memory.seconds": memory,
        "output.score_threshold": score,
        "tracking.enabled": tracking or None,
    }
    with one_line_errors():
        outputs = files.outputs(recording.node)
        outputs.check()
        if several.is_asked or len(bags) > 1:
            detect_in_all(bags, several, outputs, recording, more, merge_views)
            return
    (bag,) = bags
    bag_run = opened(bag, recording, more, one_class=True, num_views=merge_views, falls_back=True)
    with one_line_errors(), bag_run as run:
        what = _NAMES.get(run.parameters.kind, "clouds")
        with progress_of(what, run.num_clouds) as progress:
            found, tally = detect_into(run, outputs, progress)
    result_console().print(_table(found, what))
    if found.num_frames and not found.best:
        say(NOTHING_SCORES)
    print_tally(tally)


_NAMES = {"rgb": "images", "auto": "frames"}
"""What was detected in, by `input.kind`, where it is not clouds: depth images become some."""


def _table(found: Found, what: str) -> Table:
    table = Table(title=f"Detections in {found.num_frames} {what}")
    for heading in ("class", what, "boxes", "best score"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name, best in sorted(found.best.items()):
        row = (str(found.frames[name]), str(found.boxes[name]), f"{best:.2f}")
        table.add_row(name, *row)
    return table
