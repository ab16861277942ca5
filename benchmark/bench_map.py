"""How well a map of objects knows a room in which things are moved, removed and added.

    python benchmark/bench_map.py --drives 8
    python benchmark/bench_map.py --drives 8 --made

Each drive: a camera on a robot whose odometry drifts; furniture is carried elsewhere, away and in;
somebody walks. There is detected in every frame, and every frame goes into an `ObjectMap` by the
odometry alone, and into one that knows no depth (`blind`). Once a second both, and the boxes of
the single frame, are held against what is there. With `--made` no network runs: detections are
made from the truth with independent errors (`made_detections.py`). Prints one JSON object:

    precision     share of the confirmed objects that are there: right class, IoU 0.25 or more
    recall        share found of all that was seen so far and stands where it was seen; for the
                  single frame the same truth (`recall`), and what it shows (`recall_visible`)
    ghosts        confirmed objects a moment where something was that is gone
    false         ... where nothing of the kind ever was
    id_switches   times that an object's identity changed, a drive
    size_error    median of the largest difference of the logarithms of the three lengths, of
                  objects that map and frame both know at a moment
    update_ms     CPU time of `ObjectMap.update` with its `Visibility`

Rooms are of the validation split from FIRST_ROOM; settings were chosen on others (from 41000).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from made_detections import MadeDetections
from measure import machine
from numpy import ndarray

from sr3d_core import Detector, ObjectMap
from sr3d_core.console import one_line_errors
from sr3d_core.data.rooms.changes import ChangeSettings, ChangingRoom, changing_sequence
from sr3d_core.data.rooms.dataset import seed_of
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings
from sr3d_core.detector import Postprocess
from sr3d_core.geometry.boxes import short_side_first, transform_boxes
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.memory.visibility import Visibility
from sr3d_core.structures import Boxes3D, Detections

FIRST_ROOM = 60_000
MATCH_IOU = 0.25
ROBOT = Postprocess(score_threshold=0.3, one_class=True)

Find = Callable[[SequenceFrame], Detections]
"""What is found in a frame, in the base's frame."""


def boxes_of(rows: Sequence[ndarray]) -> Boxes3D:
    """Boxes of rows, also of none."""
    return Boxes3D.from_array(torch.from_numpy(np.array(rows, np.float64).reshape(-1, 7)))


class Count:
    """What one way of knowing said in a drive, against what was there."""

    def __init__(self) -> None:
        self.num: dict[str, int] = defaultdict(int)
        self.identity: dict[int, str] = {}

    def add(
        self, matched: dict[int, int], boxes: Boxes3D, ids: Sequence[str],
        wanted: set[int], visible: set[int], was: Boxes3D,
    ) -> None:  # fmt: skip
        """One moment; `matched` says which thing each box is."""
        self.num["moments"] += 1
        self.num["boxes"] += len(boxes)
        self.num["right"] += len(matched)
        for name, things in (("wanted", wanted), ("visible", visible)):
            self.num[name] += len(things)
            self.num[f"{name}_found"] += len(things & set(matched.values()))
        wrong = [row for row in range(len(boxes)) if row not in matched]
        overlap = pairwise_iou(boxes[torch.tensor(wrong, dtype=torch.int64)], was)
        self.num["ghosts"] += int((overlap > MATCH_IOU).any(dim=1).sum())
        self.num["false"] += int((~(overlap > MATCH_IOU).any(dim=1)).sum())
        for row, thing in matched.items():
            before = self.identity.get(thing, ids[row])
            self.num["id_switches"] += before != ids[row]
            self.identity[thing] = ids[row]

    def summary(self) -> dict[str, float]:
        """Shares, and numbers a moment."""
        n = self.num

        def share(part: str, whole: str) -> float:
            return round(n[part] / n[whole], 3) if n[whole] else float("nan")

        return {
            "precision": share("right", "boxes"),
            "recall": share("wanted_found", "wanted"),
            "recall_visible": share("visible_found", "visible"),
            "ghosts": share("ghosts", "moments"),
            "false": share("false", "moments"),
            "id_switches": n["id_switches"],
        }


