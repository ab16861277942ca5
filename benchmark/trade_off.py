"""Which network a robot should run: accuracy against time and memory, as a table and a plot.

    sr3d data rooms runs/rooms --num 1100
    python benchmark/trade_off.py --rooms runs/rooms --runs runs/trade_off --out docs

Trains every candidate alike (the preset `rooms`, but shorter; same seed, same scenes), scores all
on the same held-out rooms, times them in turn in one process from cloud bytes to boxes, and writes
docs/trade_off.json, .md and .png. What is trained and scored already is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from measure import in_own_process, machine, peak_rss_mb, summary
from message import cloud_message
from rich.progress import track
from scene import camera_frame, room
from trade_off_page import write_page

from sr3d_core.checkpoint import read_manifest
from sr3d_core.data.rooms.dataset import Rooms
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.evaluate import evaluate
from sr3d_core.presets import preset_path
from sr3d_core.sparse.engine import engine_for
from sr3d_core.train import STATE
from sr3d_ros.sensors.pointcloud2 import cloud_from_message

BASE: dict[str, Any] = {
    "voxel_size_m": 0.02,
    "average": False,
    "stem_kernel": 2,
    "depths": [1, 2, 2, 2],
    "neck_depth": 2,
    "grow_coarse": True,
}
"""The first robot's network, whatever the preset `lite` has become since."""
CANDIDATES: dict[str, tuple[str, dict[str, Any], str]] = {
    "exact": ("sunrgbd", {}, "TR3D's network: 1 cm voxels, both anchor levels grow"),
    "grown": (
        "lite",
        BASE,
        "what ships: 2 cm, half as wide, only the coarse level grows",
    ),
    "seen": ("lite", {**BASE, "grow_coarse": False}, "grown, but no level grows"),
    "slim": (
        "lite",
        {
            **{"voxel_size_m": 0.04, "average": True, "stem_kernel": 1, "grow_coarse": False},
            **{"neck_depth": 1, "depths": [1, 1, 2, 1]},
        },
        "seen, but 4 cm averaged voxels, fewer blocks, a neck of half the depth",
    ),
    "coarse3": ("lite", {**BASE, "grow_coarse": False, "voxel_size_m": 0.03}, "seen at 3 cm"),
}
"""Name: preset, what is changed about it, what that means."""
NUM_POINTS = 50_000
ROBOT = Postprocess(score_threshold=0.3, one_class=True)
"""What the node asks for; average precision wants the boxes of low score as well."""


