"""Play a recording into the detector, with the recording's clock.

    ros2 launch sr3d_ros replay.launch.py bag:=my_bag points:=/camera/depth/color/points rviz:=true
    ros2 launch sr3d_ros replay.launch.py bag:=old.bag points:=/points start:=60.0 duration:=10.0

Every argument of detector.launch.py may be given, too. The player is `ros2 run sr3d_ros play`: it
reads what `sr3d bag` reads, and starts once the detector listens. What a detector of the same name
published when it was recorded is left out. At the end of the recording the detector and rviz stay,
to look at, unless `shutdown:=true`; where the recording cannot be played, everything ends. Without
ROS, and with scores: `sr3d bag detect`, `sr3d bag eval`.
"""

from functools import partial

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    SetLaunchConfiguration,
    Shutdown,
)
from launch.conditions import IfCondition, UnlessCondition
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription
from sr3d_ros.node.topics import OUTPUT_TOPICS

SHARE = FindPackageShare("sr3d_ros")
DETECTOR = [LaunchConfiguration("namespace"), "/", LaunchConfiguration("name")]

ARGUMENTS = (
    # name, default, description; None: must be given
    ("bag", None, "the recording: a rosbag2 folder, .mcap, .db3 or ROS 1 .bag file"),
    ("rate", "1.0", "how fast it is played; 1.0 = as it was recorded"),
    ("start", "0.0", "seconds of the recording to skip"),
    ("duration", "0.0", "seconds of the recording to play; 0.0 = all"),
    ("topics", "", "topics to play, with spaces between them; '' = all that can be played"),
    ("wait", "60.0", "seconds to wait for the detector to listen before it plays all the same"),
    ("delay", "1.0", "seconds to wait after that, for rviz and others"),
    ("loop", "false", "play it again and again"),
    ("shutdown", "false", "end everything at the end of the recording"),
)


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    detector = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([SHARE, "launch", "detector.launch.py"])
        )
    )
    clock = SetLaunchConfiguration("use_sim_time", "true")
    loop = LaunchConfiguration("loop")
    players = [
        _player(condition=UnlessCondition(loop)),
        _player("--loop", condition=IfCondition(loop)),
    ]
    return LaunchDescription([*arguments, clock, detector, *players])


def _player(*further: str, condition: IfCondition) -> Node:
    """Our player, with /clock."""
    given = ("rate", "start", "duration", "topics", "wait", "delay")
    of_detector = [t.name.removeprefix("~") for t in OUTPUT_TOPICS if t.name.startswith("~/")]
    end = Shutdown(
        reason="the recording has ended", condition=IfCondition(LaunchConfiguration("shutdown"))
    )
    return Node(
        package="sr3d_ros",
        executable="play",
        arguments=[
            LaunchConfiguration("bag"),
            *(part for name in given for part in (f"--{name}", LaunchConfiguration(name))),
            *("--wait-for", DETECTOR),
            *(part for topic in of_detector for part in ("--exclude", [*DETECTOR, topic])),
            *further,
        ],
        output="screen",
        emulate_tty=True,
        on_exit=partial(_after_player, end),
        condition=condition,
    )


def _after_player(at_the_end: Shutdown, event: ProcessExited, _: LaunchContext) -> Shutdown:
    """What happens when the player has ended; where it could not play, it has said why."""
    if event.returncode:
        return Shutdown(reason="the recording cannot be played")
    return at_the_end
