"""The own transform source: a buffer that is filled from TFMessage-like objects.

It answers as tf2 does: linear and spherical interpolation between neighbouring stamps, no
extrapolation, stamp 0 = the latest time that all edges of the path share. It needs no ROS, so a
bag is replayed through it. Matrices are float64, named `target_from_source`.
Leading slashes of ROS 1 frame ids are dropped everywhere.
"""

from __future__ import annotations

import bisect
import difflib
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.headers import frame_name, stamp_to_ns
from sr3d_ros.tf.rigid import Matrix, Quaternion, Vector, matrix_of, rigid_inverse, slerp

_FOREVER_NS = 1 << 63


@dataclass(frozen=True, slots=True)
class _Sample:
    """Where a child frame is in its parent at one time."""

    stamp_ns: int
    parent: str
    translation: Vector
    rotation: Quaternion


@dataclass(slots=True)
class _Edge:
    """What is known of one child frame; samples sorted by stamp."""

    samples: list[_Sample] = field(default_factory=list)
    is_static: bool = False

    def at(self, stamp_ns: int | None) -> _Sample | None:
        """The sample at a stamp, interpolated; None = latest; None back = outside the history."""
        samples = self.samples
        if self.is_static or stamp_ns is None:
            return samples[-1]
        index = bisect.bisect_left(samples, stamp_ns, key=_stamp_of)
        if index < len(samples) and samples[index].stamp_ns == stamp_ns:
            return samples[index]
        if index in (0, len(samples)):
            return None
        return _between(samples[index - 1], samples[index], stamp_ns)


class TransformBuffer:
    """The last seconds of all frames; safe to fill and to ask from different threads.

    `history_s` is how long moving frames are kept (`math.inf`: for ever, for bags). A
    transform older than the whole history of its frame means that time was set back (a simulation
    restarted, a bag looped): moving frames are then forgotten.
    """

    def __init__(self, history_s: float = 10.0) -> None:
        self._history_ns = int(history_s * 1e9) if math.isfinite(history_s) else _FOREVER_NS
        self._edges: dict[str, _Edge] = {}
        self._lock = threading.RLock()

    @property
    def frames(self) -> tuple[str, ...]:
        """All frames that were ever named, sorted."""
        with self._lock:
            parents = {s.parent for edge in self._edges.values() for s in edge.samples[-1:]}
            return tuple(sorted(parents | self._edges.keys()))

    def clear(self) -> None:
        """Forget all moving frames; static ones stay."""
        with self._lock:
            self._edges = {name: edge for name, edge in self._edges.items() if edge.is_static}

    def insert(
        self,
        parent: str,
        child: str,
        stamp_ns: int,
        translation: Sequence[float],
        rotation: Sequence[float],
        static: bool = False,
    ) -> None:
        """Remember where `child` is in `parent`: metres, quaternion x y z w of any length > 0.

        Of two transforms with one stamp the first stays, as in tf2. Raises `TransformError`.
        """
        sample = _checked(frame_name(parent), frame_name(child), stamp_ns, translation, rotation)
        with self._lock:
            edge = self._edges.get(frame_name(child))
            if static or edge is None or edge.is_static:
                self._edges[frame_name(child)] = _Edge([sample], static)
            else:
                self._insert_moving(frame_name(child), edge.samples, sample)

    def _insert_moving(self, child: str, samples: list[_Sample], sample: _Sample) -> None:
        newest_ns = samples[-1].stamp_ns
        if sample.stamp_ns < newest_ns - self._history_ns:
            self.clear()
            self._edges[child] = _Edge([sample])
            return
        index = bisect.bisect_left(samples, sample.stamp_ns, key=_stamp_of)
        if index < len(samples) and samples[index].stamp_ns == sample.stamp_ns:
            return
        samples.insert(index, sample)
        oldest_ns = samples[-1].stamp_ns - self._history_ns
        if samples[0].stamp_ns < oldest_ns:
            del samples[: bisect.bisect_left(samples, oldest_ns, key=_stamp_of)]

    def add_tf_message(self, message: Any, static: bool) -> None:
        """Remember every transform of a TFMessage; raises the first `TransformError` at the end.

        One unusable transform does not keep the others of its message out.
        """
        first_error: TransformError | None = None
        for entry in message.transforms:
            moved, turned = entry.transform.translation, entry.transform.rotation
            try:
                self.insert(
                    entry.header.frame_id,
                    entry.child_frame_id,
                    stamp_to_ns(entry.header.stamp),
                    (moved.x, moved.y, moved.z),
                    (turned.x, turned.y, turned.z, turned.w),
                    static,
                )
            except TransformError as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Matrix:
        """`target_from_source` at a stamp, 0 = the latest time that the path knows."""
        target, source = frame_name(target_frame), frame_name(source_frame)
        if target == source:
            return np.eye(4)
        with self._lock:
            self._require_known(target, source)
            at_ns = stamp_ns if stamp_ns != 0 else self._latest_common_ns(target, source)
            source_path = self._path(source, at_ns)
            target_path = self._path(target, at_ns)
            common = _common_ancestor(target_path, source_path)
            if common is None:
                raise self._no_path(target_path[-1][0], source_path[-1][0], target, source, at_ns)
        common_from_source = _product(source_path, common)
        common_from_target = _product(target_path, common)
        return rigid_inverse(common_from_target) @ common_from_source

    def _path(self, frame: str, stamp_ns: int | None) -> list[tuple[str, _Sample | None]]:
        """Frames from `frame` upwards, each with its place in its parent.

        Ends at a root or at a frame whose history does not cover the stamp (place None).
        """
        path: list[tuple[str, _Sample | None]] = []
        for _ in range(len(self._edges) + 1):
            edge = self._edges.get(frame)
            sample = edge.at(stamp_ns) if edge else None
            path.append((frame, sample))
            if sample is None:
                return path
            frame = sample.parent
        loop = " -> ".join(name for name, _ in path[-4:])
        raise TransformError(
            "cycle",
            f"the frames {loop} -> ... are each other's parents; two publishers disagree: look at "
            "the parents with `ros2 run tf2_tools view_frames`",
        )

    def _latest_common_ns(self, target: str, source: str) -> int | None:
        """The newest stamp that every moving frame between two frames has; None = all static."""
        paths = self._path(target, None), self._path(source, None)
        common = _common_ancestor(*paths)
        newest = [
            sample.stamp_ns
            for path in paths
            for name, sample in _up_to(path, common)
            if sample is not None and not self._edges[name].is_static
        ]
        return min(newest, default=None)

    def _require_known(self, *names: str) -> None:
        known = self.frames
        for name in names:
            if name not in known:
                raise TransformError(
                    "no_transform",
                    f"frame '{name}' is not known; known frames: {_listed(known, name)}; "
                    "start its publisher or correct the frame name",
                )

    def _no_path(
        self, target_top: str, source_top: str, target: str, source: str, stamp_ns: int | None
    ) -> TransformError:
        """Why two frames do not meet, by the frames at which their paths end."""
        for top in (source_top, target_top):
            edge = self._edges.get(top)
            if edge is not None and stamp_ns is not None:
                return TransformError(
                    "extrapolation",
                    f"no '{target}' from '{source}' at {stamp_ns / 1e9:.3f} s: '{top}' in "
                    f"'{edge.samples[-1].parent}' is known from "
                    f"{edge.samples[0].stamp_ns / 1e9:.3f} to "
                    f"{edge.samples[-1].stamp_ns / 1e9:.3f} s; wait longer for transforms, or "
                    "compare the clocks of the cloud's and the transform's publishers",
                )
        return TransformError(
            "disconnected",
            f"'{target}' and '{source}' are in different trees ('{target_top}' and "
            f"'{source_top}' have no parent); publish the transform between these trees",
        )


