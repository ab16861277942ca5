"""How often scenes are shown, so that rare classes and hard pairs are seen more often.

Repeat factor sampling (LVIS, arXiv 1908.03195): a class that is in the share f of all scenes has
the factor sqrt(t / f), at least 1, and a scene that of its rarest class. The threshold t is the
mean share of all classes, so that classes seen as often as most are not repeated.

Two classes that are easily taken for each other are told apart best where both are seen: a pair
counts as a class of its own, which a scene holds that holds both, with the same threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from sr3d_core.choices import alike
from sr3d_core.data.sources import Scenes

Balance = Literal["none", "classes", "pairs", "classes_and_pairs"]
"""Which scenes of a training are shown more often than others."""

LOOK_ALIKES: tuple[tuple[str, str], ...] = (
    *combinations(("cabinet", "refrigerator", "dresser", "bookshelf"), 2),
    ("night_stand", "cabinet"),
    ("night_stand", "dresser"),
    ("counter", "cabinet"),
    ("desk", "table"),
    ("chair", "sofa"),
    ("garbage_bin", "toilet"),
    ("curtain", "shower_curtain"),
)
"""Classes that are easily taken for each other, where a configuration names none."""


@runtime_checkable
class KnownLabels(Protocol):
    """Scenes whose labels are known without reading their clouds."""

    def labels_of(self, index: int) -> Sequence[int]:
        """The labels of the boxes of one scene."""


def repeat_factors(
    labels: Sequence[Sequence[int]],
    num_classes: int,
    pairs: Sequence[tuple[int, int]] = (),
    *,
    of_classes: bool = True,
) -> Float[NDArray, " S"]:
    """How often each scene is shown compared with one of common classes; at least 1.

    `labels[s]` are those of scene s, `pairs` those that count as classes where they meet; without
    `of_classes` nothing but pairs is shown more often. Where nothing is labelled, all are 1.
    """
    has_class = np.zeros((len(labels), num_classes), dtype=bool)
    for scene, of_scene in enumerate(labels):
        has_class[scene, list(of_scene)] = True
    share = has_class.mean(axis=0)
    if not share.any():
        return np.ones(len(labels))
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    is_held = has_class[:, first] & has_class[:, second]
    if of_classes:
        is_held = np.hstack([has_class, is_held])
    held = is_held.mean(axis=0)
    factor = np.maximum(1.0, np.sqrt(share[share > 0].mean() / np.where(held > 0, held, 1.0)))
    return np.where(is_held, factor, 1.0).max(axis=1, initial=1.0)


def factors_of(
    scenes: Scenes, balance: Balance, pairs: Sequence[tuple[str, str]] | None = None
) -> Float[NDArray, " S"] | None:
    """The factors of a data set; None where every scene is shown alike.

    Raises ValueError where its labels are not known beforehand, or it lacks a class of `pairs`;
    of `LOOK_ALIKES`, which stand in for None, one pair must be known.
    """
    if balance == "none":
        return None
    known = _known_pairs(scenes.classes, pairs) if "pairs" in balance else ()
    if not isinstance(scenes, KnownLabels):
        raise ValueError(
            f"schedule.balance: {balance}, but these scenes are made when they are asked for, so "
            "that nobody knows what they hold; expected scenes in files: render the rooms with "
            "`sr3d data rooms` and set data.prerendered, or set schedule.balance to none"
        )
    labels = [scenes.labels_of(index) for index in range(len(scenes))]
    return repeat_factors(labels, len(scenes.classes), known, of_classes="classes" in balance)


def _known_pairs(
    classes: Sequence[str], pairs: Sequence[tuple[str, str]] | None
) -> list[tuple[int, int]]:
    """The pairs as labels."""
    names = list(classes)
    for name in () if pairs is None else {name for pair in pairs for name in pair} - {*names}:
        near = alike(name, names)
        advice = "" if near is None else f"; did you mean {near}?"
        raise ValueError(
            f"schedule.pairs: {name} is no class of these scenes, expected some of "
            f"{', '.join(names)}{advice}"
        )
    known = [(a, b) for a, b in (LOOK_ALIKES if pairs is None else pairs) if {a, b} <= {*names}]
    if not known:
        raise ValueError(
            "schedule.balance: pairs, but none of the pairs that are known for look-alikes is "
            f"among the classes {', '.join(names)}; expected schedule.pairs: [[one, other], ...]"
        )
    return [(names.index(a), names.index(b)) for a, b in known]


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
