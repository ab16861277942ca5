"""How fast the engines are on the same frames, inference and training step, and what binds them.

    python benchmark/bench_engines.py --points 20000 50000 100000 --presets lite scannet

Engines take turns frame by frame in one process, with a dense matrix product between them, so that
their ratios hold on a busy machine. Times are wall milliseconds from the cloud to the head's
output (and back, for a step); `cpu_ms` is the process's CPU time. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from bench_detector import machine
from scene import room
from torch import Tensor

from sr3d_core.model.network import SR3D
from sr3d_core.sparse.engine import Engine
from sr3d_core.structures import PointCloud

MAPS = {
    *{"index", "same_map", "down_coords", "down_map", "cell_map", "grown_coords", "up_map"},
    "distinct",
}


class Watched:
    """An engine whose maps are timed and whose multiplications are counted."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.maps_s = 0.0
        self.operations = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.engine, name)
        if name in MAPS:
            return lambda *args: self._time(method, *args)
        if name in ("convolve", "infer"):
            return lambda *args: self._count(method, *args)
        return method

    def _time(self, method: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = method(*args)
        getattr(result, "pairs", None)  # some engines list the pairs when they are first needed
        self.maps_s += time.perf_counter() - start
        return result

    def _count(self, method: Callable[..., Any], *args: Any) -> Any:
        _, weight, kernel_map = args[:3]
        num_pairs = int((torch.as_tensor(kernel_map.neighbours) >= 0).sum())
        self.operations += 2.0 * num_pairs * weight.shape[1] * weight.shape[2]
        return method(*args)


def main() -> None:
    """Measure all combinations and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[20_000, 50_000, 100_000])
    parser.add_argument("--presets", nargs="+", default=["lite", "scannet"])
    parser.add_argument("--engines", nargs="+", default=["torch", "numba"])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--frames", type=int, default=5, help="frames per engine, after one more")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    described = machine(options.threads)
    runs = [
        measure(preset, points, mode, options)
        for preset in options.presets
        for points in options.points
        for mode in options.modes
    ]
    print(json.dumps({"machine": described, "runs": runs}, indent=1))


def measure(
    preset: str, num_points: int, mode: str, options: argparse.Namespace
) -> dict[str, Any]:
    """Times of every engine on one frame, taken in turns."""
    torch.manual_seed(0)
    network = SR3D.from_preset(preset)
    cloud = PointCloud.single(*room(num_points))
    wall: dict[str, list[float]] = {name: [] for name in options.engines}
    cpu: dict[str, list[float]] = {name: [] for name in options.engines}
    sgemm = []
    for _ in range(options.frames + 1):
        for name in options.engines:
            network.backend = name
            start = time.perf_counter(), time.process_time()
            MODES[mode](network, cloud)
            wall[name].append(1e3 * (time.perf_counter() - start[0]))
            cpu[name].append(1e3 * (time.process_time() - start[1]))
            sgemm.append(_sgemm_rate())
    result: dict[str, Any] = {"preset": preset, "points": num_points, "mode": mode}
    result["sgemm_gflops"] = round(statistics.median(sgemm), 1)
    first = statistics.median(wall[options.engines[0]][1:])
    for name in options.engines:
        median = statistics.median(wall[name][1:])
        result[name] = {
            "wall_ms": round(median, 1),
            "fastest_ms": round(min(wall[name][1:]), 1),
            "cpu_ms": round(statistics.median(cpu[name][1:]), 1),
            f"times_{options.engines[0]}": round(first / median, 2),
        }
        if mode == "inference":
            result[name] |= _parts(network, name, cloud, median, result["sgemm_gflops"])
    return result


def _infer(network: SR3D, cloud: PointCloud) -> None:
    network.eval()
    with torch.no_grad():
        network.raw(cloud)


def _step(network: SR3D, cloud: PointCloud) -> None:
    network.train()
    network.zero_grad()
    levels = network.raw(cloud)
    terms = [_loss(level.logits) + _loss(level.regression) for level in levels]
    torch.stack(terms).sum().backward()


def _loss(x: Tensor) -> Tensor:
    return x.square().mean()


MODES: dict[str, Callable[[SR3D, PointCloud], None]] = {"inference": _infer, "step": _step}


def _parts(
    network: SR3D, name: Any, cloud: PointCloud, frame_ms: float, sgemm: float
) -> dict[str, float]:
    """The share of kernel maps in a frame, and the rate of the whole frame."""
    network.backend = name
    shares = []
    with torch.no_grad():
        for _ in range(3):
            start = time.perf_counter()
            x = network.voxels(cloud)
            watched = Watched(x.engine)
            x.cache.engine = watched
            network.neck(network.backbone(x))
            shares.append(watched.maps_s / (time.perf_counter() - start))
    rate = watched.operations / frame_ms / 1e6
    return {
        "maps_share": round(statistics.median(shares), 3),
        "gflop": round(watched.operations / 1e9, 2),
        "gflops": round(rate, 1),
        "of_sgemm": round(rate / sgemm, 2),
    }


def _sgemm_rate(size: int = 1024) -> float:
    """GFLOP/s of a dense matrix product."""
    matrix = torch.ones(size, size)
    start = time.perf_counter()
    matrix @ matrix
    return 2 * size**3 / (time.perf_counter() - start) / 1e9


if __name__ == "__main__":
    main()
