"""Frames of a recording with ids and tracks, as the node gives them."""

from __future__ import annotations

from collections.abc import Sequence

from sr3d_ros.bag.run import DetectionRecord, FrameRecord, detection_records, frame_record
from sr3d_ros.errors import TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tf.source import TransformSource
from sr3d_ros.tracking.identities import Identities


class TrackRecords:
    """Writes the frames of one recording down, in their order, with the node's defaults.

    Beside what `frame_record` gives, each detection has an `id` ("" = not confirmed yet), and
    `tracks` has the `frame` that stands still, the `objects` with their ids, upright in it, and
    `trouble`: why there are none, where that frame is not known. Raises `TrackingError`.
    """

    def __init__(self, transforms: TransformSource) -> None:
        self._identities = Identities(transforms)
        self._identities.apply(Parameters.from_values({"tracking.enabled": True}))

    def __call__(self, result: FrameResult, classes: Sequence[str]) -> FrameRecord:
        """One frame as plain JSON values."""
        record = frame_record(result, classes)
        ids: Sequence[str] = [""] * len(result.detections)
        frame, objects, trouble = "", list[DetectionRecord](), ""
        try:
            tracked = self._identities.of(result, classes)
        except TransformError as error:
            tracked, trouble = None, str(error)
        if tracked is not None:
            ids, frame = tracked.ids, tracked.place.static_frame
            objects = detection_records(tracked.tracks.boxes, classes)
            objects = _named(objects, tracked.tracks.ids)
        tracks = {"frame": frame, "objects": objects, "trouble": trouble}
        return {**record, "detections": _named(record["detections"], ids), "tracks": tracks}


def _named(records: list[DetectionRecord], ids: Sequence[str]) -> list[DetectionRecord]:
    return [{"id": name, **record} for record, name in zip(records, ids, strict=True)]
