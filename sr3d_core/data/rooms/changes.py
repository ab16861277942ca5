"""Drives through rooms in which things move: what a memory must forget.

At drawn moments some of the furniture is carried elsewhere, some away, some comes; meanwhile a
person walks to and fro. `changing_sequence` is `room_sequence` in such a room: the same camera,
route and errors of odometry for the same seed, and the truth of each moment. What is away keeps
its number, so that `SequenceFrame.things` means the same objects all the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.camera.drive import Route, random_route
from sr3d_core.data.rooms.furniture.classes import LABELS, ON_FLOOR
from sr3d_core.data.rooms.furniture.mesh import Mesh, blob, cylinder, turn_z
from sr3d_core.data.rooms.scene.footprints import Footprint
from sr3d_core.data.rooms.scene.layout import Placed
from sr3d_core.data.rooms.scene.room import Room, build_room
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings, drive, route_of

Rng = np.random.Generator

_STREAM = 3_000_000  # apart from all other streams of the seed
_WALKS = 2.5  # times as fast as the robot
_APART_M = 0.6  # of what moves from the robot's way, where the room allows it
_TRIES = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSettings:
    """How many things move; fewer where the room has fewer that stand free."""

    moved: int = 2
    """Carried to another place."""
    removed: int = 1
    """Carried away."""
    added: int = 1
    """Brought in; away before."""
    has_person: bool = True
    """Whether somebody walks to and fro."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What happens to one object of the room; None = it is away."""

    thing: int  # index into the room's things
    at_s: float
    before: Placed | None
    after: Placed | None

    def place(self, seconds: float) -> Placed | None:
        """Where the object is."""
        return self.before if seconds < self.at_s else self.after


@dataclass(frozen=True, slots=True, eq=False)
class ChangingRoom:
    """A room, what changes in it, and the way of the person; `at(seconds)` is the room then."""

    room: Room
    changes: tuple[Change, ...]
    walk: Route | None
    person: Mesh

    @classmethod
    def of(
        cls, seed: int, recording: SequenceSettings, settings: ChangeSettings | None = None
    ) -> ChangingRoom:
        """What happens in the room that belongs to `seed` during a recording."""
        settings = settings or ChangeSettings()
        room = build_room(np.random.default_rng(seed))
        rng = np.random.default_rng((seed, _STREAM))
        route = route_of(room, seed, recording)
        length_s = recording.num_frames / recording.rate_hz
        changes = _changes(room, route, length_s, settings, rng)
        walk = _walk(room, route, rng) if settings.has_person else None
        return cls(room, changes, walk, _person(rng))

    def at(self, seconds: float) -> Room:
        """All that stands in the room at a moment."""
        room = self.room
        corners, surface = room.corners.copy(), room.surface.copy()
        is_there = np.ones(len(corners), dtype=bool)
        for change in self.changes:
            place, first = change.place(seconds), room.things[change.thing]
            mine = room.owner == change.thing
            if place is None:
                is_there &= ~mine
                continue
            corners[mine] = _carried(corners[mine], first, place)
            surface[change.thing] = _carried(surface[change.thing], first, place)
        now = Room(
            room.layout,
            corners[is_there],
            room.color[is_there],
            room.absorbs[is_there],
            room.owner[is_there],
            self.places(seconds),
            surface,
            room.build[is_there],
        )
        return now if self.walk is None else _with(now, self.walker(seconds))

    def places(self, seconds: float) -> tuple[Placed, ...]:
        """Where each of the room's things is; where it was or will be, while it is away."""
        things = list(self.room.things)
        for change in self.changes:
            things[change.thing] = change.place(seconds) or things[change.thing]
        return tuple(things)

    def is_there(self, seconds: float) -> Bool[ndarray, " O"]:
        """Which of the room's things are in it."""
        there = np.ones(len(self.room.things), dtype=bool)
        for change in self.changes:
            there[change.thing] = change.place(seconds) is not None
        return there

    def walker(self, seconds: float) -> Mesh:
        """The person, facing where it goes; ValueError where nobody walks."""
        if self.walk is None:
            raise ValueError("nobody walks in this room; see ChangeSettings.has_person")
        here, next_ = (self.walk.at(_WALKS * (seconds + ahead)) for ahead in (0.0, 0.1))
        step = next_[:2, 3] - here[:2, 3]
        heading = float(np.arctan2(step[1], step[0]))
        return self.person.moved(x=here[0, 3], y=here[1, 3], yaw=heading)


def changing_sequence(
    seed: int,
    recording: SequenceSettings | None = None,
    settings: ChangeSettings | None = None,
) -> Iterator[SequenceFrame]:
    """The frames of a drive through the room that belongs to `seed`, while things move in it."""
    recording = recording or SequenceSettings()
    changing = ChangingRoom.of(seed, recording, settings)
    return drive(changing.room, seed, recording, changing.at)


