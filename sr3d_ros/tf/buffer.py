"""The own transform source: a buffer that is filled from TFMessage-like objects.

It answers as tf2's BufferCore does, which was compared (see test_buffer.py): linear and spherical
interpolation between neighbouring stamps, no extrapolation, stamp 0 = the latest time that all
edges of the path share, a parent that changes is the parent of its time. It needs no ROS.
Matrices are float64, named `target_from_source`.
Leading slashes of ROS 1 frame ids are dropped everywhere.
"""

from __future__ import annotations

import bisect
import difflib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.headers import frame_name, stamp_to_ns
from sr3d_ros.tf.parents import ParentWatch
from sr3d_ros.tf.rigid import Matrix, Quaternion, Vector, matrix_of, rigid_inverse, slerp

_FOREVER_NS = 1 << 63


@dataclass(frozen=True, slots=True)
class Sample:
    """Where a child frame is in its parent at one time."""

    stamp_ns: int
    parent: str
    translation: Vector
    rotation: Quaternion


@dataclass(slots=True)
class Edge:
    """What is known of one child frame: one static sample, or moving ones sorted by stamp.

    A moving one without samples was cleared.
    """

    is_static: bool
    samples: list[Sample] = field(default_factory=list)

    @property
    def latest(self) -> Sample | None:
        """The newest sample."""
        return self.samples[-1] if self.samples else None

    def at(self, stamp_ns: int) -> Sample | None:
        """The sample at a stamp, interpolated; 0 = latest; None back = outside the history."""
        samples = self.samples
        if not samples or self.is_static or stamp_ns in (0, samples[-1].stamp_ns):
            return self.latest
        if stamp_ns == samples[0].stamp_ns:
            return samples[0]
        index = bisect.bisect_right(samples, stamp_ns, key=_stamp_of)
        if index in (0, len(samples)):
            return None
        before, after = samples[index - 1 : index + 1]
        if before.stamp_ns == stamp_ns or before.parent != after.parent:
            return before
        return _between(before, after, stamp_ns)

    def insert(self, sample: Sample, history_ns: int) -> None:
        """Keep a sample of a moving frame, unless it is older than the history or known already.

        Of several with one stamp the last one counts, as in tf2.
        """
        samples = self.samples
        if samples and sample.stamp_ns < samples[-1].stamp_ns - history_ns:
            return
        end = bisect.bisect_right(samples, sample.stamp_ns, key=_stamp_of)
        start = bisect.bisect_left(samples, sample.stamp_ns, hi=end, key=_stamp_of)
        if sample in samples[start:end]:
            return
        samples.insert(end, sample)
        oldest_ns = samples[-1].stamp_ns - history_ns
        if samples[0].stamp_ns < oldest_ns:
            del samples[: bisect.bisect_left(samples, oldest_ns, key=_stamp_of)]


Step = tuple[str, Sample | None]
"""A frame and its place in its parent; None: it has no parent, or none at that time."""


