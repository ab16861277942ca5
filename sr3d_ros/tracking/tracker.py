"""Stable identities for detections over frames and occlusions.

Each track follows one object with a constant-velocity Kalman filter in a frame that does not move
with the robot. `sr3d_core.memory.association` says which detection continues which track.

A second detection of an object that has a track begins no other track, it stays without identity.
Where two have begun all the same and come to share one place, the one that was seen less ends.
A track is confirmed after `min_hits` detections and forgotten `max_age_s` after the last one.
Identities are never used twice, also not after time jumped backwards (a recording that loops).
"""

from __future__ import annotations

import cmath
import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from sr3d_core.memory.association import (
    associated,
    sharing_a_place,
    written_alike,
    written_towards,
)
from sr3d_core.structures import Boxes3D, Detections
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.tf.rigid import Matrix
from sr3d_ros.tracking.kalman import KalmanState, MotionModel

_FOLLOW = 0.3  # how much of a new size, yaw or score a track takes over


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """All confirmed tracks at one stamp, smoothed, also of objects that are occluded."""

    boxes: Detections  # in the static frame, by falling score
    ids: tuple[str, ...]
    added_variance_m2: NDArray[np.float64]  # of each position, since it was last measured


@dataclass(slots=True, eq=False)
class _Track:
    """One object that is followed."""

    identity: str
    state: KalmanState
    size: NDArray[np.float64]
    yaw: float
    facing: complex  # mean of exp(i yaw) over the detections
    score: float
    seen_ns: int  # stamp of the last detection
    seen_m2: float  # variance of the position at that stamp
    hits: int = 1
    votes: dict[int, float] = field(default_factory=dict)  # label -> sum of scores

    @property
    def label(self) -> int:
        """The class with the highest scores so far."""
        return max(self.votes, key=lambda label: self.votes[label])


