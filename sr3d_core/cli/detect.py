"""`sr3d detect`: files in, labelled boxes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sr3d_core.choices import UP_AXES
from sr3d_core.cli.accuracy import (
    AS_STORED,
    RefineFloorOption,
    RefineOption,
    RefineSizeOption,
    RefineVoteOption,
    RefineYawOption,
    VoteIouOption,
    with_switches,
)
from sr3d_core.cli.photos import (
    CameraAsked,
    CameraOption,
    FovOption,
    HeightOption,
    PhotoReader,
    PitchOption,
    RectifiedOption,
    RollOption,
    check_kinds,
    detect_in_photo,
)
from sr3d_core.console import (
    BackendOption,
    MergeViewsOption,
    chosen,
    explain,
    one_line_errors,
    require_picture,
    require_writable,
    result_console,
    say,
    warn_about_scale,
    write_json,
)
from sr3d_core.data.cloud_formats import SUFFIXES

if TYPE_CHECKING:
    from sr3d_core.data.cloud_file import CloudFile
    from sr3d_core.detector import Detector
    from sr3d_core.evaluate import FindsObjects
    from sr3d_core.structures import Detections, Images, PointCloud

_FAINTEST = 0.05  # a score below which nobody wants to hear of a box


def detect(
    files: Annotated[
        list[Path],
        typer.Argument(
            help=f"Clouds: {' '.join(SUFFIXES)}; meshes need the extra open3d. Photos, with "
            "weights of color images: .jpg .png."
        ),
    ],
    weights: Annotated[
        str,
        typer.Option(
            help='Weights file, or those that ship: "default" for clouds, "camera" for photos.'
        ),
    ] = "default",
    score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out boxes that score less.")
    ] = 0.3,
    json_out: Annotated[
        Path | None,
        typer.Option("--json", help="Write the detections here, file by file."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw boxes in the cloud, or in the photo, here; several files: their names are "
            "added."
        ),
    ] = None,
    up: Annotated[
        str,
        typer.Option(
            help=f"Axis of the file that points up: {', '.join(UP_AXES)}. auto: keep z where the "
            "floor fits, else find the floor and level it. -y is up in a camera's optical frame."
        ),
    ] = "auto",
    camera: CameraOption = None,
    camera_fov: FovOption = None,
    camera_pitch: PitchOption = None,
    camera_roll: RollOption = None,
    camera_height: HeightOption = None,
    rectified: RectifiedOption = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    backend: BackendOption = "auto",
    merge_views: MergeViewsOption = 1,
    refine: RefineOption = AS_STORED,
    vote_iou: VoteIouOption = None,
    refine_vote: RefineVoteOption = None,
    refine_size: RefineSizeOption = None,
    refine_floor: RefineFloorOption = None,
    refine_yaw: RefineYawOption = None,
) -> None:
    """Detect objects in point clouds, or in photos.

    Clouds: coordinates are metres; colors are optional. Boxes have the file's coordinates. Where
    a cloud had to be levelled, boxes are in the levelled frame and the JSON says how to get there
    from the file (levelled_from_file). The JSON of several files is a list that is whole after
    each of them: an interrupt or a bad file loses nothing of the others.

    Photos: weights of color images, the camera and how it stood. Boxes are in a level frame, x
    ahead of the camera, y to its left, z up, from the floor below it where --camera-height is
    given, else from the camera; depth_std_m of a box says how far off along the line of sight it
    may be.

    Examples:

      sr3d detect room.ply

      sr3d detect room.pcd --score 0.5 --json boxes.json --picture boxes.png

      sr3d detect frame.pcd --up -y          a camera's cloud, z forward and y down

      sr3d detect room.ply --merge-views 4   more accurate, four times as long

      sr3d detect photo.jpg --weights camera --camera K.yaml --camera-height 1.2 --camera-pitch -15
    """
    asked = CameraAsked(
        file=camera,
        fov_deg=camera_fov,
        pitch_deg=camera_pitch,
        roll_deg=camera_roll,
        height_m=camera_height,
        is_rectified=rectified,
    )
    with one_line_errors():
        from sr3d_core.data.cloud_file import open_cloud

        axis = chosen("--up", up, UP_AXES)
        pictures = _check_outputs(files, json_out, picture)
        detector = open_detector(weights, score, device, backend)
        check_kinds(detector, weights, files, asked)
        read_photo = PhotoReader(asked) if detector.takes_images else None
        if read_photo is not None and axis != "auto":
            raise ValueError(
                f"--up {up} turns clouds, and these are photos; expected --camera-pitch and "
                "--camera-roll alone"
            )
        finder = with_switches(
            detector,
            merge_views,
            refine,
            vote_iou,
            vote=refine_vote,
            size=refine_size,
            floor=refine_floor,
            yaw=refine_yaw,
        )
        num_done = 0
        with _writer(json_out, len(files) > 1) as write:
            for file, target in zip(files, pictures, strict=True):
                try:
                    if read_photo is None:
                        opened = open_cloud(file, axis)
                        tell_what_was_done(file, opened, detector.max_points)
                        seen: PointCloud | Images = opened.cloud
                        result = _detect_one(finder, file, opened, weights, target)
                    else:
                        photo = read_photo(file)
                        seen = photo.images
                        result = detect_in_photo(detector, file, photo, weights, target)
                    write(result)
                    if not result["detections"] and merge_views == 1:  # else scores are means
                        _tell_the_strongest(detector, seen, file)
                    num_done += 1
                except (ValueError, OSError) as error:
                    say(f"error: {explain(error)}")
    if num_done < len(files):
        raise typer.Exit(1)


@contextmanager
def _writer(json_out: Path | None, is_list: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Takes each result as it comes: a list grows, a single one is the whole file."""
    from sr3d_core.growing_json import growing_list

    if json_out is None or not is_list:
        yield partial(write_json, json_out)
        return
    with growing_list(json_out) as results:
        yield results.add


