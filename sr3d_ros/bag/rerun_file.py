"""Detections as a file for the rerun viewer: clouds, boxes and transforms, by their stamps.

`/cloud` and `/boxes` are in the frame that was detected in, which `/tf/...` places among the
recording's transforms. The file is written by rerun's library; no viewer and no server is started.
A transform holds until the next one of its frame: rerun does not interpolate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sr3d_core.colors import class_color
from sr3d_core.console import require_writable
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import Bag
from sr3d_ros.bag.transforms_along import TransformsAlong
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.headers import frame_name, stamp_to_ns
from sr3d_ros.tf.rigid import quaternion_of

if TYPE_CHECKING:
    from sr3d_ros.bag.run import BagRun

TIMELINE = "stamp"
"""The time line: stamps of clouds and transforms."""
CLOUD, BOXES, TRANSFORMS = "cloud", "boxes", "tf"
"""Entities."""
_PATIENCE_S = 15.0


def require_rrd(path: Path) -> None:
    """Raise ValueError or OSError for a file that cannot be written, before the work starts."""
    import rerun  # noqa: F401  says now that it is missing

    if path.suffix.lower() != ".rrd":
        raise ReplayError(f"--rrd {path}: ending {path.suffix!r}, expected .rrd")
    require_writable(path)


@contextmanager
def writing_rrd(path: Path, run: BagRun) -> Iterator[Callable[[FrameResult], None]]:
    """What takes the frames of a file, which is whole at the end of the context."""
    import rerun

    stream = rerun.RecordingStream("sr3d", recording_id=path.stem)
    stream.save(path)
    with Bag(run.bag.path) as source:
        file = _RerunFile(rerun, stream, run, TransformsAlong(source, run.tf_topics))
        try:
            yield file.add
        finally:
            file.end()
            _close(stream, path)


def _close(stream: Any, path: Path) -> None:
    """Write what is left; raises `ReplayError` where that cannot be, as on a full disk.

    rerun does not say what the system said, and may wait for ever for a writer that has ended:
    it is waited for as long as the file grows.
    """
    size = -1
    while True:
        try:
            stream.flush(timeout_sec=_PATIENCE_S)
            break
        except RuntimeError as error:
            size, before = path.stat().st_size, size
            if size == before:
                raise ReplayError(
                    f"{path}: cannot be written to its end ({error}); is the disk full?"
                ) from error
    stream.disconnect()


class _RerunFile:
    def __init__(self, rerun: Any, stream: Any, run: BagRun, transforms: TransformsAlong) -> None:
        self._rerun, self._stream, self._run = rerun, stream, run
        self._transforms = transforms
        self._parents: dict[str, str] = {}
        self._frame, self._stamp_ns = "", 0  # that was detected in last
        colors = [_bytes_of(class_color(name)) for name in run.classes]
        about = [(i, name, colors[i]) for i, name in enumerate(run.classes)]
        stream.log(BOXES, rerun.AnnotationContext(about), static=True)
        self._colors = np.array(colors, np.uint8).reshape(-1, 3)

    def add(self, frame: FrameResult) -> None:
        """Write a frame, behind the transforms that were received before."""
        self._add_transforms(self._run.transforms.moment_ns, frame.stamp_ns)
        self._at(frame.stamp_ns)
        self._frame, self._stamp_ns = frame.gravity_frame, frame.stamp_ns
        if self._run.parameters.up in ("imu", "floor"):  # a frame that no transform knows
            place = frame.output_from_gravity
            self._parents[self._frame] = frame.frame_id
            self._log_place(frame.frame_id, self._frame, place[:3, 3], quaternion_of(place))
        self._add_cloud(frame)
        self._add_boxes(frame)

    def end(self) -> None:
        """Write late transforms, and in which frame all is looked at: the top one."""
        self._add_transforms(None, self._stamp_ns)
        root, seen = self._frame, set[str]()
        while root in self._parents and root not in seen:
            seen.add(root)
            root = self._parents[root]
        if root:
            self._stream.log("/", self._rerun.CoordinateFrame(root), static=True)

    def _add_cloud(self, frame: FrameResult) -> None:
        xyz = frame.cloud.xyz.cpu().numpy().astype(np.float32)
        rgb = frame.cloud.features.cpu().numpy()
        colors = np.round(255 * rgb).astype(np.uint8) if np.isfinite(rgb).all() else None
        cloud = self._rerun.Points3D(xyz, colors=colors)
        self._stream.log(CLOUD, cloud, self._rerun.CoordinateFrame(self._frame))

    def _add_boxes(self, frame: FrameResult) -> None:
        found = frame.detections
        boxes, labels = found.boxes.array.cpu().double().numpy(), found.labels.cpu().numpy()
        scores = found.scores.cpu().numpy().astype(np.float32)
        half_yaw = boxes[:, 6] / 2
        zero = np.zeros_like(half_yaw)
        names = [self._run.classes[label] for label in labels]
        outlines = self._rerun.Boxes3D(
            centers=boxes[:, :3],
            half_sizes=boxes[:, 3:6] / 2,
            quaternions=np.stack([zero, zero, np.sin(half_yaw), np.cos(half_yaw)], axis=1),
            labels=[f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)],
            colors=self._colors[labels],
            class_ids=labels.astype(np.uint16),
        )
        values = self._rerun.AnyValues(score=scores)
        where = self._rerun.CoordinateFrame(self._frame)
        self._stream.log(BOXES, outlines, values, where)

    def _add_transforms(self, until_ns: int | None, holds_from_ns: int) -> None:
        """Those that were received until then; static ones, without a time, hold from a stamp."""
        for is_static, _, message in self._transforms.until(until_ns):
            for each in message.transforms:
                stamp_ns = 0 if is_static else stamp_to_ns(each.header.stamp)
                self._add_transform(each, stamp_ns if stamp_ns > 0 else holds_from_ns)

    def _add_transform(self, each: Any, stamp_ns: int) -> None:
        parent, child = frame_name(each.header.frame_id), frame_name(each.child_frame_id)
        moved, turned = each.transform.translation, each.transform.rotation
        self._parents[child] = parent
        self._at(stamp_ns)
        self._log_place(
            parent, child, (moved.x, moved.y, moved.z), (turned.x, turned.y, turned.z, turned.w)
        )

    def _log_place(self, parent: str, child: str, moved: Any, turned: Any) -> None:
        place = self._rerun.Transform3D(
            translation=np.asarray(moved),
            quaternion=self._rerun.Quaternion(xyzw=turned),
            parent_frame=parent,
            child_frame=child,
        )
        self._stream.log([TRANSFORMS, child], place)

    def _at(self, stamp_ns: int) -> None:
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))


def _bytes_of(color: tuple[float, float, float]) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in color)
