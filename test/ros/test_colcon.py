"""colcon brings sr3d_ros, pip sr3d_core: the node and the message work from the two together."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import PATIENCE_S, ROOT

import sr3d_ros

PARTS = (
    *("package.xml", "CMakeLists.txt", "pyproject.toml", "setup.py"),
    *("msg", "srv", "scripts", "launch", "config", "sr3d_ros"),
)
TOOLS = Path(sys.executable).parent
COLCON = shutil.which("colcon", path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")

pytestmark = pytest.mark.skipif(COLCON is None, reason="colcon is not installed")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """What a shell has before `source install/setup.bash`: nothing of this checkout."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", sys.prefix)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    environment = {
        **os.environ,
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path and Path(path) != ROOT),
        "AMENT_PREFIX_PATH": prefixes,
        "CMAKE_PREFIX_PATH": os.environ.get("CMAKE_PREFIX_PATH", prefixes),
    }
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    return environment


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """A colcon workspace with a copy of the package, built."""
    workspace = tmp_path_factory.mktemp("workspace")
    source = workspace / "src" / "sr3d"
    source.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / part, source / part, ignore=unwanted)
        else:
            shutil.copy(ROOT / part, source / part)
    done = subprocess.run(
        [str(COLCON), "build", "--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}"],
        cwd=workspace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=10 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return workspace


@pytest.fixture(scope="module")
def pip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install` puts into a folder of its own: sr3d_core and the modules of sr3d_ros."""
    folder = tmp_path_factory.mktemp("pip")
    for package in ("sr3d_core", "sr3d_ros"):
        unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / package, folder / package, ignore=unwanted)
    (folder / "sr3d_ros" / "removed.py").write_text("")  # what newer sources have no more
    return folder


def in_overlay(
    workspace: Path, environment: dict[str, str], command: str, pip_folder: Path | str
) -> subprocess.CompletedProcess[str]:
    """What a command does after the workspace was sourced, the folder of pip behind it."""
    return subprocess.run(
        ["bash", "-c", f"source install/setup.bash && PYTHONPATH+=:{pip_folder} && {command}"],
        cwd=workspace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=5 * PATIENCE_S,
        check=False,
    )


def test_sr3d_ros_comes_from_colcon_and_sr3d_core_from_pip(
    workspace: Path, environment: dict[str, str], pip_folder: Path
) -> None:
    script = (
        "import sr3d_ros.msg, sr3d_ros.node.worker, sr3d_core.structures as core; "
        "print(sr3d_ros.msg.DetectorStatus().received, sr3d_ros.msg.__file__, "
        "sr3d_ros.node.worker.__file__, core.__file__)"
    )
    done = in_overlay(workspace, environment, f'python3 -c "{script}"', pip_folder)
    assert done.returncode == 0, done.stdout
    received, message, module, core = done.stdout.split()
    assert received == "0"
    assert message.startswith(str(workspace / "install"))
    assert module.startswith(str(workspace / "install"))
    assert core.startswith(str(pip_folder))


def test_nothing_of_sr3d_ros_is_taken_from_pip(
    workspace: Path, environment: dict[str, str], pip_folder: Path
) -> None:
    command = 'python3 -c "import sr3d_ros.removed"'
    done = in_overlay(workspace, environment, command, pip_folder)
    assert "No module named 'sr3d_ros.removed'" in done.stdout


def test_modules_of_pip_find_the_messages_of_colcon(
    workspace: Path, environment: dict[str, str], pip_folder: Path
) -> None:
    """As where Python is started in a clone: its modules come first, without messages."""
    script = "import sr3d_ros.msg as m, sr3d_ros as r; print(m.__file__, r.__file__)"
    command = f'cd {pip_folder} && python3 -c "{script}"'
    done = in_overlay(workspace, environment, command, pip_folder)
    assert done.returncode == 0, done.stdout
    message, modules = done.stdout.split()
    assert message.startswith(str(workspace / "install"))
    assert modules.startswith(str(pip_folder))


PROGRAMS = ("detector_node", "doctor", "play")


def program(workspace: Path, name: str) -> Path:
    return workspace / "install" / "sr3d_ros" / "lib" / "sr3d_ros" / name


@pytest.mark.parametrize("name", PROGRAMS)
def test_another_version_of_sr3d_core_is_named_in_one_line(
    workspace: Path, environment: dict[str, str], tmp_path: Path, name: str
) -> None:
    """Another version may lack what sr3d_ros imports: here, everything."""
    other = tmp_path / "sr3d_core"
    other.mkdir()
    (other / "__init__.py").write_text('__version__ = "0.0.7"\n')
    done = in_overlay(workspace, environment, str(program(workspace, name)), tmp_path)
    assert done.returncode == 1
    (line,) = done.stdout.strip().splitlines()
    assert f"sr3d_core 0.0.7 in {other}" in line
    assert f"sr3d_ros {sr3d_ros.__version__} in {workspace / 'install'}" in line
    assert "colcon build" in line
    assert "pip install" in line


def test_the_node_starts_from_the_overlay(
    workspace: Path, environment: dict[str, str], pip_folder: Path
) -> None:
    """As `ros2 run` and launch start it: it gets as far as a parameter that does not exist."""
    command = f"{program(workspace, 'detector_node')} --ros-args -p model.weight:=mine"
    done = in_overlay(workspace, environment, command, pip_folder)
    assert done.returncode == 1
    assert "parameter model.weight does not exist; did you mean model.weights?" in done.stdout


def test_the_doctor_starts_from_the_overlay(
    workspace: Path, environment: dict[str, str], pip_folder: Path
) -> None:
    command = f"{program(workspace, 'doctor')} --help"
    done = in_overlay(workspace, environment, command, pip_folder)
    assert done.returncode == 0
    assert "--wait" in done.stdout


def test_the_player_starts_from_the_overlay(
    workspace: Path, environment: dict[str, str], pip_folder: Path, tmp_path: Path
) -> None:
    """It gets as far as a recording that is none."""
    (tmp_path / "drive").mkdir()
    command = f"{program(workspace, 'play')} {tmp_path / 'drive'} --ros-args -r /a:=/b"
    done = in_overlay(workspace, environment, command, pip_folder)
    assert done.returncode == 1
    (line,) = done.stdout.strip().splitlines()
    assert line.startswith("error: ")
    assert str(tmp_path / "drive") in line


@pytest.mark.parametrize(
    "path",
    [
        "launch/detector.launch.py",
        "config/detector.param.yaml",
        "config/sr3d.rviz",
        "config/fastdds_large_data.xml",
        "config/sensors/realsense.yaml",
        "config/sros2/sr3d_detector.policy.xml",
        "launch/depth_to_cloud.launch.py",
        "launch/replay.launch.py",
        "package.xml",
        "msg/DetectorStatus.msg",
        "srv/FindObjects.srv",
    ],
)
def test_the_share_folder_holds(workspace: Path, path: str) -> None:
    assert (workspace / "install" / "sr3d_ros" / "share" / "sr3d_ros" / path).is_file()


def test_the_stand_in_packages_are_not_built(workspace: Path) -> None:
    assert (ROOT / "test" / "interfaces" / "COLCON_IGNORE").is_file()
    assert not (workspace / "install" / "vision_msgs").exists()
