"""What tf2 answers to a history of transforms: slow, and written apart from `sr3d_ros/tf`.

Nothing is kept between questions: each one goes through the whole history again. The rules are
those of tf2's BufferCore, TimeCache and StaticCache, read from their sources:

- A moving frame has a list of entries, the newest stamp first; one with the stamp of others goes
  before them, unless it is the same in everything. One that is older than the newest by more than
  the history is ignored, and entries that become so are dropped.
- A static frame has its last entry. What changes from moving to static or back starts afresh.
- To clear empties the lists of moving frames; names stay known.
- At a stamp, the newest and the oldest entry answer for themselves, between two entries is
  interpolated if their parents are equal, else the older one counts. Stamp 0 = the newest.
- A lookup walks up from the source to its top, then from the target until it meets that.
- Stamp 0 is the smallest of the newest stamps between the two frames; a stamp 0 is no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

_TOO_DEEP = 100  # steps; a loop


@dataclass(frozen=True)
class Put:
    """One transform as it was received."""

    parent: str
    child: str
    stamp_ns: int
    moved: tuple[float, float, float]
    turned: tuple[float, float, float, float]
    static: bool


class Unknown(Exception):
    """Why there is no answer: lookup, connectivity, extrapolation or loop."""


def answer(
    history: Sequence[Put | None], history_ns: float, target: str, source: str, stamp_ns: int
) -> Any:
    """`target_from_source` after a history, None in it = cleared; raises `Unknown`."""
    if target == source:
        return np.eye(4)
    named = {name for put in history if put for name in (put.parent, put.child)}
    if not {target, source} <= named:
        raise Unknown("lookup")
    frames = {put.child: _entries(history, history_ns, put.child) for put in history if put}
    if stamp_ns == 0:
        stamp_ns = _common_stamp(frames, target, source)
    top, top_from_source, is_missing = source, np.eye(4), False
    for _ in range(_TOO_DEEP):
        if top == target or top not in frames:
            break
        found = _at(*frames[top], stamp_ns)
        if found is None:
            is_missing = True
            break
        top, top_from_source = found[0], found[1] @ top_from_source
    else:
        raise Unknown("loop")
    if top == target:
        return top_from_source
    frame, frame_from_target = target, np.eye(4)
    for _ in range(_TOO_DEEP):
        if frame == source:
            return np.linalg.inv(frame_from_target)
        if frame == top:
            return np.linalg.inv(frame_from_target) @ top_from_source
        if frame not in frames:
            raise Unknown("extrapolation" if is_missing else "connectivity")
        found = _at(*frames[frame], stamp_ns)
        if found is None:
            raise Unknown("extrapolation")
        frame, frame_from_target = found[0], found[1] @ frame_from_target
    raise Unknown("loop")


def _entries(history: Sequence[Put | None], history_ns: float, child: str) -> tuple[Any, bool]:
    """The list of one frame, the newest first, and whether it is static."""
    entries: list[Put] = []
    is_static = False
    for put in history:
        if put is None:
            entries = entries if is_static else []
        elif put.child == child and put.static:
            entries, is_static = [put], True
        elif put.child == child:
            entries, is_static = _with([] if is_static else entries, put, history_ns), False
    return entries, is_static


def _with(entries: list[Put], put: Put, history_ns: float) -> list[Put]:
    if put in entries or (entries and put.stamp_ns < entries[0].stamp_ns - history_ns):
        return entries
    newer = [entry for entry in entries if entry.stamp_ns > put.stamp_ns]
    entries = [*newer, put, *entries[len(newer) :]]
    return [entry for entry in entries if entry.stamp_ns >= entries[0].stamp_ns - history_ns]


def _at(entries: list[Put], is_static: bool, stamp_ns: int) -> tuple[str, Any] | None:
    """The parent of a frame and its place in it at a stamp, None where that is not known."""
    if not entries:
        return None
    newest, oldest = entries[0], entries[-1]
    if is_static or stamp_ns in (0, newest.stamp_ns):
        return newest.parent, _matrix(newest.moved, newest.turned)
    if stamp_ns == oldest.stamp_ns:
        return oldest.parent, _matrix(oldest.moved, oldest.turned)
    if not oldest.stamp_ns < stamp_ns < newest.stamp_ns:
        return None
    index = next(i for i, entry in enumerate(entries) if entry.stamp_ns <= stamp_ns)
    one, two = entries[index], entries[index - 1]
    if one.parent != two.parent:
        return one.parent, _matrix(one.moved, one.turned)
    share = (stamp_ns - one.stamp_ns) / (two.stamp_ns - one.stamp_ns)
    turned = Slerp([0, 1], Rotation.from_quat([one.turned, two.turned]))(share).as_quat()
    moved = np.array(one.moved) + share * (np.array(two.moved) - one.moved)
    return one.parent, _matrix(moved, turned)


def _common_stamp(frames: dict[str, Any], target: str, source: str) -> int:
    """What a question at stamp 0 asks for: the newest stamp that all frames between have."""
    between = from_source = _newest_up(frames, source, target)
    if from_source[-1][0] != target:
        from_target = _newest_up(frames, target, source)
        if from_target[-1][0] == source:
            between = from_target
        else:
            above_source = [parent for parent, _ in from_source]
            meets = [i for i, (parent, _) in enumerate(from_target) if parent in above_source]
            if not meets:
                raise Unknown("connectivity")
            common = from_target[meets[0]][0]
            between = from_target[: meets[0] + 1] + from_source[: above_source.index(common) + 1]
    return min((stamp_ns for _, stamp_ns in between if stamp_ns), default=0)


def _newest_up(frames: dict[str, Any], frame: str, goal: str) -> list[tuple[str, int]]:
    """The frames above one by what was said last, each with the stamp of its edge, 0 = static."""
    way = [(frame, 0)]
    for _ in range(_TOO_DEEP):
        entries, is_static = frames.get(frame, ([], True))
        if frame == goal or not entries:
            return way
        frame = entries[0].parent
        way.append((frame, 0 if is_static else entries[0].stamp_ns))
    raise Unknown("loop")


def _matrix(moved: Any, turned: Any) -> Any:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(turned).as_matrix()
    matrix[:3, 3] = moved
    return matrix