def main() -> None:
    """Train, score, time, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=Path, required=True, help="from `sr3d data rooms`")
    parser.add_argument("--runs", type=Path, default=Path("runs/trade_off"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--config", type=Path, default=preset_path("rooms"))
    parser.add_argument("--names", nargs="+", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--processes", type=int, default=2, help="that share the scenes of a step")
    parser.add_argument("--scenes", type=int, default=400, help="held-out scenes")
    parser.add_argument("--frames", type=int, default=15, help="timed frames")
    parser.add_argument("--threads", type=int, default=2, help="of the timed frames")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory is not None:
        print(json.dumps(peak_mb(options.memory)))
        return
    for name in options.names:
        train(name, options)
    weights = {name: options.runs / name / "weights.safetensors" for name in options.names}
    reports = score(weights, options.scenes)
    times = time_in_turn(weights, options.frames)
    rows = [
        {
            "name": name,
            "meaning": CANDIDATES[name][2],
            "parameters": sum(p.numel() for p in _detector(path).network.parameters()),
            "ap25": reports[name]["map25"],
            "ap50": reports[name]["map50"],
            **times[name],
            "peak_rss_mb": in_own_process(
                __file__, "--rooms", options.rooms, "--memory", path, threads=options.threads
            ),
        }
        for name, path in weights.items()
    ]
    facts = {"steps": options.steps, "scenes_a_step": _batch(options), "held_out": options.scenes}
    shipped = {"shipped": read_manifest().results}
    study = {"machine": machine(options.threads), **facts, **shipped, "candidates": rows}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "trade_off.json").write_text(json.dumps(study, indent=1) + "\n", "utf-8")
    write_page(study, options.out)
    print(json.dumps(study, indent=1))


def train(name: str, options: argparse.Namespace) -> None:
    """Train a candidate as all others are, or go on where that stopped."""
    folder = options.runs / name
    if _steps_done(folder) >= options.steps:
        return
    config = yaml.safe_load(options.config.read_text("utf-8"))
    preset, changes, _ = CANDIDATES[name]
    config["network"] = {"preset": preset, "changes": changes}
    config["data"]["prerendered"] = str(options.rooms)
    config["schedule"] |= {"num_steps": options.steps, "warmup_steps": options.steps // 10}
    options.runs.mkdir(parents=True, exist_ok=True)
    path = options.runs / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    command += [str(options.processes), "-m", "sr3d_core.cli.main", "train", str(path)]
    command += ["--out", str(folder), *(["--resume"] if (folder / STATE).is_file() else [])]
    threads = max(1, (os.cpu_count() or 1) // options.processes)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, *command], check=True, env=environment)


def score(weights: dict[str, Path], num_scenes: int) -> dict[str, Any]:
    """AP of every candidate on the same held-out scenes, frames and scans in turn."""
    reports, missing = {}, {}
    for name, path in weights.items():
        known = path.with_name(f"report_{num_scenes}.json")
        if known.is_file():
            reports[name] = json.loads(known.read_text("utf-8"))
        else:
            missing[name] = known
    rooms = Rooms("val", num_scenes)
    scenes = [rooms[i] for i in track(range(num_scenes), "held-out rooms")] if missing else []
    for name, known in missing.items():
        report = evaluate(_detector(weights[name]), track(scenes, f"score {name}"))
        reports[name] = report.to_dict()
        known.write_text(json.dumps(reports[name]), "utf-8")
    return reports


def time_in_turn(weights: dict[str, Path], num_frames: int) -> dict[str, dict[str, float]]:
    """Median milliseconds from cloud bytes to boxes; candidates take turns frame by frame."""
    detectors = {name: _detector(path, ROBOT) for name, path in weights.items()}
    times: dict[str, dict[str, float]] = {name: {} for name in weights}
    for scene, draw in {"frame": camera_frame, "room": room}.items():
        message = cloud_message(*draw(NUM_POINTS))
        for backend in _backends():
            taken: dict[str, list[float]] = {name: [] for name in weights}
            for _ in track(range(num_frames + 2), f"time a {scene}, {backend}"):
                for name, detector in detectors.items():
                    detector.network.backend = backend
                    taken[name].append(_milliseconds(detector, message))
            for name, values in taken.items():
                times[name][f"{scene}_{backend}_ms"] = summary(values[2:])["median"]
    return times


def _backends() -> list[str]:
    """The engines for a CPU that run here: in floats, and in bytes where the CPU can."""
    try:
        engine_for("int8", torch.device("cpu"))
    except ValueError:
        return ["auto"]
    return ["auto", "int8"]


def peak_mb(weights: Path) -> int:
    """Most memory that this process takes for frames of both kinds."""
    detector = _detector(weights, ROBOT)
    for draw in (camera_frame, room):
        for _ in range(3):
            detector.detect(cloud_from_message(cloud_message(*draw(NUM_POINTS))))
    return peak_rss_mb()


def _milliseconds(detector: Detector, message: Any) -> float:
    started = time.perf_counter()
    detector.detect(cloud_from_message(message))
    return 1e3 * (time.perf_counter() - started)


def _detector(weights: Path, postprocess: Postprocess | None = None) -> Detector:
    return Detector.from_checkpoint(weights, device="cpu", postprocess=postprocess)


def _steps_done(folder: Path) -> int:
    log = folder / "log.csv"
    if not log.is_file():
        return 0
    with log.open(encoding="utf-8") as file:
        return max((int(row["step"]) for row in csv.DictReader(file)), default=0)


def _batch(options: argparse.Namespace) -> int:
    config = yaml.safe_load(options.config.read_text("utf-8"))
    return int(config["schedule"]["batch_size"])


if __name__ == "__main__":
    main()
