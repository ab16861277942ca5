"""How much memory a training has taken."""

from __future__ import annotations

import math
import sys

import torch


def peak_memory_gb(device: torch.device) -> float:
    """The most that this process has held so far: of the GPU where it learns on one.

    NaN where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9  # kilobytes on Linux
