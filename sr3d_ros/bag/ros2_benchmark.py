"""Figures at the sensor's pace by the names of NVIDIA's ros2_benchmark, to stand beside its own.

Keys and formulas are those of `BasicPerformanceCalculator` in its file
ros2_benchmark/basic_performance_calculator.py (github.com/NVIDIA-ISAAC-ROS/ros2_benchmark, 2024),
with messages matched by their key, so that latencies end to end are known; a report is one JSON
object with `BasicPerformanceMetrics.NAME` for each, `custom` and `metadata` below. "Sent" is a
frame's arrival, "received" its boxes. There as here a rate is the number of frames over the time
from the first to the last, not of the gaps between them. What cannot be said is left out.
`ResourceMetrics` (CPU, GPU) are not measured.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from sr3d_ros import __version__
from sr3d_ros.bag.pace import PaceReport


def ros2_benchmark_report(pace: PaceReport, bag: Path, model: str) -> dict[str, Any]:
    """The report as plain JSON values."""
    sent = [frame.arrived_s for frame in pace.frames]
    received = [
        (frame.arrived_s, frame.finished_s)
        for frame in pace.frames
        if frame.finished_s is not None and frame.latency_ms is not None
    ]
    metrics = basic_performance(sent, received)
    return {
        **{f"BasicPerformanceMetrics.{name}": value for name, value in metrics.items()},
        "custom": {
            "sr3d_version": __version__,
            "model": model,
            "simulated_clock": True,
            "playback_speed": pace.speed,
        },
        "metadata": {
            "BenchmarkMetadata.NAME": "sr3d bag eval",
            "BenchmarkMetadata.TEST_DATETIME": _now(),
            "BenchmarkMetadata.DEVICE_ARCH": platform.machine(),
            "BenchmarkMetadata.DEVICE_OS": f"{platform.system()} {platform.release()}",
            "BenchmarkMetadata.INPUT_DATA_PATH": str(bag),
            "BenchmarkMetadata.INPUT_DATA_SIZE": _num_bytes(bag),
        },
    }


def basic_performance(
    sent_s: Sequence[float], received_s: Sequence[tuple[float, float]]
) -> dict[str, float]:
    """By name: rates in Hz, times in ms; of when frames were sent, and pairs of sent, received."""
    sent = 1e3 * np.sort(np.array(sent_s, np.float64))
    pairs = 1e3 * np.array(received_s, np.float64).reshape(-1, 2)
    ends = np.sort(pairs[:, 1])
    found = {"NUM_FRAMES_SENT": len(sent), "NUM_MISSED_FRAMES": len(sent) - len(ends)}
    if len(sent) > 1 and sent[-1] > sent[0]:
        found["MEAN_PLAYBACK_FRAME_RATE"] = 1e3 * len(sent) / (sent[-1] - sent[0])
    if len(ends):
        latency = pairs[:, 1] - pairs[:, 0]
        found |= {
            "RECEIVED_DURATION": ends[-1] - ends[0],
            "FIRST_SENT_RECEIVED_LATENCY": ends[0] - sent[0],
            "LAST_SENT_RECEIVED_LATENCY": ends[-1] - sent[-1],
            "FIRST_INPUT_LATENCY": latency[0],
            "LAST_INPUT_LATENCY": latency[-1],
            "MAX_LATENCY": latency.max(),
            "MIN_LATENCY": latency.min(),
            "MEAN_LATENCY": latency.mean(),
        }
        if ends[-1] > ends[0]:
            found["MEAN_FRAME_RATE"] = 1e3 * len(ends) / (ends[-1] - ends[0])
    if len(ends) > 2:
        jitter = np.abs(np.diff(ends, n=2))
        found |= {
            "MAX_JITTER": jitter.max(),
            "MIN_JITTER": jitter.min(),
            "MEAN_JITTER": jitter.mean(),
            "STD_DEV_JITTER": jitter.std(),
        }
    return {
        name: value if isinstance(value, int) else float(value) for name, value in found.items()
    }


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _num_bytes(bag: Path) -> int:
    files = [bag] if bag.is_file() else bag.rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())
