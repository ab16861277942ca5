"""Small recordings of one object, and a detector that finds it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sr3d_core.detector import Postprocess
from sr3d_core.structures import Boxes3D, Detections, PointCloud

S = 1_000_000_000
STORE = get_typestore(Stores.ROS2_HUMBLE)
T = STORE.types
CAMERA_TURN = (0.5, -0.5, 0.5, -0.5)  # link from optical frame
STILL = (0.0, 0.0, 0.0, 1.0)
SIZE = (0.6, 0.4, 0.8)
CENTER = (3.0, 1.0, 0.4)  # of the one object, in the map


class BoundingBox:
    """Finds one box round all points, in a frame that is z up."""

    takes_images = False
    classes = ("chair", "sofa")
    front_classes = ()
    postprocess = Postprocess()

    def __init__(self) -> None:
        self.clouds: list[PointCloud] = []

    def detect(self, cloud: PointCloud) -> Detections:
        self.clouds.append(cloud)
        low, high = cloud.xyz.amin(dim=0), cloud.xyz.amax(dim=0)
        row = torch.cat([(low + high) / 2, high - low])[None]
        return Detections(
            Boxes3D.from_array(row), torch.tensor([0.9]), torch.zeros(1, dtype=torch.int64)
        )


def interrupt_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come while the detector looks at the cloud of this number, counted from 1."""
    detect, numbers = BoundingBox.detect, itertools.count(1)

    def interrupted(self: BoundingBox, cloud: PointCloud) -> Detections:
        if next(numbers) == number:
            raise KeyboardInterrupt
        return detect(self, cloud)

    monkeypatch.setattr(BoundingBox, "detect", interrupted)


def without_times(path: Path) -> Any:
    """A result of `sr3d bag detect` as it is, but for what a clock says."""
    content = json.loads(path.read_text())
    content.pop("latency_ms")
    for frame in content["frames"]:
        frame.pop("time_ms")
    return content


def header(stamp_ns: int, frame: str) -> Any:
    stamp = T["builtin_interfaces/msg/Time"](stamp_ns // S, stamp_ns % S)
    return T["std_msgs/msg/Header"](stamp, frame)


def tf(parent: str, child: str, stamp_ns: int, moved: Any, turned: Any = STILL) -> Any:
    transform = T["geometry_msgs/msg/Transform"](
        T["geometry_msgs/msg/Vector3"](*moved), T["geometry_msgs/msg/Quaternion"](*turned)
    )
    stamped = T["geometry_msgs/msg/TransformStamped"](header(stamp_ns, parent), child, transform)
    return T["tf2_msgs/msg/TFMessage"]([stamped])


def cloud(stamp_ns: int, frame: str, points: np.ndarray, names: str = "xyz") -> Any:
    make = T["sensor_msgs/msg/PointField"]
    fields = [make(name, 4 * index, 7, 1) for index, name in enumerate(names)]
    data = np.frombuffer(points.astype("<f4").tobytes(), np.uint8)
    size = len(points)
    return T["sensor_msgs/msg/PointCloud2"](
        header(stamp_ns, frame), 1, size, fields, False, 12, 12 * size, data, True
    )


def optical_points(robot_x: float) -> np.ndarray:
    """The corners and faces of the object, in the optical frame of a camera at (robot_x, 0, 1)."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 4)] * 3), axis=-1).reshape(-1, 3)
    x, y, z = (grid * SIZE + CENTER - (robot_x, 0.0, 1.0)).T
    return np.stack([-y, -z, x], axis=1)


Write = Callable[[str, Any, int], None]


def drive(write: Write) -> None:
    """A robot that drives from x = 0 to 0.4 m while its camera looks at one object."""
    write("/tf_static", tf("base_link", "camera", 0, (0, 0, 1), CAMERA_TURN), S)
    for tick in range(5):
        stamp_ns = S + tick * S // 10
        # Recorded after the cloud that needs it, as on a real robot.
        points = optical_points(tick / 10)
        write("/points", cloud(stamp_ns, "camera", points), stamp_ns + 1000)
        write("/tf", tf("map", "base_link", stamp_ns, (tick / 10, 0, 0)), stamp_ns + 2000)


def write_bag(path: Path, storage: str, fill: Callable[[Write], None] = drive) -> Path:
    """A ROS 2 bag of what `fill` writes."""
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections: dict[str, Any] = {}

        def write(topic: str, message: Any, time_ns: int) -> None:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], time_ns, STORE.serialize_cdr(message, kind))

        fill(write)
    return path


def dying_depth() -> list[tuple[int, str]]:
    """When what comes, in nanoseconds: "cloud", "holes" (a cloud without a point) or "image".

    Ten images in a second throughout. Five clouds in a second until 3 s, holes after 4 s, clouds
    again from 6 s on, with one more hole at 6.4 s.
    """
    images = [(S + (2 * tick + 1) * S // 20, "image") for tick in range(85)]
    clouds = [S + tick * S // 5 for tick in range(45)]
    seen = [(at, "cloud") for at in clouds if at <= 3 * S or at >= 6 * S]
    holes = [(at, "holes") for at in clouds if 4 * S < at < 5 * S]
    hole_ns = 6 * S + 2 * S // 5
    seen = [(at, "holes" if at == hole_ns else kind) for at, kind in seen]
    return sorted([*images, *seen, *holes])
