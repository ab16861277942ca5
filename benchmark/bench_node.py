"""What a robot gets from the node: stamp to detections, jitter, rate, lost frames, and why.

    python make/ros_environment.py kilted benchmark/bench_node.py --points 100000 --rates 10 30

Publisher, node and receiver are processes of their own, as on a robot, the node with the shipped
weights and parameters. Names of figures are those of ros2_benchmark; latency is from a cloud's
stamp, set just before it is published, to the arrival of its detections, and is told by its parts
(`fates.py`). What the node adds is its worker's time for a frame less the detector's. Prints one
JSON object; times are milliseconds.
"""

from __future__ import annotations

import argparse
import os
import sys
from itertools import product
from typing import Any

import rclpy
from fates import account, shares, timeliness
from measure import aim, machine
from node_run import run_node
from ros_side import stay_on_this_machine, tell
from scene import SCENES

OWN_AIM_MS = 5.0


def main() -> None:
    """Measure all combinations and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[50_000, 100_000, 300_000])
    parser.add_argument("--rates", type=float, nargs="+", default=[10.0, 30.0], help="Hz")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--seconds", type=float, default=10.0, help="of a run, after warming up")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds left out of figures")
    options = parser.parse_args()
    stay_on_this_machine()
    rclpy.init()
    cases = list(product(options.scenes, options.points, options.rates))
    runs = []
    for number, (scene, points, rate_hz) in enumerate(cases, start=1):
        said = f"{number}/{len(cases)} {scene}, {points} points, {rate_hz:g} Hz"
        print(f"{said} ...", file=sys.stderr, flush=True)
        runs.append(measure(scene, points, rate_hz, options.seconds, options.warm_up))
        print(f"{said}: {_in_short(runs[-1])}", file=sys.stderr, flush=True)
    rclpy.try_shutdown()
    tell({"metadata": machine(os.cpu_count() or 1), "aims": _aims(runs), "runs": runs})


def measure(
    scene: str, points: int, rate_hz: float, duration_s: float, warm_up_s: float
) -> dict[str, Any]:
    """One scene, size and rate, with a node of its own."""
    run = run_node(scene, points, rate_hz, warm_up_s + duration_s)
    sent_ns = run.sent["sent_ns"]
    measured_ns = sent_ns[round(warm_up_s * rate_hz) :]
    warm = {stamp: run.arrivals_ns[stamp] for stamp in measured_ns if stamp in run.arrivals_ns}
    return {
        "scene": scene,
        "points": points,
        "PUBLISHER_FRAME_RATE": rate_hz,
        "Input Data Hash": run.sent["md5"],
        "Input Data Size (bytes)": run.sent["bytes"],
        "PUBLISHED_FRAME_RATE": round(run.sent["rate_hz"], 2),
        **timeliness(measured_ns, run.arrivals_ns),
        "detections": run.num_boxes,
        **shares(run.frames, warm),
        "frames": account(len(sent_ns), run.status, len(run.arrivals_ns)),
        "node": run.node,
    }


def _in_short(run: dict[str, Any]) -> str:
    """The figures that one waits for."""
    if run["node_adds_ms"] is None:
        return "no detections"
    latency, detector = run.get("P50_LATENCY"), run["detector_ms"]["p50"]
    adds = run["node_adds_ms"]["p50"]
    return f"p50 of latency {latency} ms, of the detector {detector} ms, the node adds {adds} ms"


def _aims(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the node may add beside what was measured."""
    return [
        aim(
            f"{run['scene']}, {run['PUBLISHER_FRAME_RATE']:g} Hz, 100000 points: "
            "ms that the node adds to the detector",
            run["node_adds_ms"] and run["node_adds_ms"]["p50"],
            "at most",
            OWN_AIM_MS,
        )
        for run in runs
        if run["points"] == 100_000
    ]


if __name__ == "__main__":
    main()
