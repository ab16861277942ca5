"""The innermost loops as LLVM vector code: a tile of sums is held in registers.

A tile has `rows` rows of `vectors` vectors. Per step one vector of each column block is loaded and
multiplied with one broadcast number per row, so that a 6 x 4 tile does 24 multiply-adds per 10
loads. Addresses are integers, leading dimensions count numbers; nothing is checked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from sr3d_core.sparse.backends.numba_cpu.machine_code import vector_lanes, vector_registers

LANES = vector_lanes()
MAX_VECTORS = 4 if vector_registers() == 32 else 2
"""Vectors per tile: 6 rows of so many sums, and a few factors, fill the registers."""
TILE = MAX_VECTORS * LANES
"""Columns per tile."""


def intrinsic(builder: Callable[..., Any]) -> Any:
    """Make a function of compiled code from one that builds its code."""
    return extending.intrinsic(inspect.unwrap(builder))


_I32, _I64, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()


class _Tile:
    """Builds the code around one tile of sums: vectors in memory, sums in registers."""

    def __init__(self, builder: ir.IRBuilder, rows: int, vectors: int, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes
        self.vector = ir.VectorType(_FLOAT, lanes)
        name = f"llvm.fmuladd.v{lanes}f32"  # one instruction where the CPU has it, else two
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fused = cgutils.get_or_insert_function(builder.module, kind, name)
        zero = ir.Constant(self.vector, [0.0] * lanes)
        self.sums = [
            [cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(rows)
        ]

    def floats(self, address: ir.Value, row: ir.Value, width: ir.Value) -> ir.Value:
        """Pointer to a row of a matrix of floats."""
        shift = self.builder.mul(self.builder.mul(row, width), ir.Constant(_I64, 4))
        return self.builder.inttoptr(self.builder.add(address, shift), _FLOAT.as_pointer())

    def index(self, address: ir.Value, place: ir.Value) -> ir.Value:
        """A number of an int32 list."""
        numbers = self.builder.inttoptr(address, _I32.as_pointer())
        return self.builder.sext(self.builder.load(self.builder.gep(numbers, [place])), _I64)

    def part(self, row: ir.Value, number: int) -> ir.Value:
        """Pointer to the numbered vector of a row."""
        place = self.builder.gep(row, [ir.Constant(_I64, number * self.lanes)])
        return self.builder.bitcast(place, self.vector.as_pointer())

    def load(self, pointer: ir.Value) -> ir.Value:
        """A vector from anywhere."""
        return self.builder.load(pointer, align=4)

    def fetch(self, row: ir.Value) -> None:
        """Ask for the first two cache lines of a row, which the hardware cannot foresee."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        prefetch = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        to_read_soon = [ir.Constant(_I32, number) for number in (0, 3, 1)]
        for line in (0, 16):
            place = self.builder.gep(row, [ir.Constant(_I64, line)])
            self.builder.call(prefetch, [self.builder.bitcast(place, byte), *to_read_soon])

    def broadcast(self, pointer: ir.Value) -> ir.Value:
        """One float in all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(
            undefined, self.builder.load(pointer), ir.Constant(_I32, 0)
        )
        everywhere = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, everywhere)

    def step(self, left: list[ir.Value], right: ir.Value) -> None:
        """Sums += column of numbers at the pointers `left` times the row at `right`."""
        vectors = [self.load(self.part(right, v)) for v in range(len(self.sums[0]))]
        for pointer, sums in zip(left, self.sums, strict=True):
            factor = self.broadcast(pointer)
            for vector, place in zip(vectors, sums, strict=True):
                total = self.multiply_add(factor, vector, self.builder.load(place))
                self.builder.store(total, place)

    def multiply_add(self, factor: ir.Value, vector: ir.Value, total: ir.Value) -> ir.Value:
        """factor * vector + total."""
        return self.builder.call(self._fused, [factor, vector, total])

    def store(self, rows: list[ir.Value]) -> None:
        """Rows in memory = sums."""
        for row, sums in zip(rows, self.sums, strict=True):
            for v, place in enumerate(sums):
                self.builder.store(self.builder.load(place), self.part(row, v), align=4)

    def add_to(self, rows: list[ir.Value]) -> None:
        """Rows in memory += sums."""
        for row, sums in zip(rows, self.sums, strict=True):
            for v, place in enumerate(sums):
                pointer = self.part(row, v)
                total = self.builder.fadd(self.load(pointer), self.builder.load(place))
                self.builder.store(total, pointer, align=4)


class _ShortTile(_Tile):
    """Sums of products of bfloat16: two of them travel as one float.

    A step adds the two products of a pair to each sum; sums are float32.
    """

    def multiply_add(self, factor: ir.Value, vector: ir.Value, total: ir.Value) -> ir.Value:
        """The products of factor's numbers and vector's, two by two, + total."""
        pairs = ir.VectorType(_I32, self.lanes)  # as older versions have it; newer ones know that
        kind = ir.FunctionType(self.vector, [self.vector, pairs, pairs])
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * self.lanes}"
        dot = cgutils.get_or_insert_function(self.builder.module, kind, name)
        args = [self.builder.bitcast(each, pairs) for each in (factor, vector)]
        return self.builder.call(dot, [total, *args])


class _ByteTile(_Tile):
    """Sums of whole numbers: four channels, one byte each, travel as one 32-bit number.

    A step adds four products of an unsigned and a signed byte to each sum, without overflow up to
    66,000 channels (255 * 127 * 66,000 < 2^31).
    """

    def __init__(self, builder: ir.IRBuilder, rows: int, vectors: int, lanes: int) -> None:
        super().__init__(builder, rows, vectors, lanes)
        self.whole = ir.VectorType(_I32, lanes)
        kind = ir.FunctionType(self.whole, [self.whole] * 3)
        name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"  # AVX-512 VNNI and, 256 bits, AVX-VNNI
        self._dot = cgutils.get_or_insert_function(builder.module, kind, name)

    def multiply_add(self, factor: ir.Value, vector: ir.Value, total: ir.Value) -> ir.Value:
        """The products of factor's bytes and vector's, four by four, + total."""
        args = [self.builder.bitcast(each, self.whole) for each in (total, factor, vector)]
        return self.builder.bitcast(self.builder.call(self._dot, args), self.vector)

    def add_scaled_to(self, rows: list[ir.Value], scales: list[ir.Value]) -> None:
        """Rows of floats in memory += sums times the float at each row's pointer."""
        for row, scale, sums in zip(rows, scales, self.sums, strict=True):
            factor = self.broadcast(scale)
            for v, place in enumerate(sums):
                whole = self.builder.bitcast(self.builder.load(place), self.whole)
                pointer = self.part(row, v)
                args = [self.builder.sitofp(whole, self.vector), factor, self.load(pointer)]
                self.builder.store(self.builder.call(self._fused, args), pointer, align=4)


