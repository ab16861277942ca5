"""What a training frees goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from sr3d_core.training.allocator import give_back_large

_HELD = """
import ctypes, sys
from sr3d_core.training.allocator import give_back_large

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def filled(num_bytes):
    found = libc.malloc(num_bytes)
    ctypes.memset(found, 1, num_bytes)
    return found

def held_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

if sys.argv[1] == "yes":
    give_back_large()
libc.free(filled(24 << 20))  # glibc takes what is no larger from its heap now
before = held_mb()
large, small = filled(20 << 20), filled(200_000)
libc.free(large)
print(held_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")
def test_a_large_tensor_is_given_back_also_from_below_a_small_one() -> None:
    held = {
        asked: float(subprocess.check_output([sys.executable, "-c", _HELD, asked], text=True))
        for asked in ("yes", "no")
    }
    assert held["yes"] < 5 < 15 < held["no"]


def test_what_is_set_already_stays() -> None:
    environment = {"THP_MEM_ALLOC_ENABLE": "0"}
    give_back_large(environment)
    assert environment == {"THP_MEM_ALLOC_ENABLE": "0"}
    give_back_large(environment := {})
    assert environment == {"THP_MEM_ALLOC_ENABLE": "1"}