def _changes(
    room: Room, route: Route, length_s: float, settings: ChangeSettings, rng: Rng
) -> tuple[Change, ...]:
    """Which things move, when and where to; a thing moves once."""
    chosen = rng.permutation(_portable(room)).tolist()
    kinds = ["moved"] * settings.moved + ["removed"] * settings.removed
    kinds += ["added"] * settings.added
    changes = list[Change]()
    for thing, kind in zip(chosen, rng.permutation(kinds).tolist(), strict=False):
        here = room.things[thing]
        before = None if kind == "added" else here
        after = None if kind == "removed" else here
        if kind == "moved":
            taken = [c.after for c in changes if c.after is not None]
            after = _elsewhere(room, here, taken, route, rng)
        if after is not before:  # a full room has no other place for it
            at_s = float(rng.uniform(0.25, 0.6) * length_s)
            changes.append(Change(thing, at_s, before, after))
    return tuple(changes)


def _portable(room: Room) -> Int[ndarray, " P"]:
    """Pieces that stand on the floor with nothing on them; doors stay where they are."""
    others = [(_footprint(o), o.center[2] - o.size[2] / 2) for o in room.layout.placed]
    found = []
    for index, placed in enumerate(room.things):
        mine, top = _footprint(placed), placed.center[2] + placed.size[2] / 2
        is_below = any(low > top - 0.1 and mine.overlaps(other) for other, low in others)
        stands = placed.center[2] - placed.size[2] / 2 < 0.05
        if stands and LABELS[placed.label] in ON_FLOOR and not is_below:
            found.append(index)
    return np.array(found, dtype=np.int64)


def _footprint(placed: Placed) -> Footprint:
    x, y = placed.center[:2].tolist()
    return Footprint.of((x, y), (placed.size[0], placed.size[1]), placed.yaw)


def _elsewhere(room: Room, placed: Placed, taken: list[Placed], route: Route, rng: Rng) -> Placed:
    """The thing on free floor off the robot's way, 1 m away or more; where it is if none."""
    floor = room.layout.floor
    rest = [_footprint(each) for each in (*room.layout.placed, *taken) if each is not placed]
    way = np.linspace(route.start, route.end, 12)
    for _ in range(_TRIES):
        at = floor.any_point(rng)
        yaw = float(rng.uniform(-np.pi, np.pi))
        mine = Footprint.of((at[0], at[1]), (placed.size[0], placed.size[1]), yaw)
        reach = float(np.linalg.norm(placed.size[:2])) / 2
        is_off = np.linalg.norm(way - at, axis=1).min() > reach + _APART_M / 2
        is_far = np.linalg.norm(at - placed.center[:2]) >= 1.0
        if not (is_off and is_far and floor.holds(mine)):
            continue
        if not any(mine.overlaps(other) for other in rest):
            center = np.array([*at, placed.center[2]])
            moved = replace(placed, center=center, yaw=yaw)
            vertices = _carried(placed.mesh.vertices, placed, moved)
            return replace(moved, mesh=replace(placed.mesh, vertices=vertices))
    return placed


def _carried(
    points: Float[ndarray, "... 3"], before: Placed, after: Placed
) -> Float[ndarray, "... 3"]:
    """Points of a thing where it is put."""
    carried: Float[ndarray, "... 3"] = (points - before.center) @ turn_z(
        after.yaw - before.yaw
    ).T + after.center
    return carried


def _walk(room: Room, route: Route, rng: Rng) -> Route:
    """Of some ways over free floor, the longest that stays off the robot's; else the farthest."""
    ways = [random_route(room.layout, rng) for _ in range(6)]
    along = np.linspace(0.0, 1.0, 12)[:, None]
    robot = route.start + along * (route.end - route.start)

    def gap(way: Route) -> float:
        steps = way.start + along * (way.end - way.start)
        return float(np.linalg.norm(steps[:, None] - robot[None], axis=2).min())

    apart = [way for way in ways if gap(way) >= _APART_M]
    if apart:
        return max(apart, key=lambda way: float(np.linalg.norm(way.end - way.start)))
    return max(ways, key=gap)


def _person(rng: Rng) -> Mesh:
    """Somebody on their feet, facing +x."""
    tall = float(rng.uniform(1.55, 1.9))
    cloth, legs, skin = (tuple(rng.uniform(0.1, 0.8, 3).tolist()) for _ in range(3))
    leg = [cylinder(0.075, 0.47 * tall, (0.0, y, 0.0), legs) for y in (-0.1, 0.1)]
    body = cylinder(0.17, 0.35 * tall, (0.0, 0.0, 0.46 * tall), cloth, top_radius=0.2)
    arm = [cylinder(0.05, 0.33 * tall, (0.0, y, 0.45 * tall), cloth) for y in (-0.24, 0.24)]
    head = blob((0.2, 0.17, 0.14 * tall), (0.0, 0.0, 0.85 * tall), skin)
    return Mesh.cat([*leg, body, *arm, head])


def _with(room: Room, mesh: Mesh) -> Room:
    """The room and an unlabelled mesh in it."""
    return replace(
        room,
        corners=np.concatenate([room.corners, mesh.vertices[mesh.faces]]),
        color=np.concatenate([room.color, mesh.color]),
        absorbs=np.concatenate([room.absorbs, mesh.absorbs]),
        owner=np.concatenate([room.owner, np.full(len(mesh.faces), -1, dtype=np.int64)]),
        build=room.build.and_then(mesh),
    )
