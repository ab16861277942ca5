"""What can be set of a map of objects; the node's `map.*` have the same names."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMapSettings:
    """When an `ObjectMap` believes in an object, and when it does not any more."""

    gate_m: float = 0.5
    """A box farther than this from a known object of its class is another one; above 0."""
    min_seen: int = 3
    """An object is confirmed when it was seen in this many frames; at least 1."""
    min_presence: float = 0.5
    """... and when it was found from at least this share of the places that it was in clear view
    from; 0..1."""
    tentative_s: float = 10.0
    """What is not confirmed and not seen for so long was nothing; above 0."""
    gone_misses: int = 3
    """An object is gone when so many frames, since it was last seen, have looked right through
    its place; at least 1."""
    gone_s: float = 1.0
    """... and it was last seen at least so long ago; 0 or more."""
    keep_gone_s: float = 600.0
    """How long it stays known that an object is gone; 0 or more."""
    moved_m: float = 0.3
    """An object whose last three views all lie farther than this from its place has moved there;
    above 0."""
    near_m: float = 1.5
    """What is gone, and appears again as near as this, of the same class and size, is the same
    object; 0 = never."""
    max_objects: int = 1000
    """Above this, those that were not seen for the longest time are forgotten; at least 1."""

    def __post_init__(self) -> None:
        for name in ("gate_m", "tentative_s", "moved_m"):
            self._require(name, 0 < getattr(self, name) < math.inf, "more than 0")
        for name in ("gone_s", "keep_gone_s", "near_m"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        for name in ("min_seen", "gone_misses", "max_objects"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("min_presence", 0 <= self.min_presence <= 1, "0..1")

    def _require(self, name: str, is_met: bool, expected: str) -> None:
        if not is_met:
            raise ValueError(f"map.{name}: {getattr(self, name)}, expected {expected}")


SETTING_NAMES = tuple(entry.name for entry in fields(ObjectMapSettings))
"""For programs whose parameters have the same names."""
