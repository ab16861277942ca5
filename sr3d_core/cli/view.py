"""`sr3d view`: look at a cloud and its boxes."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sr3d_core.choices import UP_AXES, UpAxis
from sr3d_core.cli.detect import open_detector, print_found, tell_what_was_done
from sr3d_core.console import BackendOption, chosen, one_line_errors, say

if TYPE_CHECKING:
    from sr3d_core.structures import Detections, PointCloud


def view(
    file: Annotated[Path, typer.Argument(help="A point cloud, as for `sr3d detect`.")],
    boxes: Annotated[
        Path | None,
        typer.Option(help="Show these boxes, of `sr3d detect FILE --json`; default: detect now."),
    ] = None,
    open3d: Annotated[
        bool,
        typer.Option(
            "--open3d", help="A window to turn the scene in, by Open3D; default: a picture."
        ),
    ] = False,
    weights: Annotated[str, typer.Option(help='Weights file, or "default".')] = "default",
    score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out boxes that score less.")
    ] = 0.3,
    up: Annotated[
        str,
        typer.Option(
            help=f"Axis of the file that points up: {', '.join(UP_AXES)}; not used with --boxes, "
            "whose file says it."
        ),
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    backend: BackendOption = "auto",
) -> None:
    """Show a cloud with its boxes: as a picture on the desktop, or in a window of Open3D.

    Needs a display; without one, `sr3d detect FILE --picture OUT.png` draws the same picture.

    Examples:

      sr3d view room.ply

      sr3d view room.ply --open3d

      sr3d detect room.ply --json boxes.json && sr3d view room.ply --boxes boxes.json --open3d
    """
    with one_line_errors():
        axis = chosen("--up", up, UP_AXES)
        _require_display(file)
        if open3d:
            from sr3d_core.open3d_bridge import load_open3d

            load_open3d()  # says now what is missing
        if boxes is None:
            cloud, found, classes = _detected(file, axis, score, weights, device, backend)
        else:
            cloud, found, classes = _read(file, boxes, score)
        if open3d:
            from sr3d_core.viewer import show

            show(cloud, found, classes, title=file.name)
        else:
            _show_picture(file, cloud, found, classes)


def _require_display(file: Path) -> None:
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        raise ValueError(
            "no display (DISPLAY and WAYLAND_DISPLAY are not set), expected a desktop; without "
            f"one: sr3d detect {file} --picture {file.stem}.png"
        )


def _detected(
    file: Path, up: UpAxis, score: float, weights: str, device: str, backend: str
) -> tuple[PointCloud, Detections, tuple[str, ...]]:
    from sr3d_core.data.cloud_file import open_cloud

    detector = open_detector(weights, score, device, backend)
    if detector.takes_images:
        raise ValueError(
            f"--weights {weights}: of color images, and clouds are shown; expected weights of "
            "clouds; boxes in a photo are drawn by `sr3d detect photo.jpg --picture boxes.png`"
        )
    opened = open_cloud(file, up)
    tell_what_was_done(file, opened, detector.max_points)
    found = detector.detect(opened.cloud)
    print_found(file, opened, found, detector.classes)
    return opened.cloud, found, detector.classes


def _read(file: Path, boxes: Path, score: float) -> tuple[PointCloud, Detections, tuple[str, ...]]:
    """The cloud turned as it was when the boxes were found, near the origin, and the boxes."""
    from sr3d_core.data.cloud_file import open_turned
    from sr3d_core.records import FileRecord, detections_of, read_records
    from sr3d_core.structures import Detections

    record = read_records(boxes, FileRecord)
    opened = open_turned(file, record.levelled_from_file)
    if opened.note:
        say(f"{file}: {opened.note}")
    found, classes = detections_of(record.detections)
    found = found[found.scores >= score]
    print_found(file, opened, found, classes)
    return opened.cloud, Detections(opened.local(found.boxes), found.scores, found.labels), classes


def _show_picture(
    file: Path, cloud: PointCloud, found: Detections, classes: tuple[str, ...]
) -> None:
    from sr3d_core.picture import draw_detections

    path = Path(tempfile.mkdtemp(prefix="sr3d-")) / f"{file.stem}.png"
    draw_detections(cloud, found, classes, path, title=file.name)
    is_shown = typer.launch(str(path)) == 0
    say(f"{file}: drawn in {path}" + ("" if is_shown else "; no program here opens pictures"))
