"""Kernel maps on a CPU: a bit per cell of the lattice, and how many bits are set before each word.

The row of a voxel is the rank of its bit, so 1.5 bits per cell answer every look-up, sort every
set and find its duplicates, all in linear time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sr3d_core.sparse.backends.numba_cpu.machine_code import compiled
from sr3d_core.sparse.backends.numba_cpu.micro_kernel import count_bits, lowest_bit


@compiled("void(i8[::1], u8[::1])")
def mark(numbers: Any, bits: Any) -> None:
    """Set the bit of every numbered cell."""
    for i in range(len(numbers)):
        bits[numbers[i] >> 6] |= np.uint64(1) << np.uint64(numbers[i] & 63)


@compiled("i8(u8[::1], i4[::1])")
def count(bits: Any, before: Any) -> int:
    """How many bits are set; `before` gets how many are set in earlier words."""
    total = 0
    for word in range(len(bits)):
        before[word] = total
        total += count_bits(bits[word])
    return total


@compiled("void(u8[::1], i8[::1])")
def list_cells(bits: Any, numbers: Any) -> None:
    """The numbers of all set bits, ascending."""
    place = 0
    for word in range(len(bits)):
        rest = bits[word]
        while rest != 0:
            numbers[place] = 64 * word + lowest_bit(rest)
            rest &= rest - np.uint64(1)
            place += 1


@compiled("void(i8[::1], u8[::1], i4[::1], i8[::1])")
def rank(numbers: Any, bits: Any, before: Any, ranks: Any) -> None:
    """How many set bits lie before each of these set bits."""
    for i in range(len(numbers)):
        word, bit = numbers[i] >> 6, np.uint64(numbers[i] & 63)
        below = bits[word] & ((np.uint64(1) << bit) - np.uint64(1))
        ranks[i] = before[word] + count_bits(below)


@compiled("void(i8[::1], i8[::1], u8[::1], i4[::1], i4[::1], i4[:,::1])")
def look_up(numbers: Any, steps: Any, bits: Any, before: Any, rows: Any, found: Any) -> None:
    """`found[k, i]` is the row at cell `numbers[i] + steps[k]`, -1 where it is empty."""
    for k in range(len(steps)):
        for i in range(len(numbers)):
            number = numbers[i] + steps[k]
            word, bit = bits[number >> 6], np.uint64(number & 63)
            found[k, i] = -1
            if (word >> bit) & np.uint64(1):
                below = word & ((np.uint64(1) << bit) - np.uint64(1))
                found[k, i] = rows[before[number >> 6] + count_bits(below)]


@compiled("void(i4[:,::1], i4[:,::1])")
def transpose(neighbours: Any, transposed: Any) -> None:
    """`transposed[k, i] = o` where `neighbours[k, o] = i`; the rest stays as it is."""
    for k in range(len(neighbours)):
        for o in range(neighbours.shape[1]):
            if neighbours[k, o] >= 0:
                transposed[k, neighbours[k, o]] = o


@compiled("void(i4[:,::1], i8, i4[:,::1])")
def count_pairs(neighbours: Any, block: int, starts: Any) -> None:
    """`starts[t, k]` is where the pairs of block t and offset k begin, `starts[t, K]` the end."""
    num_kernel, num_rows = neighbours.shape
    total = 0
    for t in range(len(starts)):
        starts[t, 0] = total
        for k in range(num_kernel):
            for o in range(t * block, min(num_rows, (t + 1) * block)):
                total += neighbours[k, o] >= 0
            starts[t, k + 1] = total


@compiled("void(i4[:,::1], i8, i4[::1], i4[::1])")
def list_pairs(neighbours: Any, block: int, inputs: Any, outputs: Any) -> None:
    """The pairs by block, offset and row; the lists have room for one more than there are."""
    num_kernel, num_rows = neighbours.shape
    p = 0
    for first in range(0, num_rows, block):
        for k in range(num_kernel):
            for o in range(first, min(num_rows, first + block)):
                inputs[p] = neighbours[k, o]
                outputs[p] = o
                p += neighbours[k, o] >= 0
