"""How often scenes are shown, so that rare classes are seen more often.

Repeat factor sampling (LVIS, arXiv 1908.03195): a class that is in the share f of all scenes has
the factor sqrt(t / f), at least 1, and a scene that of its rarest class. The threshold t is the
mean share of all classes, so that classes seen as often as most are not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from sr3d_core.data.sources import Scenes


@runtime_checkable
class KnownLabels(Protocol):
    """Scenes whose labels are known without reading their clouds."""

    def labels_of(self, index: int) -> Sequence[int]:
        """The labels of the boxes of one scene."""


def repeat_factors(labels: Sequence[Sequence[int]], num_classes: int) -> Float[NDArray, " S"]:
    """How often each scene is shown compared with one of common classes; at least 1.

    `labels[s]` are those of scene s. Where nothing is labelled all factors are 1.
    """
    has_class = np.zeros((len(labels), num_classes), dtype=bool)
    for scene, of_scene in enumerate(labels):
        has_class[scene, list(of_scene)] = True
    share = has_class.mean(axis=0)
    seen = share > 0
    if not seen.any():
        return np.ones(len(labels))
    factor = np.ones(num_classes)
    factor[seen] = np.maximum(1.0, np.sqrt(share[seen].mean() / share[seen]))
    return np.where(has_class, factor, 1.0).max(axis=1)


def factors_of(scenes: Scenes) -> Float[NDArray, " S"]:
    """The factors of a data set; raises ValueError where its labels are not known beforehand."""
    if not isinstance(scenes, KnownLabels):
        raise ValueError(
            "schedule.balance: classes, but these scenes are made when they are asked for, so "
            "that nobody knows what they hold; expected scenes in files: render the rooms with "
            "`sr3d data rooms` and set data.prerendered, or set schedule.balance to none"
        )
    labels = [scenes.labels_of(index) for index in range(len(scenes))]
    return repeat_factors(labels, len(scenes.classes))


def drawn_in_proportion(
    factors: Float[NDArray, " S"], generator: np.random.Generator
) -> Int[NDArray, " S"]:
    """As many scenes as there are, each in proportion to its factor, in random order.

    Each comes as often as expected, rounded up or down: systematic sampling, which wastes no
    epoch on chance.
    """
    num = len(factors)
    shuffled = generator.permutation(num)
    place = np.cumsum(factors[shuffled])
    picks = (np.arange(num) + generator.random()) * (place[-1] / num)
    index = np.searchsorted(place, picks, side="right").clip(max=num - 1)
    return generator.permutation(shuffled[index])
