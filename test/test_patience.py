"""Waiting for a transform: bounded, shared by the lookups of a frame, only where it may help."""

from __future__ import annotations

import numpy as np
import pytest

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.rigid import Matrix
from sr3d_ros.tf.source import PatientTransforms


class LateSource:
    """Answers from a given time on; fails for `reason` before. Sleeping makes time pass."""

    def __init__(self, known_from_s: float, reason: str = "extrapolation") -> None:
        self.known_from_s = known_from_s
        self.reason = reason
        self.now_s = 0.0

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Matrix:
        if self.now_s < self.known_from_s:
            raise TransformError(self.reason, f"no {target_frame} from {source_frame}")
        return np.eye(4)

    def time(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def patient(source: LateSource, timeout_s: float) -> PatientTransforms:
    transforms = PatientTransforms(source, timeout_s, now_s=source.time, sleep=source.sleep)
    transforms.start_frame()
    return transforms


def test_a_known_transform_is_answered_without_waiting() -> None:
    source = LateSource(known_from_s=0.0)
    np.testing.assert_array_equal(patient(source, 0.2).lookup("base", "camera", 1), np.eye(4))
    assert source.now_s == 0.0


def test_a_late_transform_is_waited_for() -> None:
    source = LateSource(known_from_s=0.1)
    np.testing.assert_array_equal(patient(source, 0.2).lookup("base", "camera", 1), np.eye(4))
    assert source.now_s == pytest.approx(0.1, abs=0.01)


def test_waiting_ends_at_the_limit() -> None:
    source = LateSource(known_from_s=9.0)
    with pytest.raises(TransformError, match="no base from camera"):
        patient(source, 0.2).lookup("base", "camera", 1)
    assert source.now_s == pytest.approx(0.2, abs=0.01)


def test_all_lookups_of_a_frame_share_one_limit() -> None:
    source = LateSource(known_from_s=9.0)
    transforms = patient(source, 0.2)
    for _ in range(3):
        with pytest.raises(TransformError):
            transforms.lookup("base", "camera", 1)
    assert source.now_s == pytest.approx(0.2, abs=0.01)


def test_a_new_frame_may_wait_again() -> None:
    source = LateSource(known_from_s=0.3)
    transforms = patient(source, 0.2)
    with pytest.raises(TransformError):
        transforms.lookup("base", "camera", 1)
    transforms.start_frame()
    transforms.lookup("base", "camera", 1)


def test_a_frame_that_nobody_publishes_is_not_waited_for() -> None:
    source = LateSource(known_from_s=0.1, reason="no_transform")
    with pytest.raises(TransformError):
        patient(source, 0.2).lookup("base", "camera", 1)
    assert source.now_s == 0.0


def test_a_frame_that_nobody_wants_any_more_does_not_wait() -> None:
    source = LateSource(known_from_s=9.0)
    transforms = patient(source, 5.0)
    transforms.give_up()
    with pytest.raises(TransformError):
        transforms.lookup("base", "camera", 1)
    assert source.now_s == 0.0
