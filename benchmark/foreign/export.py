"""The foreign world as a folder of labelled scenes, which `--data` of every command reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from foreign.world import SENSORS, scenes_of_room
from sr3d_core.data.prepare import Prepared, write_scenes
from sr3d_core.data.rooms.dataset import relabelled
from sr3d_core.structures import Sample

SPLIT = "val"
"""The only one: nobody trains on this world."""


class ForeignScenes:
    """Frame and scan of the first rooms of a folder, in turns; other classes lose their boxes."""

    def __init__(self, folder: Path, num_rooms: int, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self._folder, self._num_rooms = folder, num_rooms

    def __len__(self) -> int:
        return len(SENSORS) * self._num_rooms

    def __getitem__(self, index: int) -> Sample:
        room, sensor = divmod(index, len(SENSORS))
        return relabelled(scenes_of_room(self._folder, room)[sensor].sample, self.classes)


def export(
    rendered: Path,
    out: Path,
    num_rooms: int,
    classes: Sequence[str],
    made_of: str,
    on_scene: Callable[[int, int], None],
) -> Prepared:
    """Write rendered rooms into a folder; raises DatasetError where it holds something else.

    Boxes of classes that are not named are left out: those of too few models, over which no mean
    is taken.
    """
    scenes = ForeignScenes(rendered, num_rooms, classes)
    return write_scenes(scenes, classes, made_of, out, SPLIT, on_scene)
