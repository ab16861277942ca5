"""Pickles of plain data are read as they were written; all others are refused before they run."""

from __future__ import annotations

import collections
import os
import pickle
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr3d_core.data.plain_pickle import PickleError, plain_data, read_pickle

PROTOCOLS = range(6)
PLAIN: dict[str, Any] = {
    "numbers": [1, -5, 2**70, 0.5, True, None, 1 + 2j],
    "texts": ["chair", "Stühle", b"\x00\xff", b""],
    "tuple": (1, (2, "x"), ()),
    "set": {1, 2},
    "frozen": frozenset({3}),
    "ordered": collections.OrderedDict(a=1, b=2),
    7: {"nested": {"deeper": [[]]}},
}
ARRAYS: dict[str, Any] = {
    "boxes": np.arange(14.0).reshape(2, 7),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "big endian": np.arange(3, dtype=">i4"),
    "labels": np.array([0, 3, 2]),
    "names": np.array(["chair", "night_stand"]),
    "objects": np.array(["chair", None, 5], dtype=object),
    "none": np.zeros((0, 7)),
    "flag": np.array([True, False]),
    "zero-dimensional": np.array(3.0),
    "scalar": np.float32(1.5),
    "integer": np.int64(-4),
}


def named_as(data: bytes, new: str) -> bytes:
    """A pickle with the names of the other NumPy, `numpy.core` or `numpy._core`."""
    old = "numpy._core" if new == "numpy.core" else "numpy.core"
    for module in ("multiarray", "numeric"):
        before, after = (f"{core}.{module}".encode() for core in (old, new))
        for text_before, text_after in (
            (b"\x8c" + bytes([len(before)]) + before, b"\x8c" + bytes([len(after)]) + after),
            (b"c" + before + b"\n", b"c" + after + b"\n"),
        ):
            num = data.count(text_before)
            data = data.replace(text_before, text_after)
            if data[2:3] == b"\x95":
                (size,) = struct.unpack("<Q", data[3:11])
                size += num * (len(text_after) - len(text_before))
                data = data[:3] + struct.pack("<Q", size) + data[11:]
    return data


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_comes_back(protocol: int) -> None:
    expected = {**PLAIN, "ordered": dict(PLAIN["ordered"])}
    assert plain_data(pickle.dumps(PLAIN, protocol), "x") == expected


@pytest.mark.parametrize("names", ["numpy.core", "numpy._core"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_come_back_under_the_names_of_both_numpys(protocol: int, names: str) -> None:
    data = named_as(pickle.dumps(ARRAYS, protocol), names)
    assert names.encode() in data
    found = plain_data(data, "x")
    assert found.keys() == ARRAYS.keys()
    for key, value in ARRAYS.items():
        assert_same(found[key], value)


def test_one_array_at_two_places_stays_one() -> None:
    array = np.arange(3)
    first, second = plain_data(pickle.dumps([array, {"again": array}]), "x")
    assert first is second["again"]


class Runs:
    """Pickled as a call, which a careless reader would carry out."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


class Plain:
    """A class of somebody's program."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_is_refused_by_its_name_and_not_carried_out(protocol: int, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    payload = [{"annos": ARRAYS["boxes"]}, Runs(os.system, f"touch {proof}")]
    path = tmp_path / "infos.pkl"
    path.write_bytes(pickle.dumps(payload, protocol))
    with pytest.raises(PickleError, match=r"infos\.pkl: holds (posix|nt)\.system.*nothing of it"):
        read_pickle(path)
    assert not proof.exists()
    pickle.loads(path.read_bytes())  # the same file, read carelessly: the test can fail
    assert proof.exists()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (eval, r"builtin(s|__)\.eval"),
        (getattr, r"builtin(s|__)\.getattr"),
        (__import__, r"builtin(s|__)\.__import__"),
        (open, r"io\.open|__builtin__\.open"),
        (np.load, r"numpy\S*\.load"),
        (np.fromfile, r"numpy\S*\.fromfile"),
        (np.vectorize, r"numpy\S*\.vectorize"),
        (Plain, "Plain"),
    ],
)
def test_functions_of_python_and_numpy_are_refused_by_name(function: Any, name: str) -> None:
    for protocol in PROTOCOLS:
        with pytest.raises(PickleError, match=name):
            plain_data(pickle.dumps(Runs(function, "1"), protocol), "x")


def test_objects_of_classes_are_refused() -> None:
    for protocol in PROTOCOLS:
        with pytest.raises(PickleError, match=r"Plain|copy_reg|copyreg|NEWOBJ"):
            plain_data(pickle.dumps(Plain(), protocol), "x")


