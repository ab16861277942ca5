"""When what is recorded is due: as far apart as it was received, with /clock in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sr3d_ros.bag.play.contents import Message

CLOCK_HZ = 40.0
"""How often /clock is published, as by `ros2 bag play --clock`."""
_MOST_LATE_S = 0.1


def with_clock(
    messages: Iterator[Message], start_ns: int, period_ns: int
) -> Iterator[tuple[int, Message | None]]:
    """Each message with its time, and None whenever a period is over, beginning at the start.

    A message that was received before the one ahead of it comes together with that one.
    """
    tick_ns = time_ns = start_ns
    for message in messages:
        time_ns = max(time_ns, message.time_ns)
        while tick_ns <= time_ns:
            yield tick_ns, None
            tick_ns += period_ns
        yield time_ns, message


@dataclass(slots=True)
class Pace:
    """Waits until something is due, `rate` times as fast as it was recorded.

    Where reading or publishing takes longer than there is time, time waits: what comes is as far
    apart as it was, and /clock never runs ahead of the messages.
    """

    rate: float = 1.0
    late_s: float = 0.0
    """How long time had to wait, in all."""
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _begun: tuple[float, int] = field(default=(0.0, 0))

    def begin(self, time_ns: int) -> None:
        """It is `time_ns` now."""
        self._begun = self.now_s(), time_ns

    def wait_until(self, time_ns: int) -> None:
        """Sleep until it is `time_ns`; not at all where that is past."""
        begun_s, begun_ns = self._begun
        due_s = begun_s + 1e-9 * (time_ns - begun_ns) / self.rate
        while (left_s := due_s - self.now_s()) > 0.0:
            self.sleep(left_s)
        too_late_s = -left_s - _MOST_LATE_S
        if too_late_s > 0.0:
            self.late_s += too_late_s
            self._begun = begun_s + too_late_s, begun_ns
