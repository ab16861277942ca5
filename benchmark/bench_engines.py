"""How fast the engines are on the same frames, and what binds them.

    python benchmark/bench_engines.py --points 20000 50000 100000

Net B (`net_b.py`) runs on our engines and, where it is installed, on spconv; the exact network of
a preset on our engines alone. Frames begin with voxels of 1 cm and end with features: maps are
included, voxelising and heads are not. Engines take turns frame by frame in one process of one
thread, with a dense matrix product between them, and ratios are medians over these rounds, so
that they hold on a busy machine. Prints one JSON object; times are wall milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from measure import aim, in_own_process, machine, ratio, sgemm_gflops, summary
from net_b import NetB, largest_difference, on_engine, spconv_runner
from scene import room
from watched import Counter, MapTimer

from sr3d_core.model.network import SR3D
from sr3d_core.sparse.engine import engine_for
from sr3d_core.sparse.tensor import SparseTensor, voxelize
from sr3d_core.structures import PointCloud

VOXEL_M = 0.01
Run = Callable[[SparseTensor], Any]


def main() -> None:
    """Measure all combinations, each in a process of its own, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[20_000, 50_000, 100_000])
    parser.add_argument("--preset", default="scannet", help="the exact network")
    parser.add_argument("--engines", nargs="+", default=["numba", "torch"])
    parser.add_argument("--frames", type=int, default=5, help="frames per engine, after one more")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options)))
        return
    runs: dict[str, list[Any]] = {part: [] for part in PARTS}
    for part in options.parts:
        runs[part] = [_apart(part, points, options) for points in options.points]
    print(json.dumps({"machine": machine(1), "aims": _aims(runs), **runs}, indent=1))


def _apart(part: str, points: int, options: argparse.Namespace) -> Any:
    engines = ("--engines", *options.engines)
    numbers = ("--frames", options.frames, "--points", points)
    threads = 2 if part == "threads" else 1  # spconv is wrong with more than one
    return in_own_process(
        __file__, "--part", part, "--preset", options.preset, *engines, *numbers, threads=threads
    )


def net_b(options: argparse.Namespace) -> dict[str, Any]:
    """Our engines against spconv on the network that all can run."""
    torch.manual_seed(0)
    net = NetB().eval()
    x = _voxels(options.points[0])
    theirs = spconv_runner(net)
    result = {"points": options.points[0], "voxels": len(x)}
    peers: dict[str, Callable[[], Any]] = {}
    if theirs is None:
        result["spconv"] = "not installed: pip install spconv"
    else:
        expected = theirs(x.coords, x.features)
        peers["spconv"] = lambda: theirs(x.coords, x.features)
        result["largest_error_to_spconv"] = {
            name: largest_difference(net(_fresh(x, name)), expected) for name in options.engines
        }
    return result | _compare(net, x, options, peers)


def exact(options: argparse.Namespace) -> dict[str, Any]:
    """Our engines among each other on the exact network."""
    torch.manual_seed(0)
    network = SR3D.from_preset(options.preset).eval()
    x = _voxels(options.points[0])
    result = {"preset": options.preset, "points": options.points[0], "voxels": len(x)}
    return result | _compare(lambda x: network.neck(network.backbone(x)), x, options, {})


