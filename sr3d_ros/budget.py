"""How many points a frame may have: fewer under load, fewer where memory runs out.

`AdaptiveBudget` follows the time that frames take (`load.*`, off by default). `MemoryGuard` keeps
a full GPU from ending the node: it frees what is cached, halves the points and tries once more.
`give_back` is for what a replaced model leaves behind, `memory_values` is what diagnostics show.
"""

from __future__ import annotations

import ctypes
import gc
import resource
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from sr3d_core.geometry.thinning import thinned
from sr3d_core.structures import Detections, Images, PointCloud
from sr3d_ros.errors import OUT_OF_MEMORY, Refused
from sr3d_ros.parameters.record import Parameters

_SLACK = 1.1  # slower than this times the target: fewer points
_ROOM = 0.8  # faster than this times the target: more points
_STEP_DOWN = 0.5  # the least that is left in one step
_STEP_UP = 1.1


class AdaptiveBudget:
    """How many points the next frame may have; belongs to the worker's thread.

    The network's time grows about in proportion to the points it sees, so the budget follows the
    measured time: down at once by the ratio of wanted to measured time, up in small steps. A frame
    that is only a little slow changes nothing, so the budget does not swing.
    """

    def __init__(self) -> None:
        self.max_points: int | None = None

    def reset(self) -> None:
        """Back to what the parameters allow."""
        self.max_points = None

    def points(self, parameters: Parameters) -> int:
        """The budget of the next frame: `input.max_points`, or less under load."""
        if self.max_points is None or not parameters.adaptive:
            return parameters.max_points
        lowest = min(parameters.min_points, parameters.max_points)
        return min(max(self.max_points, lowest), parameters.max_points)

    def observe(
        self, time_ms: Mapping[str, float], num_points: int, parameters: Parameters
    ) -> None:
        """A frame of so many points took so long, by its parts."""
        if not parameters.adaptive:
            return
        # What is left out is waiting for transforms.
        busy_ms = time_ms["parse"] + time_ms["detect"] + time_ms.get("memory", 0.0)
        budget = self.points(parameters)
        if busy_ms > _SLACK * parameters.target_ms:
            share = max(parameters.target_ms / busy_ms, _STEP_DOWN)
            self.max_points = int(min(budget, num_points) * share)
        elif busy_ms < _ROOM * parameters.target_ms and budget < parameters.max_points:
            # A cloud smaller than the budget says nothing about a larger one.
            self.max_points = int(budget * _STEP_UP) + 1 if num_points >= budget else budget
        self.max_points = self.points(parameters)


MIN_POINTS = 1000
"""The budget is not halved below this."""


class OutOfMemory(Refused):
    """A frame that the GPU has no memory for, also with half the points."""


class MemoryGuard:
    """Calls `detect`; where memory runs out, once more with half the points of a cloud.

    `max_points` is the budget that is left, None while memory was always enough. It stays halved
    until other points are asked for: a model that does not fit would otherwise cost every frame an
    attempt in vain. Belongs to the worker's thread.
    """

    def __init__(
        self,
        detect: Callable[[Any], Detections],
        free: Callable[[], None] | None = None,
    ) -> None:
        self.detect = detect
        self.max_points: int | None = None
        self._free = free or free_cache
        self._asked: int | None = None

    def start_frame(self, parameters: Parameters) -> None:
        """Forget the budget where `input.max_points` was set since the last frame.

        Here and not when it is set: the frame in hand may still run out of memory.
        """
        if parameters.max_points != self._asked:
            self.max_points, self._asked = None, parameters.max_points

    def __call__(self, seen: PointCloud | Images) -> Detections:
        """The detections of a cloud or of color images; raises `OutOfMemory`."""
        return self._of_images(seen) if isinstance(seen, Images) else self._of_cloud(seen)

    def _of_images(self, images: Images) -> Detections:
        """All that can be done about images is to free what others hold, for the next ones."""
        try:
            return self.detect(images)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            first_line = str(error).partition("\n")[0]
        self._free()
        raise OutOfMemory(OUT_OF_MEMORY, f"no memory for a color image: {first_line}")

    def _of_cloud(self, cloud: PointCloud) -> Detections:
        cloud = thinned(cloud, self.max_points)
        try:
            return self.detect(cloud)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            first_line = str(error).partition("\n")[0]
        # Outside of the except clause: the traceback would keep the tensors of the failed attempt.
        self.max_points = max(len(cloud) // 2, MIN_POINTS)
        self._free()
        try:
            return self.detect(thinned(cloud, self.max_points))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        self._free()
        raise OutOfMemory(
            OUT_OF_MEMORY,
            f"no memory for {len(cloud)} points, nor for {self.max_points}: {first_line}",
        )

    @property
    def warning(self) -> str:
        """What to say about the budget; "" while memory was always enough."""
        if self.max_points is None:
            return ""
        return (
            f"the GPU's memory ran out: frames are thinned to {self.max_points} points until the "
            "model is loaded again or input.max_points is set; free the GPU of other work"
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means that memory ran out, on whichever device."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def free_cache() -> None:
    """Give back what is cached but not used, also by Python."""
    gc.collect()
    give_back()


def give_back() -> None:
    """Give back what torch's and C's allocators keep but do not use; some milliseconds.

    glibc alone would keep the pages: a node whose model was swapped every minute held 7 MB more
    after each, of which nothing was in use.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, others need it less
    if trim is not None:
        trim(0)


def memory_values(device: torch.device) -> dict[str, str]:
    """Memory in use, in words: this process, and the GPU where there is one."""
    return dict(_values(device))


def _values(device: torch.device) -> Iterator[tuple[str, str]]:
    yield "process (MB)", f"{_resident_bytes() / 1e6:.0f}"
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        yield "GPU of this process (MB)", f"{torch.cuda.memory_reserved(device) / 1e6:.0f}"
        yield "GPU free (MB)", f"{free / 1e6:.0f}"
        yield "GPU total (MB)", f"{total / 1e6:.0f}"


def _resident_bytes() -> int:
    """Resident memory of this process; its peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
