"""How time and memory grow with the cloud, and what a start costs.

    python benchmark/bench_scaling.py --points 10000 50000 100000 1000000

Every engine and size runs in a process of its own: voxels of the room, the network, its head. Two
more processes start as a robot does, from nothing to the first detections, with code in the
cache by then. Prints one JSON object; times are wall milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from measure import aim, in_own_process, machine, peak_rss_mb, summary

MEMORY_MB = {"numba": 750, "torch": 800}
MEMORY_POINTS = 100_000
START_POINTS = 50_000


def main() -> None:
    """Measure all sizes and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = [10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000]
    parser.add_argument("--points", type=int, nargs="+", default=sizes)
    parser.add_argument("--engines", nargs="+", default=["numba", "torch"])
    parser.add_argument("--preset", default="scannet")
    parser.add_argument("--frames", type=int, default=3, help="frames per size, after one more")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options)))
        return
    sizes = [
        _apart("size", options, engine, points)
        for engine in options.engines
        for points in options.points
    ]
    pairs = [
        _apart("pair", options, engine, MEMORY_POINTS // 2, MEMORY_POINTS)
        for engine in options.engines
    ]
    starts = [_apart("start", options, "numba", START_POINTS) for _ in range(3)][1:]
    told = {"machine": machine(options.threads), "aims": _aims(sizes, pairs, starts)}
    print(json.dumps({**told, "sizes": sizes, "pairs": pairs, "starts": starts}, indent=1))


def _apart(part: str, options: argparse.Namespace, engine: str, *points: int) -> Any:
    what = ("--part", part, "--engines", engine, "--points", *points, "--preset", options.preset)
    how = ("--frames", options.frames, "--threads", options.threads)
    return in_own_process(__file__, *what, *how)


def size(options: argparse.Namespace) -> dict[str, Any]:
    """Times and peak memory of a process that looks at clouds of one size."""
    frame = _frames(options, options.points[0])
    times = [_milliseconds(frame) for _ in range(options.frames + 1)][1:]
    return {
        "engine": options.engines[0],
        "points": options.points[0],
        "frame_ms": summary(times, 1),
        "peak_rss_mb": peak_rss_mb(),
    }


def pair(options: argparse.Namespace) -> dict[str, Any]:
    """How much longer the second size takes than the first, in turns."""
    few, many = (_frames(options, points) for points in options.points)
    growth = []
    for _ in range(options.frames + 1):
        first = _milliseconds(few)
        growth.append(_milliseconds(many) / first)
    points = options.points
    return {"engine": options.engines[0], "points": points, "growth": summary(growth[1:], 3)}


def start(options: argparse.Namespace) -> dict[str, Any]:
    """From a bare interpreter to the first detections, then steady frames."""
    began = time.perf_counter()
    import torch

    with_torch = time.perf_counter()
    from sr3d_core import Detector

    imported = time.perf_counter()
    detector = Detector.from_checkpoint("default")
    ready, cpu = time.perf_counter(), time.process_time()
    from scene import camera_frame  # what the camera sends is no part of the start

    torch.set_num_threads(options.threads)
    cloud = camera_frame(options.points[0])
    spent = time.process_time()
    frames = [_milliseconds(lambda: detector(*cloud))]
    spent = cpu + time.process_time() - spent
    frames += [_milliseconds(lambda: detector(*cloud)) for _ in range(7)]
    steady = statistics.median(frames[3:])
    return {
        "points": options.points[0],
        "import_torch_s": round(with_torch - began, 2),
        "import_sr3d_s": round(imported - with_torch, 2),
        "from_checkpoint_s": round(ready - imported, 2),
        "first_frame_ms": round(frames[0], 1),
        "steady_frame_ms": round(steady, 1),
        "first_over_steady": round(frames[0] / steady, 2),
        "start_to_detections_s": round(ready - began + frames[0] / 1e3, 2),
        "start_to_detections_cpu_s": round(spent, 2),
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "size": size,
    "pair": pair,
    "start": start,
}


def _frames(options: argparse.Namespace, num_points: int) -> Callable[[], Any]:
    """A function that looks at a room of so many points with a fresh network."""
    import torch
    from scene import room

    from sr3d_core.model.network import SR3D
    from sr3d_core.structures import PointCloud

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = SR3D.from_preset(options.preset).eval()
    network.backend = options.engines[0]
    cloud = PointCloud.single(*room(num_points))
    return torch.no_grad()(lambda: network(cloud))


def _milliseconds(job: Callable[[], Any]) -> float:
    began = time.perf_counter()
    job()
    return 1e3 * (time.perf_counter() - began)


def _aims(
    sizes: list[dict[str, Any]], pairs: list[dict[str, Any]], starts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The issue's figures beside what was measured."""
    aims = [
        aim(f"{run['engine']}: time of 100k over 50k", run["growth"]["median"], "at most", 1.4)
        for run in pairs
    ]
    aims += [
        aim(
            f"{run['engine']}: MB at 100k", run["peak_rss_mb"], "at most", MEMORY_MB[run["engine"]]
        )
        for run in sizes
        if run["points"] == MEMORY_POINTS and run["engine"] in MEMORY_MB
    ]
    first = min(run["first_over_steady"] for run in starts)
    cold = min(run["start_to_detections_s"] for run in starts)
    aims.append(aim("first frame over steady, from the second start", first, "at most", 1.5))
    aims.append(aim("seconds from start to detections", cold, "at most", 3.0))
    return aims


if __name__ == "__main__":
    main()
