"""Scenes that a study scores again and again: read once, then kept as far as they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from sr3d_core.data.sources import Scenes
from sr3d_core.structures import Sample

MOST_BYTES = 2 << 30
"""What all scenes of a study may take together."""

OpenScenes = Callable[[str, str, int, tuple[str, ...]], Scenes]
"""Opens the scenes of `--data`, a split, at most so many, labelled in the given classes."""


class KeptScenes:
    """Opens scenes like what it is given does, but once: procedural rooms take a while to make.

    What does not fit in `most_bytes` is read each time.
    """

    def __init__(self, open_scenes: OpenScenes, most_bytes: int = MOST_BYTES) -> None:
        self._open, self._bytes_left = open_scenes, most_bytes
        self._opened: dict[tuple[str, str, int, tuple[str, ...]], Scenes] = {}

    def __call__(self, data: str, split: str, num: int, classes: tuple[str, ...]) -> Scenes:
        """These scenes, those of before where they were asked for before."""
        key = (data, split, num, classes)
        if key not in self._opened:
            self._opened[key] = _Kept(self._open(*key), self)
        return self._opened[key]

    def has_room_for(self, sample: Sample) -> bool:
        """Whether one more scene can be kept; it is counted where it can."""
        size = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(sample))
        if size > self._bytes_left:
            return False
        self._bytes_left -= size
        return True


class _Kept:
    """Scenes of one source."""

    def __init__(self, scenes: Scenes, room: KeptScenes) -> None:
        self._scenes, self._room = scenes, room
        self._samples: dict[int, Sample] = {}
        self.classes = scenes.classes

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        kept = self._samples.get(index)
        if kept is not None:
            return kept
        sample = self._scenes[index]
        if self._room.has_room_for(sample):
            self._samples[index] = sample
        return sample


def _tensors(sample: Sample) -> Iterator[Tensor]:
    """The tensors that take its memory."""
    yield from (sample.cloud.xyz, sample.cloud.features, sample.cloud.scene)
    if sample.images is not None:
        yield sample.images.pixels
        if sample.images.depth is not None:
            yield sample.images.depth