class Drive:
    """One drive."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        self.recording = SequenceSettings(num_frames=options.frames, rate_hz=options.rate)
        self.seed = seed_of("val", options.first + number)
        self.every = max(round(options.rate), 1)
        self.counts = {name: Count() for name in ("map", "blind", "frame")}
        self.size_error: dict[str, list[float]] = {"map": [], "frame": []}
        self.update_ms: list[float] = []
        self.seen: dict[int, ndarray] = {}  # thing -> where it was seen last, in the map frame

    def run(self, find: Find, classes: Sequence[str]) -> Drive:
        """Drive; what is found is of these classes."""
        changing = ChangingRoom.of(self.seed, self.recording, ChangeSettings())
        maps = {name: ObjectMap(classes) for name in ("map", "blind")}
        frames = changing_sequence(self.seed, self.recording, ChangeSettings())
        for number, frame in enumerate(frames):
            single = find(frame)
            odom = torch.from_numpy(frame.odom_from_base)
            in_odom = Detections(_moved(single.boxes, odom), single.scores, single.labels)
            started = time.thread_time()
            look = Visibility.of(frame.cloud, frame.odom_from_base @ frame.base_from_optical)
            maps["map"].update(in_odom, frame.stamp_ns, look)
            self.update_ms.append(1e3 * (time.thread_time() - started))
            maps["blind"].update(in_odom, frame.stamp_ns)
            rows = frame.targets.boxes.array.double().numpy()
            self.seen.update(zip(frame.things.tolist(), rows, strict=True))
            if number % self.every == self.every - 1:
                seconds = number / self.recording.rate_hz
                self._compare(classes, maps, in_odom, frame, changing, seconds)
        return self

    def _compare(
        self,
        classes: Sequence[str],
        maps: dict[str, ObjectMap],
        single: Detections,
        frame: SequenceFrame,
        changing: ChangingRoom,
        seconds: float,
    ) -> None:
        index = {name: label for label, name in enumerate(classes)}
        places, is_there = changing.places(seconds), changing.is_there(seconds)
        there = {
            thing: np.array([*place.center, *place.size, place.yaw])
            for thing, place in enumerate(places)
            if is_there[thing] and LABELS[place.label] in index
        }
        labels = torch.tensor(
            [index[LABELS[places[thing].label]] for thing in there], dtype=torch.int64
        )
        wanted = {
            thing for thing, row in there.items()
            if thing in self.seen and np.abs(self.seen[thing][:2] - row[:2]).max() < 0.01
        }  # fmt: skip
        visible = set(frame.things.tolist()) & there.keys()
        was = boxes_of([
            np.array([*c.before.center, *c.before.size, c.before.yaw])
            for c in changing.changes if c.before is not None and seconds >= c.at_s
        ])  # fmt: skip
        map_from_odom = torch.from_numpy(frame.map_from_base @ np.linalg.inv(frame.odom_from_base))
        known = {name: each.detections() for name, each in maps.items()}
        known["frame"] = (single, tuple("" for _ in range(len(single))))
        error: dict[str, dict[int, float]] = {}
        for name, (found, ids) in known.items():
            boxes = _moved(found.boxes, map_from_odom)
            matched = _matched(boxes, found.labels, there, labels)
            self.counts[name].add(matched, boxes, ids, wanted, visible, was)
            error[name] = {
                thing: _size_error(boxes[row : row + 1], boxes_of([there[thing]]))
                for row, thing in matched.items()
            }
        for thing in error["map"].keys() & error["frame"].keys():
            for name, errors in self.size_error.items():
                errors.append(error[name][thing])


def _moved(boxes: Boxes3D, target_from_source: torch.Tensor) -> Boxes3D:
    """Boxes in another level frame, float64; what odometry tilts by is left out."""
    matrix = target_from_source.double()
    heading = torch.atan2(matrix[1, 0], matrix[0, 0])
    level = torch.eye(4, dtype=torch.float64)
    level[0, 0] = level[1, 1] = heading.cos()
    level[1, 0], level[0, 1] = heading.sin(), -heading.sin()
    level[:3, 3] = matrix[:3, 3]
    array = boxes.array.double()
    return transform_boxes(Boxes3D.from_array(array), level)


def _matched(
    boxes: Boxes3D, labels: torch.Tensor, there: dict[int, ndarray], truth: torch.Tensor
) -> dict[int, int]:
    """Which thing each box is, each at most once, by falling overlap."""
    things = list(there)
    overlap = pairwise_iou(boxes, boxes_of(list(there.values())))
    overlap = torch.where(labels[:, None] == truth[None, :], overlap, 0.0)
    matched = dict[int, int]()
    while overlap.numel() and float(overlap.max()) > MATCH_IOU:
        row, column = divmod(int(overlap.argmax()), overlap.shape[1])
        matched[row] = things[column]
        overlap[row, :] = 0.0
        overlap[:, column] = 0.0
    return matched


def _size_error(a: Boxes3D, b: Boxes3D) -> float:
    sizes = (short_side_first(each).size.log() for each in (a, b))
    first, second = sizes
    return float((first - second).abs().max())


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, and quartiles of the drives."""
    q1, q2, q3 = np.nanpercentile(values, (25, 50, 75)).round(3).tolist()
    return {"median": q2, "quartiles": [q1, q3]}


