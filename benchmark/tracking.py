"""What tracking gains on drives through procedural rooms: identity switches, flicker, recall.

    python benchmark/tracking.py --sequences 12 --frames 40

Every frame goes the node's way: cloud in the optical frame, levelled below the camera, detected,
moved into `odom` (which drifts), tracked. Scored against what can be seen in each frame, matched
by class and an overlap of 0.25 or more in 3D (CLEAR MOT's rule). Compared are:

    detections   what the detector says; identities only link each frame to the one before
    confirmed    those of them that the tracker has given an identity
    tracks       the tracker's objects, smoothed, also while occluded: what ~/output/tracks holds

An object's identity switches where it differs from the last one it had. Flicker is the share of
consecutive frames in which an object that is visible in both is found in one and not in the other.
`false_per_frame` counts boxes that match nothing visible; tracks may rightly stand for what is
occluded just now. `error_over_claim` says how honest the covariances of tracks are: squared errors
of the centres over their claimed variances, along the ground; 1 = honest, more = too sure.
Occluded are those that the frame shows, but no detection does.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from sr3d_core.data.rooms.dataset import seed_of
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings, room_sequence
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.structures import Detections
from sr3d_ros.messages.covariance import pose_covariances
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.tracking.tracker import Tracker, Tracks, in_static_frame

MATCH_IOU = 0.25
FIRST_ROOM = 20_000  # of the validation split, apart from the rooms that spreads are measured in


@dataclass
class Score:
    """What one kind of output did over all sequences."""

    num_visible: int = 0
    num_found: int = 0
    num_false: int = 0
    num_pairs: int = 0  # an object visible in two consecutive frames
    num_flips: int = 0  # found in one of them only
    switches: int = 0
    last_identity: dict[tuple[int, int], str] = field(default_factory=dict)
    was_found: dict[tuple[int, int], tuple[int, bool]] = field(default_factory=dict)
    identities: dict[tuple[int, int], set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(
        self, run: int, number: int, frame: SequenceFrame, matches: dict[int, str], false: int
    ) -> None:
        """Take one frame in; `matches` is the identity found for each visible object."""
        self.num_false += false
        for thing in frame.things.tolist():
            key, is_found = (run, thing), thing in matches
            self.num_visible += 1
            self.num_found += is_found
            before = self.was_found.get(key)
            if before is not None and before[0] == number - 1:
                self.num_pairs += 1
                self.num_flips += before[1] != is_found
            self.was_found[key] = (number, is_found)
            if is_found:
                self.switches += self.last_identity.get(key, matches[thing]) != matches[thing]
                self.last_identity[key] = matches[thing]
                self.identities[key].add(matches[thing])

    def summary(self, num_frames: int) -> dict[str, float]:
        """The figures."""
        counts = [len(names) for names in self.identities.values()]
        return {
            "recall": round(self.num_found / max(1, self.num_visible), 4),
            "flicker": round(self.num_flips / max(1, self.num_pairs), 4),
            "false_per_frame": round(self.num_false / max(1, num_frames), 3),
            "id_switches": self.switches,
            "objects_found": len(counts),
            "ids_per_object": round(statistics.mean(counts), 3) if counts else 0.0,
        }


@dataclass
class Honesty:
    """Squared errors of the centres of tracks beside the variances that are claimed."""

    errors: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    claims: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(
        self,
        detector: Detector,
        tracks: Tracks,
        seen: set[str],
        frame: SequenceFrame,
    ) -> None:
        """Take in which objects overlap visible ones best, as where spreads are measured."""
        covariances = pose_covariances(
            tracks.boxes, detector.classes, detector.spread, np.eye(4), tracks.added_variance_m2
        )
        placed = in_map(tracks.boxes, frame)
        centers = placed.boxes.center
        matches, _ = matched(placed, tracks.ids, frame, dict.fromkeys(frame.things.tolist(), ""))
        for column, thing in enumerate(frame.things.tolist()):
            if thing in matches:
                row = tracks.ids.index(matches[thing])
                kind = "seen" if matches[thing] in seen else "occluded"
                error = centers[row, :2] - frame.targets.boxes.center[column, :2]
                self.errors[kind].append(float(error.square().sum()))
                self.claims[kind].append(float(np.trace(covariances[row, :2, :2])))

    def summary(self) -> dict[str, dict[str, float]]:
        """The figures."""
        return {
            kind: {"ratio": round(sum(errors) / sum(self.claims[kind]), 3), "boxes": len(errors)}
            for kind, errors in self.errors.items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=12)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rate", type=float, default=5.0, help="frames per second")
    parser.add_argument("--score", type=float, default=0.3)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--max-age", type=float, default=Parameters().track_max_age_s)
    parser.add_argument("--min-hits", type=int, default=Parameters().track_min_hits)
    parser.add_argument("--gate", type=float, default=Parameters().track_gate_m)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps(measure(options), indent=1))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all sequences and score the three outputs."""
    detector = Detector.from_checkpoint(
        options.weights,
        device="cpu",
        postprocess=Postprocess(score_threshold=options.score, one_class=True),
    )
    parameters = Parameters(
        track_max_age_s=options.max_age,
        track_min_hits=options.min_hits,
        track_gate_m=options.gate,
    )
    forgetful = replace(parameters, track_max_age_s=1.5 / options.rate, track_min_hits=1)
    scores = {name: Score() for name in ("detections", "confirmed", "tracks")}
    honesty, update_ms = Honesty(), list[float]()
    recording = SequenceSettings(num_frames=options.frames, rate_hz=options.rate)
    for run in range(options.sequences):
        tracker, linker = Tracker(parameters), Tracker(forgetful)
        for number, frame in enumerate(room_sequence(seed_of("val", FIRST_ROOM + run), recording)):
            found = detected(detector, frame)
            started = time.perf_counter()
            ids = tracker.update(found, frame.stamp_ns)
            update_ms.append(1e3 * (time.perf_counter() - started))
            tracks = tracker.tracks()
            confirmed = torch.tensor([bool(name) for name in ids], dtype=torch.bool)
            outputs = {
                "detections": (found, linked(linker.update(found, frame.stamp_ns), number)),
                "confirmed": (found[confirmed], tuple(name for name in ids if name)),
                "tracks": (tracks.boxes, tracks.ids),
            }
            for name, (boxes, names) in outputs.items():
                score = scores[name]
                last = {t: score.last_identity.get((run, t), "") for t in frame.things.tolist()}
                matches, false = matched(in_map(boxes, frame), names, frame, last)
                score.add(run, number, frame, matches, false)
            honesty.add(detector, tracks, set(ids), frame)
    num_frames = options.sequences * options.frames
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "sequences": options.sequences,
        "frames": num_frames,
        "rate_hz": options.rate,
        "tracking": {"max_age_s": options.max_age, "min_hits": options.min_hits}
        | {"gate_m": options.gate},
        "update_ms": {
            "median": round(statistics.median(update_ms), 3),
            "p99": round(float(np.percentile(update_ms, 99)), 3),
        },
        **{name: score.summary(num_frames) for name, score in scores.items()},
        "error_over_claim": honesty.summary(),
    }


