"""Playing a recording, up to the publishers: what is published, when, and with which QoS."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from small_bags import STORE, S, T, Write, cloud, optical_points, tf, write_bag
from test_bag_storage import STAMPS, ros1_bag
from typer.testing import CliRunner

from sr3d_ros.bag.commands import app
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.play.choice import Choice, choose
from sr3d_ros.bag.play.contents import Contents, Message
from sr3d_ros.bag.play.layout import difference
from sr3d_ros.bag.play.player import play
from sr3d_ros.bag.play.timeline import CLOCK_HZ, Pace, with_clock
from sr3d_ros.bag.replay import Bag
from sr3d_ros.bag.storage.channel import Channel
from sr3d_ros.bag.storage.offers import Offer

HZ = 10
POINTS = optical_points(0.0)


def fill(write: Write) -> None:
    """Ten clouds in a second; two static transforms, of which one is published again."""
    write("/tf_static", tf("base_link", "camera", 0, (1, 0, 0)), S)
    for tick in range(HZ):
        time_ns = S + tick * S // HZ
        write("/points", cloud(time_ns, "camera", POINTS), time_ns)
        if tick == 4:
            write("/tf_static", tf("base_link", "imu", 0, (2, 0, 0)), time_ns + 1)
        if tick == 6:
            write("/tf_static", tf("base_link", "camera", 0, (3, 0, 0)), time_ns + 1)


@pytest.fixture(scope="module")
def bag_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "mcap", fill)


def every(_: Channel) -> str:
    return ""


def chosen(bag: Bag, *wanted: str, unwanted: tuple[str, ...] = (), why: Any = every) -> Choice:
    return choose(bag.channels, wanted, unwanted, why)


@contextmanager
def contents_of(path: Path, *wanted: str, **part: float) -> Iterator[Contents]:
    with Bag(path) as bag:
        yield Contents(bag, chosen(bag, *wanted), tell=lambda _: None, **part)


@dataclass
class Stage:
    """Time that goes on while somebody sleeps, or publishes slowly; and what was published."""

    now_s: float = 100.0
    slow_s: float = 0.0
    most: int = 10**6
    """Ctrl-C comes after so many messages."""
    messages: list[tuple[float, str, bytes]] = field(default_factory=list)
    clock: list[tuple[float, int]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0.0
        self.now_s += seconds

    def publish(self, topic: str, data: bytes) -> None:
        if len(self.messages) == self.most:
            raise KeyboardInterrupt
        self.messages.append((self.now_s, topic, data))
        self.now_s += self.slow_s

    def tell_time(self, time_ns: int) -> None:
        self.clock.append((self.now_s, time_ns))

    def pace(self, rate: float = 1.0) -> Pace:
        return Pace(rate, now_s=lambda: self.now_s, sleep=self.sleep)

    def times(self, topic: str) -> list[float]:
        return [time_s - 100.0 for time_s, name, _ in self.messages if name == topic]

    def static(self) -> list[dict[str, float]]:
        """The x of each frame, for each message of static transforms."""
        found = [data for _, name, data in self.messages if name == "/tf_static"]
        arrays = [STORE.deserialize_cdr(data, "tf2_msgs/msg/TFMessage") for data in found]
        return [
            {each.child_frame_id: each.transform.translation.x for each in array.transforms}
            for array in arrays
        ]


def played(path: Path, stage: Stage, *wanted: str, rate: float = 1.0, **part: float) -> Pace:
    pace = stage.pace(rate)
    with contents_of(path, *wanted, **part) as contents:
        play(contents, stage, pace)
    return pace


@pytest.mark.parametrize("rate", [0.5, 1.0, 4.0])
def test_messages_are_as_far_apart_as_they_were_received(bag_path: Path, rate: float) -> None:
    stage = Stage()
    played(bag_path, stage, rate=rate)
    assert stage.times("/points") == pytest.approx([tick / HZ / rate for tick in range(HZ)])


def test_clock_goes_on_evenly_between_messages_and_is_never_ahead_of_them(bag_path: Path) -> None:
    stage = Stage()
    played(bag_path, stage, rate=2.0)
    times_ns = [time_ns for _, time_ns in stage.clock]
    assert times_ns == [S + round(2.0 * S / CLOCK_HZ) * n for n in range(len(times_ns))]
    assert times_ns[-1] <= S + 9 * S // 10
    assert [s - 100.0 for s, _ in stage.clock] == pytest.approx(
        [n / CLOCK_HZ for n in range(len(times_ns))]
    )


def test_bytes_are_those_of_the_recording(bag_path: Path) -> None:
    stage = Stage()
    played(bag_path, stage, "/points")
    with Bag(bag_path) as bag:
        assert [data for *_, data in stage.messages] == [
            raw for *_, raw in bag.raw_messages(lambda channel: channel.topic == "/points")
        ]


def test_where_publishing_is_slow_time_waits(bag_path: Path) -> None:
    """0.3 s for each of ten clouds, due every 0.1 s: at most 0.1 s behind, and said."""
    stage = Stage(slow_s=0.3)
    pace = played(bag_path, stage, "/points")
    assert stage.times("/points") == pytest.approx([0.3 * tick for tick in range(HZ)])
    for now_s, time_ns in stage.clock:  # of each that was told, what was due by then was sent
        assert sum(t <= now_s - 100.0 for t in stage.times("/points")) >= (time_ns - S) * HZ // S
    assert 9 * 0.2 - 0.1 <= pace.late_s <= 9 * 0.2


def test_a_short_delay_is_caught_up(bag_path: Path) -> None:
    stage = Stage(slow_s=0.02)
    assert played(bag_path, stage).late_s == 0.0
    assert stage.times("/points")[-1] == pytest.approx(0.9, abs=0.021)


def test_a_message_that_was_received_before_the_one_ahead_of_it_comes_with_it() -> None:
    messages = [Message(time_ns, "/a", b"") for time_ns in (0, 100, 40, 120)]
    found = list(with_clock(iter(messages), 0, 50))
    assert [(time_ns, event.time_ns) for time_ns, event in found if event] == [
        *((0, 0), (100, 100), (100, 40), (120, 120))
    ]
    assert [time_ns for time_ns, event in found if event is None] == [0, 50, 100]


def test_another_pass_sets_the_clock_back_and_static_transforms_too(bag_path: Path) -> None:
    stage = Stage(most=2 * (1 + 1 + 2 + HZ))  # what holds before, and what is in it
    with contents_of(bag_path) as contents, pytest.raises(KeyboardInterrupt):
        play(contents, stage, stage.pace(), loop=True)
    times_ns = [time_ns for _, time_ns in stage.clock]
    assert times_ns.count(S) == 2
    assert stage.static()[:4] == stage.static()[4:]
    assert stage.times("/points")[HZ] == pytest.approx(0.9 + 1.0 / CLOCK_HZ)


def test_a_recording_of_one_time_is_not_played_again_without_a_pause(tmp_path: Path) -> None:
    def one(write: Write) -> None:
        write("/points", cloud(S, "camera", POINTS), S)

    stage = Stage(most=3)
    path = write_bag(tmp_path / "bag", "mcap", one)
    with contents_of(path) as contents, pytest.raises(KeyboardInterrupt):
        play(contents, stage, stage.pace(), loop=True)
    assert stage.times("/points") == pytest.approx([0.0, 1 / CLOCK_HZ, 2 / CLOCK_HZ])


def test_all_static_transforms_are_in_each_message_and_hold_from_the_start(bag_path: Path) -> None:
    stage = Stage()
    played(bag_path, stage)
    first, whole = {"camera": 1.0, "imu": 2.0}, {"camera": 3.0, "imu": 2.0}
    assert stage.static() == [first, first, first, whole]
    assert stage.messages[0][1] == "/tf_static"


def test_a_part_has_what_holds_when_it_begins(bag_path: Path) -> None:
    stage = Stage()
    played(bag_path, stage, start_s=0.75, duration_s=0.1)
    assert stage.static() == [{"camera": 3.0, "imu": 2.0}]
    assert stage.times("/points") == pytest.approx([0.05])
    assert stage.clock[0][1] == S + 3 * S // 4


@pytest.mark.parametrize("part", [{"start_s": 2.0}, {"start_s": 0.11, "duration_s": 0.05}])
def test_a_part_without_messages_is_an_error(bag_path: Path, part: dict[str, float]) -> None:
    with pytest.raises(ReplayError):
        played(bag_path, Stage(), "/points", **part)


def test_a_long_gap_is_said(tmp_path: Path) -> None:
    def gap(write: Write) -> None:
        for time_ns in (S, 2 * S, 65 * S):
            write("/points", cloud(time_ns, "camera", POINTS), time_ns)

    told = list[str]()
    with Bag(write_bag(tmp_path / "bag", "mcap", gap)) as bag:
        contents = Contents(bag, chosen(bag), tell=told.append)
        assert len(list(contents.messages())) == 3
    (line,) = told
    assert "1.000" in line
    assert "64.000" in line


def test_topics_are_chosen_by_name_and_pattern(bag_path: Path) -> None:
    with Bag(bag_path) as bag:
        assert {t.name for t in chosen(bag).played} == {"/points", "/tf_static"}
        assert [t.name for t in chosen(bag, "/tf*").played] == ["/tf_static"]
        choice = chosen(bag, unwanted=("tf*",))
        assert [t.name for t in choice.played] == ["/points"]
        assert list(choice.left_out) == ["/tf_static"]
        with pytest.raises(ReplayError, match=r"/cloud.*/points, /tf_static"):
            chosen(bag, "/cloud")


def test_what_cannot_be_published_is_named_and_the_rest_played(bag_path: Path) -> None:
    with Bag(bag_path) as bag:
        choice = chosen(bag, why=lambda channel: "no" * (channel.topic == "/points"))
        assert choice.left_out == {"/points": "no"}
        assert [t.name for t in choice.played] == ["/tf_static"]
        with pytest.raises(ReplayError, match="not installed"):
            chosen(bag, why=lambda _: "not installed")


def test_the_recordings_own_clock_comes_along(tmp_path: Path) -> None:
    kind = T["rosgraph_msgs/msg/Clock"]

    def simulated(write: Write) -> None:
        write("/clock", kind(T["builtin_interfaces/msg/Time"](7, 0)), S)
        write("/points", cloud(7 * S, "camera", POINTS), S)
        write("/other", cloud(7 * S, "camera", POINTS), S)

    with Bag(write_bag(tmp_path / "bag", "mcap", simulated)) as bag:
        choice = chosen(bag, "/points")
        assert [t.name for t in choice.played] == ["/clock", "/points"]
        assert choice.has_clock


def test_a_topic_of_two_unlike_types_is_left_out() -> None:
    found = choose(
        {
            Channel("/a", "a_msgs/msg/A"): 1,
            Channel("/a", "a_msgs/msg/B"): 1,
            Channel("/b", "x"): 1,
        },
        (),
        (),
        every,
    )
    assert list(found.left_out) == ["/a"]


def test_transforms_of_ros_1_under_both_names_are_one_topic() -> None:
    kinds = ("tf/msg/tfMessage", "tf2_msgs/msg/TFMessage")
    found = choose({Channel("/tf", kind, "ros1"): 1 for kind in kinds}, (), (), every)
    assert [topic.type_name for topic in found.played] == [kinds[1]]


def test_types_of_ros_1_that_nobody_converts_are_left_out() -> None:
    odd = {Channel("/odd", "visualization_msgs/msg/Marker", "ros1"): 1}
    found = choose({**odd, Channel("/points", CLOUD, "ros1"): 1}, (), (), every)
    assert list(found.left_out) == ["/odd"]


CLOUD = "sensor_msgs/msg/PointCloud2"
BEST_EFFORT, RELIABLE = Offer(False, depth=5), Offer(True, depth=3)
LATCHED = Offer(True, True, 1)


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ((), Offer(True, False, 10)),
        ((BEST_EFFORT,), BEST_EFFORT),
        ((BEST_EFFORT, RELIABLE), Offer(True, False, 5)),
        ((LATCHED, Offer(True, True, 4)), Offer(True, True, 5)),
        ((Offer(True, True, 0),), Offer(True, True, 10)),
    ],
)
def test_one_publisher_serves_all_whom_the_recorded_ones_served(
    offers: tuple[Offer, ...], expected: Offer
) -> None:
    found = choose({Channel("/points", CLOUD, offers=offers): 1}, (), (), every)
    assert found.played[0].offer == expected


def test_static_transforms_are_latched_whatever_was_recorded() -> None:
    channel = Channel("/robot/tf_static", "tf2_msgs/msg/TFMessage", offers=(BEST_EFFORT,))
    (topic,) = choose({channel: 1}, (), (), every).played
    assert topic.is_static_tf
    assert topic.offer == Offer(True, True, 1)


def profile(offer: Offer) -> Qos:
    none = QosTime(0, 0)
    return Qos(
        QosHistory.KEEP_LAST,
        offer.depth,
        QosReliability.RELIABLE if offer.is_reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if offer.is_latched else QosDurability.VOLATILE,
        none,
        none,
        QosLiveliness.AUTOMATIC,
        none,
        False,
    )


@pytest.mark.parametrize(
    ("storage", "version"), [(StoragePlugin.MCAP, 9), (StoragePlugin.SQLITE3, 8)]
)
def test_what_was_offered_is_known_also_of_a_file_that_was_cut(
    tmp_path: Path, storage: StoragePlugin, version: Any
) -> None:
    offers = (BEST_EFFORT, LATCHED)
    with Writer(tmp_path / "bag", version=version, storage_plugin=storage) as writer:
        connection = writer.add_connection(
            "/points", CLOUD, typestore=STORE, offered_qos_profiles=[*map(profile, offers)]
        )
        for stamp_ns in STAMPS:
            data = STORE.serialize_cdr(cloud(stamp_ns, "map", POINTS), CLOUD)
            writer.write(connection, stamp_ns, data)
    with Bag(tmp_path / "bag") as bag:
        (channel,) = bag.channels
        assert channel.offers == offers
    (file,) = [f for f in (tmp_path / "bag").iterdir() if f.suffix != ".yaml"]
    cut = tmp_path / f"cut{file.suffix}"
    cut.write_bytes(file.read_bytes()[: int(0.8 * file.stat().st_size)])
    with Bag(cut) as bag:
        assert bag.notes
        assert next(iter(bag.channels)).offers == offers


def test_a_ros_1_bag_is_played_as_ros_2(tmp_path: Path) -> None:
    path = ros1_bag(tmp_path / "old.bag")
    with contents_of(path) as contents, Bag(path) as bag:
        found = [STORE.deserialize_cdr(m.data, CLOUD) for m in contents.messages()]
        expected = [message for *_, message in bag.messages("/points")]
    assert len(found) == len(STAMPS)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.header.stamp.nanosec == theirs.header.stamp.nanosec
        assert (ours.header.frame_id, ours.width) == ("map", theirs.width)
        assert bytes(ours.data) == bytes(theirs.data)


def test_of_a_cut_recording_what_is_whole_is_played(tmp_path: Path, bag_path: Path) -> None:
    (file,) = bag_path.glob("*.mcap")
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(file.read_bytes()[: int(0.6 * file.stat().st_size)])
    stage = Stage()
    played(cut, stage)
    assert 3 <= len(stage.times("/points")) < HZ


def test_a_recording_without_messages_is_an_error(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", "mcap", lambda _: None)
    with pytest.raises(ReplayError):
        played(path, Stage())


def test_a_broken_message_is_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        points = writer.add_connection("/points", CLOUD, typestore=STORE)
        static = writer.add_connection("/tf_static", "tf2_msgs/msg/TFMessage", typestore=STORE)
        writer.write(points, S, b"\xff\xffbroken")
        writer.write(static, S, b"\0\1\0\0\xff\xff\xff")
        writer.write(points, S, STORE.serialize_cdr(cloud(S, "map", POINTS), CLOUD))
    with contents_of(path) as contents:
        list(contents.before())
        assert [m.topic for m in contents.messages()] == ["/points"]
        assert {topic: count for topic, (count, _) in contents.left_out.items()} == {
            "/points": 1,
            "/tf_static": 1,
        }


class Installed:
    """As rclpy's generated classes are."""

    @staticmethod
    def get_fields_and_field_types() -> dict[str, str]:
        return {"x": "double", "names": "sequence<string>", "k": "float[9]", "ok": "boolean"}


