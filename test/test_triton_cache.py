"""Triton gets a folder for its kernels wherever one can be written; no GPU is needed for that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

pytestmark = pytest.mark.slow

PROGRAM = """
from sr3d_core.sparse.backends.triton_cuda.engine import TritonEngine
from triton.runtime.cache import get_cache_manager

TritonEngine()
print(get_cache_manager("00").put(b"a kernel", "kernel"))
"""


def place_of_kernels(**environment: str | Path) -> tuple[Path, str]:
    """Where a kernel is kept, and what was said about it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TRITON_", "XDG_"))}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**inherited, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return Path(run.stdout.strip()), run.stderr


def test_a_home_that_takes_kernels_has_them_where_triton_puts_them(tmp_path: Path) -> None:
    place, said = place_of_kernels(HOME=tmp_path)
    assert place.is_relative_to(tmp_path / ".triton" / "cache")
    assert not said


@pytest.mark.parametrize("name", ["HOME", "TRITON_HOME", "TRITON_CACHE_DIR"])
def test_where_its_folder_cannot_be_written_another_is_taken_and_named(
    tmp_path: Path, name: str
) -> None:
    own = tmp_path / "own"
    own.write_text("not a folder, so that even root cannot write into it")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    home = own if name == "HOME" else tmp_path / "home"
    place, said = place_of_kernels(**{"HOME": home, "TMPDIR": temporary, name: own})
    assert place.is_file()
    assert str(own) in said
    assert str(place.parent.parent) in said
    assert place.is_relative_to(temporary if name == "HOME" else home / ".cache" / "sr3d")
