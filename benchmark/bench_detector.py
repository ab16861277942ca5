"""How long each stage of one frame takes, from cloud bytes to boxes, and the memory.

    python benchmark/bench_detector.py --points 50000 --networks default scannet own.safetensors

A network is a weights file ("default": those that ship) or a preset, whose weights are random:
times do not depend on them, but for the number of boxes that come out. A scene is a whole room or
one frame of a robot's depth camera. Every combination runs in a process of its own, so that its
peak memory is its own. Prints one JSON object; times are wall milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any

import torch
from measure import aim, in_own_process, machine, peak_rss_mb, summary
from message import cloud_message
from scene import SCENES
from stages import NETWORK, STAGES, Frame

from sr3d_core.detector import Detector, Postprocess
from sr3d_core.model.network import PRESETS, SR3D
from sr3d_core.structures import Boxes3D, Predictions

CROWD = 1000
"""Anchor points of the worst case, all with a score in every class."""


def main() -> None:
    """Measure all combinations and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[20_000, 50_000, 100_000])
    parser.add_argument("--networks", nargs="+", default=["default", "scannet"])
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--frames", type=int, default=9, help="measured frames, after three more")
    parser.add_argument("--backend", default="auto", help="engine: auto or one by name")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options)))
        return
    runs = [
        _apart(network, scene, points, options)
        for network in options.networks
        for scene in options.scenes
        for points in options.points
    ]
    told = {"machine": machine(options.threads), "aims": _aims(runs), "runs": runs}
    print(json.dumps({**told, "worst_case": worst_postprocess()}, indent=1))


def _apart(network: str, scene: str, points: int, options: argparse.Namespace) -> Any:
    what = ("--networks", network, "--scenes", scene, "--points", points)
    how = ("--frames", options.frames, "--threads", options.threads, "--backend", options.backend)
    return in_own_process(__file__, "--one", *what, *how)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Median and spread of every stage for one network, scene and size."""
    torch.set_num_threads(options.threads)
    name, scene, num_points = options.networks[0], options.scenes[0], options.points[0]
    message = cloud_message(*SCENES[scene](num_points))
    frame = Frame(detector(name, options.backend), message)
    frames = [frame.stages() for _ in range(options.frames + 3)][3:]
    totals = [total for total, _, _ in frames]
    stages = {stage: [times[stage] for _, times, _ in frames] for stage in STAGES}
    medians = {stage: statistics.median(times) for stage, times in stages.items()}
    whole = sum(medians.values())
    return {
        "network": name,
        "scene": scene,
        "points": num_points,
        "backend": options.backend,
        "detections": len(frames[-1][2].detections),
        "stages_ms": {stage: summary(times) for stage, times in stages.items()},
        "share_percent": {s: round(100 * median / whole, 1) for s, median in medians.items()},
        "frame_ms": summary(totals),
        "frames_per_s": round(1e3 / statistics.median(totals), 2),
        "peak_rss_mb": peak_rss_mb(),
    }


def detector(name: str, backend: str) -> Detector:
    """A detector of a weights file, or of a preset with random weights."""
    postprocess = Postprocess(score_threshold=0.3, one_class=True)
    if name not in PRESETS:
        return Detector.from_checkpoint(
            name, device="cpu", backend=backend, postprocess=postprocess
        )
    torch.manual_seed(0)
    network = SR3D.from_preset(name)
    network.backend = backend
    classes = tuple(f"class_{label}" for label in range(network.architecture.num_classes))
    return Detector(network, classes, postprocess=postprocess, device="cpu")


def worst_postprocess(num_classes: int = 12) -> dict[str, Any]:
    """Milliseconds where every candidate is a box of every class: apart, crowded or all alike."""
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(CROWD, 7, generator=generator)
    spans = {
        "apart": [5.0, 4.0, 2.0, 1.5, 1.5, 1.5, 6.3],
        "crowded": [0.5, 0.4, 0.2, 1.5, 1.5, 1.5, 6.3],
        "alike": [0.05, 0.04, 0.02, 0.05, 0.05, 0.05, 0.06],
    }
    none = torch.zeros(CROWD, dtype=torch.int64)
    logits = torch.randn(CROWD, num_classes, generator=generator)
    result = {}
    for name, span in spans.items():
        rows = share * torch.tensor(span) + torch.tensor([0, 0, 0, 0.3, 0.3, 0.3, 0])
        boxes = Boxes3D.from_array(rows)
        given = Predictions(boxes.center, boxes, logits, none, none)
        times = []
        for _ in range(6):
            started = time.perf_counter()
            Postprocess(score_threshold=0.01)(given)
            times.append(1e3 * (time.perf_counter() - started))
        result[f"postprocess_{name}_ms"] = summary(times[1:])
    return {"anchors": CROWD, "classes": num_classes, **result}


def _aims(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The issue's figures beside what was measured."""
    aims = []
    for run in runs:
        where = f"{run['network']}, {run['scene']}, {run['points']} points:"
        others = {s: p for s, p in run["share_percent"].items() if s not in NETWORK}
        most = max(others, key=lambda stage: others[stage])
        aims.append(aim(f"{where} percent of {most}", others[most], "at most", 5.0))
        if run["points"] == 50_000:
            aims.append(aim(f"{where} frames per second", run["frames_per_s"], "at least", 30.0))
    return aims


if __name__ == "__main__":
    main()
