"""Rooms furnished in part from a library: its models take turns with those of our own makers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from sr3d_core.data.rooms.furniture.classes import LABELS, OWN_FURNITURE
from sr3d_core.data.rooms.furniture.library.file import Model, read_library
from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply

STRETCH = 1.12
"""A model is at most this much larger or smaller than in the library, along each axis."""


class FurnitureLibrary:
    """Models of a library, and `rest` for a share of the pieces and for what the library lacks.

    What is asked for by a kind comes from the library only where it has models of that kind: a
    cabinet that is to hang on a wall is no cabinet at random.
    """

    def __init__(
        self, models: Sequence[Model], share: float = 1.0, rest: FurnitureSupply = OWN_FURNITURE
    ) -> None:
        self._share = share
        self._rest = rest
        self._of_class: dict[str, list[Model]] = {}
        for model in models:
            self._of_class.setdefault(model.class_name, []).append(model)

    def kinds(self, name: str) -> tuple[str, ...]:
        """The kinds of the rest, which layouts have words for."""
        return self._rest.kinds(name)

    def make(self, name: str, rng: np.random.Generator, kind: str | None = None) -> Piece:
        """A model of the class and kind, a little varied, or a piece of the rest."""
        models = self._of_class.get(name, [])
        if kind is not None:
            models = [model for model in models if model.kind == kind]
        if not models or rng.random() >= self._share:
            return self._rest.make(name, rng, kind)
        return Piece(_varied(models[rng.integers(len(models))].mesh, rng), LABELS.index(name))


def _varied(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """So that a few models stand for more: mirrored, stretched, lighter or darker."""
    factor = np.exp(rng.uniform(-np.log(STRETCH), np.log(STRETCH), 3))
    factor[1] *= rng.choice([-1.0, 1.0])
    tint = np.clip(mesh.color * rng.uniform(0.75, 1.2) + rng.normal(0, 0.03, 3), 0, 1)
    return replace(mesh, color=tint).scaled(factor).grounded()


@lru_cache(maxsize=2)
def furniture_of(path: Path | None, share: float) -> FurnitureSupply:
    """Our own furniture, or a library's for a share of it; raises `LibraryError`.

    Each process reads a library once.
    """
    if path is None:
        return OWN_FURNITURE
    return FurnitureLibrary(read_library(path)[0], share)
