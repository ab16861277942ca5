"""Whether several cameras send on one topic: their frame_ids take turns."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

_NUM_MESSAGES, _TURNS = 10, 3


class FrameIds:
    """The frame_ids of the last messages of one topic.

    One change is a driver that was started anew; several are several publishers.
    """

    def __init__(self) -> None:
        self._latest: deque[str] = deque(maxlen=_NUM_MESSAGES)

    def add(self, frame_id: str) -> None:
        """A message came."""
        self._latest.append(frame_id)

    def mixed(self) -> tuple[str, ...]:
        """The frame_ids that take turns; none where there is one, or it has changed once."""
        turns = sum(before != after for before, after in pairwise(self._latest))
        return tuple(sorted(set(self._latest))) if turns >= _TURNS else ()