def test_a_name_with_dots_does_not_reach_through_what_is_allowed() -> None:
    # Protocol 4 finds `a.b.c` by attributes of what stands for `a`.
    data = b"\x80\x04\x8c\x05numpy\x8c\x13dtype.__init__.eval\x93."
    with pytest.raises(PickleError, match=r"numpy\.dtype\.__init__"):
        plain_data(data, "x")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"Pid\n.", "PERSID"),
        (b"\x80\x02K\x01Q.", "BINPERSID"),
        (b"(S'touch x'\nios\nsystem\n.", "INST"),
        (b"\x80\x02(cposix\nsystem\nX\x01\x00\x00\x00xo.", r"OBJ|posix\.system"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "NEWOBJ"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "memo 4294967295"),
        (b"Np99999999999\n.", "memo 99999999999"),
    ],
)
def test_operations_that_plain_data_needs_not_are_refused(data: bytes, what: str) -> None:
    with pytest.raises(PickleError, match=f"x: holds .*{what}|{what}"):
        plain_data(data, "x")


def call(name: str, *arguments: Any, state: Any = None) -> bytes:
    """A pickle in protocol 2 that calls `module name` and perhaps sets a state."""
    body = b"".join(pickle.dumps(argument, 2)[2:-1] for argument in arguments)
    built = b"" if state is None else pickle.dumps(state, 2)[2:-1] + b"b"
    return b"\x80\x02c" + name.encode() + b"\n(" + body + b"tR" + built + b"."


F8 = call("numpy\ndtype", "f8", False, True)[2:-1]
ARRAY = call("numpy._core.multiarray\n_reconstruct", None, (0,), b"b")[2:-1]


@pytest.mark.parametrize(
    "data",
    [
        call("numpy\ndtype", "V8"),
        call("numpy\ndtype", "f8,i4"),
        call("numpy\ndtype", ["a", "b"]),
        call("numpy\nndarray", (10**9, 10**9)),
        call("__builtin__\nbytearray", 10**12),
        call("__builtin__\nset", "abc"),
        call("__builtin__\ncomplex", "1", "2"),
        call("_codecs\nencode", "x", "rot13"),
        call("numpy\ndtype", "f8", False, True, state=(3, "<", None, ("a",), {"a": 1}, -1, -1, 0)),
        b"\x80\x02" + ARRAY + b"(K\x01(J\xff\xff\xff\x7ft" + F8 + b"\x89U\x08" + bytes(8) + b"tb.",
        b"\x80\x02"
        + ARRAY
        + b"(K\x01(K\x01t"
        + call("numpy\ndtype", "O8")[2:-1]
        + b"\x89U\x08"
        + bytes(8)
        + b"tb.",
        b"\x80\x02" + ARRAY + b".",
        b"\x80\x02cnumpy\ndtype\n.",
        b"\x80\x02cnumpy\ndtype\n}U\x03keyU\x05valuesb.",
        call("numpy._core.numeric\n_frombuffer", b"x" * 8, "O8", (1,), "C"),
    ],
)
def test_what_the_allowed_names_are_given_is_checked(data: bytes) -> None:
    with pytest.raises(PickleError, match=r"^x: "):
        plain_data(data, "x")


def test_one_text_as_the_bytes_of_many_arrays_takes_no_memory_without_end() -> None:
    text = "a" * 2**20
    calls = b"".join(b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tRa" for _ in range(64))
    stored = pickle.dumps(text, 2)[2:-1].split(b"q\x00")[0]
    data = b"\x80\x02" + stored + b"q\x000]" + calls + b"."
    with pytest.raises(PickleError, match="far more bytes"):
        plain_data(data, "x")


def test_what_holds_itself_is_refused_where_arrays_are_put_in() -> None:
    loop: list[Any] = [np.zeros(1)]
    loop.append(loop)
    with pytest.raises(PickleError, match="holds itself"):
        plain_data(pickle.dumps(loop), "x")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_is_cut_off_anywhere_is_told(protocol: int) -> None:
    data = pickle.dumps([ARRAYS, {"a": [1.5, "x"]}], protocol)
    for size in {0, 1, 2, *range(3, len(data), 37), len(data) - 1}:
        with pytest.raises(PickleError, match=r"^x: "):
            plain_data(data[:size], "x")


def test_noise_is_told() -> None:
    random = np.random.default_rng(0)
    whole = bytearray(pickle.dumps([ARRAYS, PLAIN], 4))
    for _ in range(300):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(0, 256)
        with suppress(PickleError):  # any other error fails the test
            plain_data(bytes(data), "x")


def test_files_that_are_missing_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_pickle(tmp_path / "none.pkl")
    large = tmp_path / "large.pkl"
    with large.open("wb") as file:
        file.truncate(3 << 30)  # a hole, no room on the disk
    with pytest.raises(PickleError, match=r"large\.pkl: 3\.2 GB, expected at most 2\.1"):
        read_pickle(large)
