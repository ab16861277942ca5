"""A cloud message without ROS."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch


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