SAME = "float64 x\nstring[] names\nfloat32[9] k\nbool ok"


@pytest.mark.parametrize(
    ("definition", "named"),
    [
        (SAME, ""),
        (SAME.replace("float64", "float32"), "x float"),
        (SAME.replace("names", "labels"), "labels"),
        (SAME.replace("[9]", "[8]"), r"float[8]"),
        (SAME + "\nint8 more", "more int8"),
        (SAME.replace("\nbool ok", ""), "ok boolean"),
        ("int32 = ?!_", "definition"),
    ],
)
def test_a_type_that_was_changed_since_is_not_the_same(definition: str, named: str) -> None:
    channel = Channel("/mine", "my_msgs/msg/Mine", definition=definition)
    found = difference(channel, Installed)
    assert named in found
    assert bool(found) is bool(named)


@pytest.mark.skipif(importlib.util.find_spec("rclpy") is not None, reason="ROS is here")
def test_without_ros_the_command_says_so_in_one_line(bag_path: Path) -> None:
    result = CliRunner().invoke(app, ["play", str(bag_path)])
    assert result.exit_code == 1
    assert "rclpy" in result.output
    assert len(result.output.splitlines()) == 1


def test_a_word_that_is_no_option_is_wrong_usage(bag_path: Path) -> None:
    assert CliRunner().invoke(app, ["play", str(bag_path), "--lop"]).exit_code == 2
