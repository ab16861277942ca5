"""Which ROS environment the tests get, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, with nothing sourced and an environment folder of its own."""
    path = ROOT / "make" / "ros_environment.py"
    spec = importlib.util.spec_from_file_location("ros_environment", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.setattr(module, "VENV", tmp_path)
    return module


def forbid(*_: object, **__: object) -> None:
    raise AssertionError("a command was run")


def test_without_wheels_one_line_says_so_and_nothing_is_run(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(subprocess, "run", forbid)
    assert environment.main(["-c", "print(1)"]) == 0
    assert capsys.readouterr().out == (
        "ROS tests skipped: no ROS 2 installation is sourced, and there are no ROS wheels for "
        "linux aarch64\n"
    )


def test_a_python_without_wheels_is_named(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(environment, "WHEEL_PYTHONS", ((3, 7), (3, 8)))
    assert environment.why_no_wheels() == (
        f"there are no ROS wheels for Python {platform.python_version()}"
    )


def test_a_module_of_a_missing_package_is_not_importable(environment: ModuleType) -> None:
    assert not environment.is_importable("no_such_package.msg")
    assert environment.is_importable("json.decoder")


def test_a_step_is_done_again_only_when_its_inputs_change(environment: ModuleType) -> None:
    files = [ROOT / "msg" / "DetectorStatus.msg"]
    before = environment.digest(files, "3.10")
    assert not environment.is_up_to_date("compiled", before)
    environment.write_stamp("compiled", before)
    assert environment.is_up_to_date("compiled", environment.digest(files, "3.10"))
    assert not environment.is_up_to_date("compiled", environment.digest(files, "3.11"))


def test_the_headers_of_the_builder_are_replaced_by_ours(
    environment: ModuleType, tmp_path: Path
) -> None:
    exported = tmp_path / "share" / "x" / "cmake" / "xExport.cmake"
    exported.parent.mkdir(parents=True)
    exported.write_text(
        '"/opt/python/cp311-cp311/include/python3.11;'
        '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include"'
    )
    environment.point_at_our_headers(Path(sys.executable), {})
    ours = re.fullmatch(r'"(.*);(.*)"', exported.read_text())
    assert ours is not None
    assert all(Path(folder).is_absolute() for folder in ours.groups())
    assert "/opt/python/cp311" not in exported.read_text()
