"""Recordings as clouds to learn from, by what other packages offer: the group `sr3d.clouds`.

    [project.entry-points."sr3d.clouds"]
    bag = "sr3d_ros.bag.clouds"        # a module that is a `WritesClouds`

The clouds of a recording's keyframes are written beside the weights once, as reading a recording
takes longer than learning from it; they are read from there like other files, so that memory does
not grow with the recording. They may be deleted: they are written again where they are missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, cast

from sr3d_core.choices import UpAxis
from sr3d_core.data.keyframes import LIST, KeyframeSettings, listed_in
from sr3d_core.data.recordings import alone_in, key_of, reader_of

GROUP = "sr3d.clouds"


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
        with alone_in(folder):
            names = listed_in(folder)
            if names and all((folder / name).is_file() for name in names):
                return folder, [f"{recording}: its clouds are in {folder} already"]
            for name in (*names, LIST):  # of a folder that somebody took clouds out of
                (folder / name).unlink(missing_ok=True)
            reader = cast("WritesClouds", reader_of(recording, GROUP))
            notes = reader.write_clouds(
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
        return key_of(recording, [asdict(self.settings), self.topic, self.color, up], on_read)
