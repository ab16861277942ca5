"""Messages of several topics that belong together: a small matcher by stamp.

`StampMatcher` completes a set of a depth image, its CameraInfo and a color image. `FuseWindow`
gathers the clouds of several cameras, and does not wait for one that is silent. Both are driven
by the messages alone, without timers: the same messages give the same sets in a replay. Neither
locks; they belong to one thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from sr3d_ros.errors import UNMATCHED, Refused
from sr3d_ros.tf.headers import stamp_of

Queue = deque[tuple[int, Any]]  # stamp in nanoseconds and message, in order of arrival


class StampMatcher:
    """Sets of one message per name whose stamps differ by at most `tolerance_s`.

    Of names in `steady` the newest message counts, whatever its stamp: intrinsics of a camera do
    not change with every image, and some drivers send them once. At most `queue` messages wait
    under each name; those that leave without a set are kept until `take_unmatched`.
    """

    def __init__(
        self,
        names: Sequence[str],
        tolerance_s: float = 0.02,
        queue: int = 10,
        steady: Collection[str] = (),
    ) -> None:
        self._tolerance_ns = round(tolerance_s * 1e9)
        self._length = queue
        self._waiting: dict[str, Queue] = {n: deque() for n in names if n not in steady}
        self._newest: dict[str, Any] = {n: None for n in names if n in steady}
        self._unmatched: dict[str, list[Any]] = {name: [] for name in self._waiting}
        self._nearest_ns: int | None = None  # how near two stamps came that did not match

    def add(self, name: str, message: Any) -> dict[str, Any] | None:
        """Take one message; the set that it completes, by name, or None.

        What came before the messages of a set is given up. Raises `MessageError` where a message
        has no usable stamp.
        """
        if name in self._newest:
            self._newest[name] = message
            return self._complete(max((q[-1][0] for q in self._waiting.values() if q), default=0))
        stamp_ns = stamp_of(message)
        queue = self._waiting[name]
        queue.append((stamp_ns, message))
        found = self._complete(stamp_ns)
        if len(queue) > self._length:
            self._give_up(name, 1)
        return found

    def expect(self, name: str) -> None:
        """From now on a set holds a message of this name too; what waits goes on waiting."""
        self._waiting.setdefault(name, deque())
        self._unmatched.setdefault(name, [])

    def take_unmatched(self) -> dict[str, list[Any]]:
        """The messages that left without a set since this was last asked, by name.

        They are held until then, so ask after every `add`.
        """
        unmatched = self._unmatched
        self._unmatched = {name: [] for name in self._waiting}
        return unmatched

    def give_up(self) -> None:
        """No further message comes: all that waits leaves."""
        for name, queue in self._waiting.items():
            self._give_up(name, len(queue))

    def advice(self) -> str:
        """What is missing for the next set, in words; "" where nothing waits in vain."""
        absent = [name for name, newest in self._newest.items() if newest is None]
        absent += [name for name, queue in self._waiting.items() if not queue]
        if absent and any(self._waiting.values()):
            return f"no {' and no '.join(absent)} message matches; is its topic published?"
        if self._nearest_ns is not None and all(self._waiting.values()):
            return (
                f"the stamps of {' and '.join(self._waiting)} differ by at least "
                f"{self._nearest_ns / 1e9:g} s, expected at most {self._tolerance_ns / 1e9:g} s; "
                "synchronise the images in the driver, or raise input.match_tolerance_s"
            )
        return ""

    def _complete(self, stamp_ns: int) -> dict[str, Any] | None:
        """The set nearest to a stamp, taken out of the queues with all that is older."""
        if any(newest is None for newest in self._newest.values()):
            return None
        chosen = dict[str, int]()
        for name, queue in self._waiting.items():
            if not queue:
                return None
            offsets = [abs(stamp - stamp_ns) for stamp, _ in queue]
            chosen[name] = offsets.index(min(offsets))
            if min(offsets) > self._tolerance_ns:
                self._nearest_ns = min(offsets)
                return None
        self._nearest_ns = None
        found = dict(self._newest)
        for name, index in chosen.items():
            self._give_up(name, index)
            found[name] = self._waiting[name].popleft()[1]
        return found

    def _give_up(self, name: str, count: int) -> None:
        queue = self._waiting[name]
        self._unmatched[name] += [queue.popleft()[1] for _ in range(count)]


class FuseWindow:
    """Gathers one cloud per name whose stamps lie within `window_s` of the first.

    A set is handed out when it is complete, or, without those that are missing, when a cloud comes
    that belongs to the next one. `add` refuses clouds that came after their set was gone.
    """

    def __init__(self, names: Sequence[str], window_s: float = 0.05) -> None:
        self._names = tuple(names)
        self._window_ns = round(window_s * 1e9)
        self._gathered: dict[str, tuple[int, Any]] = {}

    def add(self, name: str, message: Any) -> tuple[Any, ...] | None:
        """Take one cloud; the set that is done now, in the order of the names, or None.

        Raises `MessageError` where the cloud has no usable stamp, `Refused` where it is late.
        """
        stamp_ns, done = stamp_of(message), None
        stamps = [stamp for stamp, _ in self._gathered.values()]
        if name not in self._gathered and stamps and stamp_ns < max(stamps) - self._window_ns:
            raise Refused(UNMATCHED, f"a cloud on {name} came after its partners were gone")
        if name in self._gathered or (stamps and stamp_ns > min(stamps) + self._window_ns):
            done = self.hand_out()
        self._gathered[name] = (stamp_ns, message)
        if len(self._gathered) == len(self._names):
            done = self.hand_out()
        return done

    def hand_out(self) -> tuple[Any, ...]:
        """What is gathered so far, complete or not; empty where nothing is."""
        found = tuple(self._gathered[n][1] for n in self._names if n in self._gathered)
        self._gathered.clear()
        return found
