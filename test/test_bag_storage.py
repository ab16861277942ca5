"""Recordings as recorders leave them: every storage and compression, whole, cut and killed."""

from __future__ import annotations

import io
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from small_bags import STORE, BoundingBox, S, T, cloud, header, write_bag
from test_bag_sources import COLOR, DEPTH, HEIGHT, INFO, WIDTH, depth, info
from test_compressed_depth import png_of

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import Bag
from sr3d_ros.bag.run import detect_run, open_run
from sr3d_ros.bag.source import Topics
from sr3d_ros.errors import MessageError

NUM_CLOUDS = 12
STAMPS = [S + tick * S // 10 for tick in range(NUM_CLOUDS)]
NOISE = np.random.default_rng(0).normal(size=(2000, 3))  # does not compress away


def clouds(write: Any, ticks: range = range(NUM_CLOUDS)) -> None:
    for tick in ticks:
        write("/points", cloud(STAMPS[tick], "map", NOISE * (tick + 1)), STAMPS[tick])


def ros2_bag(path: Path, storage: str, mode: str = "", ticks: range = range(NUM_CLOUDS)) -> Path:
    """A rosbag2 folder of some clouds, as `ros2 bag record` writes it."""
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    writer = Writer(path, version=8, storage_plugin=plugin)
    if mode:
        writer.set_compression(CompressionMode[mode.upper()], CompressionFormat.ZSTD)
    with writer:
        kind = "sensor_msgs/msg/PointCloud2"
        connection = writer.add_connection("/points", kind, typestore=STORE)
        clouds(
            lambda _, message, time_ns: writer.write(
                connection, time_ns, STORE.serialize_cdr(message, kind)
            ),
            ticks,
        )
    return path


def ros1_bag(path: Path, compression: str = "") -> Path:
    """A ROS 1 bag of the same clouds, with a chunk for each few."""
    store = get_typestore(Stores.ROS1_NOETIC)
    kind, types = "sensor_msgs/msg/PointCloud2", store.types
    writer = Writer1(path)
    writer.chunk_threshold = 60_000
    if compression:
        writer.set_compression(Writer1.CompressionFormat[compression.upper()])
    with writer:
        connection = writer.add_connection("/points", kind, typestore=store)
        for stamp_ns in STAMPS:
            sent = cloud(stamp_ns, "map", NOISE)
            stamp = types["builtin_interfaces/msg/Time"](stamp_ns // S, stamp_ns % S)
            sent.header = types["std_msgs/msg/Header"](0, stamp, "map")
            writer.write(connection, stamp_ns, store.serialize_ros1(sent, kind))
    return path


def read(path: Path) -> tuple[list[int], list[str]]:
    """The stamps of the clouds that can be read, and what is said about the recording."""
    with Bag(path) as bag:
        found = list(bag.messages("/points"))
        for _, time_ns, message in found:
            assert not isinstance(message, MessageError)
            assert message.header.stamp.sec * S + message.header.stamp.nanosec == time_ns
            assert len(message.data) == NOISE.size * 4
        assert all("\n" not in note for note in bag.notes)
        return [time_ns for _, time_ns, _ in found], bag.notes


def storage_of(path: Path) -> Path:
    return next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3", ".zstd"))


WAYS = [
    *(("mcap", mode) for mode in ("", "file", "message", "storage")),
    *(("sqlite3", mode) for mode in ("", "file", "message")),
]


@pytest.mark.parametrize(("storage", "mode"), WAYS)
def test_every_storage_is_read_with_and_without_its_metadata(
    tmp_path: Path, storage: str, mode: str
) -> None:
    path = ros2_bag(tmp_path / "bag", storage, mode)
    assert read(path) == (STAMPS, [])
    (path / "metadata.yaml").unlink()
    assert read(path) == (STAMPS, [])
    bare = shutil.move(storage_of(path), tmp_path / f"bare{storage_of(path).suffix}")
    assert read(Path(bare)) == (STAMPS, [])


@pytest.mark.parametrize("compression", ["", "bz2", "lz4"])
def test_ros_1_bags_are_read_also_without_their_index(tmp_path: Path, compression: str) -> None:
    path = ros1_bag(tmp_path / "old.bag", compression)
    assert read(path) == (STAMPS, [])
    # As the recorder leaves it that was killed: no index yet, and the last chunk not whole.
    content = path.read_bytes()
    place = content.index(b"index_pos=") + len(b"index_pos=")
    (end,) = struct.unpack_from("<Q", content, place)
    active = tmp_path / "killed.bag.active"
    active.write_bytes(content[:place] + bytes(8) + content[place + 8 : int(0.8 * end)])
    found, notes = read(active)
    assert 4 <= len(found) < NUM_CLOUDS
    assert found == STAMPS[: len(found)]
    assert f"the {len(found)} messages" in notes[0]


@pytest.mark.parametrize("version", range(1, 11))
def test_metadata_of_every_version_is_read(tmp_path: Path, version: int) -> None:
    path = write_bag(tmp_path / "bag", "mcap", lambda write: clouds(write, range(2)))
    metadata = path / "metadata.yaml"
    tree = yaml.safe_load(metadata.read_text())
    about = tree["rosbag2_bagfile_information"]
    about["version"] = version
    if version < 4:
        about["relative_file_paths"] = [f"bag/{about['relative_file_paths'][0]}"]
    metadata.write_text(yaml.safe_dump(tree))
    assert read(path) == (STAMPS[:2], [])


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A recording in three files, of which the second begins with a number that sorts first."""
    whole = tmp_path / "drive"
    whole.mkdir()
    names = ["drive_2.mcap", "drive_10.mcap", "drive_11.mcap"]
    for number, name in enumerate(names):
        part = ros2_bag(tmp_path / f"part{number}", "mcap", "", range(4 * number, 4 * number + 4))
        shutil.move(storage_of(part), whole / name)
    tree = yaml.safe_load((part / "metadata.yaml").read_text())
    tree["rosbag2_bagfile_information"]["relative_file_paths"] = names
    (whole / "metadata.yaml").write_text(yaml.safe_dump(tree))
    return whole


def test_split_recordings_are_read_in_order(split: Path) -> None:
    assert read(split) == (STAMPS, [])
    (split / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    found, notes = read(split)
    assert found == STAMPS
    assert "metadata.yaml" in notes[0]


def test_what_remains_of_a_split_recording_is_used_and_what_is_missing_named(split: Path) -> None:
    (split / "drive_10.mcap").unlink()
    found, notes = read(split)
    assert found == STAMPS[:4] + STAMPS[8:]
    assert "drive_10.mcap" in notes[0]
    (split / "drive_11.mcap").write_bytes(b"")  # a recorder that was killed at once
    found, notes = read(split)
    assert found == STAMPS[:4]
    assert any("drive_11.mcap" in note for note in notes)


def test_two_recordings_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    for name in ("kitchen", "hall"):
        part = ros2_bag(tmp_path / name, "mcap", "", range(1))
        shutil.move(storage_of(part), tmp_path / f"{name}_0.mcap")
    with pytest.raises(ReplayError, match=r"hall_0\.mcap, kitchen_0\.mcap"):
        Bag(tmp_path)


@pytest.mark.parametrize("mode", ["", "storage"])
def test_an_mcap_without_its_end_is_read_up_to_there(tmp_path: Path, mode: str) -> None:
    content = storage_of(ros2_bag(tmp_path / "bag", "mcap", mode)).read_bytes()
    cut = tmp_path / "cut.mcap"
    counts = []
    for length in (len(content) - 37, len(content) - 300, len(content) // 2, 3000):
        cut.write_bytes(content[:length])
        if length == 3000:
            with pytest.raises(ReplayError, match=r"cut\.mcap.*no message"):
                read(cut)
            continue
        found, notes = read(cut)
        assert found == STAMPS[: len(found)]
        assert f"the {len(found)} messages" in notes[0]
        counts.append(len(found))
    assert counts[0] == NUM_CLOUDS
    assert 3 <= counts[2] < NUM_CLOUDS


def test_a_damaged_part_of_an_mcap_costs_that_part_only(tmp_path: Path) -> None:
    """Two files of one recording, each a chunk with a checksum; a byte of the first is wrong."""
    folder = tmp_path / "bag"
    folder.mkdir()
    for number in range(2):
        part = ros2_bag(tmp_path / f"p{number}", "mcap", "", range(6 * number, 6 * number + 6))
        shutil.move(storage_of(part), folder / f"bag_{number}.mcap")
    first = folder / "bag_0.mcap"
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 0xFF
    first.write_bytes(content)
    found, notes = read_any(folder)
    assert [stamp for stamp in found if stamp >= STAMPS[6]] == STAMPS[6:]
    assert len(found) == NUM_CLOUDS or "bag_0.mcap" in notes[0]


def read_any(path: Path) -> tuple[list[int], list[str]]:
    with Bag(path) as bag:
        return [time_ns for _, time_ns, _ in bag.messages("/points")], bag.notes


def test_a_cut_sqlite_file_is_read_up_to_there(tmp_path: Path) -> None:
    content = storage_of(ros2_bag(tmp_path / "bag", "sqlite3")).read_bytes()
    cut = tmp_path / "cut.db3"
    cut.write_bytes(content[: int(0.6 * len(content))])
    found, notes = read(cut)
    assert 3 <= len(found) < NUM_CLOUDS
    assert found == STAMPS[: len(found)]
    assert f"the {len(found)} messages" in notes[0]
    cut.write_bytes(content[:4096])
    with pytest.raises(ReplayError, match=r"cut\.db3"):
        Bag(cut)


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_what_a_killed_recorder_left_in_its_journal_is_recovered(
    tmp_path: Path, journal: str
) -> None:
    """As the disk is at the kill: in a transaction that was spilled, or not copied back yet."""
    live = storage_of(ros2_bag(tmp_path / "bag", "sqlite3", "", range(8)))
    database = sqlite3.connect(live, isolation_level=None)
    database.execute(f"PRAGMA journal_mode = {journal}")
    database.execute("PRAGMA cache_size = 1")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    row = "SELECT topic_id, ?, data FROM messages LIMIT 1"
    database.execute("BEGIN")
    if journal == "WAL":
        database.execute("DELETE FROM messages WHERE timestamp > ?", (STAMPS[3],))
        database.execute("COMMIT")
        database.execute("BEGIN")
    for stamp in range(200):  # never committed
        database.execute(f"INSERT INTO messages (topic_id, timestamp, data) {row}", (stamp,))
    killed = tmp_path / "killed"
    killed.mkdir()
    for file in live.parent.iterdir():
        shutil.copy(file, killed)
    database.close()
    found, notes = read(killed)
    assert found == (STAMPS[:4] if journal == "WAL" else STAMPS[:8])
    assert live.name in notes[0]


def test_a_cut_bag_is_detected_in_and_what_is_missing_is_in_the_result(tmp_path: Path) -> None:
    content = storage_of(ros2_bag(tmp_path / "bag", "mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(content[: len(content) // 2])
    with open_run(cut, BoundingBox()) as run:
        records, tally = detect_run(run)
    assert 0 < len(records) < NUM_CLOUDS
    assert "cut.mcap" in str(tally.to_dict()["damage"])


def test_a_topic_whose_type_cannot_be_understood_costs_that_topic_only(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg("int32 value", "odd_msgs/msg/Odd"))
    path = tmp_path / "bag"
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        kind = "sensor_msgs/msg/PointCloud2"
        points = writer.add_connection("/points", kind, typestore=store)
        odd = writer.add_connection("/odd", "odd_msgs/msg/Odd", typestore=store)
        writer.write(odd, S, b"\0\1\0\0\0\0\0\0")
        writer.write(points, S, store.serialize_cdr(cloud(S, "map", NOISE), kind))
    file = storage_of(path)
    file.write_bytes(file.read_bytes().replace(b"int32 value", b"int32 = ?!_"))
    assert read_any(path)[0] == [S]


@pytest.mark.parametrize("codec", ["PNG", "JPEG"])
def test_compressed_color_and_lossless_depth_are_read(tmp_path: Path, codec: str) -> None:
    blue = np.zeros((HEIGHT, WIDTH, 3), np.uint8) + np.uint8([0, 0, 255])
    file = io.BytesIO()
    Image.fromarray(blue).save(file, codec, quality=100)
    kind = T["sensor_msgs/msg/CompressedImage"]
    pixels = np.full((HEIGHT, WIDTH), 2000, np.uint16)

    def octets(data: bytes) -> Any:
        return np.frombuffer(data, np.uint8)

    def fill(write: Any) -> None:
        write(INFO, info(S), S)
        write(DEPTH, depth(S), S)
        name = f"{DEPTH}/compressed"
        packed = octets(png_of(pixels))
        write(name, kind(header(S, "optical"), "16UC1; png compressed ", packed), S)
        text = f"rgb8; {codec.lower()} compressed bgr8"
        write(f"{COLOR}/compressed", kind(header(S, "optical"), text, octets(file.getvalue())), S)

    path = write_bag(tmp_path / "bag", "mcap", fill)
    for topic in (DEPTH, f"{DEPTH}/compressed"):
        topics = Topics(topic, color=f"{COLOR}/compressed")
        with open_run(path, BoundingBox(), topics=topics, up="none") as run:
            (frame,) = run.frames()
        assert frame.num_points == HEIGHT * WIDTH
        assert np.abs(frame.cloud.features.numpy() - [0, 0, 1]).max() < 0.02
        assert float(frame.cloud.xyz[:, 2].max()) == pytest.approx(2.0)