def steps(options: argparse.Namespace) -> dict[str, Any]:
    """Forward and backward of the exact network on our engines, and on numba's in bfloat16."""
    torch.manual_seed(0)
    network = SR3D.from_preset(options.preset).train()
    x = _voxels(options.points[0])

    def step(name: str) -> None:
        network.zero_grad()
        with torch.enable_grad():
            levels = network.neck(network.backbone(_fresh(x, name)))
            torch.stack([level.features.square().mean() for level in levels]).sum().backward()

    def short_step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            step("numba")

    jobs: dict[str, Callable[[], None]] = {
        name: lambda name=name: step(name) for name in options.engines
    }
    if "numba" in jobs:
        jobs["numba, bfloat16"] = short_step
    wall, _ = _in_turns(jobs, max(1, options.frames // 2))
    return {
        "preset": options.preset,
        "points": options.points[0],
        **{name: {"wall_ms": summary(wall[name], 1)} for name in jobs},
        "times_torch": {n: ratio(wall["torch"], wall[n]) for n in wall if "torch" in wall},
    }


def threads(options: argparse.Namespace) -> dict[str, Any]:
    """Two threads against one, per engine, on net B."""
    net = NetB().eval()
    x = _voxels(options.points[0])
    result: dict[str, Any] = {"points": options.points[0]}

    def job(name: str, number: int) -> None:
        torch.set_num_threads(number)
        net(_fresh(x, name))

    for name in options.engines:
        jobs = {str(n): lambda n=n, name=name: job(name, n) for n in (1, 2)}
        wall, _ = _in_turns(jobs, options.frames)
        result[name] = {
            "one_ms": summary(wall["1"], 1),
            "two_ms": summary(wall["2"], 1),
            "two_times_one": ratio(wall["1"], wall["2"]),
        }
    return result


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "net_b": torch.no_grad()(net_b),
    "exact": torch.no_grad()(exact),
    "steps": steps,
    "threads": torch.no_grad()(threads),
}


def _compare(
    run: Run, x: SparseTensor, options: argparse.Namespace, peers: dict[str, Callable[[], Any]]
) -> dict[str, Any]:
    """Times, rates and shares of all engines on the same voxels."""
    counter = Counter(engine_for(options.engines[0], x.coords.device))
    run(on_engine(x.coords, x.features, counter))
    gflop = counter.operations / 1e9
    ours = {name: lambda name=name: run(_fresh(x, name)) for name in options.engines}
    wall, sgemm = _in_turns({**ours, **peers}, options.frames)
    result: dict[str, Any] = {
        "gflop": round(gflop, 2),
        "sgemm_gflops": summary(sgemm[options.engines[0]], 1),
    }
    for name, times in wall.items():
        rates = [gflop / ms * 1e3 for ms in times]
        result[name] = {
            "wall_ms": summary(times, 1),
            "gflops": round(statistics.median(rates), 1),
            "of_sgemm": ratio(rates, sgemm[name]),
            **{f"times_{other}": ratio(wall[other], times) for other in wall if other != name},
        }
        if name in ours:
            result[name]["maps_share"] = round(_maps_share(run, x, name), 3)
    return result


def _in_turns(
    jobs: dict[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Wall milliseconds of every job per round, after one more, and sgemm's rate beside them."""
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    sgemm: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            before = sgemm_gflops()
            start = time.perf_counter()
            job()
            wall[name].append(1e3 * (time.perf_counter() - start))
            sgemm[name].append((before + sgemm_gflops()) / 2)
    return {n: t[1:] for n, t in wall.items()}, {n: t[1:] for n, t in sgemm.items()}


def _maps_share(run: Run, x: SparseTensor, name: str) -> float:
    """The share of kernel maps in a frame."""
    shares = []
    for _ in range(3):
        timer = MapTimer(engine_for(name, x.coords.device))
        start = time.perf_counter()
        run(on_engine(x.coords, x.features, timer))
        shares.append(timer.seconds / (time.perf_counter() - start))
    return statistics.median(shares)


def _voxels(num_points: int) -> SparseTensor:
    return voxelize(PointCloud.single(*room(num_points)), VOXEL_M)


def _fresh(x: SparseTensor, engine: str) -> SparseTensor:
    return on_engine(x.coords, x.features, engine_for(engine, x.coords.device))


def _aims(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The issue's figures beside what was measured."""

    def of(run: dict[str, Any], name: str, key: str) -> float | None:
        return run.get(name, {}).get(key)

    aims = []
    for run in runs["net_b"]:
        where = f"net B, {run['points']} points:"
        speed, level = of(run, "numba", "times_spconv"), of(run, "torch", "times_spconv")
        aims.append(aim(f"{where} numba over spconv", speed, "at least", 2.0))
        aims.append(aim(f"{where} torch over spconv", level, "at least", 1.0))
        rate, maps = of(run, "numba", "of_sgemm"), of(run, "numba", "maps_share")
        aims.append(aim(f"{where} numba's share of sgemm", rate, "at least", 0.70))
        aims.append(aim(f"{where} numba's maps in a frame", maps, "at most", 0.12))
    for run in runs["exact"]:
        where, maps = f"exact, {run['points']} points:", of(run, "numba", "maps_share")
        rate = of(run, "numba", "of_sgemm")
        aims.append(aim(f"{where} numba's share of sgemm", rate, "at least", 0.70))
        aims.append(aim(f"{where} numba's maps in a frame", maps, "at most", 0.12))
    for run in runs["threads"]:
        speed = of(run, "numba", "two_times_one")
        aims.append(aim("net B: numba's two threads over one", speed, "at least", 1.7))
    return aims


if __name__ == "__main__":
    main()
