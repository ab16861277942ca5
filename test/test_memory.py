"""A full GPU: freed, halved, tried once more, reported; other errors are left alone."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys

import pytest
import torch

from sr3d_core.structures import Detections, Images, PointCloud
from sr3d_ros.budget import MemoryGuard, OutOfMemory, is_out_of_memory, memory_values
from sr3d_ros.parameters.record import Parameters

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB\nsecond line"


class SmallGpu:
    """A detector that has room for so many points."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.seen: list[int] = []
        self.num_freed = 0

    def detect(self, cloud: PointCloud) -> Detections:
        self.seen.append(len(cloud))
        if len(cloud) > self.room:
            raise torch.cuda.OutOfMemoryError(FULL)
        return Detections.empty()

    def free(self) -> None:
        self.num_freed += 1


def cloud(num_points: int) -> PointCloud:
    return PointCloud.single(torch.zeros(num_points, 3), None)


def guarded(gpu: SmallGpu) -> MemoryGuard:
    return MemoryGuard(gpu.detect, gpu.free)


def test_where_memory_does_nothing_changes() -> None:
    gpu = SmallGpu(room=10_000)
    detector = guarded(gpu)
    detector(cloud(10_000))
    assert (gpu.seen, gpu.num_freed) == ([10_000], 0)
    assert (detector.max_points, detector.warning) == (None, "")


def test_where_memory_runs_out_half_the_points_are_tried_once() -> None:
    gpu = SmallGpu(room=6_000)
    guarded(gpu)(cloud(10_000))
    assert (gpu.seen, gpu.num_freed) == ([10_000, 5_000], 1)


def test_the_budget_stays_halved_and_is_reported() -> None:
    gpu = SmallGpu(room=6_000)
    detector = guarded(gpu)
    detector(cloud(10_000))
    detector(cloud(10_000))
    assert gpu.seen == [10_000, 5_000, 5_000]
    assert "thinned to 5000 points" in detector.warning


def test_the_budget_is_forgotten_by_the_first_frame_after_other_points_were_asked_for() -> None:
    gpu = SmallGpu(room=6_000)
    detector = guarded(gpu)
    for max_points in (20_000, 20_000, 15_000):
        detector.start_frame(Parameters(max_points=max_points))
        detector(cloud(10_000))
    assert gpu.seen == [10_000, 5_000, 5_000, 10_000, 5_000]


def test_where_half_is_too_much_the_frame_is_refused_with_the_figures() -> None:
    gpu = SmallGpu(room=100)
    detector = guarded(gpu)
    with pytest.raises(OutOfMemory) as caught:
        detector(cloud(10_000))
    assert caught.value.reason == "out_of_memory"
    assert re.search("10000 .*5000.*CUDA out of memory.*2.00 GiB", str(caught.value))
    assert "second line" not in str(caught.value)
    assert (gpu.seen, gpu.num_freed) == ([10_000, 5_000], 2)


def test_the_budget_is_not_halved_to_nothing() -> None:
    gpu = SmallGpu(room=100)
    detector = guarded(gpu)
    for _ in range(20):
        with pytest.raises(OutOfMemory):
            detector(cloud(10_000))
    assert detector.max_points == 1000


def test_other_errors_pass_through() -> None:
    def broken(_: PointCloud) -> Detections:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        MemoryGuard(broken)(cloud(1))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes"), False),
    ],
)
def test_out_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_memory_of_the_process_is_told_in_megabytes() -> None:
    assert 50 < float(memory_values(torch.device("cpu"))["process (MB)"]) < 100_000


@pytest.mark.slow
def test_what_c_keeps_of_freed_memory_is_given_back() -> None:
    """In a process of its own, whose memory nobody else changes."""
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library is not glibc")
    script = """
from sr3d_ros.budget import _resident_bytes, give_back
blocks = [bytes([1]) * 100_000 for _ in range(400)]
full, last = _resident_bytes(), bytes([1]) * 100_000  # the last one keeps the heap from shrinking
blocks.clear()
kept = _resident_bytes()
give_back()
assert full - kept < 10e6, "glibc has given it back by itself: the test shows nothing"
assert full - _resident_bytes() > 30e6, (full, kept, _resident_bytes())
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_an_image_that_does_not_fit_is_reported_and_memory_is_freed() -> None:
    freed = []

    def full(_: Images) -> Detections:
        raise torch.cuda.OutOfMemoryError(FULL)

    image = Images(torch.zeros(1, 3, 8, 8), torch.eye(3)[None], torch.eye(4)[None])
    guard = MemoryGuard(full, lambda: freed.append(1))
    with pytest.raises(OutOfMemory, match="no memory for a color image: CUDA out of memory"):
        guard(image)
    assert (freed, guard.max_points) == ([1], None)  # clouds have room as before
    assert len(MemoryGuard(lambda _: Detections.empty())(image)) == 0
