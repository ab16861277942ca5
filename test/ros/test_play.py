"""Our player and the node, each in a process of its own: the node finds what `sr3d bag` finds.

The player waits for the node, which is activated last, when the test and the node know each other:
who listens by then is late for nothing but the static transforms. Processes meet within a second
or four, and not all at once: a player that met the node first would be done before the test hears
of any boxes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from processes import NodeProcess
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot import Robot, room, stamp_ns_of
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from small_bags import CAMERA_TURN, STORE, S, Write, cloud, tf, write_bag
from test_same_way import array_of, told
from tf2_msgs.msg import TFMessage

from sr3d_ros.bag.play.layout import difference, installed_type
from sr3d_ros.bag.run import open_run
from sr3d_ros.bag.storage.channel import Channel
from sr3d_ros.parameters.detector import load_detector
from sr3d_ros.parameters.file import parameters_of_file

NAME, POINTS = "/sr3d_detector", "/camera/points"
PARAMETERS = """
/**:
  ros__parameters:
    model.weights: {weights}
    input: {{max_points: 1500, reliability: reliable}}
    frames: {{detection: odom, timeout_s: 10.0}}
    output: {{score_threshold: 0.0, nms_iou: 0.2, max_detections: 40}}
"""
NUM_CLOUDS = 4
STAMPS = [10 * S + tick * S // 5 for tick in range(NUM_CLOUDS)]


@pytest.fixture(scope="module")
def params_file(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parameters") / "mine.yaml"
    path.write_text(PARAMETERS.format(weights=weights))
    return path


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive, with static transforms in two messages and a type that nobody has installed."""

    def fill(write: Write) -> None:
        write("/tf_static", tf("base_link", "camera", 0, (0, 0, 1.0), CAMERA_TURN), STAMPS[0])
        write("/tf_static", tf("base_link", "imu", 0, (0, 0, 0.5)), STAMPS[0])
        for tick, stamp_ns in enumerate(STAMPS):
            write("/tf", tf("odom", "base_link", stamp_ns, (0.1 * tick, 0, 0)), stamp_ns)
            points = room(2000, seed=tick)
            write(POINTS, cloud(stamp_ns, "camera", points), stamp_ns + 1_000_000)
        write("/other", T_ODD, STAMPS[-1])

    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "mcap", fill)


T_ODD = STORE.types["nav_msgs/msg/MapMetaData"](
    *(
        *(STORE.types["builtin_interfaces/msg/Time"](0, 0), 0.1, 1, 1),
        STORE.types["geometry_msgs/msg/Pose"](
            STORE.types["geometry_msgs/msg/Point"](0, 0, 0),
            STORE.types["geometry_msgs/msg/Quaternion"](0, 0, 0, 1),
        ),
    )
)


def test_the_node_finds_in_what_is_played_what_bag_detect_finds_to_the_last_bit(
    robot: Robot, start_node: Callable[..., NodeProcess], params_file: Path, bag: Path
) -> None:
    player = start_node(
        *("bag", "play", str(bag), "--rate", "0.5", "--wait-for", NAME, "--wait", "1000"),
        *("--ros-args", "-r", f"{POINTS}:=/moved/points"),
        command=("python", "-m", "sr3d_core.cli.main"),
    )
    player.wait_for_line("waiting until /sr3d_detector")
    if installed_type("nav_msgs/msg/MapMetaData") is None:  # as in environments of wheels
        assert "/other (nav_msgs/msg/MapMetaData is not installed)" in player.output
    static = list[TFMessage]()
    clock = list[int]()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    robot.node.create_subscription(TFMessage, "/tf_static", static.append, latched)
    robot.node.create_subscription(
        Clock, "/clock", lambda m: clock.append(m.clock.sec * S + m.clock.nanosec), 1000
    )
    robot.wait(lambda: static, "no static transforms for who comes late")
    assert {each.child_frame_id for each in static[0].transforms} == {"camera", "imu"}

    robot.listen_to(NAME)
    start_node(
        *("--ros-args", "-p", "use_sim_time:=true", "-r", "~/input/points:=/moved/points"),
        *("-p", "lifecycle.autostart:=false", "--params-file", str(params_file)),
    )
    assert robot.change_state(Transition.TRANSITION_CONFIGURE)
    robot.wait(lambda: robot.labels, "nothing of what the node keeps for who comes late")
    assert not clock
    assert robot.change_state(Transition.TRANSITION_ACTIVATE)
    robot.wait(
        lambda: any(stamp_ns_of(array) == STAMPS[-1] for array in robot.detections),
        "no boxes of the last cloud",
    )
    player.require_end()
    assert clock == sorted(set(clock))
    assert STAMPS[0] <= clock[0] <= clock[-1] <= STAMPS[-1] + 1_000_000

    parameters = parameters_of_file(params_file)
    detector = load_detector(parameters)
    with open_run(bag, detector, up=None, parameters=parameters) as run:
        arrays = [array_of(result, detector.classes) for result in run.frames()]
    expected = {stamp_ns_of(array): array for array in arrays}
    assert len(expected) == NUM_CLOUDS
    for found in robot.detections:  # a busy node may have left some out
        same = expected[stamp_ns_of(found)]
        assert found.header.frame_id == same.header.frame_id
        assert len(found.detections) > 10
        assert [told(each) for each in found.detections] == [
            told(each) for each in same.detections
        ]


def test_types_of_ros_are_recognised_as_they_are_installed() -> None:
    """Every type that this distribution and rosbags know, as rosbags defines it."""
    name = os.environ.get("ROS_DISTRO", "kilted").upper()
    store = get_typestore(getattr(Stores, f"ROS2_{name}", Stores.ROS2_KILTED))
    num_compared = 0
    for kind in store.fielddefs:
        installed = installed_type(kind) if "/msg/" in kind else None
        if installed is not None:
            text, _ = store.generate_msgdef(kind)
            num_compared += 1
            assert difference(Channel("/any", kind, definition=text), installed) == "", kind
    assert num_compared > 50


def test_a_type_that_was_changed_since_is_recognised() -> None:
    kind = "std_msgs/msg/Float64"
    channel = Channel("/any", kind, definition="float32 data")
    assert "data" in difference(channel, installed_type(kind))
