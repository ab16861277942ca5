"""Compiled code is kept on disk, wherever that is possible."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

pytestmark = pytest.mark.slow

SOURCES = Path(__file__).parent.parent / "sr3d_core" / "sparse" / "backends" / "numba_cpu"
MACHINE_CODE = SOURCES / "machine_code.py"
PROGRAM = """
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("machine_code", {path!r})  # alone, without torch: starts quickly
machine_code = module_from_spec(spec)
spec.loader.exec_module(machine_code)

@machine_code.compiled("i8(i8)")
def successor(x):
    return x + 1

assert successor(2) == 3
print("loaded" if successor.stats.cache_hits else "compiled")
"""

ENGINE = """
import torch

from sr3d_core.sparse.engine import engine_for

print(engine_for("auto", torch.device("cpu")).name)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program with one compiled function; says whether it had to be compiled."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(path=str(MACHINE_CODE)))
    return path


def start(
    program: Path, largest_file: int | None = None, **environment: str | Path
) -> subprocess.Popen[str]:
    """Run a program; on a disk that is full, as far as it can tell, from some size of file on."""

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    inherited = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    inherited["XDG_CACHE_HOME"] = ""
    return subprocess.Popen(
        [sys.executable, str(program)],
        env={**inherited, **{k: str(v) for k, v in environment.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=None if largest_file is None else fill_disk,
    )


def run(
    program: Path, largest_file: int | None = None, **environment: str | Path
) -> tuple[str, str]:
    process = start(program, largest_file, **environment)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output.strip(), errors


def test_the_second_start_loads_what_the_first_compiled(program: Path, tmp_path: Path) -> None:
    output, errors = run(program, HOME=tmp_path)
    assert output == "compiled"
    assert f"compiling the CPU engine for this machine, once (10 to 20 s): {tmp_path}" in errors
    assert run(program, HOME=tmp_path) == ("loaded", "")


def test_another_processor_compiles_its_own(program: Path, tmp_path: Path) -> None:
    run(program, HOME=tmp_path)
    assert run(program, HOME=tmp_path, NUMBA_CPU_NAME="generic")[0] == "compiled"
    assert run(program, HOME=tmp_path)[0] == "loaded"


def test_two_processes_may_start_at_the_same_time(program: Path, tmp_path: Path) -> None:
    both = [start(program, HOME=tmp_path) for _ in range(2)]
    for process in both:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert output.strip() in ("compiled", "loaded")
    assert run(program, HOME=tmp_path)[0] == "loaded"


def test_a_home_that_cannot_be_written_falls_back_to_a_temporary_folder(
    program: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.write_text("not a folder, so that even root cannot write into it")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    assert run(program, HOME=home, TMPDIR=temporary)[0] == "compiled"
    assert run(program, HOME=home, TMPDIR=temporary)[0] == "loaded"
    (folder,) = temporary.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_code_is_not_loaded_from_a_folder_that_others_can_write(
    program: Path, tmp_path: Path
) -> None:
    shared = tmp_path / f"sr3d-{os.getuid()}"
    shared.mkdir()
    shared.chmod(0o777)
    environment = {"HOME": "/dev/null", "TMPDIR": str(tmp_path)}
    assert run(program, **environment)[0] == "compiled"
    assert run(program, **environment)[0] == "compiled"
    assert not list(shared.glob("*/*"))
    assert list(tmp_path.glob("sr3d-*")) == [shared]  # the private folders are gone


def test_the_user_may_choose_the_folder(program: Path, tmp_path: Path) -> None:
    run(program, HOME="/dev/null", NUMBA_CACHE_DIR=tmp_path / "mine")
    assert run(program, HOME="/dev/null", NUMBA_CACHE_DIR=tmp_path / "mine")[0] == "loaded"


def test_where_the_chosen_folder_cannot_be_used_another_is_taken_and_named(
    program: Path, tmp_path: Path
) -> None:
    chosen = tmp_path / "mine"
    chosen.write_text("not a folder, so that even root cannot write into it")
    places = {"NUMBA_CACHE_DIR": chosen, "HOME": tmp_path}
    output, errors = run(program, **places)
    assert output == "compiled"
    assert f"cannot be kept in {chosen}" in errors
    assert run(program, **places)[0] == "loaded"


@pytest.mark.parametrize("largest_file", [0, 5000])
def test_a_full_disk_is_compiled_around_in_memory_and_told(
    program: Path, tmp_path: Path, largest_file: int
) -> None:
    """Full from the start on, or when the machine code is written."""
    output, errors = run(program, largest_file, HOME=tmp_path)
    assert output == "compiled"
    assert f"cannot be kept in {tmp_path}" in errors
    assert os.strerror(errno.EFBIG) in errors
    assert "NUMBA_CACHE_DIR" in errors
    assert run(program, HOME=tmp_path)[0] == "compiled"  # nothing half written is taken
    assert run(program, HOME=tmp_path)[0] == "loaded"


def test_damaged_machine_code_is_left_for_another_folder(program: Path, tmp_path: Path) -> None:
    run(program, HOME=tmp_path, TMPDIR=tmp_path)
    for path in (tmp_path / ".cache").rglob("*.nbi"):
        path.write_bytes(path.read_bytes()[:20])
    output, errors = run(program, HOME=tmp_path, TMPDIR=tmp_path)
    assert output == "compiled"
    assert f"cannot be kept in {tmp_path / '.cache'}" in errors


def test_the_engine_of_a_cpu_runs_without_any_folder(tmp_path: Path) -> None:
    engine = tmp_path / "engine.py"
    engine.write_text(ENGINE)
    output, errors = run(engine, 0, HOME=tmp_path, NUMBA_OPT=0)  # compiled in half the time
    assert output == "numba"
    assert "install it again" not in errors
