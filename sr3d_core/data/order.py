"""The order in which a training sees its scenes: a function of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Generator
from torch.utils.data import Dataset

from sr3d_core.data.balance import drawn_in_proportion
from sr3d_core.data.sources import Scenes
from sr3d_core.structures import Sample


class TrainingOrder(Dataset):
    """The changed scenes of one process for a range of steps.

    `augment` makes of a sample, with a random generator, what the training is to see.

    Every epoch is a new permutation, or, with `factors`, as many scenes drawn in proportion to
    them; every place of the whole run has its own random generator,
    so that a run taken up at any step goes on as if it had never stopped.

    `alike` says what each scene shows. Of those with the same word an epoch has one, each epoch
    the next one. Epochs then end with a step, or the last word of one could meet itself in the
    first step of the next: so those with the same word do not meet in a step where there are
    others. Not with `factors`.
    """

    def __init__(
        self,
        scenes: Scenes,
        augment: Callable[[Sample, Generator], Any],
        *,
        seed: int,
        batch_size: int,
        steps: range,
        rank: int = 0,
        num_processes: int = 1,
        factors: Float[NDArray, " S"] | None = None,
        alike: Sequence[str] | None = None,
    ) -> None:
        self._scenes, self._augment, self._seed = scenes, augment, seed
        self._batch_size, self._steps = batch_size, steps
        self._rank, self._num_processes = rank, num_processes
        self._factors = factors
        groups: dict[str | int, list[int]] = {}
        for index in range(len(scenes)):
            groups.setdefault(index if alike is None else alike[index], []).append(index)
        self._groups = list(groups.values())
        self._length = len(self._groups)
        if self._length < len(scenes):
            together = batch_size * num_processes
            self._length -= self._length % together if self._length > together else 0
        self._epoch = -1
        self._permutation = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._steps) * self._batch_size

    def __getitem__(self, index: int) -> Any:
        step, place = divmod(index, self._batch_size)
        batch = self._steps[step] * self._num_processes + self._rank
        position = batch * self._batch_size + place
        epoch, place = divmod(position, self._length)
        if epoch != self._epoch:
            self._permutation = self._drawn(epoch)
            self._epoch = epoch
        random = torch.Generator().manual_seed(self._seed * 1_000_000_007 + position)
        return self._augment(self._scenes[int(self._permutation[place])], random)

    def _drawn(self, epoch: int) -> np.ndarray:
        """The scenes of an epoch, in their order."""
        generator = np.random.default_rng((self._seed, epoch))
        if self._factors is None:
            chosen = [group[epoch % len(group)] for group in self._groups]
            return np.array(chosen)[generator.permutation(len(chosen))]
        return drawn_in_proportion(self._factors, generator)
