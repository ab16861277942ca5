"""All transforms of a recording, asked as of one moment of it.

A recording is read ahead, so it knows more than tf2 does on the robot: a moving frame at a stamp
whose transform was recorded later, and a static frame before its first message, which a recording
that was begun late holds after its first clouds. It must not know more than that: a static
transform that was published again with another value holds from when it was received, as on the
robot, and what was known of a moving frame ends where simulated time, or the clock of its
publisher, was set back.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sr3d_ros.tf.buffer import Edge, Sample, TransformBuffer

SET_BACK_NS = 1_000_000_000
"""A stamp that is older by more than this than one of its frame before: its clock was set back."""


@dataclass(frozen=True, slots=True)
class _Era:
    """What is known of a frame from one moment on, until the next era of that frame."""

    received_ns: int
    edge: Edge


@dataclass(frozen=True, slots=True)
class StaticChanges:
    """When a static transform was published again with another value."""

    parent: str  # in the end
    child: str
    received_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SetBack:
    """Where the stamps of a moving frame went back."""

    child: str
    by_ns: int
    received_ns: int


class RecordedTransforms(TransformBuffer):
    """Fill it with `read` in recorded order; then `go_to` a moment and look up what held there."""

    def __init__(self) -> None:
        super().__init__(history_s=math.inf)
        self._eras: dict[str, list[_Era]] = {}
        self._read_ns = 0
        self._clock_ns = -math.inf
        self._moment_ns: float = math.inf
        self.set_back: list[SetBack] = []

    def read(self, message: Any, static: bool, received_ns: int) -> None:
        """The next TFMessage; raises the first `TransformError`, as `add_tf_message` does."""
        self._read_ns = received_ns
        self.add_tf_message(message, static)

    def _go_on(self, child: str, edge: Edge, sample: Sample) -> None:
        """As of any buffer; where its clock was set back, the frame is known afresh."""
        newest = edge.latest
        if newest is not None and 0 < sample.stamp_ns < newest.stamp_ns - SET_BACK_NS:
            by_ns = newest.stamp_ns - sample.stamp_ns
            self.set_back.append(SetBack(child, by_ns, self._read_ns))
            self._start(child, Edge(is_static=False, samples=[sample]))
        else:
            super()._go_on(child, edge, sample)

    def read_clock(self, clock_ns: int, received_ns: int) -> None:
        """The next simulated time; where it was set back, moving frames are known afresh."""
        self._read_ns = received_ns
        if clock_ns < self._clock_ns:
            self.clear()
        self._clock_ns = clock_ns

    def go_to(self, received_ns: int) -> None:
        """Look up as of this receive time from now on; before that, as of the end."""
        self._moment_ns = received_ns

    @property
    def moment_ns(self) -> int | None:
        """As of which receive time things are looked up; None: as of the end."""
        return None if math.isinf(self._moment_ns) else int(self._moment_ns)

    def go_to_end(self) -> None:
        """Look up as of the end from now on."""
        self._moment_ns = math.inf

    @property
    def static_changes(self) -> list[StaticChanges]:
        """The static frames that were moved, sorted by name."""
        return [
            StaticChanges(eras[-1].edge.samples[0].parent, child, tuple(times))
            for child, eras in sorted(self._eras.items())
            if eras[-1].edge.is_static and (times := _change_times(eras))
        ]

    def _start(self, child: str, edge: Edge) -> None:
        known = self._edges.get(child)
        if known is None or not (edge.is_static and known.is_static and _is_same(known, edge)):
            self._eras.setdefault(child, []).append(_Era(self._read_ns, edge))
            super()._start(child, edge)

    def _edge(self, child: str) -> Edge | None:
        eras = self._eras.get(child)
        if eras is None:
            return None
        begun = bisect.bisect_right(eras, self._moment_ns, key=lambda era: era.received_ns)
        return eras[max(0, begun - 1)].edge


def _change_times(eras: Sequence[_Era]) -> list[int]:
    """When a static frame became another static frame."""
    return [
        era.received_ns
        for before, era in pairwise(eras)
        if before.edge.is_static and era.edge.is_static
    ]


def _is_same(first: Edge, second: Edge) -> bool:
    """Whether two static edges differ in nothing but their stamp."""
    a, b = first.samples[0], second.samples[0]
    return (a.parent, a.translation, a.rotation) == (b.parent, b.translation, b.rotation)
