"""Where rooms get their furniture from: pieces by class name.

Our own makers are the default, `classes.OWN_FURNITURE`; models from files or of other generators
are another supply of the same rooms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from sr3d_core.data.rooms.furniture.piece import Piece


class FurnitureSupply(Protocol):
    """Pieces for classes of `classes.LABELS`; who furnishes leaves out those it has no kind of."""

    def kinds(self, name: str) -> tuple[str, ...]:
        """Kinds of a class that `make` tells apart, common ones more than once; none: no piece."""
        ...

    def make(self, name: str, rng: np.random.Generator, kind: str | None = None) -> Piece:
        """A piece of the class `name`; equal generators give equal pieces.

        `kind` is a wish in the words of our own makers ("coffee_table"): a supply that has no
        such kind gives any piece of the class.
        """
        ...


def made(
    supply: FurnitureSupply, name: str, rng: np.random.Generator, kind: str | None = None
) -> Piece | None:
    """A piece of the class `name`, or None where the supply has no such class."""
    return supply.make(name, rng, kind) if supply.kinds(name) else None


def offered(supply: FurnitureSupply, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the classes that a supply has pieces of."""
    return tuple(name for name in names if supply.kinds(name))
