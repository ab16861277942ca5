"""Far more frames than the detector can take: do boxes grow old, does memory grow, is all counted?

    python make/ros_environment.py kilted,jazzy benchmark/overload.py --seconds 60

The detector is a double that takes its time and no processor, as a GPU does; everything else is
the node as it ships, and camera and receiver are processes of their own. The age of boxes is from
the stamp of their cloud, set just before it is published, to their arrival. A queue would make
ages grow with every frame; a mailbox bounds them by the wait for a newer cloud, one inference and
the node's own work. Only the last cloud waits for a whole inference, since no newer one comes: it
is left out of ages. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import rclpy
from fates import account, ages_ms, parts_of, shares, spread
from growth import growth
from measure import aim, machine
from node_run import Run, run_node
from ros_side import stay_on_this_machine, tell
from scene import SCENES

AGE_AIM = 2.0
"""Inference times."""


def main() -> None:
    """Run, and print how it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds left out of growth")
    parser.add_argument("--points", type=int, default=300_000)
    parser.add_argument("--rate", type=float, default=30.0, help="clouds per second")
    parser.add_argument("--inference-ms", type=float, default=200.0)
    parser.add_argument("--scene", choices=SCENES, default="camera")
    options = parser.parse_args()
    stay_on_this_machine()
    said = f"{options.points} points at {options.rate:g} Hz into {options.inference_ms:g} ms"
    print(f"{said}, {options.seconds:g} s ...", file=sys.stderr, flush=True)
    rclpy.init()
    run = run_node(
        *(options.scene, options.points, options.rate, options.seconds),
        inference_ms=options.inference_ms,
    )
    rclpy.try_shutdown()
    told = {"metadata": machine(os.cpu_count() or 1), "options": vars(options)}
    tell({**told, **figures(run, options.inference_ms, options.warm_up)})


def figures(run: Run, inference_ms: float, warm_up_s: float) -> dict[str, Any]:
    """Ages, counts and memory."""
    arrivals_ns = dict(list(run.arrivals_ns.items())[:-1])
    ages = ages_ms(arrivals_ns)
    inferences = spread([age / inference_ms for age in ages]) if ages else None
    oldest = inferences and inferences["max"]
    frames = account(len(run.sent["sent_ns"]), run.status, len(run.arrivals_ns))
    return {
        "aims": [aim("oldest boxes in inference times", oldest, "at most", AGE_AIM)],
        "PUBLISHED_FRAME_RATE": round(run.sent["rate_hz"], 2),
        "bytes": run.sent["bytes"],
        "age_ms": spread(ages) if ages else None,
        "age_inferences": inferences,
        "oldest": _oldest(run, arrivals_ns),
        "frames": frames,
        **shares(run.frames, arrivals_ns),
        "growth": growth(run.samples, warm_up_s),
        "node": run.node,
    }


def _oldest(run: Run, arrivals_ns: dict[int, int]) -> list[dict[str, float]]:
    """When the three frames came whose boxes were oldest, and where their time went."""
    ages = dict(zip(arrivals_ns, ages_ms(arrivals_ns), strict=True))
    came = [frame for frame in run.frames if frame["stamp_ns"] in ages]
    worst = sorted(came, key=lambda frame: -ages[int(frame["stamp_ns"])])[:3]
    told = []
    for frame in worst:
        stamp = int(frame["stamp_ns"])
        after_s = 1e-9 * (stamp - run.sent["sent_ns"][0])
        parts = parts_of(frame, arrivals_ns[stamp])
        told.append({"after_s": after_s, "age_ms": ages[stamp], **parts})
    return [{name: round(value, 1) for name, value in row.items()} for row in told]


if __name__ == "__main__":
    main()
