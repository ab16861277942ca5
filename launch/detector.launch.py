"""Start the detector, and rviz if wanted.

    ros2 launch sr3d_ros detector.launch.py points:=/camera/camera/depth/color/points rviz:=true

An argument that is left empty leaves the parameter file's value alone; one that is given wins.
"""

from launch.actions import DeclareLaunchArgument, GroupAction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, NotEqualsSubstitution, PathJoinSubstitution
from launch_ros.actions import Node, SetParameter, SetParametersFromFile
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SHARE = FindPackageShare("sr3d_ros")
USE_SIM_TIME = {
    "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
}

# The topics that config/sr3d.rviz names; they are mapped to the ones in use.
RVIZ_POINTS = "/camera/camera/depth/color/points"
RVIZ_MARKERS = "/sr3d_detector/output/markers"
RVIZ_DETECTIONS = "/sr3d_detector/output/detections"

ARGUMENTS = (
    # name, default, description
    ("points", "/camera/camera/depth/color/points", "topic of the PointCloud2 to detect in"),
    ("namespace", "", "namespace of the node and its topics"),
    ("name", "sr3d_detector", "name of the node"),
    (
        "params_file",
        PathJoinSubstitution([SHARE, "config", "detector.param.yaml"]),
        "parameter file; see the default one for every parameter",
    ),
    ("use_sim_time", "false", "take the time from /clock (simulation, replayed bags)"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
    ("respawn", "false", "start the node again two seconds after it died"),
    ("rviz", "false", "start rviz2 with the cloud and the boxes"),
    ("rviz_config", PathJoinSubstitution([SHARE, "config", "sr3d.rviz"]), "layout of rviz2"),
    ("rviz_frame", "base_link", "fixed frame of rviz2; the boxes must be reachable from it"),
)

OVERRIDES = (
    # name, parameter, type, description
    ("weights", "model.weights", str, "weights file, or 'default'"),
    ("device", "model.device", str, "auto, cpu, cuda, cuda:1, ..."),
    ("backend", "model.backend", str, "auto, torch, numba, triton, torchsparse or spconv"),
    ("reliability", "input.reliability", str, "best_effort or reliable"),
    ("detection_frame", "frames.detection", str, "z-up frame to detect in, or 'none'"),
    ("target_frame", "frames.target", str, "frame of the published boxes"),
    ("score_threshold", "output.score_threshold", float, "leave out boxes below it; 0.0 .. 1.0"),
)


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    overrides = [
        DeclareLaunchArgument(name, default_value="", description=f"{description} [{parameter}]")
        for name, parameter, _, description in OVERRIDES
    ]
    return LaunchDescription([*arguments, *overrides, _detector(), _rviz()])


def _detector() -> GroupAction:
    """The node, with the parameter file first and the given arguments after it."""
    given = [
        SetParameter(
            parameter,
            ParameterValue(LaunchConfiguration(name), value_type=kind),
            condition=IfCondition(NotEqualsSubstitution(LaunchConfiguration(name), "")),
        )
        for name, parameter, kind, _ in OVERRIDES
    ]
    node = Node(
        package="sr3d_ros",
        executable="detector_node",
        name=LaunchConfiguration("name"),
        namespace=LaunchConfiguration("namespace"),
        parameters=[USE_SIM_TIME],
        remappings=[("~/input/points", LaunchConfiguration("points"))],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
        emulate_tty=True,
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=2.0,
    )
    return GroupAction([SetParametersFromFile(LaunchConfiguration("params_file")), *given, node])


def _topic_of_node(suffix: str) -> list:
    """A private topic of the detector; right for namespaces with and without a leading slash."""
    return [LaunchConfiguration("namespace"), "/", LaunchConfiguration("name"), suffix]


def _rviz() -> Node:
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=[
            *("-d", LaunchConfiguration("rviz_config")),
            *("-f", LaunchConfiguration("rviz_frame")),
        ],
        remappings=[
            (RVIZ_POINTS, LaunchConfiguration("points")),
            (RVIZ_MARKERS, _topic_of_node("/output/markers")),
            (RVIZ_DETECTIONS, _topic_of_node("/output/detections")),
        ],
        parameters=[USE_SIM_TIME],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
