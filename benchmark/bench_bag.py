"""How fast recordings are read and worked on, and how much memory a long one takes.

    python benchmark/bench_bag.py --minutes 10

Writes recordings of one camera on a robot (10 clouds a second, 100 transforms a second): of each
of `FORMATS` one of --frames clouds of --points points in the room that ships, and with small
clouds one of --minutes and one a tenth as long. Prints one JSON object:

    read_mb_per_s       what the clouds hold, decoded, from opening to end; all formats in turn in
                        one process, after a first round that does not count. By CPU time, which
                        holds on a busy machine, and by the clock
    share_of_detector   the bare detector's time on the clouds over that of `bag detect --json` on
                        their recording, from opening to end; in turn, in one process; the same
    ms_per_cloud        both CPU times
    peak_mb             memory of a replay with a detector that costs nothing, in a process of its
                        own: of the short recording, of the long one, and the ratio of both

Aims: share at least 0.9, peak ratio at most 1.5.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measure import in_own_process, machine, summary
from numpy.typing import NDArray

RATE_HZ, TF_PER_CLOUD = 10, 10
S = 1_000_000_000
FORMATS = (
    "mcap",
    "mcap zstd by chunk",
    "mcap zstd by message",
    "mcap zstd by file",
    "sqlite3",
    "sqlite3 zstd by message",
    "sqlite3 zstd by file",
    "ros1",
    "ros1 lz4",
    "ros1 bz2",
)
"""Storage, compression, and what is compressed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--small", type=int, default=1000, help="points of the clouds of memory")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--replay", type=Path, help="only the peak memory of this recording")
    options = parser.parse_args()
    if options.replay:
        print(json.dumps(_replay(options.replay)))
        return
    with TemporaryDirectory() as folder:
        print(json.dumps(_measured(options, Path(folder)), indent=1))


