"""`sr3d detect`: files in, labelled boxes out."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sr3d_core.cli.console import (
    one_line_errors,
    result_console,
    say,
    warn_about_units,
    write_json,
)

if TYPE_CHECKING:
    from sr3d_core.data.cloud_file import CloudFile
    from sr3d_core.detector import Detector
    from sr3d_core.structures import Detections


class Up(str, Enum):
    """Which axis of a file points up."""

    AUTO = "auto"
    Z = "z"
    Y = "y"
    MINUS_Y = "-y"


def detect(
    files: Annotated[
        list[Path], typer.Argument(help="Point clouds: .ply .pcd .npz .npy .txt .xyz .csv")
    ],
    weights: Annotated[str, typer.Option(help='Weights file, or "default".')] = "default",
    score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out boxes that score less.")
    ] = 0.3,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write the detections here.")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw cloud and boxes here; several files: their names are added."),
    ] = None,
    up: Annotated[
        Up,
        typer.Option(
            help="Axis of the file that points up. auto: keep z where the floor fits, else find "
            "the floor and level it. -y is up in a camera's optical frame."
        ),
    ] = Up.AUTO,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Detect objects in point clouds.

    Coordinates are metres; colours are optional. Where a cloud had to be levelled, boxes are in
    the levelled frame and the JSON says how to get there from the file (levelled_from_file).

    Examples:

      sr3d detect room.ply

      sr3d detect room.pcd --score 0.5 --json boxes.json --picture boxes.png

      sr3d detect frame.pcd --up -y          a camera's cloud, z forward and y down
    """
    with one_line_errors():
        from sr3d_core.detector import Detector, Postprocess

        detector = Detector.from_checkpoint(
            weights, device=device, postprocess=Postprocess(score_threshold=score, one_class=True)
        )
        results: list[dict[str, Any]] = []
        num_failed = 0
        for file in files:
            try:
                results.append(_detect_one(detector, file, weights, up, picture, len(files) > 1))
            except ValueError as error:
                say(f"error: {error}")
                num_failed += 1
        if len(files) > 1:
            write_json(json_out, results)
        elif results:
            write_json(json_out, results[0])
    if num_failed:
        raise typer.Exit(1)


def _detect_one(
    detector: Detector, file: Path, weights: str, up: Up, picture: Path | None, is_many: bool
) -> dict[str, Any]:
    """Detect, print, draw; returns what goes into the JSON."""
    from sr3d_core.data.cloud_file import open_cloud

    opened = open_cloud(file, up.value)
    if opened.num_dropped:
        say(f"{file}: left out {opened.num_dropped} points that are not finite")
    if opened.is_turned:
        say(f"{file}: turned so that z is up; boxes are in the levelled frame")
    warn_about_units(file, opened.cloud)
    found = detector.detect(opened.cloud)
    _print(file, opened, found, detector.classes)
    if picture is not None:
        from sr3d_core.picture import draw_detections

        target = picture.with_stem(f"{picture.stem}-{file.stem}") if is_many else picture
        draw_detections(opened.cloud, found, detector.classes, target, title=file.name)
        say(f"{file}: drawn in {target}")
    return describe(file, opened, found, weights, detector.classes)


def describe(
    file: Path, opened: CloudFile, found: Detections, model: str, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Detections of one file as plain JSON values."""
    result = {
        "file": str(file),
        "frame": "levelled" if opened.is_turned else "file",
        "model": model,
        "classes": list(classes),
        "time_ms": {stage: round(time, 2) for stage, time in found.time_ms.items()},
        "detections": [
            {
                "class": classes[label],
                "score": round(score, 4),
                "center": [round(value, 4) for value in center],
                "size": [round(value, 4) for value in size],
                "yaw": round(yaw, 4),
            }
            for label, score, center, size, yaw in zip(
                found.labels.tolist(),
                found.scores.tolist(),
                found.boxes.center.tolist(),
                found.boxes.size.tolist(),
                found.boxes.yaw.tolist(),
                strict=True,
            )
        ],
    }
    if opened.is_turned:
        result["levelled_from_file"] = opened.upright_from_file.tolist()
    return result


def _print(file: Path, opened: CloudFile, found: Detections, classes: tuple[str, ...]) -> None:
    console, total = result_console(), sum(found.time_ms.values())
    console.print(
        f"{file.name}: {len(found)} objects in {len(opened.cloud)} points, {total:.0f} ms",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if len(found):
        console.print(_table(found, classes))


def _table(found: Detections, classes: tuple[str, ...]) -> Table:
    table = Table("class")
    headings = ("score", "x", "y", "z", "dx", "dy", "dz (m)", "yaw (deg)")
    for heading in headings:
        table.add_column(heading, justify="right")
    degrees = found.boxes.yaw.rad2deg().tolist()
    rows = found.boxes.array[:, :6].tolist()
    for label, score, row, yaw in zip(
        found.labels.tolist(), found.scores.tolist(), rows, degrees, strict=True
    ):
        numbers = (f"{value:.2f}" for value in row)
        table.add_row(classes[label], f"{score:.2f}", *numbers, f"{yaw:.0f}")
    return table