def detected(detector: Detector, frame: SequenceFrame) -> Detections:
    """Detections of a frame in odom."""
    level_from_optical = frame.base_from_optical.copy()
    camera = level_from_optical[:2, 3].copy()
    level_from_optical[:2, 3] = 0.0
    found = detector.detect(frame.cloud.transformed(torch.from_numpy(level_from_optical)))
    base_from_level = np.eye(4)
    base_from_level[:2, 3] = camera
    return in_static_frame(found, frame.odom_from_base @ base_from_level)


def linked(identities: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Identities of detections, a passing one for each that has none."""
    return tuple(name or f"{number}/{row}" for row, name in enumerate(identities))


def in_map(found: Detections, frame: SequenceFrame) -> Detections:
    """Boxes in odom, seen from the true map."""
    return in_static_frame(found, frame.map_from_base @ np.linalg.inv(frame.odom_from_base))


def matched(
    found: Detections, identities: tuple[str, ...], frame: SequenceFrame, last: dict[int, str]
) -> tuple[dict[int, str], int]:
    """Identity found for each visible object, and how many boxes match nothing.

    An object keeps the identity it had `last` while that still overlaps it enough, as in the
    CLEAR MOT rule; otherwise the best overlaps go first.
    """
    truth = frame.targets
    overlap = pairwise_iou(found.boxes, truth.boxes).numpy().copy()
    overlap[found.labels.numpy()[:, None] != truth.labels.numpy()[None, :]] = 0.0
    for column, thing in enumerate(frame.things.tolist()):
        for row, name in enumerate(identities):
            overlap[row, column] += bool(overlap[row, column] >= MATCH_IOU and name == last[thing])
    matches: dict[int, str] = {}
    while overlap.size and overlap.max() >= MATCH_IOU:
        row, column = np.unravel_index(int(overlap.argmax()), overlap.shape)
        matches[int(frame.things[column])] = identities[row]
        overlap[row, :], overlap[:, column] = 0.0, 0.0
    return matches, len(found) - len(matches)


if __name__ == "__main__":
    main()
