"""The command `sr3d`. Nothing heavy is imported until a command runs, so help comes at once."""

from __future__ import annotations

import typer

from sr3d_core.cli import (
    data,
    detect,
    distill,
    doctor,
    evaluate,
    model,
    pretrain,
    study,
    train,
    view,
    weights,
)
from sr3d_core.cli.plugins import GroupWithPlugins

app = typer.Typer(
    cls=GroupWithPlugins,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find objects in indoor point clouds: labelled 3D boxes, in real time.\n\n"
    "Start with: sr3d detect room.ply --picture room.png",
)
app.command()(detect.detect)
app.command()(view.view)
app.command()(train.train)
app.command()(pretrain.pretrain)
app.command()(distill.distill)
app.command("eval")(evaluate.evaluate)
app.command()(study.study)
app.command()(study.sweeps)
app.command()(weights.convert)
app.command()(weights.export)
app.command()(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(model.app, name="model")

if __name__ == "__main__":
    app()
