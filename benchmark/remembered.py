"""A drive through a changing room with its truth, for `bench_memory.py`.

What a fused scene should hold at a moment: the objects that the camera saw within the window, that
are still there and where they were seen. What it should not hold: points where something was that
is gone. What it should not lose: the surfaces that it would show without forgetting.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import cKDTree

from sr3d_core.data.rooms.changes import ChangeSettings, ChangingRoom
from sr3d_core.data.rooms.scene.room import Room
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings
from sr3d_core.structures import Boxes3D, PointCloud, Targets

SURFACE_POINTS = 30_000
COVERED_M = 0.05
"""A piece of surface is remembered where a point lies this near."""
GONE_M = 0.15
"""A point this far from all surfaces belongs to none of them: twice the noise at 5 m."""
PERSON_M = 0.4
FLOOR_M = 0.1


@dataclass
class Truth:
    """What the room and the camera's view of it were so far in one drive."""

    changing: ChangingRoom
    window_s: float
    seen: dict[int, tuple[float, ndarray, int]] = field(default_factory=dict)
    noticed: dict[int, tuple[float, ndarray, int]] = field(default_factory=dict)  # seen at all
    first_seen: dict[int, float] = field(default_factory=dict)
    person: list[tuple[float, ndarray]] = field(default_factory=list)

    @classmethod
    def of(
        cls, seed: int, recording: SequenceSettings, changes: ChangeSettings, window_s: float
    ) -> Truth:
        """The truth of a drive before its first frame."""
        return cls(ChangingRoom.of(seed, recording, changes), window_s)

    def look(self, frame: SequenceFrame, seconds: float) -> None:
        """Take in what a frame shows."""
        assert frame.targets.ignored is not None
        _look(self.noticed, frame.targets.ignored, frame.ignored_things, seconds)
        for seen in (self.noticed, self.seen):
            _look(seen, frame.targets, frame.things, seconds)
        for thing in frame.things.tolist():
            self.first_seen.setdefault(thing, seconds)
        if self.changing.walk is not None:
            self.person.append((seconds, self.changing.walker(seconds).vertices.mean(axis=0)))

    def in_window(self, seconds: float, base: ndarray, radius_m: float) -> dict[int, ndarray]:
        """Boxes in the map of what was seen in the window and is still there, by thing."""
        return {
            thing: row
            for thing, row in self._still_there(self.seen, seconds).items()
            if np.linalg.norm(row[:2] - base[:2]) <= radius_m
        }

    def _still_there(
        self, seen: dict[int, tuple[float, ndarray, int]], seconds: float
    ) -> dict[int, ndarray]:
        there = self.changing.is_there(seconds)
        places = self.changing.places(seconds)
        return {
            thing: row
            for thing, (last, row, _) in seen.items()
            if seconds - last <= self.window_s
            and there[thing]
            and np.abs(places[thing].center - row[:3]).max() < 0.01
        }

    def targets(self, rows: dict[int, ndarray], seconds: float, map_from_base: ndarray) -> Targets:
        """Boxes seen from the base; labels index the rooms' classes.

        To be ignored is what else was seen in the window and is still there: too little of it,
        or too far away.
        """
        others = self._still_there(self.noticed, seconds)
        ignored = {thing: row for thing, row in others.items() if thing not in rows}
        return replace(
            self._from_base(rows, map_from_base), ignored=self._from_base(ignored, map_from_base)
        )

    def _from_base(self, rows: dict[int, ndarray], map_from_base: ndarray) -> Targets:
        labels = torch.tensor([self.noticed[thing][2] for thing in rows], dtype=torch.int64)
        boxes = np.array(list(rows.values()), np.float64).reshape(-1, 7)
        turn, shift = map_from_base[:3, :3], map_from_base[:3, 3]
        boxes[:, :3] = (boxes[:, :3] - shift) @ turn
        boxes[:, 6] -= np.arctan2(turn[1, 0], turn[0, 0])
        return Targets(Boxes3D.from_array(torch.from_numpy(boxes.astype(np.float32))), labels)

    def gone(self, points: Float[ndarray, "N 3"], seconds: float) -> ndarray:
        """Which points, in the map, lie where something was within the window."""
        is_gone = np.zeros(len(points), dtype=bool)
        for change in self.changing.changes:
            before = change.before
            if before is None or seconds < change.at_s:
                continue
            away = points[:, :2] - before.center[:2]
            c, s = np.cos(before.yaw), np.sin(before.yaw)
            local = np.abs(np.stack([away @ (c, s), away @ (-s, c)], axis=1))
            is_in = (local <= before.size[:2] / 2 + 0.05).all(axis=1)
            is_gone |= is_in & (points[:, 2] < before.center[2] + before.size[2] / 2 + 0.05)
        for then, place in self.person:
            if seconds - then <= self.window_s:
                near = np.linalg.norm(points[:, :2] - place[:2], axis=1) < PERSON_M
                is_gone |= near & (points[:, 2] < 2.0)
        return is_gone & (points[:, 2] > FLOOR_M)


