"""Pickles of plain data, read without running anything that they name.

A pickle is a program: it names functions and has them called. Here it may name only what arrays,
numbers and containers are made of, under the names of NumPy 1 and 2, in protocols 0 to 5. Every
such name stands for a function of this file that checks what it is given, so not even NumPy's own
functions are called with arguments of a stranger. Whatever else is named is refused by its name.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

_MAX_BYTES = 2 << 30  # the largest infos known are some hundred megabytes
_SPARE_BYTES = 1 << 20
_MAX_DEPTH = 50
_KINDS = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,6}|O8?")
_FORBIDDEN = {
    *{"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"},
    *{"NEXT_BUFFER", "READONLY_BUFFER"},
}
"""Operations that plain data need not: objects of classes, and data from elsewhere."""
_LEAVES = (type(None), bool, int, float, complex, str, bytes, bytearray)


class PickleError(ValueError):
    """A pickle cannot be read, or holds more than plain data; the text names it."""


def read_pickle(path: Path) -> Any:
    """The plain data in a file: lists, dictionaries, arrays, numbers, texts.

    Arrays are read-only. Raises OSError where the file cannot be opened, and PickleError where it
    is damaged, larger than 2 GB, or names anything but plain data.
    """
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise PickleError(f"{path}: {size / 1e9:.1f} GB, expected at most {_MAX_BYTES / 1e9:.1f}")
    return plain_data(path.read_bytes(), str(path))


def plain_data(data: bytes, where: str) -> Any:
    """The plain data of a pickle; `where` is what errors call it. Raises PickleError."""
    _check_operations(data, where)
    try:
        unpickler = _Unpickler(data, where)
        value = unpickler.load()
        # Without a name there are no arrays to be put in.
        return _Finished(where).of(value) if unpickler.has_names else value
    except PickleError:
        raise
    except Exception as error:  # a pickle that is cut off raises a dozen types
        raise PickleError(
            f"{where}: not a whole pickle of plain data ({type(error).__name__}: "
            f"{' '.join(str(error).split())}); copy or make it again"
        ) from error


def _check_operations(data: bytes, where: str) -> None:
    """Raise PickleError for operations that are not needed, before the first one is carried out.

    A memo with a number far beyond the operations would take memory for all numbers below it.
    """
    position, num = 0, 0
    try:
        while True:
            operation = data[position]
            num += 1
            width = _WIDTHS[operation]
            if operation in _PUTS:
                memo, position = _PUTS[operation](data, position + 1)
                if memo > num:
                    _refuse(where, f"memo {memo} after {num} operations")
            elif width >= 0:
                position += 1 + width
            elif operation == pickle.STOP[0]:
                return
            elif width == pickletools.UP_TO_NEWLINE:
                position = data.index(b"\n", position) + 1
                if operation == pickle.GLOBAL[0]:
                    position = data.index(b"\n", position) + 1
            elif width in _PREFIXES:
                size = _PREFIXES[width]
                start = position + 1
                position = start + size + int.from_bytes(data[start : start + size], "little")
            else:
                _refuse(where, f"the operation {_OPERATIONS[operation]}")
    except PickleError:
        raise
    except (IndexError, KeyError, ValueError) as error:
        raise PickleError(
            f"{where}: no pickle, or cut off, after {num} operations; copy or make it again"
        ) from error


def _put_line(data: bytes, start: int) -> tuple[int, int]:
    end = data.index(b"\n", start)
    return int(data[start:end]), end + 1


def _put_number(data: bytes, start: int) -> tuple[int, int]:
    return int.from_bytes(data[start : start + 4], "little"), start + 4


_PUTS = {pickle.PUT[0]: _put_line, pickle.LONG_BINPUT[0]: _put_number}
_PREFIXES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
"""Bytes of the number that says how many bytes follow."""
_OPERATIONS = {ord(each.code): each.name for each in pickletools.opcodes}
_REFUSED, _STOPPED = -9, -8
_WIDTHS = {
    ord(each.code): (
        _STOPPED
        if each.name == "STOP"
        else _REFUSED
        if each.name in _FORBIDDEN
        else 0
        if each.arg is None
        else each.arg.n
    )
    for each in pickletools.opcodes
}
"""Bytes that follow an operation; below 0, how to know them."""


def _refuse(where: str, what: str) -> NoReturn:
    raise PickleError(
        f"{where}: holds {what}, expected only arrays, numbers, texts, lists and dictionaries; "
        "nothing of it was run: get the file from whom you trust, or make it again"
    )


class _Unpickler(pickle.Unpickler):
    """Finds nothing but the functions of `_NAMES`."""

    def __init__(self, data: bytes, where: str) -> None:
        # What Python 2 wrote as text may be the bytes of an array.
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._where = where
        self.has_names = False
        self._budget = _Budget(4 * len(data) + _SPARE_BYTES)

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """The function that stands for a name; raises PickleError for all other names."""
        make = _NAMES.get((module_name, global_name))
        if make is None:
            _refuse(self._where, f"{module_name}.{global_name}")
        self.has_names = True
        return _Stand(make, self._budget)


class _Budget:
    """How many bytes may still be made of the file's own: one array named often is many."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes

    def spend(self, num_bytes: int) -> None:
        self._left -= num_bytes
        if self._left < 0:
            raise ValueError("arrays of far more bytes than the file has")


