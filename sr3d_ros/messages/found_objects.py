"""Objects of the map -> FoundObject, and the request of ~/find_objects -> what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sr3d_core.memory.object_map import MapObject
from sr3d_core.memory.object_query import ObjectQuery
from sr3d_ros.messages.parts import fill_pose, fill_xyz
from sr3d_ros.tf.headers import stamp_to_ns

_S = 1_000_000_000


def query_of(request: Any) -> ObjectQuery:
    """What a FindObjects request asks for; raises ValueError for a region without volume."""
    low, high = (_xyz(corner) for corner in (request.region_min, request.region_max))
    newer_ns = stamp_to_ns(request.newer_than)
    region = {"low": low, "high": high} if any((*low, *high)) else {}
    return ObjectQuery(
        classes=tuple(request.class_names), newer_than_ns=newer_ns or None, **region
    )


def found_objects(objects: Sequence[MapObject], newest_ns: int) -> list[Any]:
    """FoundObject messages in the order of the objects; ages are counted to `newest_ns`."""
    from sr3d_ros.msg import FoundObject

    messages = []
    for each in objects:
        message = FoundObject()
        message.id, message.class_name = each.identity, each.class_name
        message.probability = float(each.probability)
        half = float(each.box[6]) / 2
        turned = np.array([0.0, 0.0, np.sin(half), np.cos(half)])
        turned = -turned if turned[3] < 0 else turned
        fill_pose(message.pose, each.box[:3].tolist(), turned.tolist())
        fill_xyz(message.size, each.box[3:6].tolist())
        message.age_s = 1e-9 * (newest_ns - each.last_ns)
        for stamp, stamp_ns in (
            (message.first_seen, each.first_ns),
            (message.last_seen, each.last_ns),
        ):
            stamp.sec, stamp.nanosec = divmod(stamp_ns, _S)
        message.times_seen, message.times_missed = each.times_seen, each.times_missed
        messages.append(message)
    return messages


def _xyz(point: Any) -> tuple[float, float, float]:
    return float(point.x), float(point.y), float(point.z)
