"""Play a recording into the detector, with the recording's clock.

    ros2 launch sr3d_ros replay.launch.py bag:=my_bag points:=/camera/depth/color/points rviz:=true

Every argument of detector.launch.py may be given, too. The player gets the Fast DDS profile with
room for clouds: as best effort they are lost between processes otherwise. Without ROS, and with
scores: `sr3d bag detect`, `sr3d bag eval`.
"""

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    SetLaunchConfiguration,
)
from launch.conditions import IfCondition, UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
)
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SHARE = FindPackageShare("sr3d_ros")
PROFILE = PathJoinSubstitution([SHARE, "config", "fastdds_large_data.xml"])
# A profile that the user exported comes first: it says who is to be reached, and how.
ROOM_FOR_CLOUDS = {
    name: EnvironmentVariable(name, default_value=PROFILE)
    for name in (
        "FASTDDS_DEFAULT_PROFILES_FILE",  # Kilted and newer
        "FASTRTPS_DEFAULT_PROFILES_FILE",  # Humble and Jazzy
    )
}

ARGUMENTS = (
    # name, default, description; None: must be given
    ("bag", None, "the recording: a rosbag2 folder or .mcap file"),
    ("rate", "1.0", "how fast it is played; 1.0 = as it was recorded"),
    ("delay", "5.0", "seconds before it starts, so that the detector is ready"),
    ("loop", "false", "play it again and again"),
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


def _player(*further: str, condition: IfCondition) -> ExecuteProcess:
    """`ros2 bag play` with /clock."""
    return ExecuteProcess(
        cmd=[
            *("ros2", "bag", "play", LaunchConfiguration("bag"), "--clock"),
            *("--rate", LaunchConfiguration("rate"), "--delay", LaunchConfiguration("delay")),
            *further,
        ],
        additional_env=ROOM_FOR_CLOUDS,
        output="screen",
        condition=condition,
    )
