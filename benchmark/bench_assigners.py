"""How long assigners take, and what SPOTA and RAS add to a training step.

    python benchmark/bench_assigners.py --threads 2

A scene of 100 boxes and 30,000 anchors, most of them near a box, as the network would predict
them half-way through a training: centres off by a tenth of a metre, sizes by a third; once
axis-aligned, once rotated. A training step is that of the preset (`--preset`) on rooms of
`--points` points, two a step, with the losses of TR3D (center_topk, focal) and of SR3D (spota,
ras) in turns, so that the ratio holds on a busy machine. Prints one JSON object; times are
milliseconds, of the wall and of the processor (all threads), which other work lengthens less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from measure import aim, machine, peak_rss_mb, ratio, summary
from scene import room

from sr3d_core.model.network import SR3D
from sr3d_core.structures import Batch, Boxes3D, PointCloud, Predictions, Sample, Targets
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.supervision.losses import Focal
from sr3d_core.supervision.parts import ASSIGNERS, part

STRIDES_M = (0.16, 0.32)
NUM_CLASSES = 18


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", type=int, default=100)
    parser.add_argument("--anchors", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--preset", default="scannet", help="network of the training step")
    parser.add_argument("--points", type=int, default=20_000, help="of each scene of a step")
    parser.add_argument("--steps", type=int, default=5, help="with each losses; 0: none")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(options.threads)}
    for kind in ("axis_aligned", "rotated"):
        scene = made_scene(options.anchors, options.boxes, kind == "rotated")
        result[kind] = assigners(scene, options.rounds)
    result["peak_rss_mb"] = peak_rss_mb()
    aims = [
        aim(
            f"{name}, {kind}: milliseconds", result[kind][name]["wall_ms"]["median"], "at most", 20
        )
        for kind in ("axis_aligned", "rotated")
        for name in result[kind]
    ]
    if options.steps:
        result["step"] = training_step(options)
        added = result["step"]["sr3d_times_tr3d"]
        aims.append(aim("a step with spota and ras, times one without,", added, "at most", 1.03))
    print(json.dumps({**result, "aims": aims}, indent=1))


def assigners(scene: tuple[Predictions, Targets], rounds: int) -> dict[str, Any]:
    """Times of every assigner on one scene, in turns."""
    rules = {name: part(ASSIGNERS, name)() for name in ASSIGNERS}
    rules["spota, all candidates"] = part(ASSIGNERS, "spota")(candidates="all")
    jobs = {name: lambda rule=rule: rule(*scene) for name, rule in rules.items()}
    wall, processor = in_turns(jobs, rounds)
    return {
        name: {
            "wall_ms": summary(wall[name], 1),
            "processor_ms": summary(processor[name], 1),
            "positives": int(rule(*scene).is_positive.sum()),
        }
        for name, rule in rules.items()
    }


def training_step(options: argparse.Namespace) -> dict[str, Any]:
    """Forward, losses and backward with either losses, in turns."""
    torch.manual_seed(0)
    network = SR3D.from_preset(options.preset, NUM_CLASSES).train()
    batch = Batch.collate([labelled_room(options.points, seed) for seed in range(2)])
    criteria = {
        "tr3d": Criterion(assigner=part(ASSIGNERS, "center_topk")(), classification=Focal()),
        "sr3d": Criterion(assigner=part(ASSIGNERS, "spota")()),
        "sr3d_all": Criterion(assigner=part(ASSIGNERS, "spota")(candidates="all")),
    }

    def step(criterion: Criterion) -> None:
        network.zero_grad()
        predictions = network(batch.cloud)
        criterion(predictions, batch.targets).total.backward()

    jobs = {
        name: lambda criterion=criterion: step(criterion) for name, criterion in criteria.items()
    }
    wall, processor = in_turns(jobs, options.steps)
    with torch.no_grad():
        predictions = network(batch.cloud)
    losses = {
        name: lambda criterion=criterion: criterion(predictions, batch.targets)
        for name, criterion in criteria.items()
    }
    _, alone = in_turns(losses, 4 * options.steps)
    return {
        "preset": options.preset,
        "points": options.points,
        "anchors": len(predictions),
        "boxes": [len(targets) for targets in batch.targets],
        "wall_ms": {name: summary(times, 1) for name, times in wall.items()},
        "processor_ms": {name: summary(times, 1) for name, times in processor.items()},
        "losses_alone_processor_ms": {name: summary(times, 1) for name, times in alone.items()},
        "sr3d_times_tr3d": ratio(processor["sr3d"], processor["tr3d"]),
        "sr3d_all_times_tr3d": ratio(processor["sr3d_all"], processor["tr3d"]),
        "added_by_losses": round(
            (statistics.median(alone["sr3d"]) - statistics.median(alone["tr3d"]))
            / statistics.median(processor["tr3d"]),
            4,
        ),
    }


def in_turns(
    jobs: dict[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds of every job per round, after one more: of the wall, and of the processor."""
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    processor: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            start, used = time.perf_counter(), time.process_time()
            job()
            wall[name].append(1e3 * (time.perf_counter() - start))
            processor[name].append(1e3 * (time.process_time() - used))
    return {n: t[1:] for n, t in wall.items()}, {n: t[1:] for n, t in processor.items()}


def made_scene(num: int, num_boxes: int, rotated: bool) -> tuple[Predictions, Targets]:
    """Anchors on the lattices of two levels around boxes in a hall of 12 x 10 x 2.5 m."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    center = uniform(num_boxes, 3) * torch.tensor([12.0, 10.0, 2.5])
    size = 0.2 + 1.2 * uniform(num_boxes, 3)
    yaw = 3.0 * rotated * uniform(num_boxes)
    near = torch.randint(0, num_boxes, (num,), generator=generator)
    level = torch.randint(0, 2, (num,), generator=generator)
    stride = torch.tensor(STRIDES_M)[level, None]
    anchors = ((center + 0.0)[near] + (uniform(num, 3) - 0.5) * (size[near] + 0.6)) / stride
    noise = 0.1 * torch.randn(num, 3, generator=generator)
    found = Boxes3D(
        center[near] + noise,
        size[near] * (0.7 + 0.6 * uniform(num, 3)),
        yaw[near] + 0.3 * rotated * (uniform(num) - 0.5),
    )
    logits = 2 * torch.randn(num, NUM_CLASSES, generator=generator) - 4
    predictions = Predictions(
        anchors.floor() * stride, found, logits, level, level * 0, level_stride_m=STRIDES_M
    )
    labels = torch.randint(0, NUM_CLASSES, (num_boxes,), generator=generator)
    return predictions, Targets(Boxes3D(center, size, yaw), labels)


def labelled_room(num_points: int, seed: int) -> Sample:
    """A room with boxes in random places, which the losses do not mind."""
    generator = torch.Generator().manual_seed(seed)
    xyz, rgb = room(num_points)
    low, high = xyz.amin(dim=0), xyz.amax(dim=0)
    center = low + torch.rand(15, 3, generator=generator) * (high - low)
    size = 0.3 + torch.rand(15, 3, generator=generator)
    labels = torch.randint(0, NUM_CLASSES, (15,), generator=generator)
    truth = Boxes3D(center, size, torch.zeros(15))
    return Sample(PointCloud.single(xyz, rgb), Targets(truth, labels), f"room {seed}")


if __name__ == "__main__":
    main()
