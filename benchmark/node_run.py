"""One run of the real node: a camera sends, the node works, a receiver listens.

Camera, node and receiver (this process) are processes of their own, as on a robot, the node with
the shipped weights and parameters, or with a detector that takes a given time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from fates import account
from growth import read_process
from rclpy.node import Node
from ros_side import NODE, NodeProcess, stamp_ns
from vision_msgs.msg import Detection3DArray

from sr3d_ros.msg import DetectorStatus

HERE = Path(__file__).resolve().parent
MEET_S = 30.0
SETTLE_S = 10.0
"""How long the last frame and the status behind it may take."""


@dataclass(frozen=True)
class Run:
    """What everybody saw."""

    sent: dict[str, Any]  # what the camera told at its end
    arrivals_ns: dict[int, int]  # by stamp; only of clouds that were sent
    num_boxes: int  # in the last array
    status: DetectorStatus | None  # the last one
    frames: list[dict[str, float]]  # lines of timed_node.py
    samples: list[list[float]]  # for `growth`, one a second
    node: dict[str, int]  # its exit status and the warnings that it logged


class Receiver:
    """Hears the detections and the status of the node; from the first ones on, samples it."""

    def __init__(self, process: NodeProcess) -> None:
        self.arrivals_ns: dict[int, int] = {}
        self.num_boxes = 0
        self.status: DetectorStatus | None = None
        self.samples: list[list[float]] = []
        self._process = process
        self._first_s: float | None = None
        self._node = Node("receiver_of_the_benchmark")
        topic = f"{NODE}/output/detections"
        self._node.create_subscription(Detection3DArray, topic, self._on_detections, 10)
        self._node.create_subscription(DetectorStatus, f"{NODE}/status", self._on_status, 10)

    def meet(self) -> None:
        """Wait until the node is heard, so that no box is published before we are known.

        Subscriptions become known in the order of their making; that of the status is the last.
        """
        self.listen_until(lambda: self.status is not None, MEET_S)
        if self.status is None:
            raise RuntimeError(f"nothing was heard of {NODE} for {MEET_S:g} s")

    def listen_until(self, is_over: Callable[[], bool], limit_s: float = float("inf")) -> None:
        """Hear what comes, as long as the node lives."""
        ends_s = time.monotonic() + limit_s
        while not is_over() and time.monotonic() < ends_s and self._process.is_alive:
            rclpy.spin_once(self._node, timeout_sec=0.1)
            self._sample()

    def is_settled(self, num_sent: int) -> bool:
        """Whether the newest status accounts for every frame, and all boxes have come."""
        return bool(account(num_sent, self.status, len(self.arrivals_ns))["adds_up"])

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_node()

    def _sample(self) -> None:
        """Look at the process, once a second."""
        if self._first_s is None:
            return
        since_s = time.monotonic() - self._first_s
        if since_s >= len(self.samples):
            self.samples.append([since_s, *read_process(self._process.pid)])

    def _on_detections(self, message: Detection3DArray) -> None:
        self.arrivals_ns[stamp_ns(message)] = time.time_ns()
        self._first_s = self._first_s or time.monotonic()
        self.num_boxes = len(message.detections)

    def _on_status(self, message: DetectorStatus) -> None:
        self.status = message


def run_node(
    scene: str, points: int, rate_hz: float, duration_s: float, inference_ms: float = 0.0
) -> Run:
    """One scene, size and rate with a node of its own; 0 ms = with the detector that ships.

    Raises RuntimeError where the node or the camera does not start or dies.
    """
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "frames.jsonl")
        script = (str(HERE / "timed_node.py"), str(lines), str(inference_ms))
        process = NodeProcess(Path(folder, "log.txt"), script)
        try:
            receiver = Receiver(process)
            receiver.meet()
            sent = _send(receiver, scene, points, rate_hz, duration_s)
            receiver.status = None  # all that were sent have arrived by now
            receiver.listen_until(lambda: receiver.is_settled(len(sent["sent_ns"])), SETTLE_S)
        finally:
            exit_status = process.end()
        receiver.close()
        frames = [json.loads(line) for line in lines.read_text().splitlines()]
        node = {"exit_status": exit_status, "warnings_logged": process.warnings}
    arrivals_ns = receiver.arrivals_ns
    return Run(
        sent=sent,
        arrivals_ns={s: arrivals_ns[s] for s in sent["sent_ns"] if s in arrivals_ns},
        num_boxes=receiver.num_boxes,
        status=receiver.status,
        frames=frames,
        samples=receiver.samples,
        node=node,
    )


def _send(receiver: Receiver, scene: str, points: int, rate_hz: float, duration_s: float) -> Any:
    """What the camera tells at its end."""
    given = map(str, (points, rate_hz, duration_s))
    command = [sys.executable, str(HERE / "cloud_source.py"), scene, *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as camera:
        try:
            receiver.listen_until(lambda: camera.poll() is not None)
        finally:
            camera.terminate()  # nothing where it has ended
        assert camera.stdout is not None
        told = camera.stdout.read()
    if camera.returncode != 0:
        raise RuntimeError(f"the camera's exit status is {camera.returncode}; its words are above")
    return json.loads(told.splitlines()[-1])
