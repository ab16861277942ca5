"""Which objects of a map somebody asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sr3d_core.memory.object_map import MapObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectQuery:
    """What the objects must be; without anything, all of them. Raises ValueError."""

    classes: tuple[str, ...] = ()
    """Of one of these classes; none = of any."""
    low: tuple[float, float, float] = (-math.inf, -math.inf, -math.inf)
    """The centre lies above these coordinates of the static frame, metres, ..."""
    high: tuple[float, float, float] = (math.inf, math.inf, math.inf)
    """... and below these."""
    newer_than_ns: int | None = None
    """Last seen at this stamp or later; None = whenever."""

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(
                f"region from {self.low} to {self.high}, expected each first number below the "
                "second, metres"
            )

    def of(self, objects: Iterable[MapObject], known: tuple[str, ...]) -> list[MapObject]:
        """Those that are asked for, in their order; `known` are the classes of the map.

        Raises ValueError for a class that the map cannot hold.
        """
        for name in self.classes:
            if name not in known:
                raise ValueError(f"class '{name}', expected one of: {', '.join(known)}")
        return [each for each in objects if self._wants(each)]

    def _wants(self, each: MapObject) -> bool:
        is_within = all(
            low <= place <= high
            for low, place, high in zip(self.low, each.box[:3].tolist(), self.high, strict=True)
        )
        is_class = not self.classes or each.class_name in self.classes
        is_new = self.newer_than_ns is None or each.last_ns >= self.newer_than_ns
        return is_within and is_class and is_new
