"""The probe of a pre-training: the same few rooms every so many steps, as columns beside the loss.

It asks what `sr3d model probe` asks of a file: once at the start of a network that has learnt
nothing and of raw geometry, then of the teacher. Its time is bounded: so many scenes, so many
points of each, and fewer steps of the linear probe. Scenes, network and random numbers are its
own, so a pre-training learns the same with it and without, to the last bit.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sr3d_core.data.sources import source_of
from sr3d_core.pretrain.probe import Linear
from sr3d_core.pretrain.probing import (
    RANDOM,
    RAW,
    Features,
    RawGeometry,
    probed_scenes,
    random_encoder,
    row_of,
    thinned,
)
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.structures import Sample

_log = logging.getLogger(__name__)
OWN = "probe"
COLUMNS = {
    f"{kind}_{measure}": (name, field)
    for kind, name in ((OWN, OWN), ("random", RANDOM), ("raw", RAW))
    for measure, field in (("miou", "miou"), ("knn", "nearest"), ("height", "height"))
}
"""Of the log: of which features, and which field of their `Row`."""
LINEAR = Linear(steps=300, rate=0.05)
"""Faster than the command's, which takes a minute on these scenes: its figures are others."""


@dataclass(frozen=True)
class _Kept:
    """Scenes in memory."""

    samples: list[Sample]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class RegularProbe:
    """Asks a backbone about the same scenes again and again."""

    def __init__(self, settings: Pretraining, data: str, device: torch.device) -> None:
        self._settings, self._asked, self._data = settings, settings.probe, data
        self._device = device
        self._scenes = _Kept([], ())
        self._figures: dict[str, float] = {}  # of what is only measured at the start

    def begin(
        self, before: Mapping[str, Any] | None, on_read: Callable[[str, int, int], None]
    ) -> None:
        """Read the scenes and measure what stands beside; `before` is what `entries` gave.

        `on_read` is told of what how many of how many are done. Raises ValueError and OSError
        where the scenes cannot be used.
        """
        self._scenes = self._read(on_read)
        if before is not None and before.get("asked") == self._key():
            self._figures = dict(before["figures"])
            return
        architecture, backend = self._settings.architecture, self._settings.backend
        with _random_numbers_kept(self._device):
            random = random_encoder(architecture, self._scenes, self._asked.seed, backend)
            on_read(f"probe: {RANDOM}", 1, 2)
            self._figures = self._ask(RANDOM, random.to(self._device))
            on_read(f"probe: {RAW}", 2, 2)
            self._figures |= self._ask(RAW, RawGeometry(architecture, backend))

    def _read(self, on_read: Callable[[str, int, int], None]) -> _Kept:
        scenes = source_of(self._data).open(self._asked.split, num=self._asked.num)
        if len(scenes) == 0:
            raise ValueError(f"the split {self._asked.split} has no scenes")
        for note in getattr(scenes, "notes", ()):
            _log.warning("probe on %s: read as: %s", self._data, note)
        samples = []
        for index in range(len(scenes)):
            sample = scenes[index]
            samples.append(replace(sample, cloud=thinned(sample.cloud)))
            on_read("probe: scenes", index + 1, len(scenes))
        return _Kept(samples, tuple(scenes.classes))

    def figures(self, backbone: Mapping[str, Tensor]) -> dict[str, float]:
        """What a backbone knows, and what stands beside it: `COLUMNS`."""
        with _random_numbers_kept(self._device):
            features = Features(self._settings.architecture, self._settings.backend)
            features.take(backbone)
            own = self._ask(OWN, features.to(self._device))
        known = {**own, **self._figures}
        return {name: known[name] for name in COLUMNS}

    def _ask(self, name: str, features: Features) -> dict[str, float]:
        probed = probed_scenes(features, self._scenes)
        seed = self._asked.seed
        row = row_of(name, probed, self._scenes, seed, linear=LINEAR)
        return {
            column: float(getattr(row, field))
            for column, (kind, field) in COLUMNS.items()
            if kind == name
        }

    def entries(self) -> dict[str, Any]:
        """What a run that goes on need not measure again."""
        return {"asked": self._key(), "figures": self._figures}

    def _key(self) -> str:
        """What changes with the scenes and with all that decides about the figures."""
        digest = hashlib.sha256(f"{self._asked.seed} {self._scenes.classes}".encode())
        for sample in self._scenes.samples:
            digest.update(sample.name.encode())
            targets = sample.targets
            for part in (sample.cloud.xyz, sample.cloud.features, targets.boxes.array):
                digest.update(part.numpy().tobytes())
            digest.update(targets.labels.numpy().tobytes())
        return digest.hexdigest()


def learns_nothing(figures: Mapping[str, float]) -> str:
    """What is wrong by the figures of a probe late in a pre-training; nothing where all is well.

    Features that know no more than untrained ones after a third of the steps seldom do later.
    """
    own, untrained = figures["probe_miou"], figures["random_miou"]
    if math.isnan(own) or own > untrained:
        return ""
    return (
        f"frozen features know no more of classes than untrained ones (probe mIoU "
        f"{100 * own:.1f}, random {100 * untrained:.1f})"
    )


def in_words(figures: Mapping[str, float]) -> str:
    """The figures in a part of a line, percent."""
    parts = []
    for name, title in (("miou", "mIoU"), ("knn", "k-NN")):
        own, random, raw = (100 * figures[f"{kind}_{name}"] for kind in (OWN, "random", "raw"))
        parts.append(f"{title} {own:.1f} (random {random:.1f}, raw {raw:.1f})")
    return "probe " + " ".join(parts)


@contextmanager
def _random_numbers_kept(device: torch.device) -> Iterator[None]:
    """Within, random numbers may be drawn; afterwards the next ones are those of before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
