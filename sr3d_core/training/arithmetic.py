"""What the convolutions of a training multiply: float32, or bfloat16 where that is faster.

Weights, norms, heads and losses are float32 either way. Accelerate's own mixed precision is not
used: it is settled once for all trainings of a process.
"""

from __future__ import annotations

import logging
import os

import torch

from sr3d_core.sparse.engine import engine_for
from sr3d_core.sparse.engine_list import Precision
from sr3d_core.training.processes import is_main_process

_log = logging.getLogger(__name__)


def multiplies_short(precision: Precision, backend: str) -> bool:
    """Whether convolutions multiply bfloat16 here, in words where nobody has asked for it.

    Raises ValueError for a backend that does not run here.
    """
    if precision != "auto":
        return precision == "bfloat16"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    is_faster = engine_for(backend, device).is_short_faster
    if is_faster and is_main_process(os.environ):
        _log.warning("convolutions multiply bfloat16, which is faster here (precision: auto)")
    return is_faster


def arithmetic(device: torch.device, is_short: bool) -> torch.autocast:
    """Within, convolutions multiply bfloat16 if `is_short`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=is_short)
