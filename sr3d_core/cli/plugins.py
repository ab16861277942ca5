"""Commands of other packages: entry points of the group `sr3d.commands`.

    [project.entry-points."sr3d.commands"]
    bag = "sr3d_ros.bag.commands:app"        # a typer.Typer

They are loaded when they are used or listed, so they must import nothing heavy at the top. One
that does not load says why and leaves the other commands alone.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from sr3d_core.console import say

GROUP = "sr3d.commands"


class GroupWithPlugins(TyperGroup):
    """The commands that were added, then those of other packages."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in the order of the help."""
        own = super().list_commands(ctx)
        return [*own, *sorted(entry_points(group=GROUP).names - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, None where there is none."""
        own = super().get_command(ctx, cmd_name)
        for entry in entry_points(group=GROUP, name=cmd_name) if own is None else ():
            return _loaded(entry)
        return own


def _loaded(entry: EntryPoint) -> Any:
    try:
        command = typer.main.get_command(entry.load())
    except Exception as error:  # whatever another package does wrong
        command = typer.main.get_command(_broken(entry, error))
    command.name = entry.name
    return command


def _broken(entry: EntryPoint, error: Exception) -> typer.Typer:
    """A command that says what is wrong with the one that was asked for."""
    why = f"{entry.value} does not load: {type(error).__name__}: {' '.join(str(error).split())}"
    app = typer.Typer()
    takes_all = {"ignore_unknown_options": True, "allow_extra_args": True}

    @app.command(help=f"Cannot be used: {why}", context_settings=takes_all)
    def broken() -> None:
        say(
            f"error: sr3d {entry.name}: {why}; install the package that brings it again, or "
            "remove it"
        )
        raise typer.Exit(1)

    return app
