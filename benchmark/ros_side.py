"""What benchmarks of the real node share: its process, clouds as messages, times on the wire.

Everything runs on this machine alone, on a ROS domain of its own, with the transport profile that
the documentation recommends. Python processes, as the node itself.
"""

from __future__ import annotations

import array
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from message import cloud_message
from scene import SCENES
from sensor_msgs.msg import PointCloud2, PointField

ROOT = Path(__file__).resolve().parent.parent
NODE, TOPIC, CAMERA, BASE = "/sr3d_detector", "/camera/points", "camera", "base_link"
START_LIMIT_S = 120.0


def stay_on_this_machine() -> None:
    """Choose the domain and the transport; before `rclpy.init`, inherited by all processes.

    The tests' checks of every field of a message are switched off: robots do without them.
    """
    os.environ.pop("ROS_PYTHON_CHECK_FIELDS", None)
    distribution = os.environ.get("ROS_DISTRO")
    if distribution is None:  # a profile under the wrong name is not read, and clouds are lost
        raise SystemExit(
            "ROS_DISTRO is not set: source a ROS 2 installation, or start this with "
            "make/ros_environment.py"
        )
    profile = str(ROOT / "config" / "fastdds_large_data.xml")
    is_old = distribution in ("humble", "jazzy")
    os.environ.setdefault(f"{'FASTRTPS' if is_old else 'FASTDDS'}_DEFAULT_PROFILES_FILE", profile)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(secrets.randbelow(102)))
    if distribution == "humble":
        os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")


class NodeProcess:
    """The node with the shipped weights and parameters, in a process of its own.

    `script` runs it; comes back ready, or raises RuntimeError with the end of the log.
    """

    def __init__(self, log: Path, script: Sequence[str] = ("-m", "sr3d_ros.node")) -> None:
        ros = ("--ros-args", "-r", f"~/input/points:={TOPIC}", "--params-file")
        parameters = str(ROOT / "config" / "detector.param.yaml")
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, *script, *ros, parameters],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        limit_s = time.monotonic() + START_LIMIT_S
        while "ready: " not in log.read_text():
            if self._process.poll() is not None or time.monotonic() > limit_s:
                self.end()
                raise RuntimeError(f"the node did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @property
    def warnings(self) -> int:
        """How many warnings and errors it has logged."""
        lines = self._log.read_text().splitlines()
        return sum("[WARN]" in line or "[ERROR]" in line for line in lines)

    def end(self) -> int:
        """Interrupt it; its exit status."""
        if self.is_alive:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(30.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def point_cloud(scene: str, num_points: int) -> PointCloud2:
    """A scene as RGB-D drivers send it, z up, without a stamp."""
    plain = cloud_message(*SCENES[scene](num_points))
    message = PointCloud2(height=1, width=plain.width, is_dense=True)
    message.point_step, message.row_step = plain.point_step, plain.row_step
    message.header.frame_id = CAMERA
    message.fields = [PointField(**vars(field)) for field in plain.fields]
    message.data = array.array("B", plain.data.tobytes())
    return message


def md5_of(message: PointCloud2) -> str:
    """Fingerprint of the points."""
    return hashlib.md5(message.data, usedforsecurity=False).hexdigest()


def stamp_ns(message: Any) -> int:
    """The stamp in the header of a message."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def tell(told: Any) -> None:
    """Print one JSON object."""
    print(json.dumps(told, indent=1), flush=True)