class _Stand:
    """What a name of a pickle is bound to; it can be called, and nothing else."""

    __slots__ = ("_budget", "_make")

    def __init__(self, make: Callable[..., Any], budget: _Budget) -> None:
        self._make, self._budget = make, budget

    def __call__(self, *arguments: Any) -> Any:
        return self._make(self._budget, *arguments)

    def __setstate__(self, state: object) -> None:
        raise ValueError("a function with a state")


class _Dtype:
    """A type of numbers or texts, in native byte order until its state says otherwise."""

    __slots__ = ("dtype",)

    def __init__(self, kind: str) -> None:
        self.dtype = np.dtype(kind)

    def __setstate__(self, state: Any) -> None:
        _, order, fields, names, *_ = state
        if fields is not None or names is not None or order not in ("<", ">", "|", "="):
            raise ValueError(f"a type with the state {state!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array whose state has not come yet."""

    __slots__ = ("_budget", "array", "items", "shape")

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget
        self.array: NDArray | None = None
        self.items: list[Any] | None = None  # of an array of objects
        self.shape: tuple[int, ...] = ()

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, data = state
        if _dtype_of(dtype).kind == "O":
            self.items, self.shape = list(data), _shape_of(shape)
            if len(self.items) != np.prod(self.shape, dtype=object):
                raise ValueError(f"{len(self.items)} objects, expected an array {self.shape}")
            return
        order = "F" if is_fortran else "C"
        self.array = _from_buffer(self._budget, data, dtype, shape, order)


def _make_dtype(budget: _Budget, kind: Any, *flags: Any) -> _Dtype:
    if not isinstance(kind, str) or not _KINDS.fullmatch(kind):
        raise ValueError(f"an array of type {kind!r}, expected numbers or texts")
    return _Dtype(kind)


def _reconstruct(budget: _Budget, *arguments: Any) -> _Array:
    return _Array(budget)


def _scalar(budget: _Budget, dtype: Any, data: Any) -> Any:
    return _from_buffer(budget, data, dtype, (), "C")[()]


def _from_buffer(budget: _Budget, data: Any, dtype: Any, shape: Any, order: Any) -> NDArray:
    kind, shape = _dtype_of(dtype), _shape_of(shape)
    if kind.kind == "O":
        raise ValueError("objects in the bytes of an array")
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(raw, (bytes, bytearray)):
        raise ValueError(f"an array of {type(data).__name__}, expected bytes")
    num_bytes = kind.itemsize * int(np.prod(shape, dtype=object))
    if len(raw) != num_bytes:
        raise ValueError(f"{len(raw)} bytes, expected {num_bytes} of an array {shape} of {kind}")
    budget.spend(len(raw))
    if not raw:
        return np.zeros(shape, kind)
    return np.frombuffer(bytes(raw), kind).reshape(shape, order="F" if order == "F" else "C")


def _encode(budget: _Budget, text: Any, encoding: Any = "latin1") -> bytes:
    """How protocols below 3 write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError(f"text in the encoding {encoding!r}, expected latin1")
    budget.spend(len(text))
    return text.encode("latin-1")


def _bytes(budget: _Budget, *arguments: Any) -> bytes:
    if arguments:
        raise ValueError("bytes of an argument, expected none")
    return b""


def _bytearray(budget: _Budget, data: Any = b"", encoding: Any = "latin-1") -> bytes:
    return data if isinstance(data, bytes) else _encode(budget, data, encoding)


def _set(budget: _Budget, items: Any = ()) -> set[Any]:
    return set(items) if isinstance(items, (list, tuple)) else _not_a("list", items)


def _frozenset(budget: _Budget, items: Any = ()) -> frozenset[Any]:
    return frozenset(_set(budget, items))


def _complex(budget: _Budget, real: Any, imaginary: Any) -> complex:
    is_number = all(isinstance(part, float) for part in (real, imaginary))
    return complex(real, imaginary) if is_number else _not_a("number", (real, imaginary))


def _dict(budget: _Budget, pairs: Any = ()) -> dict[Any, Any]:
    is_pairs = isinstance(pairs, (list, tuple))
    return dict(pairs) if is_pairs else _not_a("list of pairs", pairs)


def _array_class(budget: _Budget, *arguments: Any) -> NoReturn:
    """The class `ndarray` is an argument of `_reconstruct`, never called itself."""
    raise ValueError("numpy.ndarray called")


def _not_a(expected: str, found: object) -> NoReturn:
    raise ValueError(f"{type(found).__name__}, expected a {expected}")


def _dtype_of(value: Any) -> np.dtype:
    return value.dtype if isinstance(value, _Dtype) else _not_a("type of an array", value)


def _shape_of(shape: Any) -> tuple[int, ...]:
    """A shape, also the single number of old files."""
    sides = shape if isinstance(shape, tuple) else (shape,)
    if len(sides) > 8 or not all(type(side) is int and side >= 0 for side in sides):
        raise ValueError(f"an array of shape {shape!r}")
    return sides


_NAMES: dict[tuple[str, ...], Callable[..., Any]] = {
    ("numpy", "dtype"): _make_dtype,
    ("numpy", "ndarray"): _array_class,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _dict,
    **{
        (f"numpy.{core}.{module}", name): make
        for core in ("core", "_core")
        for module, name, make in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
    **{
        (module, name): make
        for module in ("builtins", "__builtin__")
        for name, make in (
            ("bytes", _bytes),
            ("bytearray", _bytearray),
            ("set", _set),
            ("frozenset", _frozenset),
            ("complex", _complex),
        )
    },
}
"""Every name that a pickle may use, and what stands for it."""


class _Finished:
    """Puts arrays in the place of what stood for them, and refuses what is no plain data."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._done: dict[int, Any] = {}
        self._kept: list[Any] = []  # an id means something only while its object lives

    def of(self, value: Any, depth: int = 0) -> Any:
        """A value and all that it holds."""
        if type(value) in _LEAVES or isinstance(value, (np.generic, np.ndarray)):
            return value
        if depth > _MAX_DEPTH:
            _refuse(self._where, f"containers {_MAX_DEPTH} deep, or one that holds itself")
        if id(value) not in self._done:
            self._kept.append(value)
            self._done[id(value)] = self._made(value, depth + 1)
        return self._done[id(value)]

    def _made(self, value: Any, depth: int) -> Any:
        if isinstance(value, _Array):
            return self._array(value, depth)
        if type(value) in (list, tuple, set, frozenset):
            return type(value)([self.of(item, depth) for item in value])
        if type(value) is dict:
            return {self._key(key): self.of(item, depth) for key, item in value.items()}
        _refuse(self._where, f"a lonely {type(value).__name__.lstrip('_').lower()}")

    def _key(self, key: Any) -> Any:
        is_plain = type(key) in _LEAVES or isinstance(key, np.generic)
        return key if is_plain else _refuse(self._where, f"a key {type(key).__name__}")

    def _array(self, value: _Array, depth: int) -> NDArray:
        if value.array is not None:
            return value.array
        if value.items is None:
            _refuse(self._where, "an array without numbers")
        array = np.empty(len(value.items), dtype=object)
        for index, item in enumerate(value.items):
            array[index] = self.of(item, depth)
        return array.reshape(value.shape)