def _tile(is_short: bool) -> type[_Tile]:
    return _ShortTile if is_short else _Tile


def product_tile(
    rows: int, vectors: int, lanes: int, *, is_short: bool, is_followed: bool = False
) -> Callable[..., None]:
    """`y[outputs[r]] += sum_c x[inputs[r], c] w[c]` for `rows` pairs with distinct outputs.

    Takes one tuple: x, its width, list of inputs, w, its width, y, its width, list of outputs.
    If it `is_followed`, the list goes on for as many rows, whose x is then fetched early. If it
    `is_short`, each number of x and of w is a pair of bfloat16: of channels 2c and 2c + 1.
    """

    def build(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> None:
        x, x_width, inputs, w, w_width, y, y_width, outputs = cgutils.unpack_tuple(
            builder, args[0]
        )
        sums = _tile(is_short)(builder, rows, vectors, lanes)
        places = [ir.Constant(_I64, r) for r in range(rows)]
        seen = [sums.floats(x, sums.index(inputs, place), x_width) for place in places]
        if is_followed:
            for r in range(rows, 2 * rows):
                sums.fetch(sums.floats(x, sums.index(inputs, ir.Constant(_I64, r)), x_width))
        with cgutils.for_range(builder, x_width, intp=_I64) as loop:
            left = [builder.gep(row, [loop.index]) for row in seen]
            sums.step(left, sums.floats(w, loop.index, w_width))
        sums.add_to([sums.floats(y, sums.index(outputs, place), y_width) for place in places])

    return _function(8, build)


def byte_product_tile(rows: int, vectors: int, lanes: int) -> Callable[..., None]:
    """`y[outputs[r]] += scales[inputs[r]] sum_c x[inputs[r], c] w[c]`; x and w are bytes.

    Takes one tuple: x, a quarter of its width, scales, list of inputs, w, its width, y, its width,
    list of outputs. w has a row of signed bytes per four channels of x: the four of an output
    channel lie together.
    """

    def build(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> None:
        numbers = cgutils.unpack_tuple(builder, args[0])
        x, x_width, scales, inputs, w, w_width, y, y_width, outputs = numbers
        sums = _ByteTile(builder, rows, vectors, lanes)
        one, places = ir.Constant(_I64, 1), [ir.Constant(_I64, r) for r in range(rows)]
        seen = [sums.index(inputs, place) for place in places]
        left_rows = [sums.floats(x, row, x_width) for row in seen]
        with cgutils.for_range(builder, x_width, intp=_I64) as loop:
            left = [builder.gep(row, [loop.index]) for row in left_rows]
            sums.step(left, sums.floats(w, loop.index, w_width))
        written = [sums.floats(y, sums.index(outputs, place), y_width) for place in places]
        sums.add_scaled_to(written, [sums.floats(scales, row, one) for row in seen])

    return _function(9, build)


def outer_tile(rows: int, vectors: int, lanes: int, *, is_short: bool) -> Callable[..., None]:
    """`w[r] += sum_p x[inputs[p], r] y[outputs[p]]` for `rows` rows of w.

    Takes one tuple: x, its width, list of inputs, y, its width, list of outputs, number of pairs,
    w, its width. If it `is_short`, each number of x and of y is a pair of bfloat16, of two rows.
    """

    def build(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> None:
        numbers = cgutils.unpack_tuple(builder, args[0])
        x, x_width, inputs, y, y_width, outputs, num_pairs, w, w_width = numbers
        sums = _tile(is_short)(builder, rows, vectors, lanes)
        places = [ir.Constant(_I64, r) for r in range(rows)]
        with cgutils.for_range(builder, num_pairs, intp=_I64) as loop:
            seen = sums.floats(x, sums.index(inputs, loop.index), x_width)
            left = [builder.gep(seen, [place]) for place in places]
            sums.step(left, sums.floats(y, sums.index(outputs, loop.index), y_width))
        sums.add_to([sums.floats(w, place, w_width) for place in places])

    return _function(9, build)


def clear_rows(vectors: int, lanes: int) -> Callable[..., None]:
    """Zeros into so many vectors of every row; takes one tuple: y, its width, number of rows."""

    def build(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> None:
        y, y_width, num_rows = cgutils.unpack_tuple(builder, args[0])
        zeros = _Tile(builder, 1, vectors, lanes)
        with cgutils.for_range(builder, num_rows, intp=_I64) as loop:
            zeros.store([zeros.floats(y, loop.index, y_width)])

    return _function(3, build)


def finish_rows(vectors: int, lanes: int, has_shortcut: bool) -> Callable[..., None]:
    """`y = scale * y + shift + shortcut`, cut off at `low`, in so many vectors of every row.

    Takes one tuple: y, its width, number of rows, addresses of scale, shift, shortcut and low.
    """

    def build(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> None:
        y, y_width, num_rows, *others = cgutils.unpack_tuple(builder, args[0])
        scale, shift, shortcut, low = others
        zero, tile = ir.Constant(_I64, 0), _Tile(builder, 0, vectors, lanes)
        factors, terms = (tile.floats(address, zero, zero) for address in (scale, shift))
        floor = tile.broadcast(tile.floats(low, zero, zero))
        fixed = [
            (tile.load(tile.part(factors, v)), tile.load(tile.part(terms, v)))
            for v in range(vectors)
        ]
        with cgutils.for_range(builder, num_rows, intp=_I64) as loop:
            row = tile.floats(y, loop.index, y_width)
            added = tile.floats(shortcut, loop.index, y_width)
            for v, (factor, term) in enumerate(fixed):
                pointer = tile.part(row, v)
                value = tile.multiply_add(tile.load(pointer), factor, term)
                if has_shortcut:
                    value = builder.fadd(value, tile.load(tile.part(added, v)))
                is_low = builder.fcmp_ordered("<", value, floor)  # what is no number stays so
                builder.store(builder.select(is_low, floor, value), pointer, align=4)

    return _function(7, build)


def _function(num_arguments: int, build: Callable[..., None]) -> Callable[..., None]:
    """Vector code as a function of one tuple of integers."""

    @intrinsic
    def function(typing: Any, args: Any) -> Any:
        return types.void(types.UniTuple(types.int64, num_arguments)), build

    return function


@intrinsic
def take_ticket(typing: Any, counter: Any) -> Any:
    """The int64 at an address, which grows by one: threads share out numbered tasks."""

    def build(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> ir.Value:
        pointer = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(_I64, 1), "monotonic")

    return types.int64(types.int64), build


@intrinsic
def count_bits(typing: Any, word: Any) -> Any:
    """How many bits of a uint64 are set."""

    def build(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> ir.Value:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), build


@intrinsic
def lowest_bit(typing: Any, word: Any) -> Any:
    """The place of the lowest set bit of a uint64 that is not 0."""

    def build(_: Any, builder: ir.IRBuilder, __: Any, args: Any) -> ir.Value:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), build
