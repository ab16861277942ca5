"""A recording at its sensor's pace: which frames a robot would have missed, and how old boxes are.

Frames arrive at their own stamps, on a clock that nobody waits for: a frame takes as long as
working on it really takes, and what arrives meanwhile waits or is dropped by the node's own rule
(`sr3d_ros.newest`). What is left of a robot: transport, other programs on its computer, and the
publishing of messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from sr3d_core.evaluate import EvaluationReport
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import Arrival, DroppedFrame, detected
from sr3d_ros.bag.run import BagRun
from sr3d_ros.bag.score import BagReport, Scoring
from sr3d_ros.errors import SUPERSEDED
from sr3d_ros.newest import NewestOnly, drop_reason_at
from sr3d_ros.pipeline import FrameResult

Work = Callable[[Arrival], tuple[FrameResult | DroppedFrame, float]]
"""Works on a frame: what it gives, and how many seconds that took."""


@dataclass(frozen=True, slots=True, eq=False)
class Timed:
    """What became of a frame, in seconds since the first one arrived."""

    frame: FrameResult | DroppedFrame
    arrived_s: float
    finished_s: float | None  # None: nobody worked on it

    @property
    def latency_ms(self) -> float | None:
        """From its arrival to its boxes; None where it has none."""
        if self.finished_s is None or isinstance(self.frame, DroppedFrame):
            return None
        return 1e3 * (self.finished_s - self.arrived_s)


@dataclass(slots=True)
class SensorClock:
    """When frames arrive: as far apart as their stamps, `speed` times as fast.

    A stamp before the one ahead of it arrives together with that one, and time goes on from there.
    """

    speed: float = 1.0
    num_back: int = 0
    now_s: float = 0.0
    _last_ns: int | None = field(default=None)

    def arrival_s(self, stamp_ns: int) -> float:
        """Of the next frame, in seconds since the first."""
        if self._last_ns is not None:
            passed_ns = stamp_ns - self._last_ns
            self.num_back += passed_ns < 0
            self.now_s += 1e-9 * max(0, passed_ns) / self.speed
        self._last_ns = stamp_ns
        return self.now_s


def paced(
    frames: Iterable[Arrival | DroppedFrame],
    work: Work,
    clock: SensorClock,
    max_age_s: float = 0.0,
) -> Iterator[Timed]:
    """What becomes of each frame; `max_age_s` is `input.max_age_s`.

    Frames come out in the order in which their fate is known.
    """
    newest: NewestOnly[tuple[Arrival, float]] = NewestOnly()
    free_s = 0.0

    def turn(begin_s: float) -> Iterator[Timed]:
        """The frame that waits is taken."""
        nonlocal free_s
        arrival, arrived_s = newest.take()
        reason = drop_reason_at(begin_s - arrived_s, max_age_s)
        if reason:
            yield Timed(_dropped(arrival, reason), arrived_s, None)
            return
        result, took_s = work(arrival)
        free_s = begin_s + took_s
        yield Timed(result, arrived_s, free_s)

    for frame in frames:
        if isinstance(frame, DroppedFrame):  # it never became one that could wait
            yield Timed(frame, clock.now_s, None)
            continue
        now_s = clock.arrival_s(frame.stamp_ns)
        if newest.has_item and free_s <= now_s:
            yield from turn(free_s)
        for old, arrived_s in newest.offer((frame, now_s)):
            yield Timed(_dropped(old, SUPERSEDED), arrived_s, None)
        if free_s <= now_s:
            yield from turn(now_s)
    if newest.has_item:
        yield from turn(free_s)


@dataclass(frozen=True, slots=True, eq=False)
class PaceReport:
    """A recording at its sensor's pace."""

    speed: float
    report: BagReport  # of the frames that were worked on
    frames: tuple[Timed, ...]
    num_back: int  # frames whose stamp is before that of the frame ahead

    @property
    def scores(self) -> EvaluationReport:
        """Average precision over the frames that were worked on."""
        return self.report.scores

    @property
    def num_superseded(self) -> int:
        """Frames that a newer one replaced."""
        return self.report.tally.drops_by_reason.get(SUPERSEDED, 0)

    @property
    def dropped_share(self) -> float:
        """Share of all frames that gave no boxes, for whatever reason."""
        return sum(frame.latency_ms is None for frame in self.frames) / len(self.frames)

    @property
    def latency_ms(self) -> dict[str, float]:
        """p50, p95 and max from a frame's arrival to its boxes."""
        values = [frame.latency_ms for frame in self.frames if frame.latency_ms is not None]
        p50, p95 = np.percentile(values, (50, 95)).tolist()
        return {"p50": p50, "p95": p95, "max": max(values)}

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        scores = self.scores
        means = {name: scores.to_dict()[name] for name in ("map25", "map50", "per_class")}
        return {
            "speed": self.speed,
            "num_frames": len(self.frames),
            "dropped_share": self.dropped_share,
            "drops_by_reason": self.report.tally.drops_by_reason,
            "latency_ms": self.latency_ms,
            "num_stamps_back": self.num_back,
            **means,
        }


def pace_run(
    run: BagRun,
    begin: Callable[[BagRun], Scoring],
    speed: float = 1.0,
    progress: Callable[[int], object] | None = None,
) -> PaceReport:
    """Replay once more, at the sensor's pace; `begin` makes what scores the frames.

    Nothing is remembered of an earlier replay. Raises `ReplayError` where the frames have no time
    between them.
    """
    begun, clock = run.afresh(), SensorClock(speed)
    scoring, timed = begin(begun), list[Timed]()

    def work(arrival: Arrival) -> tuple[FrameResult | DroppedFrame, float]:
        started_s = time.perf_counter()
        result = detected(begun.pipeline, arrival)
        return result, time.perf_counter() - started_s

    for number, frame in enumerate(
        paced(begun.arrivals(), work, clock, run.parameters.max_age_s), start=1
    ):
        timed.append(frame)
        scoring.add(frame.frame)
        if progress is not None:
            progress(number)
    if len(timed) > 1 and clock.now_s == 0.0:
        raise ReplayError(
            f"{run.bag.path}: the clouds of {run.topic} all have one stamp, so that they have no "
            "pace; leave out --pace, or record with header.stamp set"
        )
    return PaceReport(speed, scoring.report(), tuple(timed), clock.num_back)


def _dropped(arrival: Arrival, reason: str) -> DroppedFrame:
    return DroppedFrame(arrival.stamp_ns, reason, "at the sensor's pace the detector was busy")
