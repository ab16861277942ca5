"""Files that belong together: all of them change, or none."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sr3d_core.console import require_writable
from sr3d_core.whole_files import remove_parts, write_whole


@contextmanager
def no_file_longer_than(num_bytes: int) -> Iterator[None]:
    """What a full disk does to a writer: the system refuses the bytes beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_files_are_written_over_what_was_there(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"old")
    write_whole({a: b"new", b: b"more"})
    assert (a.read_bytes(), b.read_bytes()) == (b"new", b"more")
    assert sorted(tmp_path.iterdir()) == [a, b]


@pytest.mark.parametrize("order", [("small", "large"), ("large", "small")])
def test_a_full_disk_changes_no_file_and_leaves_none(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    before = {tmp_path / name: b"old" for name in order}
    write_whole(before)
    contents = {tmp_path / name: b"new" * (1 if name == "small" else 100) for name in order}
    with no_file_longer_than(200), pytest.raises(OSError, match="File too large"):
        write_whole(contents)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"half")
    (tmp_path / "other.part").write_bytes(b"not ours")
    remove_parts([tmp_path / "a", tmp_path / "b"])
    assert [path.name for path in tmp_path.iterdir()] == ["other.part"]


def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        heard = reader.submit(pipe.read_bytes)
        write_whole({pipe: b"new", tmp_path / "file": b"more"})
        assert heard.result(timeout=60) == b"new"
    assert pipe.is_fifo()
    assert (tmp_path / "file").read_bytes() == b"more"


def test_what_stands_for_an_open_file_is_not_replaced(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        number = os.stat(file.name).st_ino
        write_whole({Path(f"/proc/self/fd/{file.fileno()}"): b"new"})
    assert (tmp_path / "out").read_bytes() == b"new"
    assert os.stat(tmp_path / "out").st_ino == number


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no folder in memory")
def test_a_file_in_shared_memory_is_whole_like_any_other() -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "weights"
        write_whole({path: b"old"})
        with no_file_longer_than(200), pytest.raises(OSError, match="File too large"):
            write_whole({path: b"new" * 100})
        assert path.read_bytes() == b"old"
        assert list(Path(folder).iterdir()) == [path]


def test_a_file_in_a_folder_that_may_not_be_written_in_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "there.json"
    path.write_text("{}")
    require_writable(path)
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path)  # as for users
    with pytest.raises(PermissionError, match=str(tmp_path)):
        require_writable(path)
    require_writable(Path("/dev/null"))
    require_writable(None)
