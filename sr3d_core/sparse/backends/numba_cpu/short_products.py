"""Convolution and its gradient on products of bfloat16, summed in float32, compiled.

One instruction multiplies two pairs of bfloat16 and adds both products to a float32. So numbers
travel in pairs, as if a pair were one float: of two channels in a convolution, of two rows in the
gradient of its weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sr3d_core.sparse.backends.numba_cpu.machine_code import compiled, has_short_products, inner
from sr3d_core.sparse.backends.numba_cpu.micro_kernel import take_ticket
from sr3d_core.sparse.backends.numba_cpu.products import CONVOLVE, add_outer_of, convolve_of

if not has_short_products():  # the compiler would end the process
    raise ImportError("this CPU has no products of bfloat16 in whole vectors (AVX-512 BF16)")

PACKED_ROWS = 64
"""So many pairs of rows are laid side by side at a time: 64 KiB at 128 channels each."""
_convolve = convolve_of(is_short=True)
_add_outer = add_outer_of(is_short=True)


@compiled(CONVOLVE)
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
    low: Any,
) -> None:
    """`products.convolve`; each number of x (I, Cin / 2) and w (K, Cin / 2, Cout) is a pair."""
    epilogue = (scale, shift, shortcut, low)
    _convolve(counter, x, w, inputs, outputs, starts, block, y, epilogue)


@inner
def _lay_side_by_side(x: Any, rows: Any, pairs: Any) -> None:
    """`pairs[q, c]` holds `x[rows[2q], c]` and, where there is one, `x[rows[2q + 1], c]`."""
    for q in range((len(rows) + 1) // 2):
        first, pair = x[rows[2 * q]], pairs[q]
        if 2 * q + 1 < len(rows):
            second = x[rows[2 * q + 1]]
            for c in range(len(first)):
                pair[c] = np.uint32(first[c]) | (np.uint32(second[c]) << np.uint32(16))
        else:
            for c in range(len(first)):
                pair[c] = np.uint32(first[c])


@compiled("void(i8[::1], u2[:,::1], u2[:,::1], i4[::1], i4[::1], i4[:,::1], i8, f4[:,:,::1])")
def weight_gradient(
    counter: Any, x: Any, y: Any, inputs: Any, outputs: Any, starts: Any, num_tasks: int, w: Any
) -> None:
    """`products.weight_gradient` of bfloat16, which numba knows by their bits alone."""
    left = np.empty((PACKED_ROWS, x.shape[1]), np.uint32)
    right = np.empty((PACKED_ROWS, y.shape[1]), np.uint32)
    in_turn = np.arange(PACKED_ROWS).astype(np.int32)
    place = in_turn.ctypes.data
    while True:
        first: int = take_ticket(counter.ctypes.data)
        if first >= num_tasks:
            break
        for t in range(len(starts)):
            for k in range(first, len(w), num_tasks):
                end = np.int64(starts[t, k + 1])
                for p in range(np.int64(starts[t, k]), end, 2 * PACKED_ROWS):
                    part = slice(p, min(p + 2 * PACKED_ROWS, end))
                    num_pairs = (part.stop - part.start + 1) // 2
                    _lay_side_by_side(x, inputs[part], left)
                    _lay_side_by_side(y, outputs[part], right)
                    _add_outer(left, right, place, place, num_pairs, w[k])