class TransformBuffer:
    """The last seconds of all frames; safe to fill and to ask from different threads.

    `history_s` is how long moving frames are kept (`math.inf`: for ever). What comes with an older
    stamp is ignored, as in tf2: who sees that time was set back must `clear`.
    """

    def __init__(self, history_s: float = 10.0) -> None:
        self._history_ns = int(history_s * 1e9) if math.isfinite(history_s) else _FOREVER_NS
        self._edges: dict[str, Edge] = {}
        self._known: set[str] = set()
        self._parents = ParentWatch()
        self._lock = threading.RLock()

    @property
    def frames(self) -> tuple[str, ...]:
        """All frames that were ever named, sorted."""
        with self._lock:
            return tuple(sorted(self._known))

    def clear(self) -> None:
        """Forget where moving frames were; static ones stay, and so do the names of all."""
        with self._lock:
            for child, edge in list(self._edges.items()):
                if not edge.is_static:
                    self._start(child, Edge(is_static=False))

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

        A static frame is where it was said to be last. Raises `TransformError`.
        """
        child = frame_name(child)
        sample = _checked(frame_name(parent), child, stamp_ns, translation, rotation)
        with self._lock:
            self._known |= {child, sample.parent}
            self._parents.add(sample.parent, child, sample.stamp_ns, static)
            edge = self._edges.get(child)
            if static:
                self._start(child, Edge(is_static=True, samples=[sample]))
            elif edge is None or edge.is_static:
                self._start(child, Edge(is_static=False, samples=[sample]))
            else:
                self._go_on(child, edge, sample)

    def _go_on(self, child: str, edge: Edge, sample: Sample) -> None:
        """One more place of a moving frame."""
        edge.insert(sample, self._history_ns)

    def _start(self, child: str, edge: Edge) -> None:
        """What is known of a frame from now on."""
        self._edges[child] = edge

    def _edge(self, child: str) -> Edge | None:
        """What is known of a frame where it is looked up."""
        return self._edges.get(child)

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
            at_ns = stamp_ns or self._latest_common_ns(target, source)
            to_source, to_target = self._paths(target, source, lambda edge: edge.at(at_ns))
            if to_source[-1][0] != to_target[-1][0]:
                raise self._no_path(target, source, (to_source, to_target), at_ns)
        return rigid_inverse(_product(to_target)) @ _product(to_source)

    def _paths(
        self, target: str, source: str, place: Callable[[Edge], Sample | None]
    ) -> tuple[list[Step], list[Step]]:
        """The ways up from source and target; both end at the first frame they share, if any."""
        from_source = self._path(source, place, {target})
        from_target = self._path(target, place, {name for name, _ in from_source})
        shared = from_target[-1][0]
        names = [name for name, _ in from_source]
        if shared in names:
            from_source = from_source[: names.index(shared) + 1]
        return from_source, from_target

    def _path(
        self, frame: str, place: Callable[[Edge], Sample | None], goals: set[str]
    ) -> list[Step]:
        """Frames from `frame` upwards, each with its place in its parent.

        Ends at a goal, at a root, or at a frame whose place is not known (None).
        """
        path: list[Step] = []
        visited: set[str] = set()
        while frame not in goals and frame not in visited:
            visited.add(frame)
            edge = self._edge(frame)
            sample = place(edge) if edge else None
            path.append((frame, sample))
            if sample is None:
                return path
            frame = sample.parent
        if frame in goals:
            return [*path, (frame, None)]
        loop = " -> ".join([*(name for name, _ in path[-4:]), frame])
        raise TransformError(
            "cycle",
            f"the frames {loop} -> ... are each other's parents; two publishers disagree: look at "
            "the parents with `ros2 run tf2_tools view_frames`",
        )

    def _latest_common_ns(self, target: str, source: str) -> int:
        """The newest stamp that every moving frame between two frames has; 0 = all are static.

        A stamp of 0 is no time: such a frame counts as one that is known at all times, as in tf2.
        """
        paths = self._paths(target, source, lambda edge: edge.latest)
        if paths[0][-1][0] != paths[1][-1][0]:
            raise self._no_path(target, source, paths, 0)
        newest = [
            sample.stamp_ns
            for path in paths
            for name, sample in _steps(path)
            if sample.stamp_ns and not _known(self._edge(name)).is_static
        ]
        return min(newest, default=0)

    def _require_known(self, *names: str) -> None:
        for name in names:
            if name not in self._known:
                raise TransformError(
                    "no_transform",
                    f"frame '{name}' is not known; known frames: {_listed(self.frames, name)}; "
                    "start its publisher or correct the frame name",
                )

    def _no_path(
        self, target: str, source: str, paths: tuple[list[Step], list[Step]], stamp_ns: int
    ) -> TransformError:
        """Why two frames do not meet, by the frames at which their ways up end."""
        source_top, target_top = (path[-1][0] for path in paths)
        if disagreement := self._parents.disagreement(target, source):
            return TransformError("two_parents", f"no '{target}' from '{source}': {disagreement}")
        for top in (source_top, target_top) if stamp_ns else ():
            edge = self._edge(top)
            if edge is not None:
                return TransformError(
                    "extrapolation",
                    f"no '{target}' from '{source}' at {stamp_ns / 1e9:.3f} s: "
                    f"{_span(top, edge)}; wait longer for transforms, or compare the clocks of "
                    "the cloud's and the transform's publishers",
                )
        return TransformError(
            "disconnected",
            f"'{target}' and '{source}' are in different trees ('{target_top}' and "
            f"'{source_top}' have no parent); publish the transform between these trees",
        )


def _span(child: str, edge: Edge) -> str:
    """What is known of a moving frame."""
    if not edge.samples:
        return f"nothing is known of '{child}' since time was set back"
    first, last = edge.samples[0], edge.samples[-1]
    return (
        f"'{child}' in '{last.parent}' is known from {first.stamp_ns / 1e9:.3f} to "
        f"{last.stamp_ns / 1e9:.3f} s"
    )


def _listed(known: Sequence[str], wanted: str) -> str:
    """The most similar names first, at most ten; a humanoid has a hundred frames."""
    alike = difflib.get_close_matches(wanted, known, n=3)
    names = [*alike, *(name for name in known if name not in alike)]
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more if names else "none"


def _stamp_of(sample: Sample) -> int:
    return sample.stamp_ns


def _checked(
    parent: str,
    child: str,
    stamp_ns: int,
    translation: Sequence[float],
    rotation: Sequence[float],
) -> Sample:
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
    return Sample(int(stamp_ns), parent, (px, py, pz), unit)


def _between(before: Sample, after: Sample, stamp_ns: int) -> Sample:
    """Linear in the translation, spherical in the rotation, the short way round."""
    share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    (ax, ay, az), (bx, by, bz) = before.translation, after.translation
    moved = (ax + share * (bx - ax), ay + share * (by - ay), az + share * (bz - az))
    turned = slerp(before.rotation, after.rotation, share)
    return Sample(stamp_ns, before.parent, moved, turned)


def _known(edge: Edge | None) -> Edge:
    """The edge of a frame that a path goes through."""
    assert edge is not None
    return edge


def _steps(path: list[Step]) -> Iterator[tuple[str, Sample]]:
    """The steps of a path that ends where it should: all but the last have a place."""
    for name, sample in path[:-1]:
        assert sample is not None
        yield name, sample


def _product(path: list[Step]) -> Matrix:
    """`top_from_frame` for the first and the last frame of a path."""
    top_from_frame = np.eye(4)
    for _, sample in _steps(path):
        top_from_frame = matrix_of(sample.translation, sample.rotation) @ top_from_frame
    return top_from_frame
