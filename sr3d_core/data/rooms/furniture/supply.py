"""Where rooms get their furniture from: pieces by class name.

Our own makers are the default, `classes.OWN_FURNITURE`; models from files or of other generators
are another supply of the same rooms.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sr3d_core.data.rooms.furniture.piece import Piece


class FurnitureSupply(Protocol):
    """Pieces for every class of `classes.LABELS`."""

    def kinds(self, name: str) -> tuple[str, ...]:
        """Kinds of a class that `make` tells apart, at least one; common ones more than once."""
        ...

    def make(self, name: str, rng: np.random.Generator, kind: str | None = None) -> Piece:
        """A piece of the class `name`; equal generators give equal pieces.

        `kind` is a wish in the words of our own makers ("coffee_table"): a supply that has no
        such kind gives any piece of the class.
        """
        ...
