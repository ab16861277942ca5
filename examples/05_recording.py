"""Find objects in every cloud of a recording, without ROS, the same way as the node does it.

    python examples/05_recording.py [my_bag]

A path names a ROS 2 bag (a folder, .mcap or .db3) or a ROS 1 .bag file; without one, a bag of
three clouds is written. Needs rosbags: pip install '.[bag]' in sr3d's folder.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

import sr3d_core
from sr3d_ros.bag.replay import DroppedFrame
from sr3d_ros.bag.run import open_run
from sr3d_ros.parameters.detector import load_detector
from sr3d_ros.parameters.record import Parameters


def write_bag(path: Path) -> Path:
    """The sample room that ships, three times, a tenth of a second apart, in a frame `map`."""
    with np.load(Path(sr3d_core.__file__).parent / "data" / "sample" / "room.npz") as arrays:
        points = arrays["xyz"].astype("<f4")
    store = get_typestore(Stores.ROS2_HUMBLE)
    cloud, field, header, time = (
        store.types[name]
        for name in (
            *("sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/PointField"),
            *("std_msgs/msg/Header", "builtin_interfaces/msg/Time"),
        )
    )
    fields = [field(name, 4 * index, 7, 1) for index, name in enumerate("xyz")]
    data = np.frombuffer(points.tobytes(), np.uint8)
    with Writer(path, version=9) as writer:
        topic = writer.add_connection("/points", cloud.__msgtype__, typestore=store)
        for stamp_ns in (100_000_000, 200_000_000, 300_000_000):
            head = header(time(0, stamp_ns), "map")
            message = cloud(head, 1, len(points), fields, False, 12, len(data), data, True)
            writer.write(topic, stamp_ns, store.serialize_cdr(message, cloud.__msgtype__))
    return path


made = Path(tempfile.mkdtemp(prefix="sr3d-")) / "bag"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else write_bag(made)

# The parameters are the node's; parameters_of_file(path) reads those of a robot's YAML file.
parameters = Parameters.from_values({"filter.max_range_m": 8.0, "output.score_threshold": 0.3})
found_by_stamp = {}
with open_run(path, load_detector(parameters), parameters=parameters) as run:
    for frame in run.frames():
        if isinstance(frame, DroppedFrame):
            print(f"{frame.stamp_ns / 1e9:.1f} s  dropped, {frame.reason}: {frame.text}")
            continue
        found_by_stamp[frame.stamp_ns] = frame.detections
        names = ", ".join(run.classes[label] for label in frame.detections.labels)
        print(f"{frame.stamp_ns / 1e9:.1f} s  in {frame.gravity_frame}: {names}")