def open_detector(
    weights: str | Path, score: float = 0.3, device: str = "auto", backend: str = "auto"
) -> Detector:
    """The detector of commands that show boxes: those of different classes suppress each other."""
    from sr3d_core.detector import Detector, Postprocess

    postprocess = Postprocess(score_threshold=score, one_class=True)
    return Detector.from_checkpoint(
        weights, device=device, backend=backend, postprocess=postprocess
    )


def _check_outputs(
    files: list[Path], json_out: Path | None, picture: Path | None
) -> list[Path | None]:
    """The picture of each file; errors that would only show after the work come here."""
    require_writable(json_out)
    if picture is None:
        return [None] * len(files)
    import sr3d_core.picture  # noqa: F401  says now that matplotlib is missing

    require_picture(picture, f"--picture {picture}")
    return [picture] if len(files) == 1 else _apart(picture, files)


def _apart(picture: Path, files: list[Path]) -> list[Path | None]:
    """A picture for each file, named after it; a number tells files of one name apart."""
    names: list[Path | None] = []
    for file in files:
        name, number = picture.with_stem(f"{picture.stem}-{file.stem}"), 1
        while name in names:
            number += 1
            name = picture.with_stem(f"{picture.stem}-{file.stem}-{number}")
        names.append(name)
    return names


def _detect_one(
    detector: FindsObjects, file: Path, opened: CloudFile, weights: str, picture: Path | None
) -> dict[str, Any]:
    """Detect, print, draw; returns what goes into the JSON."""
    from sr3d_core.structures import Detections

    local = detector.detect(opened.cloud)
    boxes = opened.restored(local.boxes)
    found = Detections(boxes, local.scores, local.labels, local.time_ms)
    print_found(file, opened, found, detector.classes)
    if picture is not None:
        from sr3d_core.picture import draw_detections

        draw_detections(opened.cloud, local, detector.classes, picture, title=file.name)
        say(f"{file}: drawn in {picture}")
    return describe(file, opened, found, weights, detector.classes)


