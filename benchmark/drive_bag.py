"""A generated drive as a recording with its ground truth, to try `sr3d bag` on.

    python benchmark/drive_bag.py drives/0 --room 0
    sr3d bag eval drives/0/bag --gt drives/0/truth.json --report report.html

    python benchmark/drive_bag.py drives/0 --room 0 --color
    sr3d distill --bag drives/0/bag --student camera --out runs/room

Writes into the folder: `bag` (mcap: /points in the camera's frame, /tf with the odometry and the
localisation, both with drift, /tf_static; with --color also /color/image_raw and
/color/camera_info of the same camera) and `truth.json`, the boxes that each cloud shows, in
the map, with ids that stay; those of which too little is seen to ask for them are `ignored`. Boxes
of classes that `--weights` do not know are left out. Rooms are
of the validation split. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from sr3d_core.checkpoint import read_manifest
from sr3d_core.data.rooms.dataset import seed_of
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings, room_sequence
from sr3d_core.structures import Targets

STORE = get_typestore(Stores.ROS2_HUMBLE)
T = STORE.types
S = 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--room", type=int, default=0)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rate", type=float, default=10.0, help="clouds a second")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--color", action="store_true", help="write color images, too")
    options = parser.parse_args()
    settings = SequenceSettings(num_frames=options.frames, rate_hz=options.rate)
    classes = read_manifest(options.weights).classes
    options.folder.mkdir(parents=True, exist_ok=True)
    truth: list[dict[str, Any]] = []
    with Writer(options.folder / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        write = _writing(writer)
        for number, frame in enumerate(room_sequence(seed_of("val", options.room), settings)):
            if number == 0:
                fixed = _tf("base_link", "camera", frame.stamp_ns, frame.base_from_optical)
                write("/tf_static", fixed, frame.stamp_ns)
            for parent, child, pose in (
                ("map", "odom", frame.map_from_odom),
                ("odom", "base_link", frame.odom_from_base),
            ):
                write("/tf", _tf(parent, child, frame.stamp_ns, pose), frame.stamp_ns)
            write("/points", _cloud(frame), frame.stamp_ns + 1000)
            if options.color:
                write("/color/camera_info", _camera_info(frame), frame.stamp_ns + 1000)
                write("/color/image_raw", _image(frame), frame.stamp_ns + 1000)
            truth.append({"stamp_ns": frame.stamp_ns, "boxes": _boxes(frame, classes)})
    path = options.folder / "truth.json"
    path.write_text(json.dumps({"frame": "map", "frames": truth}))
    objects = {box["id"] for frame in truth for box in frame["boxes"] if "ignored" not in box}
    print(json.dumps({"room": options.room, "clouds": len(truth), "objects": len(objects)}))


def _writing(writer: Writer) -> Any:
    connections: dict[str, Any] = {}

    def write(topic: str, message: Any, time_ns: int) -> None:
        kind = message.__msgtype__
        if topic not in connections:
            connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
        writer.write(connections[topic], time_ns, STORE.serialize_cdr(message, kind))

    return write


def _header(stamp_ns: int, frame: str) -> Any:
    stamp = T["builtin_interfaces/msg/Time"](stamp_ns // S, stamp_ns % S)
    return T["std_msgs/msg/Header"](stamp, frame)


def _tf(parent: str, child: str, stamp_ns: int, pose: np.ndarray) -> Any:
    transform = T["geometry_msgs/msg/Transform"](
        T["geometry_msgs/msg/Vector3"](*pose[:3, 3].tolist()),
        T["geometry_msgs/msg/Quaternion"](*Rotation.from_matrix(pose[:3, :3]).as_quat().tolist()),
    )
    stamped = T["geometry_msgs/msg/TransformStamped"](_header(stamp_ns, parent), child, transform)
    return T["tf2_msgs/msg/TFMessage"]([stamped])


def _cloud(frame: SequenceFrame) -> Any:
    """Points with their color, packed as PCL does it."""
    rgb = np.clip(np.rint(255 * frame.cloud.features.numpy()), 0, 255).astype(np.uint32)
    packed = (rgb[:, 0] << 16 | rgb[:, 1] << 8 | rgb[:, 2]).astype("<u4").view("<f4")
    rows = np.column_stack([frame.cloud.xyz.numpy().astype("<f4"), packed])
    make = T["sensor_msgs/msg/PointField"]
    fields = [make(name, 4 * index, 7, 1) for index, name in enumerate(("x", "y", "z", "rgb"))]
    data, size = np.frombuffer(rows.tobytes(), np.uint8), len(rows)
    return T["sensor_msgs/msg/PointCloud2"](
        _header(frame.stamp_ns, "camera"), 1, size, fields, False, 16, 16 * size, data, True
    )


def _image(frame: SequenceFrame) -> Any:
    pixels = np.clip(np.rint(255 * frame.rgb), 0, 255).astype(np.uint8)
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1)
    head = _header(frame.stamp_ns, "camera")
    return T["sensor_msgs/msg/Image"](head, height, width, "rgb8", 0, 3 * width, data)


def _camera_info(frame: SequenceFrame) -> Any:
    camera = frame.pinhole
    k = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1], np.float64)
    p = np.insert(k, [3, 6, 9], 0.0)
    return T["sensor_msgs/msg/CameraInfo"](
        header=_header(frame.stamp_ns, "camera"),
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).reshape(-1),
        p=p,
        binning_x=0,
        binning_y=0,
        roi=T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )


def _boxes(frame: SequenceFrame, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    assert frame.targets.ignored is not None
    clear = _records(frame.targets, frame.things, classes)
    ignored = _records(frame.targets.ignored, frame.ignored_things, classes)
    return [*clear, *({**box, "ignored": True} for box in ignored)]


def _records(
    targets: Targets, things: np.ndarray, classes: tuple[str, ...]
) -> list[dict[str, Any]]:
    rows = zip(things.tolist(), targets.labels.tolist(), targets.boxes.array.tolist(), strict=True)
    return [
        {
            "class": LABELS[label],
            "id": f"{LABELS[label]} {thing}",
            "center": box[:3],
            "size": box[3:6],
            "yaw": box[6],
        }
        for thing, label, box in rows
        if LABELS[label] in classes
    ]


if __name__ == "__main__":
    main()
