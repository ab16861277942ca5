"""Curves of a run as a picture, where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sr3d_core.whole_files import write_whole


def draw(path: Path, plot: Callable[[], bytes | None]) -> str:
    """Write the PNG that `plot`, which imports matplotlib, returns; returns what went wrong.

    Nothing is drawn, and nothing is wrong, without matplotlib, or where there is no curve yet.
    """
    try:
        picture = plot()
        if picture is not None:
            write_whole({path: picture})
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror})"
    return ""
