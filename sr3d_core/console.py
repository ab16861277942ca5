"""How every command speaks: results on stdout, notes and errors on stderr, one line each."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sr3d_core.choices import NUM_VIEWS, one_of
from sr3d_core.machine.extras import EXTRAS, how_to_install
from sr3d_core.sparse.engine_list import BACKENDS
from sr3d_core.whole_files import is_stream, write_whole

if TYPE_CHECKING:
    from sr3d_core.structures import PointCloud

_Name = TypeVar("_Name", bound=str)

BackendOption = Annotated[
    str, typer.Option(help=f"Engine of the convolutions: {', '.join(BACKENDS)}.")
]
"""`--backend`, the same for every command that runs a network."""
_PICTURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg")


def some_views(value: int) -> int:
    """A number of views that was chosen; another than those there are is wrong usage."""
    if value not in NUM_VIEWS:
        raise typer.BadParameter(f"{value}, expected one of {', '.join(map(str, NUM_VIEWS))}")
    return value


MergeViewsOption = Annotated[
    int,
    typer.Option(
        callback=some_views,
        help="Look at each cloud in 1, 2, 4 or 8 views, turned by quarters and then mirrored, and "
        "merge what is found: more accurate, takes as many times as long.",
    ),
]
"""`--merge-views`, the same for every command that detects offline."""

AcceptDataOption = Annotated[
    bool,
    typer.Option(
        "--accept-data",
        help="Go on though the scenes are others than those it was begun with: more, or changed.",
    ),
]
"""`--accept-data`, the same for every command that goes on with what was begun."""

SCENES = '"rooms", the folder of your own scenes, or READER:PATH (see `sr3d data --help`).'
"""What `--data` may be, wherever labelled scenes are asked for."""

_ADVICE: dict[type[OSError], str] = {
    FileNotFoundError: "no such file or folder; check the path",
    FileExistsError: "a file, expected a folder; choose another path or move the file away",
    NotADirectoryError: "a part of this path is a file, expected folders; choose another path",
    IsADirectoryError: "a folder, expected a file; add a file name",
    PermissionError: "no permission; choose a place of your own or change the permissions",
}
_ADVICE_BY_NUMBER = {
    errno.ENOSPC: "the disk is full; make room or choose another disk",
    errno.EDQUOT: "your share of the disk is full; make room or choose another disk",
    errno.EFBIG: "larger than a file may be here (see ulimit -f); choose another disk",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}
_PLAIN_LINES = 20
"""How many progress lines a long command writes where no terminal watches, at least."""
_PLAIN_SECONDS = 60.0
"""No longer than this it is silent there."""


class Tell(Protocol):
    """Is told how much of a long work is done."""

    def __call__(self, done: int, note: str = "") -> None:
        """`done` units are finished; `note` says how it goes."""


class TellInTurn(Protocol):
    """Is told how much of which long work is done."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Of `what`, `done` of `total` units are finished; `note` says how it goes."""


def chosen(option: str, value: str, names: Iterable[_Name]) -> _Name:
    """The name that was chosen for an option; another one is wrong usage, exit status 2."""
    try:
        return one_of(option, value, names)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def result_console() -> Console:
    """Where results go; wide enough for a table where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 120)


def say(text: str) -> None:
    """One line on stderr, as it is."""
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def warn_about_scale(path: Path, cloud: PointCloud) -> None:
    """A note where an upright cloud is too large or too small for a room in metres."""
    from sr3d_core.geometry.scale import scale_doubt

    doubt = scale_doubt(cloud.xyz, is_upright=True)
    if doubt is not None:
        say(f"{path}: {doubt.advice}")


@contextmanager
def one_line_errors(*more: type[Exception]) -> Iterator[None]:
    """Say our errors in one line and exit with 1; `more` names further types of them."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        say(f"error: this needs {error.name}, {how_to_install(package)}")
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        say("stopped")
        raise typer.Exit(130) from error
    except Exception as error:
        if not isinstance(error, (ValueError, OSError, *more)):
            raise
        say(f"error: {explain(error)}")
        raise typer.Exit(1) from error


