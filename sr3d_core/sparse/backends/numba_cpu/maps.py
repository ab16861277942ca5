"""Kernel maps on a CPU: a bit per cell of the lattice, and how many bits are set before each word.

The row of a voxel is the rank of its bit, so 1.5 bits per cell answer every look-up, sort every
set and find its duplicates, all in linear time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sr3d_core.sparse.backends.numba_cpu.machine_code import compiled, inner
from sr3d_core.sparse.backends.numba_cpu.micro_kernel import count_bits, lowest_bit, take_ticket

SIX = np.uint64(6)  # 64 bits per word
CHUNK = 512
"""Voxels or words of cells that a thread does at a time."""


@inner
def _cells(distance: Any, stride: Any) -> Any:
    """How many whole cells fit into a distance, rounded down; quickly for powers of two."""
    if stride & (stride - 1):
        return distance // stride
    return distance >> lowest_bit(np.uint64(stride))


@compiled("void(i8[:,::1], i8[::1], i8[::1])")
def bounds(coords: Any, low: Any, high: Any) -> None:
    """The lowest and the highest scene, x, y and z."""
    scene, x, y, z = coords[0]
    last_scene, last_x, last_y, last_z = coords[0]
    for i in range(len(coords)):
        scene, last_scene = min(scene, coords[i, 0]), max(last_scene, coords[i, 0])
        x, last_x = min(x, coords[i, 1]), max(last_x, coords[i, 1])
        y, last_y = min(y, coords[i, 2]), max(last_y, coords[i, 2])
        z, last_z = min(z, coords[i, 3]), max(last_z, coords[i, 3])
    low[:] = (scene, x, y, z)
    high[:] = (last_scene, last_x, last_y, last_z)


@compiled("void(i8[::1], i8[:,::1], i8, i8[::1], UniTuple(i8, 4), i8[::1])")
def number(counter: Any, coords: Any, stride: int, origin: Any, shape: Any, numbers: Any) -> None:
    """The number of the cell of this stride that each voxel lies in."""
    _, nx, ny, nz = shape
    scene, x, y, z = origin[0], origin[1], origin[2], origin[3]
    is_power, shift = stride & (stride - 1) == 0, lowest_bit(np.uint64(stride))
    while True:
        start: int = CHUNK * take_ticket(counter.ctypes.data)
        if start >= len(coords):
            break
        some, target = coords[start : start + CHUNK], numbers[start : start + CHUNK]
        if is_power:
            for i in range(len(some)):
                plane = (some[i, 0] - scene) * nx + ((some[i, 1] - x) >> shift)
                column = plane * ny + ((some[i, 2] - y) >> shift)
                target[i] = column * nz + ((some[i, 3] - z) >> shift)
        else:
            for i in range(len(some)):
                plane = (some[i, 0] - scene) * nx + (some[i, 1] - x) // stride
                column = plane * ny + (some[i, 2] - y) // stride
                target[i] = column * nz + (some[i, 3] - z) // stride


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


@compiled("void(i8[::1], i8[:,::1], i8[::1], i8, i8, i4[:,::1])")
def cells(counter: Any, coords: Any, row: Any, stride: int, kernel: int, neighbours: Any) -> None:
    """`neighbours[k, row[i]] = i` where voxel i is the k-th of its cell."""
    while True:
        start: int = CHUNK * take_ticket(counter.ctypes.data)
        if start >= len(coords):
            break
        for i in range(start, min(len(coords), start + CHUNK)):
            k = 0
            for axis in range(3, 0, -1):
                place = _cells(coords[i, axis], stride)
                k = k * kernel + place - kernel * _cells(coords[i, axis], stride * kernel)
            neighbours[k, row[i]] = i


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


@compiled("void(i8[::1], u8[::1], i4[::1], i8, i8[::1], UniTuple(i8, 4), i8[::1], i8[:,::1])")
def list_cells(
    counter: Any,
    bits: Any,
    before: Any,
    stride: int,
    origin: Any,
    shape: Any,
    numbers: Any,
    coords: Any,
) -> None:
    """The numbers of all set bits, ascending, and the corners of their cells."""
    _, nx, ny, nz = shape
    per_x, per_y, per_z = 1 / nx, 1 / ny, 1 / nz  # exact below 2^50 cells, thanks to the halves
    while True:
        start: int = CHUNK * take_ticket(counter.ctypes.data)
        if start >= len(bits):
            break
        for word in range(start, min(len(bits), start + CHUNK)):
            rest, i = bits[word], np.uint64(before[word])
            while rest != 0:
                cell = 64 * word + lowest_bit(rest)
                rest &= rest - np.uint64(1)
                column = np.int64((cell + 0.5) * per_z)
                plane = np.int64((column + 0.5) * per_y)
                scene = np.int64((plane + 0.5) * per_x)
                numbers[i] = cell
                coords[i, 0] = origin[0] + scene
                coords[i, 1] = origin[1] + stride * (plane - scene * nx)
                coords[i, 2] = origin[2] + stride * (column - plane * ny)
                coords[i, 3] = origin[3] + stride * (cell - column * nz)
                i += np.uint64(1)


@compiled("void(i8[::1], i8[::1], u8[::1], i4[::1], i8[::1])")
def rank(counter: Any, numbers: Any, bits: Any, before: Any, ranks: Any) -> None:
    """How many set bits lie before each of these set bits."""
    while True:
        start: int = CHUNK * take_ticket(counter.ctypes.data)
        if start >= len(numbers):
            break
        some, target = numbers[start : start + CHUNK], ranks[start : start + CHUNK]
        for i in range(len(some)):
            cell = np.uint64(some[i])
            word, bit = bits[cell >> SIX], cell & np.uint64(63)
            below = word & ((np.uint64(1) << bit) - np.uint64(1))
            target[i] = before[cell >> SIX] + count_bits(below)


@compiled("void(i8[::1], i8[::1], i8[::1], i8, u8[::1], i4[::1], i4[::1], i4[:,::1])")
def look_up(
    counter: Any,
    numbers: Any,
    columns: Any,
    depth: int,
    bits: Any,
    before: Any,
    rows: Any,
    found: Any,
) -> None:
    """What a kernel sees from each numbered cell: rows, -1 where a cell is empty.

    `found[z * len(columns) + c, i]` is the row at cell `numbers[i] + columns[c] + z` for z below
    `depth`: one look at a column's bits tells of them all. A voxel's row is its rank, or what
    `rows` says of the rank if that is not empty: `rows[0]` of no voxel, then those of the voxels.
    """
    ranks, windows = np.empty(CHUNK, np.int32), np.empty(CHUNK, np.int32)
    one, last = np.uint64(1), np.uint64(63)
    while True:
        start: int = CHUNK * take_ticket(counter.ctypes.data)
        if start >= len(numbers):
            break
        some = numbers[start : start + CHUNK]
        for c in range(len(columns)):
            step = columns[c]
            for i in range(len(some)):
                cell = np.uint64(some[i] + step)
                word, bit = bits[cell >> SIX], cell & last
                above = bits[(cell >> SIX) + one]
                ranks[i] = before[cell >> SIX] + count_bits(word & ((one << bit) - one))
                windows[i] = np.int32((word >> bit) | ((above << one) << (last - bit)))
            for z in range(depth):
                target = found[z * len(columns) + c, start : start + CHUNK]
                for i in range(len(some)):
                    is_set = windows[i] & np.int32(1)
                    target[i] = ranks[i] if is_set else np.int32(-1)
                    ranks[i] += is_set
                    windows[i] >>= np.int32(1)
                if len(rows):
                    for i in range(len(some)):
                        target[i] = rows[np.uint32(target[i] + np.int32(1))]


@compiled("void(i8[::1], i4[:,::1], i4[:,::1])")
def transpose(counter: Any, neighbours: Any, transposed: Any) -> None:
    """`transposed[k, i] = o` where `neighbours[k, o] = i`, else -1."""
    while True:
        k: int = take_ticket(counter.ctypes.data)
        if k >= len(neighbours):
            break
        transposed[k] = -1
        for o in range(neighbours.shape[1]):
            if neighbours[k, o] >= 0:
                transposed[k, neighbours[k, o]] = o


@compiled("void(i8[::1], i4[:,::1], i8, i8[::1])")
def count_pairs(counter: Any, neighbours: Any, block: int, sizes: Any) -> None:
    """How many pairs each block of outputs has."""
    num_kernel, num_rows = neighbours.shape
    while True:
        t: int = take_ticket(counter.ctypes.data)
        if t >= len(sizes):
            break
        size = np.int32(0)
        for k in range(num_kernel):
            some = neighbours[k, t * block : min(num_rows, (t + 1) * block)]
            for i in range(len(some)):
                size += np.int32(some[i] >= 0)
        sizes[t] = size


@compiled("void(i8[::1], i4[:,::1], i8, i4[::1], i4[::1], i4[:,::1])")
def list_pairs(
    counter: Any, neighbours: Any, block: int, inputs: Any, outputs: Any, starts: Any
) -> None:
    """The pairs of each block of outputs, by offset and row.

    Those of block t begin at `starts[t, 0]`, which is given, those of its offset k at
    `starts[t, k]`; they end at `starts[t, K]`. A block has room for one more than it has.
    """
    num_kernel, num_rows = neighbours.shape
    while True:
        t: int = take_ticket(counter.ctypes.data)
        if t >= len(starts):
            break
        first = t * block
        p = np.uint64(starts[t, 0])  # without a sign: no check for counting from the end
        for k in range(num_kernel):
            starts[t, k] = p
            o = first
            for seen in neighbours[k, first : min(num_rows, first + block)]:
                inputs[p] = seen
                outputs[p] = o
                p += np.uint64(seen >= 0)
                o += 1
        starts[t, num_kernel] = p