def _listed(known: Sequence[str], wanted: str) -> str:
    """The most similar names first, at most ten; a humanoid has a hundred frames."""
    alike = difflib.get_close_matches(wanted, known, n=3)
    names = [*alike, *(name for name in known if name not in alike)]
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more if names else "none"


def _stamp_of(sample: _Sample) -> int:
    return sample.stamp_ns


def _checked(
    parent: str,
    child: str,
    stamp_ns: int,
    translation: Sequence[float],
    rotation: Sequence[float],
) -> _Sample:
    """A sample with a unit quaternion, or a `TransformError`."""
    where = f"transform of '{child}' in '{parent}'"
    if not parent or not child:
        raise TransformError("bad_transform", f"{where}: empty frame name; name both frames")
    if parent == child:
        raise TransformError("bad_transform", f"{where}: a frame cannot be its own parent")
    px, py, pz = (float(part) for part in translation)
    x, y, z, w = (float(part) for part in rotation)
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if not math.isfinite(px + py + pz + length) or length < 1e-9:
        raise TransformError(
            "bad_transform",
            f"{where}: translation ({px:g}, {py:g}, {pz:g}), rotation ({x:g}, {y:g}, {z:g}, "
            f"{w:g}); expected finite numbers and a unit quaternion; correct its publisher",
        )
    unit = (x / length, y / length, z / length, w / length)
    return _Sample(int(stamp_ns), parent, (px, py, pz), unit)


def _between(before: _Sample, after: _Sample, stamp_ns: int) -> _Sample:
    """Linear in the translation, spherical in the rotation, the short way round."""
    if before.parent != after.parent:
        return before
    share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    (ax, ay, az), (bx, by, bz) = before.translation, after.translation
    moved = (ax + share * (bx - ax), ay + share * (by - ay), az + share * (bz - az))
    turned = slerp(before.rotation, after.rotation, share)
    return _Sample(stamp_ns, before.parent, moved, turned)


def _common_ancestor(
    first: list[tuple[str, _Sample | None]], second: list[tuple[str, _Sample | None]]
) -> str | None:
    names = {name for name, _ in second}
    return next((name for name, _ in first if name in names), None)


def _up_to(
    path: list[tuple[str, _Sample | None]], ancestor: str | None
) -> Iterator[tuple[str, _Sample | None]]:
    """The steps of a path below an ancestor."""
    for name, sample in path:
        if name == ancestor:
            return
        yield name, sample


def _product(path: list[tuple[str, _Sample | None]], ancestor: str) -> Matrix:
    """`ancestor_from_frame` for the frame at which the path starts."""
    ancestor_from_frame = np.eye(4)
    for _, sample in _up_to(path, ancestor):
        assert sample is not None  # only the last step of a path has no place
        ancestor_from_frame = matrix_of(sample.translation, sample.rotation) @ ancestor_from_frame
    return ancestor_from_frame
