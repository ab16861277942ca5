"""Frames whose publishers disagree about their parent.

tf2 keeps what both say, so that such a frame comes and goes or jumps between two places. Nothing
but stopping one publisher helps, and no failed lookup says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_TOGETHER_NS = 10_000_000_000


@dataclass(slots=True)
class _Claims:
    """What was said of the parent of one frame."""

    parent: str
    newest_ns: int
    since_ns: int  # stamp of the first message in a row that names this parent
    before: str = ""  # the parent before
    rivals_until_ns: float = -math.inf  # while stamps are before that, both are its parents


class ParentWatch:
    """Tells a frame with two parents from one that was handed over.

    Two parents are those that take turns within ten seconds of stamps, and different parents of
    a static frame, each of which is said once and for all. Not safe to fill from several threads.
    """

    def __init__(self) -> None:
        self._claims: dict[str, _Claims] = {}

    def add(self, parent: str, child: str, stamp_ns: int, static: bool) -> None:
        """A transform of a child in a parent was received."""
        known = self._claims.get(child)
        if known is None:
            self._claims[child] = _Claims(parent, stamp_ns, stamp_ns)
            return
        known.newest_ns = stamp_ns
        if known.parent == parent:
            return
        if static:
            known.rivals_until_ns = math.inf
        elif known.before == parent and abs(stamp_ns - known.since_ns) <= _TOGETHER_NS:
            known.rivals_until_ns = stamp_ns + _TOGETHER_NS
        known.before, known.parent, known.since_ns = known.parent, parent, stamp_ns

    def disagreement(self, *frames: str) -> str:
        """Which frame on the ways up from some frames has two parents; "" = none."""
        visited, waiting = set[str](), list(frames)
        while waiting:
            frame = waiting.pop(0)
            known = self._claims.get(frame)
            if known is None or frame in visited:
                continue
            if known.newest_ns <= known.rivals_until_ns:
                return (
                    f"'{frame}' has two parents, '{known.before}' and '{known.parent}': two "
                    "publishers disagree; stop one of them"
                )
            visited.add(frame)
            waiting.append(known.parent)
        return ""
