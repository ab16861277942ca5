"""Convolution, its gradients and pooling on blocked pairs of rows, compiled.

Pairs are listed by block of output rows, within a block by kernel offset, so that a block's sums
stay in the cache while all offsets add to them. Matrices are float32 and without gaps; the last
dimension of weights and of what they multiply into is a whole number of vectors. What is called
`_of(is_short)` makes the same loops for pairs of bfloat16, see `short_products.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sr3d_core.sparse.backends.numba_cpu.machine_code import (
    compiled,
    inner,
)
from sr3d_core.sparse.backends.numba_cpu.micro_kernel import (
    LANES,
    MAX_VECTORS,
    TILE,
    clear_rows,
    finish_rows,
    outer_tile,
    product_tile,
    take_ticket,
)

ROWS = 6
"""Rows per tile; a list of input rows can be read for as many beyond its end."""


def _products_of(vectors: int, is_short: bool) -> Callable[..., None]:
    """A function that multiplies a list of pairs into `vectors` vectors of columns."""
    one, two, three, four, five = (
        product_tile(rows, vectors, LANES, is_short=is_short) for rows in range(1, 6)
    )
    six = product_tile(ROWS, vectors, LANES, is_short=is_short, is_followed=True)

    @inner
    def products(args: Any, num_pairs: int) -> None:
        x, x_width, inputs, w, w_width, y, y_width, outputs = args
        end = inputs + 4 * num_pairs
        while inputs + 4 * ROWS <= end:
            six((x, x_width, inputs, w, w_width, y, y_width, outputs))
            inputs += 4 * ROWS
            outputs += 4 * ROWS
        rest = (x, x_width, inputs, w, w_width, y, y_width, outputs)
        num_left = (end - inputs) // 4
        if num_left == 5:
            five(rest)
        elif num_left == 4:
            four(rest)
        elif num_left == 3:
            three(rest)
        elif num_left == 2:
            two(rest)
        elif num_left == 1:
            one(rest)

    return products


def _task_of(vectors: int, is_short: bool) -> Callable[..., None]:
    """A function that convolves one block of rows into `vectors` vectors of columns."""
    products, clear = _products_of(vectors, is_short), clear_rows(vectors, LANES)
    finish, finish_sum = (finish_rows(vectors, LANES, is_sum) for is_sum in (False, True))

    @inner
    def task(
        x: Any, w: Any, inputs: Any, outputs: Any, starts: Any, y: Any, epilogue: Any, place: Any
    ) -> None:
        row, num_rows, column = place
        num_kernel, num_channels, width = w.shape
        out = y.ctypes.data + 4 * column
        rows = (out + 4 * row * width, width, num_rows)
        clear(rows)
        for k in range(num_kernel):
            p = np.int64(starts[k])
            seen, written = inputs.ctypes.data + 4 * p, outputs.ctypes.data + 4 * p
            matrix = w.ctypes.data + 4 * (k * num_channels * width + column)
            args = (x.ctypes.data, num_channels, seen, matrix, width, out, width, written)
            products(args, np.int64(starts[k + 1]) - p)
        scale, shift, shortcut, low = epilogue
        if len(scale) == 0:
            return
        factors, terms = scale.ctypes.data + 4 * column, shift.ctypes.data + 4 * column
        added = shortcut.ctypes.data + 4 * (row * width + column)
        if len(shortcut):
            finish_sum((*rows, factors, terms, added, low.ctypes.data))
        else:
            finish((*rows, factors, terms, added, low.ctypes.data))

    return task


def _outer_of(vectors: int, is_short: bool) -> Callable[..., None]:
    """A function that sums the outer products of a list of pairs, for `vectors` of columns."""
    six, three, one = (outer_tile(rows, vectors, LANES, is_short=is_short) for rows in (6, 3, 1))

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


def convolve_of(is_short: bool) -> Callable[..., None]:
    """The loops of `convolve`."""
    task_1, task_2, task_3, task_4 = (_task_of(vectors, is_short) for vectors in (1, 2, 3, 4))

    @inner
    def convolve(
        counter: Any,
        x: Any,
        w: Any,
        inputs: Any,
        outputs: Any,
        starts: Any,
        block: int,
        y: Any,
        epilogue: Any,
    ) -> None:
        num_blocks, width = len(starts), w.shape[2]
        num_tasks = num_blocks * -(-width // TILE)
        while True:
            number: int = take_ticket(counter.ctypes.data)
            if number >= num_tasks:
                break
            t, column = number % num_blocks, number // num_blocks * TILE
            place = (t * block, min(block, len(y) - t * block), column)
            vectors = min(MAX_VECTORS, (width - column) // LANES)
            if vectors == 1:
                task_1(x, w, inputs, outputs, starts[t], y, epilogue, place)
            elif vectors == 2:
                task_2(x, w, inputs, outputs, starts[t], y, epilogue, place)
            elif vectors == 3:
                task_3(x, w, inputs, outputs, starts[t], y, epilogue, place)
            else:
                task_4(x, w, inputs, outputs, starts[t], y, epilogue, place)

    return convolve


CONVOLVE = (
    "void(i8[::1], f4[:,::1], f4[:,:,::1], i4[::1], i4[::1], i4[:,::1], i8, f4[:,::1], f4[::1],"
    "f4[::1], f4[:,::1], f4[::1])"
)
"""The types of the arguments of `convolve`."""
_convolve = convolve_of(is_short=False)


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
    """`y[o] = sum over pairs (k, i, o) of x[i] w[k]`; if there is a `scale`, then also
    `y = max(scale * y + shift + shortcut, low)`, where `shortcut` may have no rows.

    `starts` (blocks, K + 1) says where the pairs of each offset begin. A task is a block and a
    tile of columns; blocks come in turn for one tile, whose weights stay in the cache.
    """
    epilogue = (scale, shift, shortcut, low)
    _convolve(counter, x, w, inputs, outputs, starts, block, y, epilogue)


def add_outer_of(is_short: bool) -> Callable[..., None]:
    """A function that adds `x[i]^T y[o]` to w for each of a list of pairs."""
    outer_1, outer_2, outer_3, outer_4 = (_outer_of(v, is_short) for v in (1, 2, 3, 4))

    @inner
    def add_outer(x: Any, y: Any, seen: int, written: int, num_pairs: int, w: Any) -> None:
        num_channels, width = w.shape
        for column in range(0, width, TILE):
            pairs = (seen, y.ctypes.data + 4 * column, width, written, num_pairs)
            args = (x.ctypes.data, num_channels, *pairs, w.ctypes.data + 4 * column, width)
            vectors = min(MAX_VECTORS, (width - column) // LANES)
            if vectors == 1:
                outer_1(args)
            elif vectors == 2:
                outer_2(args)
            elif vectors == 3:
                outer_3(args)
            else:
                outer_4(args)

    return add_outer


_add_outer = add_outer_of(is_short=False)


@compiled("void(i8[::1], f4[:,::1], f4[:,::1], i4[::1], i4[::1], i4[:,::1], i8, f4[:,:,::1])")
def weight_gradient(
    counter: Any, x: Any, y: Any, inputs: Any, outputs: Any, starts: Any, num_tasks: int, w: Any
) -> None:
    """`w[k] += sum over pairs (k, i, o) of x[i]^T y[o]`.

    A task is every `num_tasks`-th offset k, block by block: rows that one offset has read are
    still in the cache for the next.
    """
    while True:
        first: int = take_ticket(counter.ctypes.data)
        if first >= num_tasks:
            break
        for t in range(len(starts)):
            for k in range(first, len(w), num_tasks):
                p, num_pairs = np.int64(starts[t, k]), np.int64(starts[t, k + 1] - starts[t, k])
                if num_pairs:
                    seen, written = inputs.ctypes.data + 4 * p, outputs.ctypes.data + 4 * p
                    _add_outer(x, y, seen, written, num_pairs, w[k])


@compiled("void(i8[::1], f4[:,::1], i4[:,::1], i8, f4[:,::1])")
def max_pool(counter: Any, x: Any, neighbours: Any, block: int, y: Any) -> None:
    """`y[o]` is the channel-wise maximum of the rows of x that `neighbours[:, o]` names.

    A task is a block of rows.
    """
    while True:
        first: int = block * take_ticket(counter.ctypes.data)
        if first >= len(y):
            break
        for o in range(first, min(len(y), first + block)):
            top = y[o]
            top[:] = np.float32(-np.inf)
            for k in range(len(neighbours)):
                i = neighbours[k, o]
                if i >= 0:
                    row = x[i]
                    for c in range(len(top)):
                        top[c] = max(top[c], row[c])


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
