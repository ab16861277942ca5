"""How much a depth sensor sees: the share of its points or pixels that are returns.

A sensor that is covered, too near to a wall or in the sun goes on sending frames of holes. Clouds
that leave their holes out cannot tell of them: those are empty, or taken for whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.depth_image import DepthSet, is_return
from sr3d_ros.sensors.pointcloud2 import FARTHEST_M, all_coordinates

_SAMPLE = 2000  # points of a cloud that are looked at


def share_of_returns(view: Any, *, drop_zeros: bool = True) -> float:
    """The share (0..1) of a PointCloud2's points, or of a `DepthSet`'s pixels, that are returns.

    Of a cloud an even selection is looked at. Zero where there is none and where the messages
    cannot be read, which whoever reads them will say. `drop_zeros` as in `cloud_from_message`.
    """
    try:
        if isinstance(view, DepthSet):
            return _share(is_return(view.depth))
        xyz = all_coordinates(view, _SAMPLE)
    except MessageError:
        return 0.0
    with np.errstate(invalid="ignore"):  # a signalling NaN
        is_seen = (np.abs(xyz) <= FARTHEST_M).all(axis=1)
        if drop_zeros:
            is_seen &= (xyz != 0.0).any(axis=1)
    return _share(is_seen)


def _share(is_seen: np.ndarray) -> float:
    return float(is_seen.mean()) if is_seen.size else 0.0
