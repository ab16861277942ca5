"""A window of Open3D with a scene: the cloud and its boxes, to be turned with the mouse.

Boxes have one color per class (`colors`); a line points from the centre along the heading.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Sequence
from typing import Any

from sr3d_core.colors import class_color
from sr3d_core.open3d_bridge import Open3DError, boxes_to_open3d, cloud_to_open3d, load_open3d
from sr3d_core.structures import Boxes3D, Detections, PointCloud

_FRONT = (-0.4, -0.8, 0.5)  # from where the scene is first seen: from -y and above
_BACKGROUND = (0.1, 0.1, 0.12)
_POINT_SIZE = 2.0
_NO_WINDOW = (
    "Open3D cannot open a window, expected a display with OpenGL 3; draw a picture instead: "
    "sr3d detect FILE --picture OUT.png"
)


def show(cloud: PointCloud, found: Detections, classes: Sequence[str], title: str) -> None:
    """Open a window and return when it is closed; raises Open3DError where there can be none."""
    o3d = load_open3d()
    if not _is_display_there():
        raise Open3DError(_NO_WINDOW)
    window = o3d.visualization.Visualizer()
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        is_open = window.create_window(window_name=title, width=1280, height=800)
    if not is_open:
        raise Open3DError(_NO_WINDOW)
    for geometry in geometries(cloud, found, classes):
        window.add_geometry(geometry)
    options, camera = window.get_render_option(), window.get_view_control()
    options.background_color, options.point_size = _BACKGROUND, _POINT_SIZE
    camera.set_front(_FRONT)
    camera.set_up((0.0, 0.0, 1.0))
    camera.set_zoom(0.6)
    window.run()
    window.destroy_window()


def geometries(cloud: PointCloud, found: Detections, classes: Sequence[str]) -> list[Any]:
    """What is shown: the cloud, then a box and its heading for each detection."""
    shown: list[Any] = [cloud_to_open3d(cloud)]
    labels = found.labels.tolist()
    for index, (label, box) in enumerate(zip(labels, boxes_to_open3d(found.boxes), strict=True)):
        box.color = class_color(classes[label])
        shown += [box, _heading(found.boxes[index : index + 1], box.color)]
    return shown


def _is_display_there() -> bool:
    """Whether a window can be seen: where not, Open3D draws out of sight and never returns."""
    if sys.platform != "linux" or "WAYLAND_DISPLAY" in os.environ:
        return True
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    return x11.XOpenDisplay(None) is not None


def _heading(box: Boxes3D, color: Sequence[float]) -> Any:
    """A line from the centre of the top face to the middle of its front edge."""
    o3d = load_open3d()
    x, y, z, dx, _, dz, yaw = box.array[0].tolist()
    top = z + dz / 2
    tip = (x + dx / 2 * math.cos(yaw), y + dx / 2 * math.sin(yaw), top)
    line = o3d.geometry.LineSet(
        o3d.utility.Vector3dVector([(x, y, top), tip]), o3d.utility.Vector2iVector([(0, 1)])
    )
    line.paint_uniform_color(color)
    return line
