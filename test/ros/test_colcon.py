"""`colcon build` makes the package; the node and the message work from the installed overlay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

PARTS = (
    *("package.xml", "CMakeLists.txt", "pyproject.toml", "setup.py"),
    *("msg", "scripts", "launch", "config", "sr3d_ros", "sr3d_core"),
)
TOOLS = Path(sys.executable).parent
COLCON = shutil.which("colcon", path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")

pytestmark = pytest.mark.skipif(COLCON is None, reason="colcon is not installed")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """What a shell has before `source install/setup.bash`."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", sys.prefix)
    environment = {
        **os.environ,
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
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
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return workspace


def in_overlay(
    workspace: Path, environment: dict[str, str], command: str
) -> subprocess.CompletedProcess[str]:
    """What a command does after the workspace was sourced."""
    return subprocess.run(
        ["bash", "-c", f"source install/setup.bash && {command}"],
        cwd=workspace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def test_message_and_modules_come_from_the_overlay(
    workspace: Path, environment: dict[str, str]
) -> None:
    script = (
        "import sr3d_ros.msg, sr3d_ros.node.worker, sr3d_core.structures as core; "
        "print(sr3d_ros.msg.DetectorStatus().received, sr3d_ros.msg.__file__, "
        "sr3d_ros.node.worker.__file__, core.__file__)"
    )
    done = in_overlay(workspace, environment, f'python3 -c "{script}"')
    assert done.returncode == 0, done.stdout
    received, *files = done.stdout.split()
    assert received == "0"
    assert len(files) == 3
    assert all(file.startswith(str(workspace / "install")) for file in files)


def test_the_node_starts_from_the_overlay(workspace: Path, environment: dict[str, str]) -> None:
    """As `ros2 run` and launch start it: it gets as far as a parameter that does not exist."""
    node = workspace / "install" / "sr3d_ros" / "lib" / "sr3d_ros" / "detector_node"
    done = in_overlay(workspace, environment, f"{node} --ros-args -p model.weight:=mine")
    assert done.returncode == 1
    assert "parameter model.weight does not exist; did you mean model.weights?" in done.stdout


def test_the_doctor_starts_from_the_overlay(workspace: Path, environment: dict[str, str]) -> None:
    doctor = workspace / "install" / "sr3d_ros" / "lib" / "sr3d_ros" / "doctor"
    done = in_overlay(workspace, environment, f"{doctor} --help")
    assert done.returncode == 0
    assert "--wait" in done.stdout


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
    ],
)
def test_the_share_folder_holds(workspace: Path, path: str) -> None:
    assert (workspace / "install" / "sr3d_ros" / "share" / "sr3d_ros" / path).is_file()


def test_the_stand_in_packages_are_not_built(workspace: Path) -> None:
    assert (ROOT / "test" / "interfaces" / "COLCON_IGNORE").is_file()
    assert not (workspace / "install" / "vision_msgs").exists()