def _measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    room = _room(options.points)
    bags = {
        name: _write(folder / _file_name(name), name, options.frames, room) for name in FORMATS
    }
    rates = _rates(bags, options.turns)
    num_clouds, small = (
        round(60 * RATE_HZ * options.minutes),
        room[:: -(-len(room) // options.small)],
    )
    long = {
        name: _write(folder / name, "mcap", count, small)
        for name, count in (("short", num_clouds // 10), ("long", num_clouds))
    }
    peaks = {name: in_own_process(__file__, "--replay", bag) for name, bag in long.items()}
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


class _Times:
    """By CPU time of all threads and by the clock, since it was made."""

    def __init__(self) -> None:
        self._start = self._now()

    def so_far(self) -> dict[str, float]:
        """Seconds by each."""
        return {name: now - self._start[name] for name, now in self._now().items()}

    @staticmethod
    def _now() -> dict[str, float]:
        return {"cpu": time.process_time(), "clock": time.perf_counter()}


def _rates(bags: dict[str, Path], num_turns: int) -> dict[str, dict[str, Any]]:
    """How many MB a second are read of each recording."""
    rates: dict[str, list[dict[str, float]]] = {name: [] for name in bags}
    for turn in range(num_turns + 1):
        for name, bag in bags.items():
            rate = _read(bag)
            if turn > 0:
                rates[name].append(rate)
    return {
        name: {kind: summary([rate[kind] for rate in of_turns], digits=0) for kind in of_turns[0]}
        for name, of_turns in rates.items()
    }


def _read(bag: Path) -> dict[str, float]:
    from sr3d_ros.bag.replay import Bag

    num_bytes, times = 0, _Times()
    with Bag(bag) as opened:
        for _, _, message in opened.messages("/points"):
            num_bytes += len(message.data)
    return {kind: num_bytes / 1e6 / seconds for kind, seconds in times.so_far().items()}


class _Nothing:
    """A detector that costs nothing."""

    classes = ("chair",)

    def detect(self, cloud: Any) -> Any:
        from sr3d_core.structures import Detections

        return Detections.empty()


def _replay(bag: Path) -> float:
    from sr3d_ros.bag.run import detect_run, open_run

    with open_run(bag, _Nothing()) as run:
        detect_run(run, record=lambda *_: {})
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def _share(bag: Path, num_turns: int, folder: Path) -> dict[str, Any]:
    """The bare detector and the command's own way on the same clouds, A B A B."""
    from sr3d_ros.bag.outputs import Outputs, detect_into
    from sr3d_ros.bag.run import open_run
    from sr3d_ros.parameters.detector import load_detector
    from sr3d_ros.parameters.record import Parameters

    detector = load_detector(Parameters())
    with open_run(bag, detector) as run:
        clouds = [frame.sensor_cloud for frame in run.frames()]
    bare, whole = list[dict[str, float]](), list[dict[str, float]]()
    for _ in range(num_turns):
        times = _Times()
        for cloud in clouds:
            detector.detect(cloud)
        bare.append(times.so_far())
        times = _Times()
        with open_run(bag, detector) as run:
            detect_into(run, Outputs(json=folder / "boxes.json"))
        whole.append(times.so_far())

    def share(kind: str) -> dict[str, float]:
        return summary([a[kind] / b[kind] for a, b in zip(bare, whole, strict=True)], digits=3)

    def per_cloud(runs: list[dict[str, float]]) -> dict[str, float]:
        return summary([run["cpu"] * 1e3 / len(clouds) for run in runs])

    return {
        "share_of_detector": {kind: share(kind) for kind in bare[0]},
        "ms_per_cloud": {"detector": per_cloud(bare), "bag_detect": per_cloud(whole)},
    }


def _write(path: Path, form: str, num_clouds: int, points: NDArray[np.float32]) -> Path:
    """A recording of one cloud again and again, on a robot that drives."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    is_ros_1 = form.startswith("ros1")
    store = get_typestore(Stores.ROS1_NOETIC if is_ros_1 else Stores.ROS2_HUMBLE)
    if is_ros_1:  # which that store does not know
        transforms = "geometry_msgs/TransformStamped[] transforms"
        store.register(get_types_from_msg(transforms, "tf2_msgs/msg/TFMessage"))
    types, serialize = store.types, store.serialize_ros1 if is_ros_1 else store.serialize_cdr
    num_points = len(points)
    field = types["sensor_msgs/msg/PointField"]
    fields = [field(name, 4 * index, 7, 1) for index, name in enumerate("xyz")]

    def header(time_ns: int, frame: str) -> Any:
        stamp = types["builtin_interfaces/msg/Time"](time_ns // S, time_ns % S)
        return types["std_msgs/msg/Header"](*([0] if is_ros_1 else []), stamp, frame)

    def transform(time_ns: int, parent: str, child: str, x: float) -> Any:
        moved = types["geometry_msgs/msg/Vector3"](x, 0.0, 0.0)
        turned = types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
        move = types["geometry_msgs/msg/Transform"](moved, turned)
        stamped = types["geometry_msgs/msg/TransformStamped"]
        return types["tf2_msgs/msg/TFMessage"]([stamped(header(time_ns, parent), child, move)])

    with _writer(path, form) as writer:
        cloud_type, tf_type = "sensor_msgs/msg/PointCloud2", "tf2_msgs/msg/TFMessage"
        clouds = writer.add_connection("/points", cloud_type, typestore=store)
        tf = writer.add_connection("/tf", tf_type, typestore=store)
        for index in range(num_clouds):
            for part in range(TF_PER_CLOUD):
                time_ns = S + (index * TF_PER_CLOUD + part) * S // (RATE_HZ * TF_PER_CLOUD)
                message = transform(time_ns, "odom", "base_link", 1e-3 * index)
                writer.write(tf, time_ns, serialize(message, tf_type))
            time_ns = S + index * S // RATE_HZ
            data = np.frombuffer(
                (points + np.float32(1e-3 * index)).astype("<f4").tobytes(), np.uint8
            )
            cloud = types["sensor_msgs/msg/PointCloud2"](
                header(time_ns, "base_link"),
                *(1, num_points, fields, False, 12, 12 * num_points, data, True),
            )
            writer.write(clouds, time_ns, serialize(cloud, cloud_type))
    return path


def _file_name(form: str) -> str:
    return form.replace(" ", "_") + (".bag" if form.startswith("ros1") else "")


def _writer(path: Path, form: str) -> Any:
    """Of one of `FORMATS`; to be used in a `with` statement."""
    from rosbags import rosbag1, rosbag2

    storage, *rest = form.split()
    if storage == "ros1":
        old = rosbag1.Writer(path)
        if rest:
            old.set_compression(rosbag1.Writer.CompressionFormat[rest[0].upper()])
        return old
    plugin = rosbag2.StoragePlugin[storage.upper()]
    writer = rosbag2.Writer(path, version=9, storage_plugin=plugin)
    if rest:
        mode = "STORAGE" if rest[-1] == "chunk" else rest[-1].upper()
        writer.set_compression(rosbag2.CompressionMode[mode], rosbag2.CompressionFormat.ZSTD)
    return writer


if __name__ == "__main__":
    main()
