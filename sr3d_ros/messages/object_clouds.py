"""The points of each detection: as a cropped cloud, or as indices into the input cloud.

Both are a PointCloud2, which needs no message of our own and shows in rviz. Each point carries
`detection`, its place in the Detection3DArray of the same stamp; points come detection by
detection, and one that lies in two boxes comes twice. A point belongs to a box when it lies in it,
faces included, so a box that stands on the floor holds some floor.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from sr3d_core.geometry.boxes import bounds, points_in_boxes
from sr3d_core.geometry.origin import MAX_DISTANCE_M
from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.messages.parts import fill_header, published_order
from sr3d_ros.sensors.pointcloud2 import all_coordinates
from sr3d_ros.tf.rigid import Matrix

_XYZ = ("x", "y", "z")


def object_cloud(
    detections: Detections,
    cloud: PointCloud,
    *,
    stamp_ns: int,
    frame_id: str,
    output_from_gravity: Matrix,
) -> PointCloud2:
    """The points of all detections in the output frame: x, y, z, rgb (if known), detection.

    Coordinates are FLOAT32, as rviz shows them; FLOAT64 where that would lose millimetres.
    `cloud` is what was detected in, in the frame of the boxes.
    """
    point, place = members(detections, cloud.xyz)
    rgb = cloud.features[point].cpu().numpy()
    has_color = bool(np.isfinite(rgb).any())
    xyz = cloud.xyz[point].cpu().double().numpy()
    placed = xyz @ output_from_gravity[:3, :3].T + output_from_gravity[:3, 3]
    is_far = bool(np.any(np.abs(placed) > MAX_DISTANCE_M))
    kind = ("<f8", PointField.FLOAT64) if is_far else ("<f4", PointField.FLOAT32)
    columns = [(name, *kind) for name in _XYZ]
    columns += [("rgb", "<u4", PointField.FLOAT32)] * has_color + [
        ("detection", "<u4", PointField.UINT32)
    ]
    rows = np.zeros(len(point), [(name, kind) for name, kind, _ in columns])
    for axis, name in enumerate(_XYZ):
        rows[name] = placed[:, axis]
    if has_color:
        rows["rgb"] = _packed(rgb)
    rows["detection"] = place
    message = _message(rows, [kind for *_, kind in columns])
    fill_header(message.header, stamp_ns, frame_id)
    return message


def object_indices(
    detections: Detections,
    message: Any,
    *,
    gravity_from_cloud: Matrix,
) -> PointCloud2:
    """Which points of a PointCloud2 belong to which detection: fields `index` and `detection`.

    `index` counts the points of `message` row by row, those without a return included; its
    header is repeated. Every point is looked at, also those the detector did not get to see.
    Raises `MessageError` where the message cannot be read.
    """
    xyz = torch.from_numpy(all_coordinates(message)).double()
    matrix = torch.from_numpy(gravity_from_cloud)
    index, place = members(detections, xyz @ matrix[:3, :3].T + matrix[:3, 3])
    rows = np.zeros(len(index), [("index", "<u4"), ("detection", "<u4")])
    rows["index"], rows["detection"] = index.numpy(), place
    result = _message(rows, [PointField.UINT32, PointField.UINT32])
    stamp = message.header.stamp
    stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    fill_header(result.header, stamp_ns, message.header.frame_id)
    return result


def members(detections: Detections, xyz: torch.Tensor) -> tuple[torch.Tensor, NDArray[np.uint32]]:
    """Pairs of a point and the published place of a detection that holds it, by place."""
    xyz = xyz.cpu()
    columns = np.ascontiguousarray(xyz.numpy().T)
    boxes = detections.boxes.to("cpu")[torch.from_numpy(published_order(detections))]
    points, places = [torch.zeros(0, dtype=torch.int64)], [np.zeros(0, np.uint32)]
    low, high = bounds(boxes)
    for place, (first, last) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        # The bounds reject nearly all points, axis by axis; the rest get the exact test.
        near = np.flatnonzero((columns[0] >= first[0]) & (columns[0] <= last[0]))
        for axis in (1, 2):
            values = columns[axis][near]
            near = near[(values >= first[axis]) & (values <= last[axis])]
        candidates = torch.from_numpy(near)
        inside = points_in_boxes(xyz[candidates], boxes[place : place + 1])[:, 0]
        points.append(candidates[inside])
        places.append(np.full(len(points[-1]), place, np.uint32))
    return torch.cat(points), np.concatenate(places)


def _packed(rgb: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Colors 0..1 as 0x00RRGGBB; unknown is black."""
    red, green, blue = np.rint(np.nan_to_num(rgb.T.clip(0, 1)) * 255).astype(np.uint32)
    return np.asarray(red << 16 | green << 8 | blue)


def _message(rows: NDArray[Any], datatypes: Sequence[int]) -> PointCloud2:
    """A PointCloud2 of one row of points, without header."""
    message = PointCloud2()
    fields, layout = [], (rows.dtype.fields or {}).items()
    for (name, (_, offset, *_)), datatype in zip(layout, datatypes, strict=True):
        field = PointField()
        field.name, field.offset = str(name), int(offset)
        field.datatype, field.count = datatype, 1
        fields.append(field)
    message.fields = fields
    message.height, message.width = 1, len(rows)
    message.point_step = rows.dtype.itemsize
    message.row_step = rows.dtype.itemsize * len(rows)
    message.is_bigendian, message.is_dense = False, True
    data = array("B")  # the only type that every rclpy takes without looking at each byte
    data.frombytes(rows.tobytes())
    message.data = data
    return message