def explain(error: Exception) -> str:
    """What to tell the user; the system's errors get a path and advice instead of a number."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    advice = next(
        (text for kind, text in _ADVICE.items() if isinstance(error, kind)),
        _ADVICE_BY_NUMBER.get(error.errno or 0, f"{error.strerror}; check the path and the disk"),
    )
    return advice if error.filename is None else f"{error.filename}: {advice}"


def require_resume(resume: bool, accept_data: bool) -> None:
    """Raise ValueError for an --accept-data that would not act."""
    if accept_data and not resume:
        raise ValueError("--accept-data: is of --resume, which is not given; leave it out")


def require_writable(path: Path | None) -> None:
    """Make the folder of a file that is to be written; OSError where that cannot work.

    Called before the work starts, so that its result is not lost. None = nothing is written.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # A file is replaced by a whole one, which takes a folder that may be written in.
    places = [path] if is_stream(path) else [path.parent, *([path] if path.exists() else [])]
    for place in places:
        _require_access(place)


def require_picture(path: Path, name: str) -> None:
    """Raise ValueError for a picture whose ending matplotlib does not write, as `name` calls it.

    And as `require_writable`.
    """
    if path.suffix.lower() not in _PICTURES:
        raise ValueError(f"{name}: ending {path.suffix!r}, expected one of {' '.join(_PICTURES)}")
    require_writable(path)


def require_folder(path: Path) -> None:
    """Make a folder that files are to be written into; OSError where that cannot work."""
    path.mkdir(parents=True, exist_ok=True)
    _require_access(path)


def _require_access(path: Path) -> None:
    """Raise OSError where a file cannot be written, or none into a folder."""
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    if path.is_dir():  # a superuser may do all, but for what the file system itself refuses
        try:
            with TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def progress_of(what: str, total: int) -> Iterator[Tell]:
    """Within, call the function with how many are done and a note; plain lines off terminals."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_progress(what, total)
        return
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total, note="")

        def tell(done: int, note: str = "") -> None:
            bar.update(task, completed=done, note=note)

        yield tell


@contextmanager
def progress_in_turn() -> Iterator[TellInTurn]:
    """As `progress_of`, for works that follow each other: each new one ends the bar before it."""
    now = ""
    tell: Tell | None = None
    with ExitStack() as bar:

        def tell_of(what: str, done: int, total: int, note: str = "") -> None:
            nonlocal now, tell
            if tell is None or what != now:
                bar.close()
                now, tell = what, bar.enter_context(progress_of(what, total))
            tell(done, note)

        yield tell_of


def _plain_progress(what: str, total: int) -> Tell:
    step = max(1, total // _PLAIN_LINES)
    said, said_at = -1, math.inf
    began: tuple[float, int] | None = None  # when, and how many were done by then

    def tell(done: int, note: str = "") -> None:
        nonlocal said, said_at, began
        now = time.monotonic()
        began = (now, done) if began is None else began
        said_at = min(said_at, now)
        is_due = done % step == 0 or done == total or now - said_at > _PLAIN_SECONDS
        if done != said and is_due:  # a note alone is no progress
            said, said_at = done, now
            left = _time_left(now - began[0], done - began[1], total - done)
            say(f"{what} {done}/{total} {note}{left}".rstrip())

    return tell


def _time_left(seconds: float, num_done: int, num_left: int) -> str:
    """How long the rest takes at the pace so far; nothing where that is not known, or done."""
    if num_done <= 0 or num_left <= 0:
        return ""
    return f"  {timedelta(seconds=round(seconds / num_done * num_left))} left"


def write_json(path: Path | None, content: Any) -> None:
    """Write a result where the user asked for one, whole or not at all, and say so."""
    if path is not None:
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        write_whole({path: text.encode("utf-8")})
        say(f"written: {path}")
