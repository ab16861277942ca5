"""Which cells of two views of one cloud are the same place."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor


def nearest_pairs(
    first: Float[Tensor, "N 3"], second: Float[Tensor, "M 3"], radius_m: float
) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
    """Rows of the first with the nearest row of the second, where it is closer than the radius.

    Both in the cloud's own coordinates, before any augmentation.
    """
    if not len(first) or not len(second):
        empty = torch.zeros(0, dtype=torch.int64, device=first.device)
        return empty, empty
    tree = cKDTree(second.detach().cpu().numpy())
    distance, row = tree.query(first.detach().cpu().numpy(), distance_upper_bound=radius_m)
    is_near = np.isfinite(distance)
    rows = (
        torch.from_numpy(np.flatnonzero(is_near)),
        torch.from_numpy(row[is_near].astype(np.int64)),
    )
    return rows[0].to(first.device), rows[1].to(first.device)
