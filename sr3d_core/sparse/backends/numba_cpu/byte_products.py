"""Convolution of bytes on blocked pairs of rows, compiled; see `products`.

A row of features is unsigned bytes times its own scale, so nothing needs to be known of a network
beforehand and one large value costs precision in its own voxel alone. Sums are floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sr3d_core.sparse.backends.numba_cpu.machine_code import (
    compiled,
    has_byte_products,
    inner,
)
from sr3d_core.sparse.backends.numba_cpu.micro_kernel import (
    LANES,
    MAX_VECTORS,
    TILE,
    byte_product_tile,
    take_ticket,
)

if not has_byte_products():  # the compiler would end the process
    raise ImportError("this CPU has no products of bytes in whole vectors (x86's VNNI)")


def _products_of(vectors: int) -> Callable[..., None]:
    """A function that multiplies a list of pairs into `vectors` vectors of columns."""
    six, three, one = (byte_product_tile(rows, vectors, LANES) for rows in (6, 3, 1))

    @inner
    def products(rows: Any, inputs: int, matrix: Any, outputs: int, num_pairs: int) -> None:
        p = 0
        while p + 6 <= num_pairs:
            six((*rows, inputs + 4 * p, *matrix, outputs + 4 * p))
            p += 6
        if p + 3 <= num_pairs:
            three((*rows, inputs + 4 * p, *matrix, outputs + 4 * p))
            p += 3
        while p < num_pairs:
            one((*rows, inputs + 4 * p, *matrix, outputs + 4 * p))
            p += 1

    return products


_products_1, _products_2, _products_3, _products_4 = (_products_of(v) for v in (1, 2, 3, 4))


@inner
def _finish(y: Any, scale: Any, shift: Any, shortcut: Any, has_shortcut: Any, low: Any) -> None:
    """`max(scale * y + shift + shortcut, low)`, in place."""
    for o in range(len(y)):
        if has_shortcut:
            for c in range(y.shape[1]):
                y[o, c] = max(y[o, c] * scale[c] + shift[c] + shortcut[o, c], low)
        else:
            for c in range(y.shape[1]):
                y[o, c] = max(y[o, c] * scale[c] + shift[c], low)


@inner
def _round(x: Any, rows: Any, scales: Any) -> int:
    """`x` is about `rows * scales`, the largest number of a row 255; how many are negative.

    Floats that are not negative are ordered as their bits are, which compare faster.
    """
    num_negative = 0
    bits, largest = x.view(np.int32), scales.view(np.int32)
    for i in range(len(x)):
        most = np.int32(0)
        for c in range(x.shape[1]):
            most = max(most, bits[i, c])
            num_negative += x[i, c] < np.float32(0)
        largest[i] = most
        scales[i] = max(scales[i], np.float32(1e-30)) / np.float32(255)
        factor = np.float32(1) / scales[i]
        for c in range(x.shape[1]):
            rows[i, c] = np.uint8(np.int32(x[i, c] * factor + np.float32(0.5)))
    return num_negative


@compiled("i8(i8[::1], f4[:,::1], i8, u1[:,::1], f4[::1])")
def to_bytes(counter: Any, x: Any, block: int, rows: Any, scales: Any) -> int:
    """Write `x` as `rows * scales[:, None]`, rounded; returns how many numbers are negative.

    Threads that share a `counter`, 0 at first, share the blocks.
    """
    num_negative = 0
    while True:
        first: int = take_ticket(counter.ctypes.data) * block
        if first >= len(x):
            return num_negative
        part = slice(first, first + block)
        num_negative += _round(x[part], rows[part], scales[part])


@compiled(
    "void(i8[::1], u1[:,::1], f4[::1], i1[:,:,:,::1], i4[::1], i4[::1], i4[:,::1], i8, f4[:,::1],"
    "f4[::1], f4[::1], f4[:,::1], b1, b1, u1[:,::1], f4[::1])"
)
def convolve_bytes(
    counter: Any,
    x: Any,
    x_scales: Any,
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
    rows: Any,
    row_scales: Any,
) -> None:
    """`products.convolve` of bytes, whose scales per output channel are part of `scale`.

    w is (K, Cin / 4, Cout, 4). A rectified y is also written as `rows * row_scales`.
    """
    low = np.float32(0 if is_rectified else -np.inf)
    num_kernel, quarter, width = w.shape[:3]
    seen = (x.ctypes.data, quarter, x_scales.ctypes.data)
    while True:
        t: int = take_ticket(counter.ctypes.data)
        if t >= len(starts):
            break
        part = slice(t * block, (t + 1) * block)
        y[part] = np.float32(0)
        for first in range(0, width, TILE):
            vectors = min(MAX_VECTORS, (width - first) // LANES)
            for k in range(num_kernel):
                p, num_pairs = np.int64(starts[t, k]), np.int64(starts[t, k + 1] - starts[t, k])
                if num_pairs == 0:
                    continue
                out = (y.ctypes.data + 4 * first, width)
                matrix = (w.ctypes.data + 4 * (k * quarter * width + first), width, *out)
                i, o = inputs.ctypes.data + 4 * p, outputs.ctypes.data + 4 * p
                if vectors == 1:
                    _products_1(seen, i, matrix, o, num_pairs)
                elif vectors == 2:
                    _products_2(seen, i, matrix, o, num_pairs)
                elif vectors == 3:
                    _products_3(seen, i, matrix, o, num_pairs)
                else:
                    _products_4(seen, i, matrix, o, num_pairs)
        _finish(y[part], scale, shift, shortcut[part], has_shortcut, low)
        if is_rectified:
            _round(y[part], rows[part], row_scales[part])
