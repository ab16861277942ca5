"""The objects of a place, as all frames together know them.

A detection is given to a known object or begins a new one (`association`); an object's box is
fused over its views (`fused_box`). What a frame does not find is looked for in its depth
(`visibility`): an object is gone when frames have looked right through its place, and stays when
it was hidden or out of view. What is in clear view and not found time and again is believed less.
Without depth nothing is ever gone.

Everything is in one static frame, metres, z up. Objects have no velocity: one that moves while it
is seen is followed, as its newest views replace the older ones; one that was carried away and
appears near by is found again. What moves all the time is the tracker's business.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.memory.association import associated, sharing_a_place
from sr3d_core.memory.fused_box import BoxView
from sr3d_core.memory.known_object import KnownObject, State
from sr3d_core.memory.map_settings import ObjectMapSettings
from sr3d_core.memory.visibility import Looks, Visibility
from sr3d_core.structures import Boxes3D, Detections

CONFIRMED: tuple[State, ...] = ("confirmed",)
GONE: tuple[State, ...] = ("gone",)

_LATE_S = 1.0  # frames come that much out of order; more is a clock that was set back
_FREE = 0.6  # of a box must have been looked through, and hardly any ray have ended there
_MET = 0.05
_CLEAR = 0.6  # of a box in view, of which this much stops rays: what is there is to be found
_STOPS = 0.2
_FAR_M = 4.0  # what is farther is often not found though it is there
_MAX_SPEED_M_S, _SLACK_M = 3.0, 0.2  # a sensor that moves faster has not: its pose jumped
_SAME_SIZE = 0.25  # difference of the logarithms of two sizes of one object


@dataclass(frozen=True, slots=True, eq=False)
class MapObject:
    """What the map knows of one object."""

    identity: str
    state: State
    label: int  # index into the map's classes
    class_name: str
    probability: float  # that it is there and of this class, 0..1
    probabilities: dict[str, float]  # of each class that it was ever taken for, if it is there
    box: Float[ndarray, " 7"]  # x y z dx dy dz yaw in the static frame, metres and radians
    first_ns: int
    last_ns: int  # last seen
    gone_ns: int | None  # when it was found to be gone
    times_seen: int  # frames that found it
    times_missed: int  # frames that looked through its place
    times_overlooked: int  # places from which it was in clear view, and no look found it


@dataclass(frozen=True, slots=True)
class Updated:
    """What became of a frame."""

    identities: tuple[str, ...]  # one for each detection, "" = of no object
    is_late: bool = False  # older than the frame before; not looked at
    forgot: str = ""  # why everything before was forgotten, in a sentence; "" = it was not
    jump: str = ""  # what is odd about the sensor's way, in a sentence; nothing is missed then
    gone: tuple[str, ...] = ()  # objects that this frame found gone
    renamed: tuple[tuple[str, str], ...] = ()  # these turned out to be those


class ObjectMap:
    """Remembers the objects of detectors of `classes`; for one thread.

    `settings` may be replaced between frames. Identities are never used twice, also not after
    `clear`.
    """

    def __init__(self, classes: Sequence[str], settings: ObjectMapSettings | None = None) -> None:
        self.classes = tuple(classes)
        self.settings = settings or ObjectMapSettings()
        self._known: list[KnownObject] = []
        self._numbers = itertools.count(1)
        self._now_ns: int | None = None
        self._sensor: tuple[int, Float[ndarray, " 3"]] | None = None  # stamp, where it was last

    @classmethod
    def load(
        cls,
        path: str | Path,
        classes: Sequence[str],
        settings: ObjectMapSettings | None = None,
        frame: str | None = None,
    ) -> ObjectMap:
        """A map that was saved; raises `MapFileError`, and OSError where it cannot be read.

        Refused is a file of another format or version, one that was changed by hand, and one of
        other classes; and of another `frame`, where one is given.
        """
        from sr3d_core.memory.map_file import read_map

        saved = read_map(Path(path), tuple(classes), frame)
        loaded = cls(classes, settings)
        loaded._known = saved.objects
        loaded._numbers = itertools.count(saved.next_number)
        loaded._now_ns = saved.stamp_ns
        return loaded

    def save(self, path: str | Path, frame: str = "") -> None:
        """Write the map, whole or not at all; `frame` names its static frame.

        Raises OSError.
        """
        from sr3d_core.memory.map_file import SavedMap, write_map

        next_number = next(self._numbers)
        self._numbers = itertools.count(next_number)
        saved = SavedMap(self._known, next_number, self._now_ns)
        write_map(Path(path), saved, self.classes, frame, self.objects(()))

    def clear(self) -> None:
        """Forget all objects."""
        self._known, self._now_ns, self._sensor = [], None, None

    @property
    def stamp_ns(self) -> int | None:
        """Of the newest frame."""
        return self._now_ns

    def update(
        self, found: Detections, stamp_ns: int, visibility: Visibility | None = None
    ) -> Updated:
        """Take in what a frame shows; boxes in the static frame, of any precision.

        `visibility` is what the frame's depth says; without it nothing is missed.
        """
        forgot = ""
        if self._now_ns is not None and stamp_ns < self._now_ns:
            seconds = 1e-9 * (self._now_ns - stamp_ns)
            if seconds <= _LATE_S:
                return Updated(("",) * len(found), is_late=True)
            forgot = (
                f"{len(self._known)} objects were forgotten: stamps went back by {seconds:.3g} s, "
                "as of a restarted recording or a clock that was set"
            )
            self.clear()
        self._now_ns = stamp_ns
        jump = "" if visibility is None else self._jump_to(visibility.sensor, stamp_ns)
        found = _plain(found)
        identities = self._take_in(found, stamp_ns, visibility, is_sure=not jump)
        renamed = [*self._merge(), *self._find_again()]
        names = dict(renamed)
        gone = self._let_go(stamp_ns)
        return Updated(
            tuple(names.get(name, name) for name in identities),
            forgot=forgot,
            jump=jump,
            gone=gone,
            renamed=tuple(renamed),
        )

    def objects(self, states: Collection[State] = CONFIRMED) -> list[MapObject]:
        """The objects in these states, none = all; by falling probability."""
        shown = [self._shown(known) for known in self._known]
        chosen = [each for each in shown if not states or each.state in states]
        return sorted(chosen, key=lambda each: (-each.probability, int(each.identity)))

    def detections(self) -> tuple[Detections, tuple[str, ...]]:
        """The confirmed objects as detections in float64, and their identities."""
        objects = self.objects()
        rows = np.array([each.box for each in objects], np.float64).reshape(-1, 7)
        return Detections(
            Boxes3D.from_array(torch.from_numpy(rows)),
            torch.tensor([each.probability for each in objects], dtype=torch.float32),
            torch.tensor([each.label for each in objects], dtype=torch.int64),
        ), tuple(each.identity for each in objects)

    def _shown(self, known: KnownObject) -> MapObject:
        chances = known.probabilities(len(self.classes))
        return MapObject(
            identity=known.identity,
            state=known.state(self.settings),
            label=known.label,
            class_name=self.classes[known.label],
            probability=float(chances[known.label]) * known.presence,
            probabilities={
                self.classes[label]: float(chances[label]) for label in sorted(known.evidence)
            },
            box=known.box.copy(),
            first_ns=known.first_ns,
            last_ns=known.last_ns,
            gone_ns=known.gone_ns,
            times_seen=known.times_seen,
            times_missed=known.times_missed,
            times_overlooked=known.places_overlooked,
        )

    @property
    def _there(self) -> list[KnownObject]:
        return [known for known in self._known if known.gone_ns is None]

    def _take_in(
        self, found: Detections, stamp_ns: int, visibility: Visibility | None, is_sure: bool
    ) -> list[str]:
        """Give every detection to an object; count those that should have been found."""
        there, rows = self._there, found.boxes.array.numpy()
        looks = None if visibility is None else visibility.of_boxes(rows)
        sensor = None if visibility is None else _point(visibility.sensor)
        labels = torch.tensor([known.label for known in there], dtype=torch.int64)
        expected = _boxes(known.expected_box for known in there)
        association = associated(expected, labels, found, self.settings.gate_m)
        owners = {row: there[index] for index, row in association.pairs}
        for row in np.flatnonzero(association.is_new).tolist():
            owners[row] = KnownObject(str(next(self._numbers)), stamp_ns, stamp_ns)
            self._known.append(owners[row])
        for row, known in owners.items():
            score = float(found.scores[row])
            view = BoxView(rows[row], _weight(score, looks, row), sensor)
            label, moved_m = int(found.labels[row]), self.settings.moved_m
            known.see(view, label, score, stamp_ns, moved_m)
        if visibility is not None and is_sure:
            seen = {index for index, _ in association.pairs}
            self._look_for([k for i, k in enumerate(there) if i not in seen], visibility)
        return [owners[row].identity if row in owners else "" for row in range(len(found))]

    def _jump_to(self, sensor: Float[ndarray, " 3"], stamp_ns: int) -> str:
        """Why the sensor cannot have come here since the last frame; "" where it can."""
        before, self._sensor = self._sensor, (stamp_ns, sensor)
        if before is None:
            return ""
        seconds, metres = 1e-9 * (stamp_ns - before[0]), float(np.linalg.norm(sensor - before[1]))
        if metres <= _MAX_SPEED_M_S * seconds + _SLACK_M:
            return ""
        return (
            f"the sensor moved {metres:.3g} m in {seconds:.3g} s: the static frame jumped "
            "(relocalisation?); what the map knew may lie elsewhere now: where it does, clear it"
        )

    def _look_for(self, absent: list[KnownObject], visibility: Visibility) -> None:
        """Tell what is gone from what is hidden, and from what was only not found."""
        if not absent:
            return
        looks = visibility.of_boxes(np.stack([known.expected_box for known in absent]))
        is_missed = (looks.free >= _FREE) & (looks.met <= _MET)
        is_near = looks.distance_m <= _FAR_M
        is_overlooked = (looks.clear >= _CLEAR) & (looks.met >= _STOPS) & is_near
        for row, known in enumerate(absent):
            if is_missed[row]:
                known.miss()
            elif is_overlooked[row]:
                known.overlook(_point(visibility.sensor))

    def _merge(self) -> list[tuple[str, str]]:
        """Objects that have come to share one place are one."""
        there = sorted(self._there, key=lambda known: -known.times_seen)
        renamed = list[tuple[str, str]]()
        for keeper, other in sharing_a_place(_boxes(known.box for known in there)):
            there[keeper].absorb(there[other])
            self._known.remove(there[other])
            renamed.append((there[other].identity, there[keeper].identity))
        return renamed

    def _find_again(self) -> list[tuple[str, str]]:
        """What appeared after an object was last seen, near by and like it, is that object."""
        renamed = list[tuple[str, str]]()
        for gone in [known for known in self._known if known.gone_ns is not None]:
            alike = [
                known
                for known in self._there
                if known.first_ns > gone.last_ns
                and known.state(self.settings) == "confirmed"
                and known.label == gone.label
                and np.linalg.norm(known.box[:3] - gone.box[:3]) <= self.settings.near_m
                and _are_alike(known.box, gone.box)
            ]
            if len(alike) != 1:  # of two it may be either
                continue
            again = alike[0]
            renamed.append((again.identity, gone.identity))
            again.identity = gone.identity
            again.absorb(gone)
            again.times_seen += gone.times_seen
            again.times_missed += gone.times_missed
            self._known.remove(gone)
        return renamed

    def _let_go(self, stamp_ns: int) -> tuple[str, ...]:
        """Say what is gone, forget what was nothing, and what is gone for long."""
        settings, newly = self.settings, list[str]()
        for known in self._there:
            away_s = 1e-9 * (stamp_ns - known.last_ns)
            is_due = known.misses >= settings.gone_misses and away_s >= settings.gone_s
            if is_due and known.state(settings) == "confirmed":
                known.gone_ns = stamp_ns
                newly.append(known.identity)
            elif is_due or (
                known.state(settings) == "tentative" and away_s > settings.tentative_s
            ):
                self._known.remove(known)
        self._known = [
            known
            for known in self._known
            if known.gone_ns is None or 1e-9 * (stamp_ns - known.gone_ns) <= settings.keep_gone_s
        ]
        if len(self._known) > settings.max_objects:
            self._known.sort(key=lambda known: known.last_ns)
            self._known = self._known[-settings.max_objects :]
        return tuple(newly)


def _plain(found: Detections) -> Detections:
    """On the CPU; boxes in float64, as a map may be large."""
    boxes = found.boxes.to("cpu")
    boxes = Boxes3D(boxes.center.double(), boxes.size.double(), boxes.yaw.double())
    return Detections(boxes, found.scores.cpu(), found.labels.cpu())


def _boxes(rows: Iterable[Float[ndarray, " 7"]]) -> Boxes3D:
    array = np.array(list(rows), np.float64).reshape(-1, 7)
    return Boxes3D.from_array(torch.from_numpy(array))


def _weight(score: float, looks: Looks | None, row: int) -> float:
    """How well a box was seen: found for sure, near, and nothing of it hidden or out of view."""
    score = max(score, 1e-3)
    if looks is None:
        return score
    distance_m = max(float(looks.distance_m[row]), 1.0)
    return score * max(float(looks.clear[row]), 0.05) / (distance_m * distance_m)


def _point(xyz: Float[ndarray, " 3"]) -> tuple[float, float, float]:
    x, y, z = xyz.tolist()
    return x, y, z


def _are_alike(a: Float[ndarray, " 7"], b: Float[ndarray, " 7"]) -> bool:
    """Whether two boxes may be of one object that was also turned."""
    either = (b[3:6], b[[4, 3, 5]])
    return any(bool(np.abs(np.log(a[3:6] / size)).max() <= _SAME_SIZE) for size in either)
