"""Whether imitating a teacher pulls a student away from what the labels ask of it.

Two losses have a gradient at the features of every voxel. Where they point against each other on
an object, a step for one undoes the other there: negative transfer, measured and not supposed
(the sign of gradients between tasks: arXiv 2001.06782).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

NEED_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Buckets of need: none at all, then up to each of the others."""
_NUM_DRAWS = 1000
_MIDDLE = (2.5, 97.5)  # percent


def agreement(
    first: Float[Tensor, "N C"], second: Float[Tensor, "N C"], is_inside: Bool[Tensor, "N K"]
) -> Float[Tensor, " K"]:
    """The cosine of two gradients over the rows of each object, -1..1; below 0 is a conflict.

    NaN for an object where one of them is zero, such as one without rows.
    """
    own = is_inside.to(torch.float64)
    first, second = first.double(), second.double()
    product = (first * second).sum(dim=1) @ own
    squares = [each.square().sum(dim=1) @ own for each in (first, second)]
    length = (squares[0] * squares[1]).sqrt()
    return torch.where(length > 0, product / length.clamp(min=1e-300), torch.nan)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects whose need is above `low`, or 0 in the first one, and at most `high`."""

    low: float
    high: float
    num: int
    num_conflicts: int
    interval: tuple[float, float]  # of the share; NaN where nothing is in it

    @property
    def share(self) -> float:
        """Of these objects those with a conflict, 0..1; NaN without objects."""
        return self.num_conflicts / self.num if self.num else float("nan")


def conflicts_by_need(
    need: Float[ndarray, " K"],
    cosine: Float[ndarray, " K"],
    scene: Int[ndarray, " K"],
    edges: Sequence[float] = NEED_EDGES,
) -> list[Bucket]:
    """The share of conflicts among objects of each need; those whose cosine is NaN are left out.

    The interval holds the middle 95 % of what scenes give that are drawn with replacement: objects
    of one scene are alike.
    """
    is_known = ~np.isnan(cosine)
    need, cosine, scene = need[is_known], cosine[is_known], scene[is_known]
    place = np.digitize(need, edges, right=True)
    _, scene = np.unique(scene, return_inverse=True)
    counts = np.zeros((2, int(scene.max()) + 1 if len(scene) else 0, len(edges)))
    np.add.at(counts[0], (scene, place), 1)
    np.add.at(counts[1], (scene, place), cosine < 0)
    lows = (edges[0], *edges[:-1])
    return [
        Bucket(
            low,
            high,
            int(counts[0, :, index].sum()),
            int(counts[1, :, index].sum()),
            _interval(counts[:, :, index]),
        )
        for index, (low, high) in enumerate(zip(lows, edges, strict=True))
    ]


def _interval(counts: Float[ndarray, "2 S"]) -> tuple[float, float]:
    num_scenes = counts.shape[1]
    if not counts[0].sum():
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0).multinomial(
        num_scenes, np.full(num_scenes, 1 / num_scenes), size=_NUM_DRAWS
    )
    all_of_them, conflicts = (drawn @ each for each in counts)
    shares = conflicts[all_of_them > 0] / all_of_them[all_of_them > 0]
    low, high = np.percentile(shares, _MIDDLE)
    return float(low), float(high)
