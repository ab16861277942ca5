"""Detections as a new recording: what the node would have published, beside the transforms.

An mcap with the definitions of its types, in the order of receipt, for rviz2 and Foxglove. Its
metadata are of version 8, which Humble and all after it read. Message times are those at which the
recording's clouds were received, so that both can be played together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sr3d_core.console import require_writable
from sr3d_core.whole_files import naming
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import Bag
from sr3d_ros.bag.scene_update import scene_update
from sr3d_ros.bag.transforms_along import TransformsAlong
from sr3d_ros.bag.written_types import blank, written_types
from sr3d_ros.messages.detections import detection_array, label_info
from sr3d_ros.messages.markers import marker_array
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.sensors.ros_names import full_name

if TYPE_CHECKING:
    from sr3d_ros.bag.run import BagRun

_VERSION: Literal[8] = 8
_TF, _TF_STATIC = "/tf", "/tf_static"
_TF_TYPE = "tf2_msgs/msg/TFMessage"
DETECTIONS, MARKERS, LABELS = "~/output/detections", "~/output/markers", "~/label_info"
"""Topics, as the node has them."""
SCENE = "~/output/scene"
"""Foxglove's, which the node does not have."""


class OutputBag:
    """A recording that is being written; get one with `writing_bag`."""

    def __init__(self, writer: Any, run: BagRun, source: Bag, node: str, with_scene: bool) -> None:
        self._writer, self._run, self._node = writer, run, node
        self._with_scene = with_scene
        self._connections: dict[str, Any] = {}
        self._transforms = TransformsAlong(source, run.tf_topics)
        start_ns = run.bag.start_ns
        threshold = run.parameters.score_threshold
        labels = label_info(run.classes, stamp_ns=start_ns, threshold=threshold, blank=blank)
        self._write(LABELS, "vision_msgs/msg/LabelInfo", labels, start_ns, is_latched=True)

    def add(self, result: FrameResult) -> None:
        """Write what the node publishes of a frame, behind the transforms received before."""
        time_ns = self._run.transforms.moment_ns or result.stamp_ns
        self._write_transforms(time_ns)
        about: dict[str, Any] = {
            "stamp_ns": result.stamp_ns,
            "frame_id": result.frame_id,
            "output_from_gravity": result.output_from_gravity,
            "classes": self._run.classes,
        }
        found = result.detections
        as_id = self._run.parameters.class_id_as
        array = detection_array(found, **about, class_id_as=as_id, blank=blank)
        self._write(DETECTIONS, "vision_msgs/msg/Detection3DArray", array, time_ns)
        markers = marker_array(found, **about, blank=blank)
        self._write(MARKERS, "visualization_msgs/msg/MarkerArray", markers, time_ns)
        if self._with_scene:
            scene = scene_update(found, **about)
            self._write(SCENE, "foxglove_msgs/msg/SceneUpdate", scene, time_ns)

    def end(self) -> None:
        """Write the transforms that come after the last frame."""
        self._write_transforms(None)

    def _write_transforms(self, until_ns: int | None) -> None:
        """Those that were received until then; None: all."""
        for is_static, time_ns, message in self._transforms.until(until_ns):
            name = _TF_STATIC if is_static else _TF
            self._write(name, _TF_TYPE, message, time_ns, is_latched=is_static)

    def _write(
        self, topic: str, kind: str, message: Any, time_ns: int, is_latched: bool = False
    ) -> None:
        store = written_types()
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                full_name(topic, self._node),
                kind,
                typestore=store,
                offered_qos_profiles=[_qos(is_latched)],
            )
        data = store.serialize_cdr(message, kind)
        self._writer.write(self._connections[topic], int(time_ns), data)


def require_new(path: Path) -> None:
    """Raise `ReplayError` where something is there already, OSError where nothing can be."""
    if path.exists():
        raise ReplayError(f"{path}: is there already, expected a new folder; choose another name")
    require_writable(path)


@contextmanager
def writing_bag(path: Path, run: BagRun, node: str, with_scene: bool) -> Iterator[OutputBag]:
    """A new recording within, which an error ends, too; raises as `require_new`."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    require_new(path)
    # Opened once more: what reads it for the replay stands at another place.
    with (
        naming(path),
        Bag(run.bag.path) as source,
        _kept(Writer(path, version=_VERSION, storage_plugin=StoragePlugin.MCAP)) as writer,
    ):
        output = OutputBag(writer, run, source, node, with_scene)
        yield output
        output.end()


@contextmanager
def _kept(writer: Any) -> Iterator[Any]:
    """An open writer, which is closed also where an error or Ctrl-C ends the work.

    Used as a context of its own it would give up all that it has not written yet.
    """
    writer.open()
    try:
        yield writer
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            writer.close()
        raise
    try:
        writer.close()
    except BaseException:
        with suppress(Exception):
            writer.abort()
        raise


def _qos(is_latched: bool) -> Any:
    """As the node offers it: reliable, and where it is latched for late subscribers too."""
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    kept = QosDurability.TRANSIENT_LOCAL if is_latched else QosDurability.VOLATILE
    none = QosTime(0, 0)
    return Qos(
        QosHistory.KEEP_LAST,
        100 if is_latched else 10,
        QosReliability.RELIABLE,
        kept,
        none,
        none,
        QosLiveliness.AUTOMATIC,
        none,
        False,
    )
