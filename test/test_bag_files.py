"""Recordings that lack something or are broken, and bags of ROS 1."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from small_bags import BoundingBox, S, Write, cloud, tf, write_bag

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import Bag
from sr3d_ros.bag.run import detect_run, open_run
from sr3d_ros.bag.source import cloud_topic


@pytest.fixture(scope="module")
def one_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "sqlite3")


def test_missing_topics_are_answered_with_the_ones_there_are(one_bag: Path) -> None:
    with Bag(one_bag) as bag:
        with pytest.raises(ReplayError, match=r"'/x' is not in this bag.*/points \(5 clouds\)"):
            cloud_topic(bag, "/x")
        with pytest.raises(ReplayError, match="'/tf' holds tf2_msgs/msg/TFMessage"):
            cloud_topic(bag, "/tf")
        assert cloud_topic(bag, None) == "/points"


def test_several_cloud_topics_must_be_chosen_from(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        for topic in ("/left", "/right"):
            write(topic, cloud(S, "map", np.eye(3)), S)

    with Bag(write_bag(tmp_path / "bag", "mcap", fill)) as bag:
        with pytest.raises(ReplayError, match=r"/left .*, /right .*; choose one with --topic"):
            cloud_topic(bag, None)
        assert cloud_topic(bag, "/right") == "/right"


def test_a_bag_without_clouds_says_so(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        write("/tf", tf("map", "base", 0, (0, 0, 0)), S)

    with Bag(write_bag(tmp_path / "bag", "mcap", fill)) as bag:
        with pytest.raises(ReplayError, match="0 point cloud topics"):
            cloud_topic(bag, None)
        assert list(bag.messages("/points")) == []


def test_files_that_are_no_bags_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no bag")
    for path, complaint in (
        (tmp_path / "gone", "no such file or folder"),
        (tmp_path, "no metadata.yaml"),
        (text, "begins with"),
    ):
        with pytest.raises(ReplayError, match=complaint):
            Bag(path)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_cut_bag_is_a_replay_error(tmp_path: Path, storage: str) -> None:
    path = write_bag(tmp_path / "bag", storage)
    file = next(f for f in path.iterdir() if f.suffix in (".db3", ".mcap"))
    for keep in (0, 20, 0.5, 0.9):
        content_ = file.read_bytes()
        length = int(keep * len(content_)) if isinstance(keep, float) else keep
        file.write_bytes(content_[:length])
        try:
            with open_run(path, BoundingBox()) as run:
                detect_run(run)
        except ReplayError as error:
            assert "bag" in str(error)  # noqa: PT017 - a lightly cut file may still be readable
        file.write_bytes(content_)


def test_an_undecodable_message_is_dropped_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", "sqlite3")
    with sqlite3.connect(next(path.glob("*.db3"))) as database:
        first = database.execute(
            "SELECT min(messages.id) FROM messages JOIN topics ON topic_id = topics.id "
            "WHERE name = '/points'"
        ).fetchone()[0]
        garbage = b"\x00\x01\x00\x00" + struct.pack("<I", 2**31)
        database.execute("UPDATE messages SET data = ? WHERE id = ?", (garbage, first))
    database.close()
    with open_run(path, BoundingBox()) as run:
        records, tally = detect_run(run)
    assert tally.drops_by_reason == {"undecodable": 1}
    assert len(records) == 4


def test_a_ros_1_bag_with_leading_slashes_is_read(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    text = "geometry_msgs/TransformStamped[] transforms"
    store.register(get_types_from_msg(text, "tf2_msgs/msg/TFMessage"))
    stamp = store.types["builtin_interfaces/msg/Time"](1, 0)
    sent = cloud(S, "/camera", np.eye(3))
    sent.header = store.types["std_msgs/msg/Header"](0, stamp, "/camera")
    static = tf("/map", "/camera", S, (0, 0, 2))
    static.transforms[0].header = store.types["std_msgs/msg/Header"](0, stamp, "/map")
    path = tmp_path / "old.bag"
    with Writer1(path) as writer:
        for topic, message in (("/tf_static", static), ("/points", sent)):
            kind = message.__msgtype__
            connection = writer.add_connection(topic, kind, typestore=store)
            writer.write(connection, S, store.serialize_ros1(message, kind))
    with open_run(path, BoundingBox()) as run:
        record = detect_run(run)[0][0]
    assert record["frame"] == "map"
    assert record["detections"][0]["center"] == pytest.approx([0.5, 0.5, 2.5])
