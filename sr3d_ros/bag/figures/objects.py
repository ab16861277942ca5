"""Figures of each object over a recording: how often it is found, how well, and how steadily.

An object is in view in the frames in which it counts. Frames in which it is in view without a
break are a *stretch*; an object that is found, lost and found again within one has flickered.
Jitter is the standard deviation of a found box around its own mean, measured against the true box,
so that it says nothing about a constant error, and nothing about the robot's own motion:
odometry that moves the true box counts too.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sr3d_ros.bag.figures.sightings import FoundBox, FrameView, Sighting

MIN_FOR_JITTER = 5
"""In so many frames an object must have been found for its jitter to be said."""


@dataclass(frozen=True, slots=True)
class Jitter:
    """How a found box wanders about its mean, as standard deviations."""

    center_cm: float  # in space, all three axes together
    log_size: float  # of the logarithm of a length, root mean square of the three
    yaw_deg: float  # a quarter turn with the sides exchanged is the same box


@dataclass(frozen=True, slots=True)
class ObjectFigures:
    """One object over a recording. What is not known is None."""

    object_: str
    class_name: str
    num_in_view: int  # frames
    num_found: int
    seconds_in_view: float  # of stretches; one frame alone has none
    first_found_after_s: float | None  # since it was first in view
    median_iou: float | None
    median_score: float | None
    size_error: float | None  # median of the largest difference of the three lengths' logarithms
    num_flickers: int
    num_lost: int  # frames of stretches in which it is lost between two in which it is found
    num_between: int  # frames of stretches from the first to the last in which it is found
    num_id_switches: int
    jitter: Jitter | None

    @property
    def recall(self) -> float:
        """Share of the frames in view in which it is found."""
        return self.num_found / self.num_in_view

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, by the names of the fields."""
        rest = asdict(self)
        name, class_name = rest.pop("object_"), rest.pop("class_name")
        return {"object": name, "class": class_name, "recall": self.recall, **rest}


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One object in view at one moment."""

    frame: int  # number of the frame among those that were scored
    stamp_ns: int
    sighting: Sighting


def seen_objects(views: Sequence[FrameView]) -> dict[tuple[str, int], list[Seen]]:
    """When each object was in view, by its name and label, in the order of the frames."""
    seen = defaultdict(list)
    for number, view in enumerate(views):
        for sighting in view.sightings:
            if sighting.object_:
                key = (sighting.object_, sighting.label)
                seen[key].append(Seen(number, view.stamp_ns, sighting))
    return dict(seen)


def object_figures(views: Sequence[FrameView], classes: Sequence[str]) -> list[ObjectFigures]:
    """Of each object that is named, in the order in which they came into view."""
    return [
        _figures(name, classes[label], moments)
        for (name, label), moments in seen_objects(views).items()
    ]


def _figures(name: str, class_name: str, moments: Sequence[Seen]) -> ObjectFigures:
    found = [box for moment in moments if (box := moment.sighting.found) is not None]
    stretches = list(_stretches(moments))
    flickers = [_flickers([seen.sighting.found is not None for seen in s]) for s in stretches]
    first = next((seen for seen in moments if seen.sighting.found is not None), None)
    largest = [float(np.abs(box.log_size).max()) for box in found]
    return ObjectFigures(
        object_=name,
        class_name=class_name,
        num_in_view=len(moments),
        num_found=len(found),
        seconds_in_view=sum(1e-9 * (s[-1].stamp_ns - s[0].stamp_ns) for s in stretches),
        first_found_after_s=(
            None if first is None else 1e-9 * (first.stamp_ns - moments[0].stamp_ns)
        ),
        median_iou=_median([box.iou for box in found]),
        median_score=_median([box.score for box in found]),
        size_error=_median(largest),
        num_flickers=sum(flicker[0] for flicker in flickers),
        num_lost=sum(flicker[1] for flicker in flickers),
        num_between=sum(flicker[2] for flicker in flickers),
        num_id_switches=_switches([box.identity for box in found]),
        jitter=_jitter(found),
    )


def _stretches(moments: Sequence[Seen]) -> Iterable[list[Seen]]:
    """Moments of frames that follow each other, in time as well."""
    stretch: list[Seen] = []
    for seen in moments:
        if stretch:
            last = stretch[-1]
            if seen.frame != last.frame + 1 or seen.stamp_ns < last.stamp_ns:
                yield stretch
                stretch = []
        stretch.append(seen)
    if stretch:
        yield stretch


def _flickers(is_found: Sequence[bool]) -> tuple[int, int, int]:
    """How often lost and found again, in how many frames lost, and from how many in all."""
    rows = np.flatnonzero(is_found)
    if not len(rows):
        return 0, 0, 0
    gaps = np.diff(rows) - 1
    return int((gaps > 0).sum()), int(gaps.sum()), int(rows[-1] - rows[0] + 1)


def _switches(identities: Sequence[str]) -> int:
    """How often the identity became another one; frames without one are passed over."""
    named = [name for name in identities if name]
    return sum(a != b for a, b in itertools.pairwise(named))


def _jitter(found: Sequence[FoundBox]) -> Jitter | None:
    if len(found) < MIN_FOR_JITTER:
        return None
    center = np.var([box.offset_m for box in found], axis=0, ddof=1)
    size = np.var([box.log_size for box in found], axis=0, ddof=1)
    # Turns near 45 degrees jump to -45: their spread is that of angles modulo a quarter turn.
    turns = np.array([box.turn_rad for box in found])
    middle = np.angle(np.exp(4j * turns).mean()) / 4
    away = (turns - middle + math.pi / 4) % (math.pi / 2) - math.pi / 4
    return Jitter(
        center_cm=100 * float(np.sqrt(center.sum())),
        log_size=float(np.sqrt(size.mean())),
        yaw_deg=math.degrees(float(np.sqrt((away**2).sum() / (len(turns) - 1)))),
    )


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