class Tracker:
    """Gives detections the identities of objects.

    Of its `parameters`, which may be replaced between frames, those of `tracking.*` count. Not for
    several threads at once.
    """

    def __init__(
        self, parameters: Parameters | None = None, motion: MotionModel | None = None
    ) -> None:
        self.parameters = parameters or Parameters()
        self._motion = motion or MotionModel()
        self._tracks: list[_Track] = []
        self._numbers = itertools.count(1)
        self._now_ns: int | None = None

    def reset(self) -> None:
        """Forget all objects, as when the map was replaced; identities go on counting."""
        self._tracks, self._now_ns = [], None

    def update(self, detections: Detections, stamp_ns: int) -> tuple[str, ...]:
        """Identities of detections in a static frame; "" = not confirmed yet.

        Frames come by rising stamps; an older one starts everything anew.
        """
        self._advance(stamp_ns)
        detections = in_static_frame(detections, np.eye(4))  # as float64 on the CPU
        centers = detections.boxes.center.numpy()
        identities = [""] * len(detections)
        labels = torch.tensor([track.label for track in self._tracks], dtype=torch.int64)
        gate_m = self.parameters.track_gate_m
        known = associated(_boxes_of(self._tracks), labels, detections, gate_m)
        for track, row in known.pairs:
            self._follow(self._tracks[track], detections, row, centers[row])
            if self._tracks[track].hits >= self.parameters.track_min_hits:
                identities[row] = self._tracks[track].identity
        for row in np.flatnonzero(known.is_new).tolist():
            self._tracks.append(self._begin(detections, row, centers[row]))
            if self.parameters.track_min_hits == 1:
                identities[row] = self._tracks[-1].identity
        return self._merged(identities)

    def tracks(self) -> Tracks:
        """The confirmed tracks at the last stamp."""
        known = [t for t in self._tracks if t.hits >= self.parameters.track_min_hits]
        known.sort(key=lambda track: -track.score)
        labels = torch.tensor([track.label for track in known], dtype=torch.int64)
        scores = torch.tensor([track.score for track in known], dtype=torch.float32)
        return Tracks(
            boxes=Detections(_boxes_of(known), scores, labels),
            ids=tuple(track.identity for track in known),
            added_variance_m2=np.array(
                [track.state.variance_m2 - track.seen_m2 for track in known]
            ),
        )

    def _advance(self, stamp_ns: int) -> None:
        """Predict all tracks to a stamp and forget the old ones."""
        if self._now_ns is None or stamp_ns < self._now_ns:
            self.reset()
        seconds = 0.0 if self._now_ns is None else 1e-9 * (stamp_ns - self._now_ns)
        self._now_ns = stamp_ns
        oldest_ns = stamp_ns - round(1e9 * self.parameters.track_max_age_s)
        self._tracks = [track for track in self._tracks if track.seen_ns >= oldest_ns]
        for track in self._tracks:
            track.state = track.state.predicted(seconds, self._motion)

    def _merged(self, identities: list[str]) -> tuple[str, ...]:
        """End tracks that are another's object; the identities of a frame without them."""
        known = sorted(self._tracks, key=lambda track: -track.hits)
        for keeper, other in sharing_a_place(_boxes_of(known)):
            stays, ends = known[keeper], known[other]
            for label, score in ends.votes.items():
                stays.votes[label] = stays.votes.get(label, 0.0) + score
            self._tracks.remove(ends)
            name = "" if stays.identity in identities else stays.identity
            identities = [name if each == ends.identity else each for each in identities]
        return tuple(identities)

    def _begin(self, found: Detections, row: int, center: NDArray[np.float64]) -> _Track:
        label, score = int(found.labels[row]), float(found.scores[row])
        yaw = float(found.boxes.yaw[row])
        state = KalmanState.first(center, self._motion)
        return _Track(
            identity=str(next(self._numbers)),
            state=state,
            size=found.boxes.size[row].numpy(),
            yaw=yaw,
            facing=cmath.exp(1j * yaw),
            score=score,
            seen_ns=self._now_ns or 0,
            seen_m2=state.variance_m2,
            votes={label: score},
        )

    def _follow(
        self, track: _Track, found: Detections, row: int, center: NDArray[np.float64]
    ) -> None:
        """Take one more detection of a track's object in."""
        label, score = int(found.labels[row]), float(found.scores[row])
        track.state = track.state.corrected(center, self._motion)
        size, yaw = found.boxes.size[row].numpy(), float(found.boxes.yaw[row])
        track.facing += _FOLLOW * (cmath.exp(1j * yaw) - track.facing)
        size, turn = written_alike(size, yaw, track.yaw)
        size, yaw = track.size + _FOLLOW * (size - track.size), track.yaw + _FOLLOW * turn
        track.size, track.yaw = written_towards(size, yaw, track.facing)
        track.score += _FOLLOW * (score - track.score)
        track.votes[label] = track.votes.get(label, 0.0) + score
        track.seen_ns, track.seen_m2 = self._now_ns or 0, track.state.variance_m2
        track.hits += 1


def in_static_frame(detections: Detections, static_from_gravity: Matrix) -> Detections:
    """Detections for the tracker: moved into a frame such as odom or map.

    Both frames are nearly level; what they tilt against each other is left out, as boxes stand
    upright.
    """
    boxes = detections.boxes.to("cpu")
    matrix = torch.from_numpy(static_from_gravity)
    center = boxes.center.double() @ matrix[:3, :3].T + matrix[:3, 3]
    heading = math.atan2(static_from_gravity[1, 0], static_from_gravity[0, 0])
    moved = Boxes3D(center, boxes.size.double(), boxes.yaw.double() + heading)
    return Detections(moved, detections.scores.cpu(), detections.labels.cpu())


def _boxes_of(tracks: list[_Track]) -> Boxes3D:
    rows = [[*track.state.position, *track.size, track.yaw] for track in tracks]
    return Boxes3D.from_array(torch.tensor(rows, dtype=torch.float64).reshape(-1, 7))