def study(options: argparse.Namespace) -> dict[str, Any]:
    """All drives, then the sums."""
    hardware = machine(options.threads)
    finder = _finder(options)
    drives = list[Drive]()
    for number in range(options.drives):
        drives.append(Drive(options, number).run(*finder(options.first + number)))
        line = {name: count.summary() for name, count in drives[-1].counts.items()}
        print(json.dumps(line), file=sys.stderr, flush=True)
    figures: dict[str, Any] = {}
    for name in ("map", "blind", "frame"):
        total = Count()
        for drive in drives:
            for key, value in drive.counts[name].num.items():
                total.num[key] += value
        each = [drive.counts[name].summary() for drive in drives]
        by_drive = {key: spread([e[key] for e in each]) for key in each[0]}
        figures[name] = {**total.summary(), "by_drive": by_drive}
    errors = {name: [e for d in drives for e in d.size_error[name]] for name in ("map", "frame")}
    for name, values in errors.items():
        each = [float(np.median(d.size_error[name])) for d in drives if d.size_error[name]]
        middle = round(float(np.median(values)), 4) if values else None
        figures[name]["size_error"] = {"all": middle, "by_drive": spread(each), "n": len(values)}
    ms = [ms for drive in drives for ms in drive.update_ms]
    return {
        "machine": hardware,
        "weights": "made" if options.made else options.weights,
        "drives": len(drives),
        "frames": options.frames,
        "rate_hz": options.rate,
        "first_room": options.first,
        "figures": figures,
        "update_ms": {
            "mean": round(float(np.mean(ms)), 2),
            "p99": round(float(np.percentile(ms, 99)), 2),
        },
    }


def _finder(options: argparse.Namespace) -> Callable[[int], tuple[Find, Sequence[str]]]:
    """What finds in the drive of a room, and its classes."""
    if options.made:
        return lambda room: ((made := MadeDetections(room)).of, made.classes)
    detector = Detector.from_checkpoint(options.weights, device="cpu", postprocess=ROBOT)

    def detect(frame: SequenceFrame) -> Detections:
        return detector.detect(frame.cloud.transformed(torch.from_numpy(frame.base_from_optical)))

    return lambda _: (detect, detector.classes)


def main() -> None:
    """Print the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drives", type=int, default=8)
    parser.add_argument("--first", type=int, default=FIRST_ROOM, help="first room")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--rate", type=float, default=5.0, help="frames per second")
    finder = parser.add_mutually_exclusive_group()
    finder.add_argument("--weights", default="default")
    finder.add_argument("--made", action="store_true", help="detections made from the truth")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with one_line_errors():
        print(json.dumps(study(options)))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
