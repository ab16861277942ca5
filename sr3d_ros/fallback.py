"""Boxes of depth while a depth sensor lives, of a camera's color images while it does not.

Driven by the arrivals alone: times come in, no clock is read, so that a recording falls back where
the robot did. `assembler.py` asks.
"""

from __future__ import annotations


class Fallback:
    """Says of each frame of depth and of each color image whether boxes are to be made of it.

    A frame of depth is usable or not; the caller judges. Depth is in use until none usable came
    for `after_s`; then the camera, until usable ones have come for `recover_after_s` without a gap
    of `after_s` and without an unusable one between them. Depth that has never come is waited for
    as long, from the first arrival on. Times are seconds of one clock; where it is set back,
    waiting begins anew.
    """

    def __init__(self, after_s: float, recover_after_s: float) -> None:
        self.is_camera = False
        """Whether the camera is in use."""
        self.count = 0
        """How often it stepped in."""
        self._after_s, self._recover_after_s = after_s, recover_after_s
        self._last_s: float | None = None  # arrival of anything
        self._usable_s = self._depth_s = 0.0  # of usable depth, of any; or where waiting began
        self._steady_since_s: float | None = None

    def depth_came(self, now_s: float, is_usable: bool) -> bool:
        """A frame of depth has come; whether it is to be detected in."""
        self._go_to(now_s)
        self._depth_s = now_s
        if not is_usable:
            self._steady_since_s = None
        elif self._steady_since_s is None or now_s - self._usable_s >= self._after_s:
            self._steady_since_s = now_s
        if is_usable:
            self._usable_s = now_s
        steady_s = -1.0 if self._steady_since_s is None else now_s - self._steady_since_s
        if steady_s >= self._recover_after_s:
            self.is_camera = False
        return not self.is_camera

    def image_came(self, now_s: float) -> bool:
        """A color image has come; whether it is to be detected in."""
        self._go_to(now_s)
        if not self.is_camera and now_s - self._usable_s >= self._after_s:
            self.is_camera, self._steady_since_s = True, None
            self.count += 1
        return self.is_camera

    def advice(self, now_s: float) -> str:
        """What to say while the camera is in use, with the reason; "" while it is not."""
        if not self.is_camera:
            return ""
        unusable_s = max(0.0, now_s - self._usable_s)
        if self._steady_since_s is not None and unusable_s < self._after_s:
            why = f"depth came back {now_s - self._steady_since_s:.1f} s ago and is not yet steady"
        elif now_s - self._depth_s < self._after_s:
            why = f"depth has had too few returns for {unusable_s:.1f} s"
        else:
            why = f"depth silent for {unusable_s:.1f} s"
        return f"{why}: camera-only boxes, accuracy reduced"

    def _go_to(self, now_s: float) -> None:
        """Time has come to this; it begins, or begins anew, where it was later before."""
        if self._last_s is None or now_s < self._last_s:
            self._usable_s = self._depth_s = now_s
            self._steady_since_s = None
        self._last_s = now_s
