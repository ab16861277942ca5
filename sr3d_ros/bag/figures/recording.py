"""Figures of a whole recording: how steadily objects are found, and how soon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sr3d_ros.bag.figures.objects import ObjectFigures, seen_objects
from sr3d_ros.bag.figures.sightings import FrameView


@dataclass(frozen=True, slots=True)
class Stability:
    """How steadily the objects of a recording are found. What is not known is None."""

    num_objects: int
    num_flickers: int  # times that an object in view was found, lost and found again
    flickers_per_minute: float | None  # that an object is in view
    lost_share: float | None  # of the frames between the first and the last that found it
    num_id_switches: int | None  # None: nothing was tracked
    num_with_jitter: int  # objects that the next three are medians of
    jitter_center_cm: float | None
    jitter_log_size: float | None
    jitter_yaw_deg: float | None

    @classmethod
    def of(cls, objects: Sequence[ObjectFigures], is_tracked: bool) -> Stability:
        """Of all objects together."""
        flickers = sum(each.num_flickers for each in objects)
        minutes = sum(each.seconds_in_view for each in objects) / 60
        between = sum(each.num_between for each in objects)
        lost = sum(each.num_lost for each in objects)
        switches = sum(each.num_id_switches for each in objects)
        jitter = [each.jitter for each in objects if each.jitter is not None]
        return cls(
            num_objects=len(objects),
            num_flickers=flickers,
            flickers_per_minute=flickers / minutes if minutes > 0 else None,
            lost_share=lost / between if between else None,
            num_id_switches=switches if is_tracked else None,
            num_with_jitter=len(jitter),
            jitter_center_cm=_median([each.center_cm for each in jitter]),
            jitter_log_size=_median([each.log_size for each in jitter]),
            jitter_yaw_deg=_median([each.yaw_deg for each in jitter]),
        )

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, by the names of the fields."""
        return asdict(self)


def recall_over_time(views: Sequence[FrameView]) -> list[dict[str, float]]:
    """How many objects were in view so far, and how many of them were found so far.

    One entry for each moment at which a number grows; seconds since the first frame.
    """
    entries = []
    for moments in seen_objects(views).values():
        found = [seen.stamp_ns for seen in moments if seen.sighting.found is not None]
        entries.append((moments[0].stamp_ns, 1, 0))
        if found:
            entries.append((found[0], 0, 1))
    rows, seen_so_far, found_so_far = list[dict[str, float]](), 0, 0
    start_ns = views[0].stamp_ns if views else 0
    for stamp_ns, is_seen, is_found in sorted(entries):
        seen_so_far, found_so_far = seen_so_far + is_seen, found_so_far + is_found
        row = {"s": 1e-9 * (stamp_ns - start_ns), "seen": seen_so_far, "found": found_so_far}
        if rows and rows[-1]["s"] == row["s"]:
            rows.pop()
        rows.append(row)
    return rows


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
