"""How fast recordings are read and worked on, and how much memory a long one takes.

    python benchmark/bench_bag.py --minutes 10

Writes recordings of one camera on a robot (10 clouds a second, 100 transforms a second): one of
--frames clouds of --points points in the room that ships, and with small clouds one of --minutes
and one a tenth as long. Prints one JSON object:

    read_mb_per_s       clouds of the recording, decoded, in a process of its own, by storage
    share_of_detector   the bare detector's time on the clouds over that of `bag detect --json` on
                        their recording, from opening to end; in turn, in one process
    ms_per_cloud        both times
    peak_mb             memory of a replay with a detector that costs nothing, in a process of its
                        own: of the short recording, of the long one, and the ratio of both

Aims: share at least 0.9, peak ratio at most 1.5.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measure import machine, summary
from numpy.typing import NDArray

RATE_HZ, TF_PER_CLOUD = 10, 10
S = 1_000_000_000
STORAGES = ("mcap", "sqlite3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--small", type=int, default=1000, help="points of the clouds of memory")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--child", choices=("read", "replay"))
    parser.add_argument("--bag", type=Path)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_read(options.bag) if options.child == "read" else _replay(options.bag)))
        return
    with TemporaryDirectory() as folder:
        print(json.dumps(_measured(options, Path(folder)), indent=1))


def _measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    room = _room(options.points)
    bags = {
        storage: _write(folder / storage, storage, options.frames, room) for storage in STORAGES
    }
    turns = range(options.turns)
    rates = {
        name: summary([_child("read", bag)["mb_per_s"] for _ in turns])
        for name, bag in bags.items()
    }
    num_clouds, small = (
        round(60 * RATE_HZ * options.minutes),
        room[:: -(-len(room) // options.small)],
    )
    long = {
        name: _write(folder / name, "mcap", count, small)
        for name, count in (("short", num_clouds // 10), ("long", num_clouds))
    }
    peaks = {name: _child("replay", bag)["peak_mb"] for name, bag in long.items()}
    return {
        "machine": machine(1),
        "clouds": {"of_speed": options.frames, "of_memory": num_clouds},
        "points": {"of_speed": len(room), "of_memory": len(small)},
        "read_mb_per_s": rates,
        **_share(bags["mcap"], options.turns, folder),
        "peak_mb": {
            **{name: round(peak, 1) for name, peak in peaks.items()},
            "ratio": round(peaks["long"] / peaks["short"], 3),
        },
    }


def _room(num_points: int) -> NDArray[np.float32]:
    """Points of the room that ships, z up; some of them where it has more."""
    from sr3d_core.data.cloud_file import open_cloud
    from sr3d_core.geometry.thinning import thinned

    room = Path(__file__).parent.parent / "sr3d_core" / "data" / "sample" / "room.npz"
    return thinned(open_cloud(room, "z").cloud, num_points).xyz.numpy()


def _child(what: str, bag: Path) -> dict[str, float]:
    """What a process of its own measured."""
    command = [sys.executable, __file__, "--child", what, "--bag", str(bag)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _read(bag: Path) -> dict[str, float]:
    from sr3d_ros.bag.replay import Bag

    num_bytes, start = 0, time.perf_counter()
    with Bag(bag) as opened:
        for _, _, message in opened.messages("/points"):
            num_bytes += len(message.data)
    return {"mb_per_s": num_bytes / 1e6 / (time.perf_counter() - start)}


class _Nothing:
    """A detector that costs nothing."""

    classes = ("chair",)

    def detect(self, cloud: Any) -> Any:
        from sr3d_core.structures import Detections

        return Detections.empty()


def _replay(bag: Path) -> dict[str, float]:
    from sr3d_ros.bag.run import detect_run, open_run

    with open_run(bag, _Nothing()) as run:
        detect_run(run, record=lambda *_: {})
    return {"peak_mb": getrusage(RUSAGE_SELF).ru_maxrss / 1024}


def _share(bag: Path, num_turns: int, folder: Path) -> dict[str, Any]:
    """The bare detector and the command's own way on the same clouds, A B A B."""
    from sr3d_ros.bag.outputs import Outputs, detect_into
    from sr3d_ros.bag.run import open_run
    from sr3d_ros.parameters.detector import load_detector
    from sr3d_ros.parameters.record import Parameters

    detector = load_detector(Parameters())
    with open_run(bag, detector) as run:
        clouds = [frame.sensor_cloud for frame in run.frames()]
    bare, whole = list[float](), list[float]()
    for _ in range(num_turns):
        start = time.perf_counter()
        for cloud in clouds:
            detector.detect(cloud)
        middle = time.perf_counter()
        with open_run(bag, detector) as run:
            detect_into(run, Outputs(json=folder / "boxes.json"))
        bare.append((middle - start) * 1e3 / len(clouds))
        whole.append((time.perf_counter() - middle) * 1e3 / len(clouds))
    shares = [a / b for a, b in zip(bare, whole, strict=True)]
    return {
        "share_of_detector": summary(shares, digits=3),
        "ms_per_cloud": {"detector": summary(bare), "bag_detect": summary(whole)},
    }


def _write(path: Path, storage: str, num_clouds: int, points: NDArray[np.float32]) -> Path:
    """A recording of one cloud again and again, on a robot that drives."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    types = store.types
    num_points = len(points)
    field = types["sensor_msgs/msg/PointField"]
    fields = [field(name, 4 * index, 7, 1) for index, name in enumerate("xyz")]

    def header(time_ns: int, frame: str) -> Any:
        stamp = types["builtin_interfaces/msg/Time"](time_ns // S, time_ns % S)
        return types["std_msgs/msg/Header"](stamp, frame)

    def transform(time_ns: int, parent: str, child: str, x: float) -> Any:
        moved = types["geometry_msgs/msg/Vector3"](x, 0.0, 0.0)
        turned = types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
        move = types["geometry_msgs/msg/Transform"](moved, turned)
        stamped = types["geometry_msgs/msg/TransformStamped"]
        return types["tf2_msgs/msg/TFMessage"]([stamped(header(time_ns, parent), child, move)])

    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        cloud_type, tf_type = "sensor_msgs/msg/PointCloud2", "tf2_msgs/msg/TFMessage"
        clouds = writer.add_connection("/points", cloud_type, typestore=store)
        tf = writer.add_connection("/tf", tf_type, typestore=store)
        for index in range(num_clouds):
            for part in range(TF_PER_CLOUD):
                time_ns = S + (index * TF_PER_CLOUD + part) * S // (RATE_HZ * TF_PER_CLOUD)
                message = transform(time_ns, "odom", "base_link", 1e-3 * index)
                writer.write(tf, time_ns, store.serialize_cdr(message, tf_type))
            time_ns = S + index * S // RATE_HZ
            data = np.frombuffer(
                (points + np.float32(1e-3 * index)).astype("<f4").tobytes(), np.uint8
            )
            cloud = types["sensor_msgs/msg/PointCloud2"](
                header(time_ns, "base_link"),
                *(1, num_points, fields, False, 12, 12 * num_points, data, True),
            )
            writer.write(clouds, time_ns, store.serialize_cdr(cloud, cloud_type))
    return path


if __name__ == "__main__":
    main()
