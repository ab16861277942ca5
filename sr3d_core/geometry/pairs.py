"""Pairs of few things, mostly boxes, and many, such as anchors: looked at some at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PAIRS_AT_ONCE = {"cpu": 2**18, "cuda": 2**24}
"""How many pairs of a box and an anchor are looked at together, by kind of device. On a CPU what
belongs to them (1 MB in float32) stays in the cache; a GPU wants few large pieces."""


def blocks_of_boxes(num_boxes: int, num_anchors: int, device: torch.device) -> Iterator[slice]:
    """Boxes, a few at a time: memory is bounded however many boxes and anchors a scene has.

    A block has at most `PAIRS_AT_ONCE` pairs with all anchors, or one box.
    """
    size = max(1, PAIRS_AT_ONCE.get(device.type, 2**24) // max(1, num_anchors))
    for first in range(0, num_boxes, size):
        yield slice(first, min(first + size, num_boxes))


def side_by_side(rows: Float[Tensor, "P C"]) -> Float[Tensor, "P C"]:
    """The same rows, stored so that each column lies in one piece, which is faster to read."""
    return rows.T.contiguous().T


def where(mask: Bool[Tensor, "B P"]) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """Rows and columns of what is true, row by row.

    On a CPU by numpy, which takes an eighth of torch's time where little is true.
    """
    if mask.device.type != "cpu":
        row, column = mask.nonzero(as_tuple=True)
        return row, column
    flat = torch.from_numpy(np.flatnonzero(mask.numpy()))
    return flat // mask.shape[1], flat % mask.shape[1]
