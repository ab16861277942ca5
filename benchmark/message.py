"""Messages without ROS: the cloud that comes in, the classes that go out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from sr3d_ros.messages.parts import MessageTypes


def cloud_message(xyz: torch.Tensor, rgb: torch.Tensor) -> Any:
    """A PointCloud2-like message as RGB-D drivers fill it: x y z rgb, 16 bytes a point."""
    data = np.zeros(len(xyz), dtype=[("xyz", "<f4", 3), ("bgra", "u1", 4)])
    data["xyz"] = xyz.numpy()
    data["bgra"][:, :3] = (rgb.numpy()[:, ::-1] * 255).astype(np.uint8)
    names = ("x", "y", "z", "rgb")
    fields = [
        SimpleNamespace(name=name, offset=4 * place, datatype=7, count=1)
        for place, name in enumerate(names)
    ]
    return SimpleNamespace(
        header=SimpleNamespace(frame_id="map", stamp=SimpleNamespace(sec=0, nanosec=0)),
        height=1,
        width=len(xyz),
        fields=fields,
        is_bigendian=False,
        point_step=16,
        row_step=16 * len(xyz),
        data=data.view(np.uint8).reshape(-1),
        is_dense=True,
    )


def _plain(**fields: Any) -> Any:
    """A factory of objects with these attributes, as a message class without ROS."""
    return lambda: SimpleNamespace(**{name: make() for name, make in fields.items()})


_stamp = _plain(sec=int, nanosec=int)
_header = _plain(stamp=_stamp, frame_id=str)
_vector = _plain(x=float, y=float, z=float)
_pose = _plain(position=_vector, orientation=_plain(x=float, y=float, z=float, w=float))
PLAIN_TYPES = MessageTypes(
    detection_array=_plain(header=_header, detections=list),
    detection=_plain(
        header=_header, results=list, bbox=_plain(center=_pose, size=_vector), id=str
    ),
    hypothesis=_plain(
        hypothesis=_plain(class_id=str, score=float),
        pose=_plain(pose=_pose, covariance=list),
    ),
    marker_array=_plain(markers=list),
    marker=SimpleNamespace,
    point=_vector,
    label_info=SimpleNamespace,
    vision_info=SimpleNamespace,
    point_cloud=SimpleNamespace,
    point_field=SimpleNamespace,
    vision_class=SimpleNamespace,
)
