"""Memory that a training has given back goes back to the system."""

from __future__ import annotations

import ctypes
import os
from collections.abc import MutableMapping

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_ASIDE_BYTES = 1 << 24
_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def give_back_large(environment: MutableMapping[str, str] = os.environ) -> None:
    """From now on, in this process: tensors of 16 MB or more leave nothing behind; Linux.

    The tensors of each step have other sizes. glibc learns from the first that it frees to take
    all up to 32 MB from one heap, where one that stays pins what is free below it: a pre-training
    that needs 1.2 GB came to hold 3.5 GB. What lies aside costs new pages in each step, which
    huge ones make up for (torch's own switch, for whoever has not set it). Call it before torch
    makes a tensor; elsewhere nothing happens.
    """
    environment.setdefault(_HUGE_PAGES, "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    mallopt(_M_MMAP_THRESHOLD, _ASIDE_BYTES)
