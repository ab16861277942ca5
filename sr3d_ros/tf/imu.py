"""Up from the accelerometer of an IMU: at rest it measures the push of the ground, upwards.

The gyroscope carries the direction through fast motion, the accelerometer corrects it wherever it
measures about 1 g (a complementary filter). The orientation field is not used: drivers that have
none leave it at the identity as often as they mark it, and a wrong up is worse than none.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d_ros.errors import Refused, UpError
from sr3d_ros.tf.headers import frame_of, stamp_of

GRAVITY = 9.81
"""m/s^2."""

MAX_GAP_S = 0.5
"""A direction this much older or newer than a cloud is not used for it."""

_TIME_CONSTANT_S = 0.5
_TRUSTED = 2.0  # m/s^2 that the acceleration may differ from gravity before it counts for nothing
_DOUBTFUL = 0.2  # rad between measured and filtered direction at which confidence is 0
_SETTLED = 20  # samples before the confidence is complete
_HISTORY = 2000  # samples that are kept; 5 s at 400 Hz


@dataclass(frozen=True, slots=True, eq=False)
class UpVector:
    """Which way is up in one frame."""

    frame_id: str
    vector: NDArray[np.float64]  # unit
    confidence: float  # 0..1, low while the sensor is shaken


class GravityFromImu:
    """Follows up in the frame of one IMU; safe to fill and to ask from different threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[int, UpVector]] = deque(maxlen=_HISTORY)
        self._count = 0  # since the filter started
        self._agreement = 0.0  # 0..1, of what is measured with what is known
        self._trouble = ""  # why the last message could not be used

    def add(self, message: Any) -> None:
        """Take a `sensor_msgs/Imu`; what is wrong with it, `up` says when nothing else is known.

        Messages that come out of order are left out; a gap, or time set back, starts afresh.
        """
        with self._lock:
            try:
                self._add(message)
            except Refused as error:
                self._trouble = str(error)

    def up(self, stamp_ns: int) -> UpVector:
        """Up in the IMU's frame at a stamp; raises `UpError`."""
        with self._lock:
            samples, trouble = list(self._samples), self._trouble
        if not samples:
            if trouble:
                raise UpError("bad_imu", trouble)
            raise UpError(
                "no_imu",
                "no IMU message has come; remap ~/input/imu to the IMU's topic, or set frames.up "
                "to tf, floor or none",
            )
        index = bisect.bisect_left([stamp for stamp, _ in samples], stamp_ns)
        near = min(samples[max(0, index - 1) : index + 1], key=lambda s: abs(s[0] - stamp_ns))
        gap_s = (stamp_ns - near[0]) / 1e9
        if abs(gap_s) > MAX_GAP_S:
            raise UpError(
                "stale_imu",
                f"the IMU message nearest to the cloud is {abs(gap_s):.2f} s "
                f"{'older' if gap_s > 0 else 'newer'}, expected at most {MAX_GAP_S} s; "
                f"{trouble or 'compare the clocks of camera and IMU'}",
            )
        return near[1]

    def _add(self, message: Any) -> None:
        frame, stamp_ns = frame_of(message), stamp_of(message)
        measured, size = _acceleration(message)
        turned = _vector(message, "angular_velocity")
        step_s = (stamp_ns - self._samples[-1][0]) / 1e9 if self._samples else math.inf
        if not -MAX_GAP_S <= step_s <= MAX_GAP_S or frame != self._samples[-1][1].frame_id:
            self._samples.clear()
            self._count, self._agreement, step_s = 0, 0.0, 0.0
        elif step_s <= 0:
            return
        self._count += 1
        trust = max(0.0, 1.0 - abs(size - GRAVITY) / _TRUSTED)
        # The mean of the first samples, then an exponential one.
        weight = max(min(1.0, step_s / _TIME_CONSTANT_S), 1.0 / self._count)
        carried = self._samples[-1][1].vector if self._samples else measured
        if turned is not None:
            carried = carried - np.cross(turned, carried) * step_s
        vector = carried + trust * weight * (measured - carried)
        length = float(np.linalg.norm(vector))
        vector = vector / length if length > 1e-6 else measured
        agreement = trust * max(0.0, 1.0 - float(np.linalg.norm(measured - vector)) / _DOUBTFUL)
        self._agreement += weight * (agreement - self._agreement)
        confidence = min(self._agreement, self._count / _SETTLED)
        self._samples.append((stamp_ns, UpVector(frame, vector, confidence)))
        self._trouble = ""


def _acceleration(message: Any) -> tuple[NDArray[np.float64], float]:
    """Unit direction and size in m/s^2; some drivers measure in g."""
    measured = _vector(message, "linear_acceleration")
    size = 0.0 if measured is None else float(np.linalg.norm(measured))
    if measured is None or size < 0.5:
        raise UpError(
            "bad_imu",
            f"the IMU measures {size:.2f} m/s^2, expected about {GRAVITY}: its driver takes "
            "gravity out or sends no acceleration; choose its raw topic",
        )
    return measured / size, size * GRAVITY if size < 1.5 else size


def _vector(message: Any, name: str) -> NDArray[np.float64] | None:
    """A finite vector of a message, else None."""
    part = getattr(message, name, None)
    try:
        vector = np.array([float(getattr(part, axis)) for axis in "xyz"])
    except (AttributeError, TypeError, ValueError):
        return None
    return vector if bool((np.abs(vector) < 1e6).all()) else None
