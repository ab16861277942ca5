"""Convolution, its gradients and pooling on blocked pairs of rows, compiled.

Pairs are listed by block of output rows, within a block by kernel offset, so that a block's sums
stay in the cache while all offsets add to them. Matrices are float32 and without gaps; the last
dimension of weights and of what they multiply into is a whole number of vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sr3d_core.sparse.backends.numba_cpu.machine_code import (
    compiled,
    inner,
    vector_lanes,
    vector_registers,
)
from sr3d_core.sparse.backends.numba_cpu.micro_kernel import outer_tile, product_tile, take_ticket

LANES = vector_lanes()
MAX_VECTORS = 4 if vector_registers() == 32 else 2
"""Vectors per tile: 6 rows of so many sums, and a few factors, fill the registers."""
_TILE = MAX_VECTORS * LANES


def _products_of(vectors: int) -> Callable[..., None]:
    """A function that multiplies a list of pairs into `vectors` vectors of columns."""
    six, three, one = (product_tile(rows, vectors, LANES) for rows in (6, 3, 1))

    @inner
    def products(args: Any, num_pairs: int) -> None:
        x, x_width, inputs, w, w_width, y, y_width, outputs = args
        p = 0
        while p + 6 <= num_pairs:
            six((x, x_width, inputs + 4 * p, w, w_width, y, y_width, outputs + 4 * p))
            p += 6
        if p + 3 <= num_pairs:
            three((x, x_width, inputs + 4 * p, w, w_width, y, y_width, outputs + 4 * p))
            p += 3
        while p < num_pairs:
            one((x, x_width, inputs + 4 * p, w, w_width, y, y_width, outputs + 4 * p))
            p += 1

    return products


def _outer_of(vectors: int) -> Callable[..., None]:
    """A function that sums the outer products of a list of pairs, for `vectors` of columns."""
    six, three, one = (outer_tile(rows, vectors, LANES) for rows in (6, 3, 1))

    @inner
    def outer(args: Any) -> None:
        x, x_width, inputs, y, y_width, outputs, num_pairs, w, w_width = args
        pairs = (y, y_width, outputs, num_pairs)
        c = 0
        while c + 6 <= x_width:
            six((x + 4 * c, x_width, inputs, *pairs, w + 4 * c * w_width, w_width))
            c += 6
        if c + 3 <= x_width:
            three((x + 4 * c, x_width, inputs, *pairs, w + 4 * c * w_width, w_width))
            c += 3
        while c < x_width:
            one((x + 4 * c, x_width, inputs, *pairs, w + 4 * c * w_width, w_width))
            c += 1

    return outer


_products_1, _products_2, _products_3, _products_4 = (_products_of(v) for v in (1, 2, 3, 4))
_outer_1, _outer_2, _outer_3, _outer_4 = (_outer_of(v) for v in (1, 2, 3, 4))


@inner
def finish(y: Any, scale: Any, shift: Any, shortcut: Any, has_shortcut: Any, low: Any) -> None:
    """`max(scale * y + shift + shortcut, low)`, in place."""
    for o in range(len(y)):
        if has_shortcut:
            for c in range(y.shape[1]):
                y[o, c] = max(y[o, c] * scale[c] + shift[c] + shortcut[o, c], low)
        else:
            for c in range(y.shape[1]):
                y[o, c] = max(y[o, c] * scale[c] + shift[c], low)


@compiled(
    "void(i8[::1], f4[:,::1], f4[:,:,::1], i4[::1], i4[::1], i4[:,::1], i8, f4[:,::1], f4[::1],"
    "f4[::1], f4[:,::1], b1, b1)"
)
def convolve(
    counter: Any,
    x: Any,
    w: Any,
    inputs: Any,
    outputs: Any,
    starts: Any,
    block: int,
    y: Any,
    scale: Any,
    shift: Any,
    shortcut: Any,
    has_shortcut: bool,
    is_rectified: bool,
) -> None:
    """`y[o] = sum over pairs (k, i, o) of x[i] w[k]`, then scaled and so on if there is a `scale`.

    `starts` (blocks, K + 1) says where the pairs of each offset begin. Threads that share a
    `counter`, 0 at first, share the blocks.
    """
    low = np.float32(0 if is_rectified else -np.inf)
    num_kernel, num_channels, width = w.shape
    while True:
        t: int = take_ticket(counter.ctypes.data)
        if t >= len(starts):
            break
        rows = slice(t * block, (t + 1) * block)
        y[rows] = np.float32(0)
        for first in range(0, width, _TILE):
            vectors = min(MAX_VECTORS, (width - first) // LANES)
            for k in range(num_kernel):
                p, num_pairs = np.int64(starts[t, k]), np.int64(starts[t, k + 1] - starts[t, k])
                if num_pairs == 0:
                    continue
                seen, written = inputs.ctypes.data + 4 * p, outputs.ctypes.data + 4 * p
                matrix = w.ctypes.data + 4 * (k * num_channels * width + first)
                out = y.ctypes.data + 4 * first
                args = (x.ctypes.data, num_channels, seen, matrix, width, out, width, written)
                if vectors == 1:
                    _products_1(args, num_pairs)
                elif vectors == 2:
                    _products_2(args, num_pairs)
                elif vectors == 3:
                    _products_3(args, num_pairs)
                else:
                    _products_4(args, num_pairs)
        if len(scale):
            finish(y[rows], scale, shift, shortcut[rows], has_shortcut, low)


@compiled("void(i8, i8, f4[:,::1], f4[:,::1], i4[::1], i4[::1], i4[:,::1], f4[:,:,::1])")
def weight_gradient(
    part: int, num_parts: int, x: Any, y: Any, inputs: Any, outputs: Any, starts: Any, w: Any
) -> None:
    """`w[k] += sum over pairs (k, i, o) of x[i]^T y[o]`, for every `num_parts`-th offset k."""
    num_kernel, num_channels, width = w.shape
    for t in range(len(starts)):
        for k in range(part, num_kernel, num_parts):
            p, num_pairs = np.int64(starts[t, k]), np.int64(starts[t, k + 1] - starts[t, k])
            if num_pairs == 0:
                continue
            seen, written = inputs.ctypes.data + 4 * p, outputs.ctypes.data + 4 * p
            for first in range(0, width, _TILE):
                vectors = min(MAX_VECTORS, (width - first) // LANES)
                matrix = w.ctypes.data + 4 * (k * num_channels * width + first)
                above = y.ctypes.data + 4 * first
                pairs = (x.ctypes.data, num_channels, seen, above, width, written, num_pairs)
                args = (*pairs, matrix, width)
                if vectors == 1:
                    _outer_1(args)
                elif vectors == 2:
                    _outer_2(args)
                elif vectors == 3:
                    _outer_3(args)
                else:
                    _outer_4(args)


@compiled("void(f4[:,::1], i4[:,::1], f4[:,::1])")
def max_pool(x: Any, neighbours: Any, y: Any) -> None:
    """`y[o]` is the channel-wise maximum of the rows of x that `neighbours[:, o]` names."""
    for o in range(len(y)):
        y[o] = np.float32(-np.inf)
        for k in range(len(neighbours)):
            i = neighbours[k, o]
            if i >= 0:
                for c in range(y.shape[1]):
                    y[o, c] = max(y[o, c], x[i, c])


@compiled("void(f4[:,::1], f4[:,::1], f4[:,::1], i4[:,::1], f4[:,::1])")
def max_pool_gradient(x: Any, y: Any, above: Any, neighbours: Any, gradient: Any) -> None:
    """Adds to `gradient` what `above` gives the rows of x; rows that tie share it evenly."""
    num_ties = np.empty(y.shape[1], np.float32)
    for o in range(len(y)):
        num_ties[:] = np.float32(0)
        for k in range(len(neighbours)):
            i = neighbours[k, o]
            if i >= 0:
                for c in range(y.shape[1]):
                    num_ties[c] += np.float32(x[i, c] == y[o, c])
        for k in range(len(neighbours)):
            i = neighbours[k, o]
            if i >= 0:
                for c in range(y.shape[1]):
                    if x[i, c] == y[o, c]:
                        gradient[i, c] += above[o, c] / num_ties[c]
