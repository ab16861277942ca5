"""Kernel maps on a CPU: a bit per cell of the lattice, and how many bits are set before each word.

The row of a voxel is the rank of its bit, so 1.5 bits per cell answer every look-up, sort every
set and find its duplicates, all in linear time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sr3d_core.sparse.backends.numba_cpu.machine_code import compiled, inner
from sr3d_core.sparse.backends.numba_cpu.micro_kernel import count_bits, lowest_bit

SIX = np.uint64(6)  # 64 bits per word


@inner
def _cells(distance: Any, stride: Any) -> Any:
    """How many whole cells fit into a distance, rounded down; quickly for powers of two."""
    if stride & (stride - 1):
        return distance // stride
    return distance >> lowest_bit(np.uint64(stride))


@compiled("void(i8[:,::1], i8, i8[::1], i8[::1])")
def bounds(coords: Any, stride: int, low: Any, high: Any) -> None:
    """The lowest and the highest cell corners of this stride along scene, x, y and z."""
    low[:] = coords[0]
    high[:] = coords[0]
    for i in range(len(coords)):
        for axis in range(4):
            low[axis] = min(low[axis], coords[i, axis])
            high[axis] = max(high[axis], coords[i, axis])
    for axis in range(1, 4):
        low[axis] = _cells(low[axis], stride) * stride
        high[axis] = _cells(high[axis], stride) * stride


@compiled("void(i8[:,::1], i8, i8[::1], UniTuple(i8, 4), i8[::1])")
def number(coords: Any, stride: int, origin: Any, shape: Any, numbers: Any) -> None:
    """The number of the cell of this stride that each voxel lies in."""
    _, nx, ny, nz = shape
    for i in range(len(coords)):
        x = _cells(coords[i, 1] - origin[1], stride)
        y = _cells(coords[i, 2] - origin[2], stride)
        z = _cells(coords[i, 3] - origin[3], stride)
        numbers[i] = (((coords[i, 0] - origin[0]) * nx + x) * ny + y) * nz + z


@compiled("void(i8[::1], i8, i8[::1], UniTuple(i8, 4), i8[:,::1])")
def corners(numbers: Any, stride: int, origin: Any, shape: Any, coords: Any) -> None:
    """The corner of each numbered cell; the numbers ascend."""
    _, nx, ny, nz = shape
    scene, x, y, first = 0, 0, 0, np.int64(-nz)  # `first` is the lowest number of the column
    for i in range(len(numbers)):
        if numbers[i] >= first + nz:
            column = numbers[i] // nz
            plane = column // ny
            scene, x, y, first = plane // nx, plane % nx, column % ny, column * nz
        coords[i, 0] = origin[0] + scene
        coords[i, 1] = origin[1] + stride * x
        coords[i, 2] = origin[2] + stride * y
        coords[i, 3] = origin[3] + stride * (numbers[i] - first)


@compiled("i8(i8[::1], u8[::1], i8[::1])")
def first_rows(numbers: Any, bits: Any, rows: Any) -> int:
    """The rows whose number does not come earlier; returns how many there are."""
    found = 0
    for i in range(len(numbers)):
        word, bit = numbers[i] >> 6, np.uint64(1) << np.uint64(numbers[i] & 63)
        rows[found] = i
        found += (bits[word] & bit) == 0
        bits[word] |= bit
    return found


@compiled("void(i8[:,::1], i8[:,::1], i8[::1], i8, i8, i4[:,::1])")
def cells(coords: Any, coarse: Any, row: Any, stride: int, kernel: int, neighbours: Any) -> None:
    """`neighbours[k, o] = i` where voxel i is the k-th of cell o, its own."""
    for i in range(len(coords)):
        o, k = row[i], 0
        for axis in range(3, 0, -1):
            k = k * kernel + _cells(coords[i, axis] - coarse[o, axis], stride)
        neighbours[k, o] = i


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
    """`found[k, i]` is the row at cell `numbers[i] + steps[k]`, -1 where it is empty.

    `rows` has one more entry than there are voxels.
    """
    for k in range(len(steps)):
        step = steps[k]
        for i in range(len(numbers)):
            cell = np.uint64(numbers[i] + step)
            word, bit = bits[cell >> SIX], cell & np.uint64(63)
            below = word & ((np.uint64(1) << bit) - np.uint64(1))
            row = rows[before[cell >> SIX] + count_bits(below)]  # without branches: any row
            found[k, i] = (row + 1) * np.int64((word >> bit) & np.uint64(1)) - 1


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
            for seen in neighbours[k, t * block : min(num_rows, (t + 1) * block)]:
                total += seen >= 0
            starts[t, k + 1] = total


@compiled("void(i4[:,::1], i8, i4[::1], i4[::1])")
def list_pairs(neighbours: Any, block: int, inputs: Any, outputs: Any) -> None:
    """The pairs by block, offset and row; the lists have room for one more than there are."""
    num_kernel, num_rows = neighbours.shape
    p = np.uint64(0)  # an index without a sign needs no check for counting from the end
    for first in range(0, num_rows, block):
        for k in range(num_kernel):
            o = first
            for seen in neighbours[k, first : min(num_rows, first + block)]:
                inputs[p] = seen
                outputs[p] = o
                p += np.uint64(seen >= 0)
                o += 1
