"""`sr3d model`: what a weights file is and whether it is whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sr3d_core.cli import stored
from sr3d_core.cli.scenes import labelled_scenes, named_config, opened
from sr3d_core.console import (
    SCENES,
    BackendOption,
    one_line_errors,
    progress_of,
    require_writable,
    result_console,
    write_json,
)

if TYPE_CHECKING:
    from torch.nn import Module


app = typer.Typer(help="Look at weights files.", no_args_is_help=True)

Weights = Annotated[str, typer.Argument(help='Weights file, or "default".')]


@app.command()
def info(
    weights: Weights = "default",
    json_out: Annotated[Path | None, typer.Option("--json", help="Write it here.")] = None,
) -> None:
    """Show classes, network, origin and measured figures of a weights file.

    Example: sr3d model info runs/my/weights.safetensors
    """
    with one_line_errors():
        from sr3d_core.checkpoint import load_any, read_manifest, stored_tensors
        from sr3d_core.model.network import SR3D

        manifest = read_manifest(weights)
        if manifest.pretraining is None:
            network: Module = load_any(weights)[0]
        else:
            stored_tensors(weights)  # says what is damaged
            network = SR3D(manifest.architecture).backbone
        num_parameters = sum(parameter.numel() for parameter in network.parameters())
        content = {**asdict(manifest), "num_parameters": num_parameters}
        table = Table(title=f"weights {weights}", show_header=False)
        for name, value in content.items():
            table.add_row(name, ", ".join(value) if name == "classes" else str(value))
        result_console().print(table)
        write_json(json_out, content)


@app.command()
def probe(
    weights: Annotated[list[str], typer.Argument(help='Weights files, or "default".')],
    data: Annotated[str, typer.Option(help=SCENES)] = "rooms",
    split: Annotated[str, typer.Option(help="Which scenes; NAME.txt in a folder.")] = "val",
    num: Annotated[int, typer.Option(min=1, help="How many scenes, at most.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the random network, and of the linear probe's batches.")
    ] = 1,
    json_out: Annotated[Path | None, typer.Option("--json", help="Also write it here.")] = None,
) -> None:
    """Ask frozen features what they know: whether a class can be read off them without training.

    mIoU: softmax regression on the cells of every other room, scored on the rest; classes, floor,
    wall and other. k-NN: the share of boxes whose mean feature is near those of the same class in
    other rooms. Height and border: how much of a cell's height and distance to the border of the
    cloud can be read off, which is where a cell is, not what. Beside them a network that has
    learnt nothing, and what is known without one: color, height, how many cells are near.

    Examples:

      sr3d model probe runs/pre.safetensors --num 200

      sr3d model probe runs/dos.safetensors runs/asymdsd.safetensors --data my_rooms --split train
    """
    with one_line_errors():
        from sr3d_core.data.sources import source_of
        from sr3d_core.pretrain.probing import as_json, probe_weights

        require_writable(json_out)
        scenes = opened(source_of(data), split, num=num)
        with progress_of("features", len(weights) + 2) as tell:
            rows = probe_weights(weights, scenes, seed, lambda done, _: tell(done))
        table = Table(title=f"probes on {len(scenes)} scenes of {data}, seed {seed}")
        for heading in ("features", "mIoU", "k-NN", "R2 height", "R2 border"):
            table.add_column(heading, justify="left" if heading == "features" else "right")
        for row in rows:
            shares = (f"{100 * share:.1f}" for share in (row.miou, row.nearest))
            table.add_row(row.weights, *shares, f"{row.height:.2f}", f"{row.border:.2f}")
        result_console().print(table)
        write_json(json_out, as_json(rows, seed, len(scenes)))


@app.command()
def conflicts(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `sr3d distill`.")],
    data: Annotated[
        str | None, typer.Option(help=f"Default: the scenes of the run. {SCENES}")
    ] = None,
    split: Annotated[str, typer.Option(help="Which scenes; NAME.txt in a folder.")] = "val",
    num: Annotated[int, typer.Option(min=1, help="How many scenes, at most.")] = 100,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write it here, with a line for each object.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="OUT.png", help="Draw the shares here.")
    ] = None,
) -> None:
    """Ask a camera student whether imitating its teacher goes against its labels.

    Of each labelled object: whether the gradient of the losses of boxes and scores and that of
    imitating the teacher's features point against each other, at the voxels that the image became.
    Shown is the share of such conflicts by how much the object is in need (0: the student knows
    its depth as well as is asked). If distillation harms where it is not needed, as MonoSTL says,
    the share is above one half there, and falls with need.

    Example: sr3d model conflicts runs/camera --json conflicts.json --picture conflicts.png
    """
    with one_line_errors():
        from sr3d_core.data.sources import data_argument
        from sr3d_core.distill.conflicts import config_of_run, measure_conflicts
        from sr3d_core.evaluate import percent
        from sr3d_core.training.errors import TrainingError

    with one_line_errors(TrainingError):
        for path in (json_out, picture):
            require_writable(path)
        config = config_of_run(run)
        data = data_argument(config.data) if data is None else data
        scenes = labelled_scenes(data, split, num, tuple(config.data.classes), has_images=True)
        with progress_of("images", len(scenes)) as tell:
            found = measure_conflicts(run, scenes, tell)
        table = Table(title=f"conflicts on {len(scenes)} images of {data}, {found.preset}")
        for heading in ("need", "objects", "in conflict (%)", "95 % of scenes drawn anew"):
            table.add_column(heading, justify="right")
        for each in found.buckets:
            shares = [percent(share) for share in (each.share, *each.interval)]
            name = "0" if each.high == 0 else f"above {each.low:g} to {each.high:g}"
            table.add_row(name, str(each.num), shares[0], f"{shares[1]} to {shares[2]}")
        result_console().print(table)
        write_json(json_out, {"run": str(run), "data": data, "split": split, **found.to_dict()})
        if picture is not None:
            from sr3d_core.plots import conflict_plot
            from sr3d_core.whole_files import write_whole

            write_whole({picture: conflict_plot(found.buckets)})


@app.command()
def times(
    weights: Annotated[
        list[str] | None, typer.Argument(help='Weights files, or "default"; measured in turns.')
    ] = None,
    untrained: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also this architecture with random weights: scannet, sunrgbd, s3dis or lite. "
            "May be given several times.",
        ),
    ] = None,
    data: Annotated[str, typer.Option(help=SCENES)] = "rooms",
    split: Annotated[str, typer.Option(help="Which scenes; NAME.txt in a folder.")] = "val",
    num: Annotated[int, typer.Option(min=1, help="How many scenes, at most.")] = 50,
    config: Annotated[
        str | None,
        typer.Option(
            help="Detect as the `evaluation` of this configuration says, a YAML file or the name "
            "of a preset; without, as `sr3d eval` does."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    backend: BackendOption = "auto",
    json_out: Annotated[Path | None, typer.Option("--json", help="Also write it here.")] = None,
) -> None:
    """Measure how long weights take from points to boxes, and say how many parameters they have.

    Every scene goes to all of them in turn. Times are those of this machine, with whatever else it
    does: wall milliseconds, the median over the scenes and what nine tenths of them keep below.
    Where weights of color images are among them, scenes are frames with an image: these look at
    it, and weights of clouds at the cloud of the same moment.

    Examples:

      sr3d model times default runs/my/weights.safetensors

      sr3d model times runs/sr3d_paper/weights.safetensors --config sr3d_paper --data scannet

      sr3d model times --untrained scannet --untrained lite --num 20

      sr3d model times default runs/camera   from cloud and from image
    """
    with one_line_errors():
        from sr3d_core.config import Evaluation
        from sr3d_core.data.sources import source_of, with_images
        from sr3d_core.detector import Detector
        from sr3d_core.evaluate import detector_rules
        from sr3d_core.timing import measure_times, surroundings, untrained_detector

        require_writable(json_out)
        chosen = named_config(config)
        rules = detector_rules(Evaluation() if chosen is None else chosen.evaluation)
        how: Any = {"device": device, "backend": backend, **rules}
        names = weights or ([] if untrained else ["default"])
        detectors = {name: Detector.from_checkpoint(name, **how) for name in names}
        for name in untrained or ():
            detectors[f"{name}, untrained"] = untrained_detector(name, **how)
        source = source_of(data)
        if any(detector.takes_images for detector in detectors.values()):
            source = with_images(source)
        scenes = opened(source, split, num=num)
        with progress_of("scenes", len(scenes)) as tell:
            found = measure_times(detectors, (scenes[index] for index in range(len(scenes))), tell)
        machine = surroundings(next(iter(detectors.values())))
        table = Table(title=f"{len(scenes)} scenes, on {', '.join(map(str, machine.values()))}")
        for heading in ("weights", "parameters", "ms", "up to", "network", "after", "scenes/s"):
            table.add_column(heading, justify="left" if heading == "weights" else "right")
        for name, of_weights in found.items():
            table.add_row(name, *of_weights.cells())
        result_console().print(table)
        write_json(
            json_out,
            {
                **{"data": data, "split": split, "num_scenes": len(scenes), "machine": machine},
                "weights": {name: each.to_dict() for name, each in found.items()},
            },
        )


@app.command()
def verify(weights: Weights = "default") -> None:
    """Check that a weights file is whole and fits its network; exit status 1 where not.

    Example: sr3d model verify default
    """
    with one_line_errors():
        from sr3d_core.checkpoint import load_any

        _, manifest = load_any(weights)
        result_console().print(
            f"{weights}: sound, {len(manifest.classes)} classes, sha256 {manifest.sha256}"
        )


@app.command()
def shrink(
    weights: Weights,
    out: Annotated[Path, typer.Argument(help="The weights file to write.")],
    description: Annotated[
        str | None, typer.Option(help="What it was trained on, in place of what the file says.")
    ] = None,
) -> None:
    """Write the same weights with 16 bits a number: half the size, to be passed on.

    Example: sr3d model shrink runs/my/weights.safetensors my.safetensors
    """
    with one_line_errors():
        from dataclasses import replace

        from sr3d_core.checkpoint import load_any, save_checkpoint

        if out.suffix != ".safetensors":
            raise ValueError(f"{out}: ending {out.suffix!r}, expected .safetensors")
        network, manifest = load_any(weights)
        if description is not None:
            manifest = replace(manifest, description=description)
        save_checkpoint(out, network, manifest, half=True)
        result_console().print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


app.command("measure-spread")(stored.measure_spread)
app.command()(stored.calibrate)
app.command("set-refinement")(stored.set_refinement)
