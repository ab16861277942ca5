"""What a robot gets from the node: stamp to detections, jitter, rate and lost frames.

    python benchmark/bench_node.py --points 50000 100000 300000 --rates 10 30

Needs rclpy (make/ros_environment.py). Publisher, node and receiver are processes of their own, as
on a robot, the node with the shipped weights and parameters. Names of figures are those of
ros2_benchmark; latency is from a cloud's stamp, set just before it is published, to the arrival of
its detections; jitter is how much one interval between arrivals differs from the one before. The
node's own share is the median of its time for a frame less that of the detector, measured in the
same process. Prints one JSON object; times are milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from measure import aim, machine
from rclpy.node import Node
from ros_side import NODE, NodeProcess, stamp_ns, stay_on_this_machine, tell
from scene import SCENES
from vision_msgs.msg import Detection3DArray

from sr3d_ros.msg import DetectorStatus

HERE = Path(__file__).resolve().parent
WARM_UP_S = 3.0
OWN_AIM_MS = 5.0


class Receiver:
    """Hears the detections, and what the node says about itself."""

    def __init__(self) -> None:
        self._node = Node("receiver_of_the_benchmark")
        self.arrivals_ns: dict[int, int] = {}
        self.num_boxes = 0
        self.status: DetectorStatus | None = None
        self.inference: dict[str, str] = {}
        self._node.create_subscription(
            Detection3DArray, f"{NODE}/output/detections", self._on_detections, 10
        )
        self._node.create_subscription(DetectorStatus, f"{NODE}/status", self._on_status, 10)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def listen_while(self, process: subprocess.Popen[str]) -> None:
        """Until a process has ended."""
        while process.poll() is None:
            rclpy.spin_once(self._node, timeout_sec=0.1)

    def listen(self, duration_s: float) -> None:
        """For some time."""
        limit_s = time.monotonic() + duration_s
        while time.monotonic() < limit_s:
            rclpy.spin_once(self._node, timeout_sec=0.1)

    def close(self) -> None:
        """Leave the graph."""
        self._node.destroy_node()

    def _on_detections(self, message: Detection3DArray) -> None:
        self.arrivals_ns[stamp_ns(message)] = time.time_ns()
        self.num_boxes = len(message.detections)

    def _on_status(self, message: DetectorStatus) -> None:
        self.status = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": inference"):
                self.inference = {value.key: value.value for value in status.values}


def main() -> None:
    """Measure all combinations and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[50_000, 100_000, 300_000])
    parser.add_argument("--rates", type=float, nargs="+", default=[10.0, 30.0], help="Hz")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=["camera"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of a run, after warming up")
    options = parser.parse_args()
    stay_on_this_machine()
    rclpy.init()
    runs = [
        measure(scene, points, rate, options.seconds)
        for scene in options.scenes
        for points in options.points
        for rate in options.rates
    ]
    rclpy.shutdown()
    tell({"metadata": machine(os.cpu_count() or 1), "aims": _aims(runs), "runs": runs})


def measure(scene: str, points: int, rate_hz: float, duration_s: float) -> dict[str, Any]:
    """One scene, size and rate, with a node of its own."""
    print(f"{scene}, {points} points, {rate_hz:g} Hz ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder, "times.txt")
        node = NodeProcess(Path(folder, "log.txt"), (str(HERE / "timed_node.py"), str(times)))
        try:
            receiver = Receiver()
            sent = _publish(receiver, scene, points, rate_hz, WARM_UP_S + duration_s)
        finally:
            node.end()
        detector_ms = [float(line) for line in times.read_text().split()]
    receiver.close()
    return {
        "scene": scene,
        "points": points,
        "PUBLISHER_FRAME_RATE": rate_hz,
        "Input Data Hash": sent["md5"],
        "Input Data Size (bytes)": sent["bytes"],
        "PUBLISHED_FRAME_RATE": round(sent["rate_hz"], 2),
        **_figures(sent["sent_ns"][round(WARM_UP_S * rate_hz) :], receiver),
        **_own_share(receiver, detector_ms),
    }


def _publish(receiver: Receiver, scene: str, points: int, hz: float, s: float) -> Any:
    """What the publisher tells at its end."""
    command = [sys.executable, str(HERE / "cloud_source.py"), scene, *map(str, (points, hz, s))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as publisher:
        receiver.listen_while(publisher)
        assert publisher.stdout is not None
        told = publisher.stdout.read()
    receiver.listen(1.5)  # the last status
    return json.loads(told.splitlines()[-1])


def _figures(sent_ns: list[int], receiver: Receiver) -> dict[str, Any]:
    """How the frames that were sent after the warm-up fared."""
    came = [(stamp, receiver.arrivals_ns[stamp]) for stamp in sent_ns if _came(stamp, receiver)]
    figures: dict[str, Any] = {
        "NUM_FRAMES_SENT": len(sent_ns),
        "NUM_MISSED_FRAMES": len(sent_ns) - len(came),
        "DROP_RATE_PERCENT": round(100 * (1 - len(came) / len(sent_ns)), 2),
        "detections": receiver.num_boxes,
        "drops": _drops(receiver.status),
    }
    if len(came) < 3:
        return figures
    stamps, arrivals = np.array(came, dtype=np.int64).T
    jitter = np.abs(np.diff(arrivals, n=2)) * 1e-6
    rate_hz = 1e9 * (len(came) - 1) / float(arrivals[-1] - arrivals[0])
    return {
        **figures,
        "MEAN_FRAME_RATE": round(rate_hz, 2),
        **_spread("LATENCY", (arrivals - stamps) * 1e-6),
        **_spread("JITTER", jitter),
    }


def _came(stamp: int, receiver: Receiver) -> bool:
    return stamp in receiver.arrivals_ns


def _spread(name: str, values: Any) -> dict[str, float]:
    """Mean, percentiles and extremes in milliseconds."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    shown = {"MEAN": values.mean(), "P50": p50, "P95": p95, "P99": p99, "MAX": values.max()}
    return {f"{kind}_{name}": round(float(value), 2) for kind, value in shown.items()}


def _drops(status: DetectorStatus | None) -> dict[str, int]:
    """Why the node itself dropped frames, warm-up included."""
    if status is None:
        return {}
    pairs = zip(status.drop_reasons, status.drop_counts, strict=True)
    return {str(reason): int(count) for reason, count in pairs if count}


def _own_share(receiver: Receiver, detector_ms: list[float]) -> dict[str, float | None]:
    """Medians over all frames: the node's time for one, the detector's, and the difference."""
    shown = receiver.inference.get("processing p50 (ms)", "unknown")
    if shown == "unknown" or not detector_ms:
        return {"node_p50_ms": None, "detector_p50_ms": None, "node_adds_ms": None}
    recent = sorted(detector_ms[-500:])  # as many as the node looks back on
    node_ms, detector = float(shown), recent[(len(recent) - 1) // 2]
    return {
        "node_p50_ms": node_ms,
        "detector_p50_ms": round(detector, 1),
        "node_adds_ms": round(node_ms - detector, 1),
    }


def _aims(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The issue's figure beside what was measured."""
    return [
        aim(
            f"{run['scene']}, {run['PUBLISHER_FRAME_RATE']:g} Hz, 100000 points: "
            "ms that the node adds to the detector",
            run["node_adds_ms"],
            "at most",
            OWN_AIM_MS,
        )
        for run in runs
        if run["points"] == 100_000
    ]


if __name__ == "__main__":
    main()
