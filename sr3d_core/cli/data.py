"""`sr3d data`: make, read and look at labelled scenes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from sr3d_core.choices import FURNITURE_SHARE, ROOM_NOISES, ROOM_SENSORS, ROOM_SPLITS, VAL_SHARE
from sr3d_core.cli.furniture import furniture
from sr3d_core.cli.scenes import opened
from sr3d_core.console import (
    SCENES,
    chosen,
    one_line_errors,
    progress_in_turn,
    progress_of,
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
    from sr3d_core.data.scene_figures import SceneFigures
    from sr3d_core.structures import PointCloud

app = typer.Typer(
    no_args_is_help=True,
    help="Make, check and look at labelled scenes.\n\n"
    "Your own scenes are a folder with clouds/NAME.ply (or .pcd .npz ...), labels/NAME.json "
    '({"boxes": [{"class", "center", "size", "yaw"}]}), classes.txt, train.txt and val.txt; '
    "`sr3d data init FOLDER` makes one.\n\n"
    "Other layouts are named by their reader, as READER:PATH or READER:PATH,setting=value: infos "
    "(mmdetection3d, TR3D, UniDet3D), votenet, scannet, sunrgbd, sunrgbd_trainval, s3dis, "
    "labelcloud, sustechpoints, recording (what `sr3d distill --bag` kept). docs/datasets.md says "
    "what each expects.",
)

app.command()(furniture)

_SPLITS = ", ".join(ROOM_SPLITS)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make, or to complete.")],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="A class, once for each; default: those of the weights."),
    ] = None,
) -> None:
    """Make a folder for scenes of your own, with a training to go with it.

    It gets clouds/, labels/, classes.txt, train.txt, val.txt and a YAML file of its name: a copy
    of the preset `own_data` that reads this folder. Files that are there already stay as they are.

    Examples:

      sr3d data init my_rooms

      sr3d data init my_rooms --class chair --class pallet
    """
    with one_line_errors():
        from sr3d_core.checkpoint import read_manifest
        from sr3d_core.data.new_folder import config_path, make_folder
        from sr3d_core.presets import own_data

        names = classes or read_manifest("default").classes
        for path in make_folder(folder, names, own_data(folder)):
            say(f"made {path}")
        say(
            f"put NAME.ply into {folder / 'clouds'} and NAME.json into {folder / 'labels'}; then: "
            f"sr3d data split {folder}, and: sr3d train {config_path(folder)}"
        )


@app.command()
def rooms(
    out: Annotated[Path, typer.Argument(help="Folder to fill.")],
    split: Annotated[str, typer.Option(help=f"Which seeds: {_SPLITS}.")] = "train",
    num: Annotated[int, typer.Option(min=1, help="How many rooms.")] = 1000,
    frames: Annotated[int, typer.Option(min=0, help="RGB-D frames of each room.")] = 4,
    scan: Annotated[bool, typer.Option(help="Also a fused scan of each room.")] = True,
    images: Annotated[
        int,
        typer.Option(min=0, help="Color images of each room, for camera networks."),
    ] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Extra processes.")] = 0,
    first: Annotated[int, typer.Option(min=0, help="Number of the first room.")] = 0,
    library: Annotated[
        Path | None,
        typer.Option("--furniture", help="File of `sr3d data furniture`; default: ours alone."),
    ] = None,
    share: Annotated[
        float,
        typer.Option("--furniture-share", min=0, max=1, help="Share of furniture from there."),
    ] = FURNITURE_SHARE,
    noise: Annotated[
        str,
        typer.Option(
            help="Of frames and scans: usual, or strong, as a bad sensor's: points off by 2 to 3 "
            "cm, walls that bend, missing pieces."
        ),
    ] = "usual",
) -> None:
    """Render procedural rooms into a folder that trainings read; can be stopped and resumed.

    Examples:

      sr3d data rooms runs/rooms --num 2000 --workers 2

      sr3d data rooms runs/rooms --furniture runs/furniture.npz

      sr3d data rooms runs/images --frames 0 --no-scan --images 4
    """
    with one_line_errors():
        from sr3d_core.data.rooms.prerender import prerender

        with progress_of("rooms", num) as tell:
            num_new = prerender(
                out,
                chosen("--split", split, ROOM_SPLITS),
                num,
                workers,
                num_frames=frames,
                scan=scan,
                images=images,
                first_room=first,
                furniture=library,
                furniture_share=share,
                noise=chosen("--noise", noise, ROOM_NOISES),
                progress=lambda done, _: tell(done),
            )
    say(f"{out}: {num_new} rooms rendered, {num - num_new} were there")


@app.command()
def room(
    out: Annotated[Path, typer.Argument(help="File to write, .npz.")],
    number: Annotated[int, typer.Option(min=0, help="Which room of the split.")] = 0,
    split: Annotated[str, typer.Option(help=f"Which seeds: {_SPLITS}.")] = "sample",
    sensor: Annotated[
        str, typer.Option(help=f"One RGB-D frame, or many fused: {', '.join(ROOM_SENSORS)}.")
    ] = "scan",
) -> None:
    """Write one procedural room as a cloud file: xyz, rgb, and its labels as boxes and classes.

    The sample that ships was made this way.

    Example: sr3d data room room.npz --number 3 && sr3d detect room.npz
    """
    with one_line_errors():
        import numpy as np

        from sr3d_core.data.rooms import LABELS, room_sample
        from sr3d_core.data.rooms.dataset import seed_of

        if out.suffix != ".npz":
            raise ValueError(f"{out}: expected a file that ends in .npz")
        sample = room_sample(
            seed_of(chosen("--split", split, ROOM_SPLITS), number),
            chosen("--sensor", sensor, ROOM_SENSORS),
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            out,
            xyz=np.round(sample.cloud.xyz.numpy(), 3),
            rgb=np.rint(sample.cloud.features.numpy() * 255).astype(np.uint8),
            boxes=sample.targets.boxes.array.numpy(),
            classes=np.array([LABELS[label] for label in sample.targets.labels.tolist()]),
        )
    say(f"{out}: {len(sample.cloud)} points, {len(sample.targets)} objects")


@app.command()
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


@app.command()
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


@app.command()
def prepare(
    data: Annotated[str, typer.Argument(help=f"Scenes: {SCENES}")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    split: Annotated[
        list[str] | None,
        typer.Option(help="Which of the scenes, once for each; default: train and val."),
    ] = None,
    num: Annotated[
        int | None, typer.Option(min=1, help="How many scenes of each split, at most.")
    ] = None,
) -> None:
    """Write scenes of another layout into a folder of plain files; can be stopped and resumed.

    The folder is as your own (see `sr3d data init`): trainings read it several times as fast, and
    its labels can be corrected. How the files were understood is said and kept in prepared.yaml.

    Examples:

      sr3d data prepare scannet:data/scannet scannet

      sr3d data prepare infos:data/sunrgbd,yaw=clockwise sunrgbd --split val
    """
    with one_line_errors():
        from sr3d_core.data.prepare import prepare as write
        from sr3d_core.data.sources import source_of

        source = source_of(data)
        for name in split or ("train", "val"):
            with progress_in_turn() as tell:
                what = f"{name} scenes"
                made = write(source, out, name, num, partial(tell, what))
            for note in made.notes:
                say(f"read as: {note}")
            if made.left_out:
                say(f"{len(made.left_out)} boxes are left out, the first {made.left_out[0]}")
            say(f"{out}: {made.num_new} scenes of {name} written, {made.num_there} were there")
        say(f"now: sr3d data inspect {out}")


@app.command()
def split(
    data: Annotated[
        str,
        typer.Argument(help="Folder of your own scenes, labelcloud:PATH or sustechpoints:PATH."),
    ],
    share: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="The share of scenes that is held back.")
    ] = VAL_SHARE,
) -> None:
    """Write train.txt and val.txt: which labelled scenes are learnt from, which held back.

    The same names always give the same lists. Scenes of one folder, and scans of one room of
    ScanNet, stay together. Lists that hold scenes of both kinds already only grow.

    Example: sr3d data split my_rooms
    """
    with one_line_errors():
        from sr3d_core.data.sources import source_of
        from sr3d_core.data.split import split_scenes

        made = split_scenes(source_of(data), share)
        say(f"train.txt: {len(made.train)} scenes; val.txt: {len(made.val)}; {made.num_new} new")
        say(f"now: sr3d data inspect {data}")


@app.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="Picture to write, .png.")],
    data: Annotated[str, typer.Option(help=SCENES)] = "rooms",
    split: Annotated[str, typer.Option(help="Which scenes.")] = "train",
    num: Annotated[int, typer.Option(min=1, max=64, help="How many scenes.")] = 8,
    images: Annotated[
        bool, typer.Option("--images", help="Color images and their depth, not clouds.")
    ] = False,
) -> None:
    """Draw labelled scenes on one page: look at your data before you train on it.

    Examples:

      sr3d data sheet rooms.png --num 12

      sr3d data sheet images.png --images --num 12
    """
    with one_line_errors():
        from sr3d_core.data.rooms.sheet import contact_sheet, image_sheet
        from sr3d_core.data.sources import source_of, with_images

        require_picture(out, str(out))
        source = source_of(data)
        if images:
            source = with_images(source)
        scenes = opened(source, split, num=num)
        num = min(num, len(scenes))
        draw = image_sheet if images else contact_sheet
        draw([scenes[index] for index in range(num)], out, scenes.classes)
    say(f"{out}: {num} {'images' if images else 'scenes'}")
