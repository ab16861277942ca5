"""What a scene in memory gains, and costs, on drives through rooms in which things move.

    python benchmark/bench_memory.py --drives 12

Each drive: a camera on a robot whose odometry drifts; furniture is carried elsewhere, away and in;
somebody walks. Every frame goes into a `SceneMemory` by the odometry alone. Once a second there is
detected in the frame (`frame`), in what is remembered around the robot (`scene`), and both lists
are merged (`merged`, by `sr3d_core.memory.merging`). Prints one JSON object:

    visible     AP of what the frame shows now: what a single frame can find at best. Boxes on
                objects that are remembered and out of view are neither right nor wrong there
    window      AP of all that was seen within the window around the robot, and is still there.
                In both, boxes on what was seen too little of or too far away do not count
    found_after share of objects that are in the output, right class, IoU 0.25, score 0.3 or more,
                so many seconds after they were first seen, while they are there and near
    ghosts_left points where something was that is gone, over those without free space
    surface_lost share of the true surface that is lost by free space
    add_ms      CPU time of `SceneMemory.add` for clouds of `cloud_points` at `rate_hz`, and of
                frames that are taken in and that are not
    merging     in `detect_ms`: of the boxes that a robot would report
    against_frame  AP of the scene and of both merged less that of the frame, in points of percent,
                with the interval of 95 % that `sr3d_core.paired` draws from the same moments
    ratio_...   of medians measured in the same run: hold on a busy machine

What was looked at while the memory was made were other rooms (from TUNED_ON) than those reported.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from measure import machine
from numpy import ndarray
from remembered import Surfaces, Truth

from sr3d_core.console import one_line_errors
from sr3d_core.data.rooms.changes import ChangeSettings, changing_sequence
from sr3d_core.data.rooms.dataset import relabelled, seed_of
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.evaluate import IOU_THRESHOLDS, average_precision
from sr3d_core.matches import best_overlap
from sr3d_core.memory.merging import merged
from sr3d_core.memory.scene import SceneMemory
from sr3d_core.memory.settings import MemorySettings
from sr3d_core.paired import Difference, Side, paired
from sr3d_core.structures import Detections, PointCloud, Sample, Targets

TUNED_ON = 40_000  # of the validation split; rooms from here were looked at
FIRST_ROOM = 50_000  # reported
OUTPUTS = ("frame", "scene", "merged")
AFTER_S = (0, 1, 2, 4, 8)
REPORTED = 0.3
MATCH_IOU = 0.25
ROBOT = Postprocess(score_threshold=REPORTED, one_class=True)


class Answers:
    """What one output said at all moments, and what was there."""

    def __init__(self) -> None:
        self.found: dict[str, list[Detections]] = defaultdict(list)
        self.truth: dict[str, list[Targets]] = defaultdict(list)
        self.after: dict[int, list[bool]] = defaultdict(list)

    def add(self, found: Detections, window: Targets, is_visible: torch.Tensor) -> None:
        """One moment; `is_visible` says which of the window's objects the frame shows."""
        self.found["window"].append(found)
        self.truth["window"].append(window)
        overlap, index = best_overlap(found, window)
        is_elsewhere = torch.zeros(len(found), dtype=torch.bool)
        if len(window):
            is_elsewhere = (overlap > MATCH_IOU) & ~is_visible[index]
        self.found["visible"].append(found[~is_elsewhere])
        self.truth["visible"].append(window[is_visible])

    def precision(self, num_classes: int) -> dict[str, float]:
        """AP25 and AP50 against both truths, percent."""
        return {
            f"{kind}_ap{round(100 * iou)}": round(
                100 * average_precision(self.found[kind], self.truth[kind], num_classes, iou).mean,
                1,
            )
            for kind in ("visible", "window")
            for iou in (0.25, 0.5)
        }

    def against(self, other: Answers, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """How much higher the precision is than another output's at the same moments."""
        return {
            f"{kind}_ap{round(100 * iou)}": _points(difference)
            for kind in ("visible", "window")
            for iou, difference in zip(
                IOU_THRESHOLDS,
                paired(
                    *(Side(a.found[kind], a.truth[kind], classes) for a in (other, self)),
                    np.random.default_rng(0),
                ).mean,
                strict=True,
            )
        }

    def recall(self) -> dict[str, float]:
        """Share of objects in the output so many seconds after the first sight."""
        return {f"{s}_s": round(float(np.mean(hits)), 3) for s, hits in sorted(self.after.items())}


def _points(difference: Difference) -> dict[str, float]:
    """A difference of average precisions in points of percent."""
    values = {
        "difference": difference.second - difference.first,
        "low": difference.low,
        "high": difference.high,
    }
    return {name: round(100 * value, 1) for name, value in values.items()}


def hits(found: Detections, targets: Targets) -> ndarray:
    """Which objects are reported."""
    reported = found[found.scores >= REPORTED]
    overlap, index = best_overlap(reported, targets)
    is_hit = np.zeros(len(targets), dtype=bool)
    is_hit[index[overlap > MATCH_IOU].numpy()] = True
    return is_hit


def cpu_ms(work: Any) -> tuple[float, Any]:
    """CPU time of a call on this thread, and what it gave."""
    started = time.thread_time()
    result = work()
    return 1e3 * (time.thread_time() - started), result


def level(frame: SequenceFrame) -> PointCloud:
    """A frame's cloud in the frame of the base: z up."""
    return frame.cloud.transformed(torch.from_numpy(frame.base_from_optical))


class Drive:
    """One drive: every frame into memory, every `every` frames detected and compared."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        self.recording = SequenceSettings(num_frames=options.frames, rate_hz=options.rate)
        self.seed = seed_of("val", options.first + number)
        self.changes = ChangeSettings()
        self.settings = MemorySettings(
            seconds=options.seconds, metres=options.metres, fusion=options.fusion
        )
        self.every = max(round(options.rate), 1)
        self.classes: tuple[str, ...] = ()
        self.answers = {name: Answers() for name in OUTPUTS}
        self.surfaces = Surfaces()
        self.ms: dict[str, list[float]] = defaultdict(list)
        self.points: dict[str, list[int]] = defaultdict(list)

    @property
    def num_classes(self) -> int:
        """How many classes the weights know."""
        return len(self.classes)

    def run(self, detector: Detector) -> Drive:
        """Drive."""
        self.classes = detector.classes
        truth = Truth.of(self.seed, self.recording, self.changes, self.settings.seconds)
        memory = SceneMemory(self.settings)
        blind = SceneMemory(MemorySettings(seconds=self.settings.seconds, free_space=False))
        middle, last = self.recording.num_frames * 3 // 4, self.recording.num_frames - 1
        for number, frame in enumerate(changing_sequence(self.seed, self.recording, self.changes)):
            seconds = number / self.recording.rate_hz
            pose = frame.odom_from_base @ frame.base_from_optical
            truth.look(frame, seconds)
            memory.add(frame.cloud, pose, frame.stamp_ns)
            blind.add(frame.cloud, pose, frame.stamp_ns)
            if number % self.every == self.every - 1:
                self._compare(detector, frame, memory, truth, seconds)
            if number in (middle, last):
                clouds = (m.cloud(frame.odom_from_base) for m in (memory, blind))
                self.surfaces.add(truth, seconds, frame.map_from_base, *clouds)
        return self

    def _compare(
        self,
        detector: Detector,
        frame: SequenceFrame,
        memory: SceneMemory,
        truth: Truth,
        seconds: float,
    ) -> None:
        single = level(frame)
        ms, cloud = cpu_ms(lambda: memory.cloud(frame.odom_from_base))
        self.ms["cloud"].append(ms)
        found = {}
        for name, points in (("frame", single), ("scene", cloud)):
            ms, found[name] = cpu_ms(lambda points=points: detector.detect(points))
            self.ms[name].append(ms)
            self.points[name].append(len(points))
        found["merged"] = merged(found["frame"], found["scene"])
        reported = [found[k][found[k].scores >= REPORTED] for k in ("frame", "scene")]
        self.ms["merging"].append(cpu_ms(lambda: merged(*reported, ROBOT))[0])
        rows = truth.in_window(seconds, frame.map_from_base[:3, 3], self.settings.radius_m)
        rows = {k: row for k, row in rows.items() if self._is_known(truth.seen[k][2])}
        window = self._targets(cloud, truth.targets(rows, seconds, frame.map_from_base))
        is_visible = torch.tensor([k in frame.things for k in rows], dtype=torch.bool)
        for name, answers in self.answers.items():
            answers.add(found[name], window, is_visible)
            for thing, is_hit in zip(rows, hits(found[name], window), strict=True):
                since = seconds - truth.first_seen[thing]
                answers.after[max(s for s in AFTER_S if s <= since + 1e-6)].append(bool(is_hit))

    def _is_known(self, label: int) -> bool:
        return LABELS[label] in self.classes

    def _targets(self, cloud: PointCloud, targets: Targets) -> Targets:
        return relabelled(Sample(cloud, targets, ""), self.classes).targets


def costs(options: argparse.Namespace) -> dict[str, Any]:
    """CPU time of `add` for large clouds at the sensor's rate."""
    recording = SequenceSettings(num_frames=options.cost_frames, rate_hz=10.0, width=360)
    add, points, is_kept, cloud, memory = [], [], [], [], SceneMemory()
    for frame in changing_sequence(seed_of("val", options.first), recording):
        pose = frame.odom_from_base @ frame.base_from_optical
        ms, added = cpu_ms(lambda f=frame, p=pose: memory.add(f.cloud, p, f.stamp_ns))
        add.append(ms)
        points.append(len(frame.cloud))
        is_kept.append(added.is_kept)
        cloud.append(cpu_ms(lambda f=frame: memory.cloud(f.odom_from_base))[0])
    return {
        "rate_hz": 10.0,
        "cloud_points": round(statistics.median(points)),
        "remembered_points": memory.num_points,
        "kept_share": round(statistics.mean(is_kept), 2),
        "add_ms": {
            "mean": round(statistics.mean(add), 2),
            "taken_in": round(float(np.mean(np.array(add)[is_kept])), 2),
            "others": round(float(np.mean(np.array(add)[~np.array(is_kept)])), 2),
        }
        | quantiles(add),
        "cloud_ms": quantiles(cloud),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    """Median and 99 percent."""
    return {
        "p50": round(float(np.median(values)), 2),
        "p99": round(float(np.percentile(values, 99)), 2),
    }


def study(options: argparse.Namespace) -> dict[str, Any]:
    """All drives, then the sums."""
    hardware = machine(options.threads)
    cost = costs(options)
    print(json.dumps(cost), file=sys.stderr, flush=True)
    drives = list(_drives(options))
    num_classes = drives[0].num_classes
    ms = {k: [v for d in drives for v in d.ms[k]] for k in drives[0].ms}
    both = Surfaces()
    for d in drives:
        for name in ("ghosts", "covered", "ghost_shares"):
            getattr(both, name).extend(getattr(d.surfaces, name))
    figures, totals = {}, {}
    for name in OUTPUTS:
        total = totals[name] = Answers()
        for d in drives:
            for kind in ("visible", "window"):
                total.found[kind] += d.answers[name].found[kind]
                total.truth[kind] += d.answers[name].truth[kind]
            for after, found in d.answers[name].after.items():
                total.after[after] += found
        each = [d.answers[name].precision(num_classes) for d in drives]
        figures[name] = {
            **total.precision(num_classes),
            "found_after": total.recall(),
            "by_drive": {
                key: {
                    "quartiles": [
                        round(float(q), 1)
                        for q in np.nanpercentile([e[key] for e in each], (25, 50, 75))
                    ],
                }
                for key in each[0]
            },
        }
    return {
        "machine": hardware,
        "weights": options.weights,
        "drives": len(drives),
        "moments": sum(len(d.ms["frame"]) for d in drives),
        "first_room": options.first,
        "memory": {
            "seconds": options.seconds,
            "metres": str(options.metres),
            "fusion": options.fusion,
        },
        "figures": figures,
        "against_frame": {
            name: totals[name].against(totals["frame"], drives[0].classes) for name in OUTPUTS[1:]
        },
        "surfaces": both.summary(),
        "points": {
            k: round(statistics.median(v for d in drives for v in d.points[k]))
            for k in ("frame", "scene")
        },
        "detect_ms": {k: quantiles(ms[k]) for k in ("frame", "scene", "merging", "cloud")},
        "ratio_scene_to_frame": round(
            statistics.median(ms["scene"]) / statistics.median(ms["frame"]), 2
        ),
        "ratio_add_to_frame": round(cost["add_ms"]["mean"] / statistics.median(ms["frame"]), 4),
        "cost": cost,
    }


def _drives(options: argparse.Namespace) -> Iterator[Drive]:
    numbers = range(options.drives)
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        for done in pool.map(partial(_drive, options), numbers):
            line = {name: done.answers[name].precision(done.num_classes) for name in OUTPUTS}
            line |= done.surfaces.summary()
            print(json.dumps(line), file=sys.stderr, flush=True)
            yield done


def _drive(options: argparse.Namespace, number: int) -> Drive:
    """One drive in a process of its own."""
    torch.set_grad_enabled(False)
    torch.set_num_threads(options.threads)
    return Drive(options, number).run(Detector.from_checkpoint(options.weights, device="cpu"))


def main() -> None:
    """Print the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drives", type=int, default=12)
    parser.add_argument("--first", type=int, default=FIRST_ROOM, help="first room")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--cost-frames", type=int, default=60)
    parser.add_argument("--rate", type=float, default=5.0, help="frames per second")
    parser.add_argument("--seconds", type=float, default=MemorySettings().seconds)
    parser.add_argument("--metres", type=float, default=MemorySettings().metres)
    parser.add_argument("--fusion", choices=("nearest", "mean"), default=MemorySettings().fusion)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--workers", type=int, default=1, help="processes that drive")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with one_line_errors():
        print(json.dumps(study(options)))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
