"""Masked implicit matrix products: no gathered copy of the features is ever written.

A tile of output rows goes through the kernel offsets, reads the input rows that its table names,
and multiplies them into sums that stay in registers. Rows are ordered by the set of offsets that
they use, so that most tiles skip most offsets: bit `k % 31` of a row's mask is set where the row
sees something through offset k. Rows and tables are addressed in 64 bits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, no_type_check

import triton
import triton.language as tl


def kernel(function: Callable[..., Any]) -> Any:
    """`triton.jit` of a function as it is written, without what a checker of types put around it.

    Triton types parameters by what they are called with.
    """
    return triton.jit(inspect.unwrap(function))


@kernel
@no_type_check
def _either(a, b):
    return a | b


@kernel
@no_type_check
def row_masks(seen, masks, num_rows, OFFSETS: tl.constexpr, ROWS: tl.constexpr):
    """Which offsets each row sees something through."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    is_row = row < num_rows
    mask = tl.zeros((ROWS,), tl.int32)
    for k in range(OFFSETS):
        found = tl.load(seen + k * num_rows.to(tl.int64) + row, mask=is_row, other=-1)
        mask |= tl.where(found >= 0, 1 << (k % 31), 0)
    tl.store(masks + row, mask, mask=is_row)


@kernel
@no_type_check
def convolve(
    x, w, seen, order, masks, y, scale, shift, shortcut, num_rows,
    IN: tl.constexpr, OUT: tl.constexpr, OFFSETS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
    IS_SCALED: tl.constexpr, HAS_SHORTCUT: tl.constexpr, IS_RECTIFIED: tl.constexpr,
):  # fmt: skip
    """One tile of `y[o] = sum over k of x[seen[k, o]] w[k]`, and what follows at inference."""
    total = num_rows.to(tl.int64)
    place = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    is_row = place < total
    row = tl.load(order + place, mask=is_row, other=0).to(tl.int64)
    used = tl.reduce(tl.load(masks + row, mask=is_row, other=0), 0, _either)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = column < OUT
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in range(OFFSETS):
        if (used >> (k % 31)) & 1:
            source = tl.load(seen + k * total + row, mask=is_row, other=-1).to(tl.int64)
            matrix = w + k * IN * OUT
            for first in range(0, IN, DEPTH):
                depth = first + tl.arange(0, DEPTH)
                a = tl.load(
                    x + source[:, None] * IN + depth[None, :],
                    mask=(source[:, None] >= 0) & (depth[None, :] < IN), other=0.0,
                )  # fmt: skip
                b = tl.load(
                    matrix + depth[:, None] * OUT + column[None, :],
                    mask=(depth[:, None] < IN) & is_column[None, :], other=0.0,
                )  # fmt: skip
                sums = tl.dot(a, b, sums, input_precision=PRECISION)
    is_cell = is_row[:, None] & is_column[None, :]
    cell = row[:, None] * OUT + column[None, :]
    if IS_SCALED:
        factor = tl.load(scale + column, mask=is_column, other=0.0).to(tl.float32)
        term = tl.load(shift + column, mask=is_column, other=0.0).to(tl.float32)
        sums = sums * factor[None, :] + term[None, :]
    if HAS_SHORTCUT:
        sums += tl.load(shortcut + cell, mask=is_cell, other=0.0).to(tl.float32)
    if IS_RECTIFIED:
        sums = tl.maximum(sums, 0.0)
    tl.store(y + cell, sums.to(y.dtype.element_ty), mask=is_cell)


@kernel
@no_type_check
def weight_gradient(
    x, above, seen, order, masks, parts, num_rows, rows_per_part,
    IN: tl.constexpr, OUT: tl.constexpr, OFFSETS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of one offset's `x[seen[k, o]]^T above[o]`, summed over one part of the rows."""
    total = num_rows.to(tl.int64)
    k = tl.program_id(0)
    num_columns = tl.cdiv(OUT, COLUMNS)
    depth = tl.program_id(1) // num_columns * DEPTH + tl.arange(0, DEPTH)
    column = tl.program_id(1) % num_columns * COLUMNS + tl.arange(0, COLUMNS)
    is_depth, is_column = depth < IN, column < OUT
    begin = tl.program_id(2).to(tl.int64) * rows_per_part
    sums = tl.zeros((DEPTH, COLUMNS), tl.float32)
    for first in range(0, rows_per_part, ROWS):
        place = begin + first + tl.arange(0, ROWS)
        is_row = place < total
        row = tl.load(order + place, mask=is_row, other=0).to(tl.int64)
        used = tl.reduce(tl.load(masks + row, mask=is_row, other=0), 0, _either)
        if (used >> (k % 31)) & 1:
            source = tl.load(seen + k * total + row, mask=is_row, other=-1).to(tl.int64)
            is_pair = source >= 0
            a = tl.load(
                x + source[None, :] * IN + depth[:, None],
                mask=is_pair[None, :] & is_depth[:, None], other=0.0,
            )  # fmt: skip
            b = tl.load(
                above + row[:, None] * OUT + column[None, :],
                mask=is_pair[:, None] & is_column[None, :], other=0.0,
            )  # fmt: skip
            sums = tl.dot(a, b, sums, input_precision=PRECISION)
    part = (tl.program_id(2).to(tl.int64) * OFFSETS + k) * IN * OUT
    cell = depth[:, None] * OUT + column[None, :]
    tl.store(parts + part + cell, sums, mask=is_depth[:, None] & is_column[None, :])