def _look(
    seen: dict[int, tuple[float, ndarray, int]], targets: Targets, things: ndarray, seconds: float
) -> None:
    """Take down when and where each thing was seen last, and what it is."""
    rows = targets.boxes.array.double().numpy()
    for thing, row, label in zip(things.tolist(), rows, targets.labels.tolist(), strict=True):
        seen[thing] = (seconds, row, label)


@dataclass
class Surfaces:
    """Ghosts left and surface lost, of a memory beside one that forgets nothing but by time."""

    ghosts: list[tuple[int, int]] = field(default_factory=list)  # left, without free space
    covered: list[tuple[int, int]] = field(default_factory=list)  # lost, without free space
    ghost_shares: list[float] = field(default_factory=list)  # of all points

    def add(
        self, truth: Truth, seconds: float, map_from_base: ndarray, ours: PointCloud,
        blind: PointCloud,
    ) -> None:  # fmt: skip
        """Compare two clouds in the base's frame at a moment."""
        rng = np.random.default_rng(0)
        surface = sampled(truth.changing.at(seconds), rng)
        tree = cKDTree(surface)
        in_map = [
            cloud.xyz.double().numpy() @ map_from_base[:3, :3].T + map_from_base[:3, 3]
            for cloud in (ours, blind)
        ]
        counts = []
        for points in in_map:
            candidates = points[truth.gone(points, seconds)]
            counts.append(
                int((tree.query(candidates, distance_upper_bound=GONE_M)[0] > GONE_M).sum())
                if len(candidates)
                else 0
            )
        self.ghosts.append((counts[0], counts[1]))
        self.ghost_shares.append(counts[0] / max(len(ours), 1))
        kept, all_ = (
            cKDTree(points).query(surface, distance_upper_bound=COVERED_M)[0] < COVERED_M
            for points in in_map
        )
        self.covered.append((int((all_ & ~kept).sum()), int(all_.sum())))

    def summary(self) -> dict[str, float]:
        """Shares over all moments."""
        ghosts, covered = np.array(self.ghosts), np.array(self.covered)
        return {
            "ghosts_left": round(ghosts[:, 0].sum() / max(ghosts[:, 1].sum(), 1), 4),
            "ghosts_share_of_points": round(float(np.mean(self.ghost_shares)), 5),
            "ghosts_without_free_space": int(ghosts[:, 1].sum()),
            "surface_lost": round(covered[:, 0].sum() / max(covered[:, 1].sum(), 1), 4),
        }


def sampled(room: Room, rng: np.random.Generator) -> Float[ndarray, "N 3"]:
    """Points spread evenly over all that stands in a room."""
    a, b, c = np.moveaxis(room.corners, 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(area), SURFACE_POINTS, p=area / area.sum())
    s, t = np.sqrt(rng.random((SURFACE_POINTS, 1))), rng.random((SURFACE_POINTS, 1))
    points: Float[ndarray, "N 3"] = (1 - s) * a[face] + s * (1 - t) * b[face] + s * t * c[face]
    return points
