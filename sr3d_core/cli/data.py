"""`sr3d data`: make, read and look at labelled scenes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sr3d_core.choices import FURNITURE_SHARE, ROOM_NOISES, ROOM_SENSORS, ROOM_SPLITS, VAL_SHARE
from sr3d_core.cli import looking
from sr3d_core.cli.furniture import furniture
from sr3d_core.cli.scenes import opened
from sr3d_core.console import (
    SCENES,
    chosen,
    one_line_errors,
    progress_in_turn,
    progress_of,
    require_picture,
    say,
)

if TYPE_CHECKING:
    pass

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


app.command()(looking.inspect)
app.command()(looking.stats)


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
