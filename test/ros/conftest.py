"""What the tests with real rclpy share.

The pytest process plays the robot: it publishes clouds and transforms and listens to the node,
which runs in a process of its own as `python -m sr3d_ros.node`. Nothing sleeps to synchronise:
every wait ends with an event, or fails after a generous time with what was seen.
Where rclpy does not import, this folder is not collected.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from domains import own_domain  # of this folder

HAS_ROS = importlib.util.find_spec("rclpy") is not None
collect_ignore_glob = [] if HAS_ROS else ["test_*.py"]
ONCE = ["test_benchmarks.py", "test_colcon.py"]
"""Minutes of computing that differ little between distributions: done on the first of several."""
collect_ignore = ONCE if os.environ.get("SR3D_NOT_FIRST") else []

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ["ROS_DOMAIN_ID"] = str(own_domain())  # the workers of pytest-xdist share no other
os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")

if HAS_ROS:
    import rclpy
    import torch
    from processes import WARM, NodeProcess, serve_warm_processes
    from robot import Robot

    from sr3d_core.checkpoint import Manifest, save_checkpoint
    from sr3d_core.model.network import SR3D, Architecture

    StartNode = Callable[..., NodeProcess]

    if WARM not in os.environ:  # the workers of pytest-xdist have that of the process above them
        serve_warm_processes()

    @pytest.fixture(scope="session", autouse=True)
    def _ros() -> Iterator[None]:
        """One ROS context for the whole run."""
        rclpy.init()
        yield
        rclpy.try_shutdown()

    @pytest.fixture(scope="session")
    def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """An untrained network so small that it answers at once; its boxes are noise."""
        architecture = Architecture(
            num_classes=3,
            rotated=True,
            voxel_size_m=0.04,
            color=False,
            stem_channels=8,
            widths=(8, 8, 8, 8),
            depths=(1, 1, 1, 1),
            neck_channels=8,
            grow_fine=False,
        )
        torch.manual_seed(0)
        path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
        manifest = Manifest(architecture=architecture, classes=("chair", "table", "desk"))
        save_checkpoint(path, SR3D(architecture), manifest)
        return path

    @pytest.fixture(scope="module")
    def start_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartNode]:
        """Starts node processes; those that still run are ended after the module."""
        started: list[NodeProcess] = []

        def start(
            *arguments: str,
            command: tuple[str, ...] = NodeProcess.COMMAND,
            is_fresh: bool = False,
        ) -> NodeProcess:
            log = tmp_path_factory.mktemp("node") / "log.txt"
            started.append(NodeProcess(log, arguments, command, is_fresh=is_fresh))
            return started[-1]

        yield start
        for process in started:
            process.end()

    @pytest.fixture(scope="module")
    def robot() -> Iterator[Robot]:
        """The other side of the topics."""
        robot = Robot()
        yield robot
        robot.close()
