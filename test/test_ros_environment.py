"""Which ROS environment the tests get, and what is said where there is none."""

from __future__ import annotations

import importlib.util
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with nothing sourced."""
    path = ROOT / "make" / "ros_environment.py"
    spec = importlib.util.spec_from_file_location("ros_environment", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ros_environment", module)  # dataclasses look it up
    spec.loader.exec_module(module)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    return module


def forbid(*_: object, **__: object) -> None:
    raise AssertionError("a command was run")


def test_without_wheels_one_line_says_so_and_nothing_is_run(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(subprocess, "Popen", forbid)
    assert environment.main(["kilted,jazzy", "-c", "print(1)"]) == 0
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


def test_every_distribution_has_its_exact_versions(environment: ModuleType) -> None:
    for name in environment.DISTRIBUTIONS:
        lines = environment.Wheels(name).requirements.read_text().splitlines()
        packages = [line for line in lines if line and not line.startswith("#")]
        assert all("==" in line for line in packages)
        assert any(line.startswith("ros-rclpy[fastrtps]==") for line in packages)
        assert len(packages) == len(set(packages))


def test_the_command_runs_on_one_distribution_after_the_other(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(wheels: object) -> tuple[Path, dict[str, str]]:
        return Path(wheels.distribution), {}  # type: ignore[attr-defined]

    ran: list[str] = []

    def start(command: list[str], **_: object) -> SimpleNamespace:
        ran.append(command[0])
        return SimpleNamespace(wait=lambda: statuses[command[0]])

    monkeypatch.setattr(environment, "why_no_wheels", lambda: None)
    monkeypatch.setattr(environment, "wheels_environment", made)
    monkeypatch.setattr(subprocess, "Popen", start)
    statuses = {"kilted": 0, "jazzy": 3}
    assert environment.main(["kilted,jazzy", "-c", "pass"]) == 3
    assert ran == ["kilted", "jazzy"]
    statuses = {"kilted": 2, "jazzy": 0}
    ran.clear()
    assert environment.main(["kilted,jazzy", "-c", "pass"]) == 2
    assert ran == ["kilted"]


TOGETHER = """
import os, sys, time
from pathlib import Path
name, folder = os.environ["ROS_DISTRO"], Path(sys.argv[1])
(folder / name).touch()
while len(list(folder.iterdir())) < 2:
    time.sleep(0.01)
print(name, os.environ.get("SR3D_NOT_FIRST", "0"), flush=True)
print(name, "last", file=sys.stderr)
sys.exit(3 if name == "jazzy" else 0)
"""


def test_at_once_each_output_stays_together(
    environment: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def made(wheels: Any) -> tuple[Path, dict[str, str]]:
        return Path(sys.executable), {"ROS_DISTRO": wheels.distribution}

    monkeypatch.setattr(environment, "why_no_wheels", lambda: None)
    monkeypatch.setattr(environment, "wheels_environment", made)
    assert environment.main(["--at-once", "kilted,jazzy", "-c", TOGETHER, str(tmp_path)]) == 3
    told = capfd.readouterr().out
    assert "kilted 0\n" in told
    assert "on ROS 2 jazzy:\njazzy 1\njazzy last\n" in told


def test_a_script_of_another_folder_gets_the_modules_of_the_checkout_first(
    environment: ModuleType, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        f"sys.exit(os.environ['PYTHONPATH'].split(os.pathsep) != [{str(ROOT)!r}, 'sourced'])\n"
    )
    given = {"PYTHONPATH": "sourced"}
    process = environment.start_python(Path(sys.executable), given, [str(script)])
    assert process.wait() == 0


def test_wheels_say_which_distribution_they_are(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "is_up_to_date", lambda *_: True)
    monkeypatch.setattr(subprocess, "Popen", forbid)
    for name in environment.DISTRIBUTIONS:
        _, variables = environment.wheels_environment(environment.Wheels(name))
        assert variables["ROS_DISTRO"] == name


def test_a_step_is_done_again_only_when_its_inputs_change(
    environment: ModuleType, tmp_path: Path
) -> None:
    wheels = environment.Wheels("jazzy", tmp_path)
    wheels.venv.mkdir()
    files = [ROOT / "msg" / "DetectorStatus.msg"]
    before = environment.digest(files, "3.10")
    assert not environment.is_up_to_date(wheels, "compiled", before)
    environment.write_stamp(wheels, "compiled", before)
    assert environment.is_up_to_date(wheels, "compiled", environment.digest(files, "3.10"))
    assert not environment.is_up_to_date(wheels, "compiled", environment.digest(files, "3.11"))
    assert not environment.is_up_to_date(wheels, "installed", before)


def test_the_headers_of_the_builder_are_replaced_by_ours(
    environment: ModuleType, tmp_path: Path
) -> None:
    exported = tmp_path / "share" / "x" / "cmake" / "xExport.cmake"
    exported.parent.mkdir(parents=True)
    exported.write_text(
        '"/opt/python/cp311-cp311/include/python3.11;'
        '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include"'
    )
    environment.point_at_our_headers(tmp_path, Path(sys.executable), {})
    ours = re.fullmatch(r'"(.*);(.*)"', exported.read_text())
    assert ours is not None
    assert all(Path(folder).is_absolute() for folder in ours.groups())
    assert "/opt/python/cp311" not in exported.read_text()
