"""Waiting for transforms that are on their way.

A cloud usually arrives before the transform of its stamp. tf2 and the own buffer answer at once;
here one frame may wait for all its lookups together, up to a limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sr3d_ros.tf.rigid import Matrix
from sr3d_ros.transforms import TransformError, TransformSource

_POLL_S = 0.005


class PatientTransforms:
    """A `TransformSource` that asks another one until it answers or the frame's time is up.

    Used by one thread, apart from `give_up`. Only `extrapolation` is waited for: a frame that
    nobody has published yet would hold up every cloud.
    """

    def __init__(
        self,
        source: TransformSource,
        timeout_s: float,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._sleep = sleep
        self._deadline_s = now_s()

    def start_frame(self) -> None:
        """The next lookups belong to a new frame, which may wait the full time."""
        self._deadline_s = self._now_s() + self._timeout_s

    def give_up(self) -> None:
        """The frame in hand need not wait any more; safe in any thread."""
        self._deadline_s = self._now_s()

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Matrix:
        """`target_from_source` at a stamp; raises the `TransformError` that remains."""
        while True:
            try:
                return self._source.lookup(target_frame, source_frame, stamp_ns)
            except TransformError as error:
                if error.reason != "extrapolation" or self._now_s() >= self._deadline_s:
                    raise
            self._sleep(_POLL_S)
