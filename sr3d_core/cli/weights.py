"""`sr3d convert` and `sr3d export`: weights of TR3D come in, weights to pass on go out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sr3d_core.console import one_line_errors, require_writable, result_console, say, write_json

LicenseOption = Annotated[
    str, typer.Option("--license", help="Under which terms the weights may be used, in words.")
]


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="FILE", help="What torch.save wrote: .pth.")
    ],
    out: Annotated[Path, typer.Option(help="The weights file to write: .safetensors.")],
    classes: Annotated[
        str,
        typer.Option(
            help="Names in the order of the training, with commas; or scannet, sunrgbd or s3dis. "
            "Without, those that the file names."
        ),
    ] = "",
    voxel_size: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1,
            help="Edge of the voxels in metres, where it is not what the file says, or else 0.01.",
        ),
    ] = None,
    license_text: LicenseOption = "",
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write here what was used and what was not.")
    ] = None,
) -> None:
    """Make weights of SR3D from a checkpoint of TR3D; nothing that is in the file is run.

    Of the authors' program or of mmdetection3d 1.x. Whatever was not used is listed. Published
    figures suppress boxes by their overlap from above: sr3d eval --config sr3d_paper.

    Examples:

      sr3d convert tr3d_scannet.pth --out tr3d.safetensors --classes scannet

      sr3d convert mine.pth --out mine.safetensors --classes chair,table,pallet --voxel-size 0.02
    """
    with one_line_errors():
        from sr3d_core.tr3d_import import import_tr3d, save_import

        require_writable(out)
        require_writable(json_out)
        names = [name.strip() for name in classes.split(",") if name.strip()]
        imported = import_tr3d(checkpoint, names, voxel_size, license_text)
        manifest = save_import(imported, checkpoint, out)
        for key, what in imported.unused.items():
            say(f"not used: {key}: {what}")
        for note in imported.notes:
            say(note)
        num_tensors = len(imported.network.state_dict())
        result_console().print(
            f"{out}: {num_tensors} tensors of {checkpoint}, {len(manifest.classes)} classes",
            markup=False,
        )
        content = {"manifest": asdict(manifest), "notes": imported.notes}
        write_json(json_out, {**content, "num_tensors": num_tensors, "unused": imported.unused})


def export(
    weights: Annotated[str, typer.Argument(help='Weights file or folder, or "default".')],
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not be there yet.")],
    license_text: LicenseOption = "",
    reports: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            metavar="FILE.json",
            help="Put figures into the card that `sr3d eval --json` measured of these weights.",
        ),
    ] = None,
) -> None:
    """Make a folder to pass on: weights, what they are as JSON, and a model card.

    The folder is loaded as a weights file is: --weights FOLDER. Detections are the same to the
    last bit. Without --license the terms are those that the weights file names.

    Examples:

      sr3d export runs/my_rooms/weights.safetensors my_weights --license "CC-BY-4.0, by us"

      sr3d export runs/my_rooms/best.safetensors my_weights --report report.json

      sr3d detect room.ply --weights my_weights
    """
    with one_line_errors():
        from sr3d_core.export import export_folder

        manifest = export_folder(weights, folder, license_text, reports or ())
        if not manifest.license:
            say("nobody said under which terms these weights may be used: --license")
        if not manifest.results:
            say("the card has no figures: score the weights with sr3d eval --json, then --report")
        names = ", ".join(sorted(path.name for path in folder.iterdir()))
        result_console().print(f"{folder}: {names}", markup=False)
