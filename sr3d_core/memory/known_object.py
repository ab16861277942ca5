"""What is known of one object of the map, and how one more look changes it.

Class evidence is the sum of the scores that each class was found with. Probabilities are these
sums with one further count shared by all classes (Dirichlet prior), so that a single view of a
low score is not certain.

Looks from one place of the sensor are much alike, so each place counts once: as one from which the
object was found where any of its looks found it, and for the box by the mean of these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.memory.fused_box import BoxView, averaged, fused_box
from sr3d_core.memory.map_settings import ObjectMapSettings

State = Literal["tentative", "confirmed", "gone"]

MAX_VIEWS = 30
"""Older views of an object are forgotten, and with them the drift of the odometry."""

_MOVED_VIEWS = 3
_KEY_M = 0.1  # a sensor that has moved less sees the same again: that is no further evidence


@dataclass(slots=True, eq=False)
class KnownObject:
    """One object; `MapObject` is what others get to see of it."""

    identity: str
    first_ns: int
    last_ns: int  # last seen
    evidence: dict[int, float] = field(default_factory=dict)  # label -> sum of scores
    views: list[BoxView] = field(default_factory=list)  # by rising stamp
    box: Float[ndarray, " 7"] = field(default_factory=lambda: np.zeros(7))  # fused over the views
    times_seen: int = 0
    times_missed: int = 0  # frames that looked through its place
    misses: int = 0  # ... since it was last seen
    places_seen: int = 0  # places of the sensor from which it was found,
    places_overlooked: int = 0  # and was there to be seen, but no look found it
    looked_from: tuple[float, float, float] | None = None  # the last of these places
    found_there: bool = False  # whether it was found from that one
    gone_ns: int | None = None

    @property
    def label(self) -> int:
        """The class with the most evidence."""
        return max(self.evidence, key=lambda label: self.evidence[label])

    @property
    def presence(self) -> float:
        """The share of places from which it was found, 0..1, by the rule of succession."""
        return (self.places_seen + 1) / (self.places_seen + self.places_overlooked + 2)

    def probabilities(self, num_classes: int) -> Float[ndarray, " K"]:
        """Of each class, given that it is there."""
        counts = np.full(num_classes, 1.0 / num_classes)
        for label, score in self.evidence.items():
            counts[label] += score
        chances: Float[ndarray, " K"] = counts / counts.sum()
        return chances

    def state(self, settings: ObjectMapSettings) -> State:
        """How far it is believed in."""
        if self.gone_ns is not None:
            return "gone"
        is_sure = self.times_seen >= settings.min_seen and self.presence >= settings.min_presence
        return "confirmed" if is_sure else "tentative"

    @property
    def expected_box(self) -> Float[ndarray, " 7"]:
        """Where to look for it next: where it was last seen, while it is on its way."""
        last = self.views[-1].box
        return last if np.linalg.norm(last[:3] - self.box[:3]) > last[3:6].min() / 2 else self.box

    def see(self, view: BoxView, label: int, score: float, stamp_ns: int, moved_m: float) -> None:
        """It was found once more."""
        self.evidence[label] = self.evidence.get(label, 0.0) + score
        self.last_ns, self.misses = stamp_ns, 0
        self.times_seen += 1
        is_new_place = self._look_from(view.sensor, is_found=True)
        is_off = bool(self.views) and self._is_off(view, moved_m)
        if self.views and not is_new_place and not is_off:
            last = self.views[-1]
            self.views[-1] = (
                view if self._is_off(last, moved_m) else averaged(last, view, MAX_VIEWS)
            )
        else:
            self.views = [*self.views, view][-MAX_VIEWS:]
        newest = self.views[-_MOVED_VIEWS:]
        if len(self.views) > _MOVED_VIEWS and all(self._is_off(v, moved_m) for v in newest):
            self.views = newest
        self.box = fused_box(self.views, float(self.box[6]) if self.times_seen > 1 else None)

    def miss(self) -> None:
        """A frame looked through its place."""
        self.misses += 1
        self.times_missed += 1

    def overlook(self, sensor: tuple[float, float, float]) -> None:
        """Something is in its place, in clear view, and was not found."""
        self._look_from(sensor, is_found=False)

    def absorb(self, other: KnownObject) -> None:
        """The other has turned out to be this one."""
        for label, score in other.evidence.items():
            self.evidence[label] = self.evidence.get(label, 0.0) + score
        self.first_ns = min(self.first_ns, other.first_ns)
        self.last_ns = max(self.last_ns, other.last_ns)

    def _is_off(self, view: BoxView, moved_m: float) -> bool:
        return bool(np.linalg.norm(view.box[:3] - self.box[:3]) > moved_m)

    def _look_from(self, sensor: tuple[float, float, float] | None, *, is_found: bool) -> bool:
        """Count one look; whether it is from another place than the last."""
        before = self.looked_from
        is_new = (
            sensor is None
            or before is None
            or float(np.linalg.norm(np.subtract(sensor, before))) >= _KEY_M
        )
        if is_new:
            self.looked_from, self.found_there = sensor, is_found
            self.places_seen += is_found
            self.places_overlooked += not is_found
        elif is_found and not self.found_there:
            self.found_there = True
            self.places_seen += 1
            self.places_overlooked -= 1
        return is_new
