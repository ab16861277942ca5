"""Engines that are watched at work: the time of kernel maps, the number of operations."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from sr3d_core.sparse.kernel_map import KernelMap

MAPS = {
    *{"index", "same_map", "down_map", "cell_map", "up_map"},
    *{"occupied_cells", "grown_coords"},
}
LISTS = {"torch": "native", "numba": "numba_cpu.kernel_map"}
"""Modules of the engines that list a map's pairs."""


class MapTimer:
    """An engine whose maps are timed."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.engine, name)
        return (lambda *args: self._time(method, *args)) if name in MAPS else method

    def _time(self, method: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = method(*args)
        if isinstance(result, KernelMap) and self.engine.name in LISTS:
            module = import_module(f"sr3d_core.sparse.backends.{LISTS[self.engine.name]}")
            result.form(module.list_pairs)  # which would be done when they are first needed
        self.seconds += time.perf_counter() - start
        return result


class Counter:
    """An engine whose multiplications and additions are counted; too slow to be timed."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.operations = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.engine, name)
        is_product = name in ("convolve", "infer")
        return (lambda *args: self._count(method, *args)) if is_product else method

    def _count(self, method: Callable[..., Any], *args: Any) -> Any:
        _, weight, kernel_map = args[:3]
        num_pairs = int((kernel_map.neighbours >= 0).sum())
        self.operations += 2.0 * num_pairs * weight.shape[1] * weight.shape[2]
        return method(*args)
