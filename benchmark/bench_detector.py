"""How long each stage of one frame takes, from cloud bytes to a filled message, and the memory.

    python benchmark/bench_detector.py --points 20000 50000 100000 --presets lite scannet

Every preset and size runs in a process of its own, so that its peak memory is its own. Weights are
random where none ship for a preset: times do not depend on them, but for the number of boxes that
come out. Prints one JSON object; times are wall milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scene import room

from sr3d_core.checkpoint import DEFAULT_WEIGHTS, load_checkpoint
from sr3d_core.detector import Postprocess
from sr3d_core.model.network import SR3D, LevelOutput
from sr3d_ros.cloud import cloud_from_message
from sr3d_ros.messages import MessageTypes, detection_array

STAGES = ("parse", "voxelise", "maps", "backbone", "neck", "head", "postprocess", "message")


def main() -> None:
    """Measure all combinations and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[20_000, 50_000, 100_000])
    parser.add_argument("--presets", nargs="+", default=["lite", "scannet"])
    parser.add_argument("--frames", type=int, default=7, help="measured frames, after two more")
    parser.add_argument("--backend", default="auto", help="engine: auto, torch or numba")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.presets[0], options.points[0], options)))
        return
    runs = [
        _in_own_process(preset, points, options)
        for preset in options.presets
        for points in options.points
    ]
    print(json.dumps({"machine": machine(options.threads), "runs": runs}, indent=1))


def _in_own_process(preset: str, points: int, options: argparse.Namespace) -> Any:
    command = [sys.executable, __file__, "--one", "--presets", preset, "--points", str(points)]
    command += ["--frames", str(options.frames), "--threads", str(options.threads)]
    command += ["--backend", options.backend]
    print(f"{preset}, {points} points ...", file=sys.stderr, flush=True)
    return json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    )


def measure(preset: str, num_points: int, options: argparse.Namespace) -> dict[str, Any]:
    """Median and spread of every stage for one preset and size."""
    torch.set_num_threads(options.threads)
    network = _network(preset)
    network.backend = options.backend
    message = cloud_message(*room(num_points))
    postprocess = Postprocess(score_threshold=0.3)
    frames = [one_frame(network, message, postprocess) for _ in range(options.frames + 2)][2:]
    totals = [sum(frame.values()) for frame in frames]
    median = statistics.median(totals)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "preset": preset,
        "backend": options.backend,
        "points": num_points,
        "stages_ms": {name: _summary([frame[name] for frame in frames]) for name in STAGES},
        "frame_ms": _summary(totals),
        "frames_per_s": round(1e3 / median, 2),
        "peak_rss_mb": round(peak_kb / 1024),
    }


def one_frame(network: SR3D, message: Any, postprocess: Postprocess) -> dict[str, float]:
    """The times of one frame; `maps` is what a second pass over the same voxels saves."""
    times: dict[str, float] = {}
    with torch.no_grad():
        clock = time.perf_counter()

        def lap(name: str) -> None:
            nonlocal clock
            now = time.perf_counter()
            times[name] = 1e3 * (now - clock)
            clock = time.perf_counter()

        cloud = cloud_from_message(message)
        lap("parse")
        voxels = network.voxels(cloud)
        lap("voxelise")
        network.neck(network.backbone(voxels))
        lap("cold")
        backbone = network.backbone(voxels)
        lap("backbone")
        levels = network.neck(backbone)
        lap("neck")
        outputs = tuple(LevelOutput(x.coords, *network.head(x.features)) for x in levels)
        predictions = network.predictions(outputs)
        lap("head")
        found = postprocess(predictions)
        lap("postprocess")
        detection_array(
            found,
            classes=[str(label) for label in range(network.architecture.num_classes)],
            stamp_ns=0,
            frame_id="map",
            output_from_gravity=np.eye(4),
            types=PLAIN_TYPES,
        )
        lap("message")
    times["maps"] = max(0.0, times.pop("cold") - times["backbone"] - times["neck"])
    return times


def cloud_message(xyz: torch.Tensor, rgb: torch.Tensor) -> Any:
    """A PointCloud2-like message as RGB-D drivers fill it: x y z rgb, 16 bytes a point."""
    data = np.zeros(len(xyz), dtype=[("xyz", "<f4", 3), ("bgra", "u1", 4)])
    data["xyz"] = xyz.numpy()
    data["bgra"][:, :3] = (rgb.numpy()[:, ::-1] * 255).astype(np.uint8)
    names = ("x", "y", "z", "rgb")
    fields = [
        SimpleNamespace(name=name, offset=4 * place, datatype=7, count=1)
        for place, name in enumerate(names)
    ]
    return SimpleNamespace(
        header=SimpleNamespace(frame_id="map", stamp=SimpleNamespace(sec=0, nanosec=0)),
        height=1,
        width=len(xyz),
        fields=fields,
        is_bigendian=False,
        point_step=16,
        row_step=16 * len(xyz),
        data=data.view(np.uint8).reshape(-1),
        is_dense=True,
    )


def machine(threads: int) -> dict[str, Any]:
    """What the figures were measured on, and how fast it multiplies."""
    torch.set_num_threads(threads)
    a = torch.randn(2048, 2048)
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        a @ a
        rates.append(2 * 2048**3 / (time.perf_counter() - started) / 1e9)
    return {
        "cpu": _cpu_name(),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "sgemm_gflops": round(statistics.median(rates)),
    }


def _network(preset: str) -> SR3D:
    if preset == "lite" and DEFAULT_WEIGHTS.is_file():
        return load_checkpoint("default")[0]
    torch.manual_seed(0)
    return SR3D.from_preset(preset).eval()


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _summary(values: list[float]) -> dict[str, float]:
    low, high = min(values), max(values)
    return {
        "median": round(statistics.median(values), 2),
        "min": round(low, 2),
        "max": round(high, 2),
    }


def _plain(**fields: Any) -> Any:
    """A factory of objects with these attributes, as a message class without ROS."""
    return lambda: SimpleNamespace(**{name: make() for name, make in fields.items()})


_stamp = _plain(sec=int, nanosec=int)
_header = _plain(stamp=_stamp, frame_id=str)
_vector = _plain(x=float, y=float, z=float)
_pose = _plain(position=_vector, orientation=_plain(x=float, y=float, z=float, w=float))
PLAIN_TYPES = MessageTypes(
    detection_array=_plain(header=_header, detections=list),
    detection=_plain(
        header=_header, results=list, bbox=_plain(center=_pose, size=_vector), id=str
    ),
    hypothesis=_plain(
        hypothesis=_plain(class_id=str, score=float),
        pose=_plain(pose=_pose, covariance=list),
    ),
    marker_array=_plain(markers=list),
    marker=SimpleNamespace,
    point=_vector,
    label_info=SimpleNamespace,
    vision_class=SimpleNamespace,
    vision_info=SimpleNamespace,
    point_cloud=SimpleNamespace,
    point_field=SimpleNamespace,
)


if __name__ == "__main__":
    main()