def _tell_the_strongest(detector: Detector, seen: PointCloud | Images, file: Path) -> None:
    """Where nothing scored enough, what came nearest to it, on stderr."""
    from dataclasses import replace

    asked = detector.postprocess
    detector.postprocess = replace(asked, score_threshold=min(_FAINTEST, asked.score_threshold))
    try:
        found = detector.detect(seen)
    finally:
        detector.postprocess = asked
    if len(found):
        best = int(found.scores.argmax())
        say(
            f"{file}: nothing scores {asked.score_threshold:g}; the strongest box is a "
            f"{detector.classes[int(found.labels[best])]} of {float(found.scores[best]):.2f} "
            "(--score shows such; sr3d model calibrate makes scores of a training chances)"
        )


def tell_what_was_done(file: Path, opened: CloudFile, max_points: int) -> None:
    """What happened to a cloud on the way in, on stderr."""
    if opened.note:
        say(f"{file}: {opened.note}")
    if opened.num_dropped:
        say(
            f"{file}: left out {opened.num_dropped} points that are not finite or more than "
            "10 km from the others"
        )
    if opened.origin.any():
        x, y, z = (f"{value:.0f}" for value in opened.origin.tolist())
        say(f"{file}: far from the origin; pictures are drawn about ({x}, {y}, {z})")
    if opened.is_turned:
        found = f", floor confidence {opened.confidence:.2f}" if opened.confidence else ""
        say(
            f"{file}: turned so that z is up, by {math.degrees(opened.angle_rad):.1f} degrees"
            f"{found}; boxes are in the levelled frame"
        )
    if len(opened.cloud) > max_points:
        say(f"{file}: using {max_points} of {len(opened.cloud)} points, picked evenly")
    warn_about_scale(file, opened.cloud)


def describe(
    file: Path, opened: CloudFile, found: Detections, model: str, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Detections of one file as plain JSON values."""
    from sr3d_core.records import detection_records

    result = {
        "file": str(file),
        "frame": "levelled" if opened.is_turned else "file",
        "model": model,
        "classes": list(classes),
        "time_ms": found.time_ms,
        "detections": detection_records(found, classes),
    }
    if opened.is_turned:
        result["levelled_from_file"] = opened.upright_from_file.tolist()
    return result


def print_found(
    file: Path, opened: CloudFile, found: Detections, classes: tuple[str, ...]
) -> None:
    """A line and a table of detections, in the file's coordinates where it was not turned."""
    console, total = result_console(), sum(found.time_ms.values())
    console.print(
        f"{file.name}: {len(found)} objects in {len(opened.cloud)} points, {total:.0f} ms",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if len(found):
        console.print(table_of(found, classes))


def table_of(found: Detections, classes: tuple[str, ...]) -> Table:
    """A row for each detection; of those in a color image with how far off it may be."""
    has_std = found.depth_std_m is not None
    table = Table("class")
    headings = ("score", "x", "y", "z", "dx", "dy", "dz (m)", "yaw (deg)")
    for heading in (*headings, *(["± depth (m)"] if has_std else [])):
        table.add_column(heading, justify="right")
    degrees = found.boxes.yaw.rad2deg().tolist()
    rows = found.boxes.array[:, :6].tolist()
    deviations = (
        [[] for _ in rows] if found.depth_std_m is None else found.depth_std_m[:, None].tolist()
    )
    for label, score, row, yaw, deviation in zip(
        found.labels.tolist(), found.scores.tolist(), rows, degrees, deviations, strict=True
    ):
        numbers = (f"{value:.2f}" for value in row)
        more = ("-" if math.isnan(std_m) else f"{std_m:.2f}" for std_m in deviation)
        table.add_row(classes[label], f"{score:.2f}", *numbers, f"{yaw:.0f}", *more)
    return table
