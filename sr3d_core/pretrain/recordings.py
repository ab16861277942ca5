"""Recordings as clouds to learn from, by what other packages offer: the group `sr3d.clouds`.

    [project.entry-points."sr3d.clouds"]
    bag = "sr3d_ros.bag.clouds"        # a module that is a `WritesClouds`

The clouds of a recording's keyframes are written beside the weights once, as reading a recording
takes longer than learning from it; they are read from there like other files, so that memory does
not grow with the recording. They may be deleted: they are written again where they are missed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from sr3d_core.choices import UpAxis
from sr3d_core.data.keyframes import LIST, KeyframeSettings, listed_in

GROUP = "sr3d.clouds"
_ENDING = re.compile(r".+\.(bag|mcap|db3)(\.(active|zst|zstd))?", re.IGNORECASE)


class WritesClouds(Protocol):
    """What reads recordings."""

    def write_clouds(
        self,
        recording: Path,
        folder: Path,
        settings: KeyframeSettings,
        *,
        topic: str | None,
        color: str | None,
        up: UpAxis,
        on_read: Callable[[int, int], None],
    ) -> list[str]:
        """Write the clouds of its keyframes into a new folder (`sr3d_core/data/keyframes.py`).

        `topic` of clouds or depth images, `color` of images beside these, None = choose. Returns
        what is worth knowing; raises ValueError that says what to do, and OSError.
        """


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """How recordings become clouds, and where these lie."""

    folder: Path
    settings: KeyframeSettings = field(default_factory=KeyframeSettings)
    topic: str | None = None
    color: str | None = None

    def clouds_of(
        self, recording: Path, up: UpAxis, on_read: Callable[[str, int, int], None]
    ) -> tuple[Path, list[str]]:
        """The folder of a recording's clouds, which are written where they are not there yet.

        `on_read` is told of what how many of how many are done. Raises ValueError that says what
        to do, and OSError.
        """
        key = self._key(recording, up, partial(on_read, f"{recording}: MB compared"))
        folder = self.folder / f"{recording.name}-{key}"
        with _alone(folder):
            names = listed_in(folder)
            if names and all((folder / name).is_file() for name in names):
                return folder, [f"{recording}: its clouds are in {folder} already"]
            for name in (*names, LIST):  # of a folder that somebody took clouds out of
                (folder / name).unlink(missing_ok=True)
            notes = _reader(recording).write_clouds(
                recording,
                folder,
                self.settings,
                topic=self.topic,
                color=self.color,
                up=up,
                on_read=partial(on_read, f"{recording}: clouds"),
            )
        return folder, [*notes, f"{recording}: its clouds are kept in {folder}"]

    def _key(self, recording: Path, up: UpAxis, on_read: Callable[[int, int], None]) -> str:
        """What changes with the recording and with all that decides about its clouds."""
        inside = [recording] if recording.is_file() else sorted(recording.iterdir())
        files = [path for path in inside if path.is_file()]
        sizes = [path.stat().st_size for path in files]
        digests = []
        for number, path in enumerate(files):
            before, total = sum(sizes[:number]), sum(sizes)

            def tell(done: int, before: int = before, total: int = total) -> None:
                on_read((before + done) >> 20, max(total >> 20, 1))

            digests.append((path.name, digest_of_file(path, tell)))
        made_by = [digests, asdict(self.settings), self.topic, self.color, up]
        return hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:12]


def is_recording(path: Path) -> bool:
    """Whether it is a bag of ROS 1 or 2, or the folder of one."""
    files = [path] if path.is_file() else path.iterdir()
    return any(_ENDING.fullmatch(each.name) for each in files)


def recordings_below(folder: Path) -> list[Path]:
    """The recordings further down in a folder that is none."""
    files = (path for path in folder.rglob("*") if _ENDING.fullmatch(path.name))
    return sorted({path.parent if path.parent != folder else path for path in files})


def digest_of_file(path: Path, on_read: Callable[[int], None] = lambda num_bytes: None) -> str:
    """SHA-256 of its content; `on_read` is told how many bytes are done, at times."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 24):
            digest.update(part)
            on_read(file.tell())
    return digest.hexdigest()


def _reader(recording: Path) -> WritesClouds:
    """What reads recordings; raises ValueError where nothing does, or what does is broken."""
    for entry in entry_points(group=GROUP):
        try:
            return cast("WritesClouds", entry.load())
        except ModuleNotFoundError:  # of an extra, which the command names
            raise
        except Exception as error:  # whatever another package does wrong
            why = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ValueError(
                f"{recording}: is a recording, and {entry.value}, which reads them, does not "
                f"load: {why}; install the package that brings it again"
            ) from error
    raise ValueError(
        f"{recording}: is a recording, and nothing that is installed reads these; expected an "
        f"entry point of the group {GROUP}: install SR3D again, pip install '.[bag]'"
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within, no other process of this pre-training, or of another one, writes the folder.

    The others wait, and find it written. Where the system knows no such locks there is none.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    lock = folder.with_name(folder.name + ".lock")
    with lock.open("ab") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                folder.parent.rmdir()
