"""The map of objects for node and recordings: frames in, what is known of the place out. No ROS.

`map.frame` is the frame that stands still; without it the first of map and odom that is known,
else the z-up frame of the detections, which is right for a robot that stands. In another frame,
and with weights of other classes, the map begins anew, and says so.

Free space is concluded from one sensor's rays, where it is known where they start (`rays_doubt`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sr3d_core.memory.map_settings import SETTING_NAMES, ObjectMapSettings
from sr3d_core.memory.object_map import GONE, MapObject, ObjectMap, Updated
from sr3d_core.memory.object_query import ObjectQuery
from sr3d_core.memory.visibility import Visibility
from sr3d_core.structures import Detections
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.source import TransformSource
from sr3d_ros.tracking.identities import StaticPlace, static_place
from sr3d_ros.tracking.tracker import in_static_frame

_KEPT_RENAMES = 20

LASTING_FRAMES = ("map", "odom")
"""Frames in which the room stands still, the one that is corrected first."""


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """What is known of the place after a frame."""

    objects: Detections  # confirmed, in the static frame; scores are probabilities
    ids: tuple[str, ...]  # of these
    place: StaticPlace
    updated: Updated
    remarks: tuple[str, ...]  # what is to be said, each in a sentence


class Mapping:
    """Maps the objects of frames, where `map.enabled` is set.

    `of` is for one thread; the rest may be called in others.
    """

    def __init__(self, transforms: TransformSource) -> None:
        self._transforms = transforms
        self._lock = threading.Lock()
        self._map: ObjectMap | None = None
        self._frame = ""  # of the map; "" = none yet
        self._renamed = deque[tuple[str, str]](maxlen=_KEPT_RENAMES)
        self._parameters = Parameters()

    def apply(self, parameters: Parameters) -> None:
        """Map as the parameters say from the next frame on; raises ValueError."""
        settings = settings_of(parameters)
        with self._lock:
            self._parameters = parameters
            if self._map is not None:
                self._map.settings = settings

    def of(self, result: FrameResult, classes: Sequence[str]) -> Mapped | None:
        """Take in a frame of a detector of `classes`; None = not mapped.

        Raises `TransformError` where the frame to map in is not known.
        """
        parameters = self._parameters
        if not parameters.mapping:
            return None
        wanted = frame_name(parameters.map_frame)
        place = static_place(self._transforms, result, wanted, LASTING_FRAMES)
        found = in_static_frame(result.detections, place.static_from_gravity)
        look, remark = _visibility(result, place, parameters)
        with self._lock:
            begun = self._begin(place.static_frame, tuple(classes))
            assert self._map is not None
            updated = self._map.update(found, result.stamp_ns, look)
            self._renamed += updated.renamed
            objects, ids = self._map.detections()
        said = (begun, updated.forgot, updated.jump, remark)
        return Mapped(objects, ids, place, updated, tuple(filter(None, said)))

    @property
    def values(self) -> dict[str, str]:
        """In words, for diagnostics; nothing where there is no map.

        "map: renamed" says which ids turned out to be which others, the newest last.
        """
        with self._lock:
            if self._map is None:
                return {}
            return {
                "map: frame": self._frame,
                "map: objects": str(len(self._map.objects())),
                "map: gone": str(len(self._map.objects(GONE))),
                "map: renamed": " ".join(f"{was}={now}" for was, now in self._renamed),
            }

    def objects(self, query: ObjectQuery | None = None) -> tuple[list[MapObject], str, int]:
        """The confirmed objects that are asked for, their frame, and the stamp of the newest
        frame; raises ValueError where there is no map or no such class."""
        with self._lock:
            known = self._require()
            objects = (query or ObjectQuery()).of(known.objects(), known.classes)
            return objects, self._frame, known.stamp_ns or 0

    def gone(self) -> list[MapObject]:
        """What was carried away, as long as that is known; raises ValueError without a map."""
        with self._lock:
            return self._require().objects(GONE)

    def clear(self) -> int:
        """Forget all objects; comes back with how many were confirmed."""
        with self._lock:
            number = 0 if self._map is None else len(self._map.objects())
            if self._map is not None:
                self._map.clear()
            self._renamed.clear()
            return number

    def save(self, path: str | Path) -> int:
        """Write the map; comes back with how many objects are confirmed.

        Raises ValueError where there is no map, and OSError.
        """
        with self._lock:
            known = self._require()
            known.save(path, self._frame)
            return len(known.objects())

    def load(self, path: str | Path, classes: Sequence[str]) -> int:
        """Go on with a map that was saved; comes back with how many objects are confirmed.

        A map of another frame than `map.frame`, where that is set, is refused. Raises
        `MapFileError`, which is a ValueError, and OSError; then nothing was changed.
        """
        from sr3d_core.memory.map_file import frame_of_map

        wanted = frame_name(self._parameters.map_frame) or None
        loaded = ObjectMap.load(path, classes, settings_of(self._parameters), wanted)
        frame = frame_of_map(Path(path))
        with self._lock:
            self._map, self._frame = loaded, frame
            self._renamed.clear()
        return len(loaded.objects())

    def _require(self) -> ObjectMap:
        if self._map is None:
            raise ValueError("there is no map: set map.enabled, then wait for a frame")
        return self._map

    def _begin(self, frame: str, classes: tuple[str, ...]) -> str:
        """A map of this frame and these classes; why what was known is forgotten, or ""."""
        before = self._map
        if before is not None and (frame, classes) == (self._frame, before.classes):
            return ""
        was, self._frame = self._frame, frame
        self._renamed.clear()
        self._map = ObjectMap(classes, settings_of(self._parameters))
        number = 0 if before is None else len(before.objects())
        if before is None or number == 0:
            return ""
        if was != frame:
            return (
                f"{number} objects of the map in '{was}' were forgotten: the frame that stands "
                f"still is '{frame}' now; set map.frame"
            )
        return f"{number} objects of the map were forgotten: the weights have other classes"


def settings_of(parameters: Parameters) -> ObjectMapSettings:
    """The settings of the core, which have the names of `map.*`."""
    values = parameters.values
    given = {name: values[f"map.{name}"] for name in SETTING_NAMES if f"map.{name}" in values}
    return ObjectMapSettings(**given)  # type: ignore[arg-type]


def _visibility(
    result: FrameResult, place: StaticPlace, parameters: Parameters
) -> tuple[Visibility | None, str]:
    """What the frame's rays passed through; None, and why, where that cannot be told."""
    if not parameters.map_free_space:
        return None, ""
    if result.rays_doubt:
        return None, (
            f"nothing can be found gone: {result.rays_doubt} (map.free_space: false, where that "
            "is meant)"
        )
    if not len(result.frame_cloud):
        return None, ""
    static_from_sensor_cloud = place.static_from_gravity.copy()
    static_from_sensor_cloud[:3, 3] = (
        place.static_from_gravity[:3, :3] @ result.sensor_offset.double().numpy()
        + place.static_from_gravity[:3, 3]
    )
    at = result.gravity_from_cloud[:3, 3] - result.sensor_offset.double().numpy()
    x, y, z = at.tolist()
    return Visibility.of(result.frame_cloud, static_from_sensor_cloud, (x, y, z)), ""
