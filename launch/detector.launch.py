"""Start the detector, and rviz if wanted.

    ros2 launch sr3d_ros detector.launch.py sensor:=realsense rviz:=true
    ros2 launch sr3d_ros detector.launch.py points:=/my/cloud up:=floor
    ros2 launch sr3d_ros detector.launch.py sensor:=zed kind:=depth namespace:=front

`sensor` names the topics of a driver and a parameter file made for it (config/sensors); every
topic and the file can be given on their own. An argument that is left empty leaves the parameter
file's value alone; one that is given wins. Several cameras: start it once for each, every time
with its own `namespace`.
"""

from launch.actions import DeclareLaunchArgument, GroupAction, SetLaunchConfiguration
from launch.conditions import IfCondition
from launch.substitutions import (
    EqualsSubstitution,
    LaunchConfiguration,
    NotEqualsSubstitution,
    PathJoinSubstitution,
)
from launch_ros.actions import Node, SetParameter
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription
from sr3d_core.sparse.engine_list import BACKENDS
from sr3d_ros.node.topics import OUTPUT_TOPICS

SHARE = FindPackageShare("sr3d_ros")
SENSOR = LaunchConfiguration("sensor")
USE_SIM_TIME = {
    "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
}

INPUTS = ("points", "depth", "camera_info", "color", "imu")
SENSORS = {
    # what the drivers publish when they are started as docs/robot.md says
    "any": ("points", "depth", "camera_info", "color", "imu"),
    "realsense": (
        "/camera/camera/depth/color/points",
        "/camera/camera/aligned_depth_to_color/image_raw",
        "/camera/camera/aligned_depth_to_color/camera_info",
        "/camera/camera/color/image_raw",
        "/camera/camera/imu",
    ),
    "zed": (
        "/zed/zed_node/point_cloud/cloud_registered",
        "/zed/zed_node/depth/depth_registered",
        "/zed/zed_node/depth/camera_info",
        "/zed/zed_node/rgb/image_rect_color",
        "/zed/zed_node/imu/data",
    ),
    "oak": (
        "/oak/points",
        "/oak/stereo/image_raw",
        "/oak/stereo/camera_info",
        "/oak/rgb/image_raw",
        "/oak/imu/data",
    ),
    "orbbec": (
        "/camera/depth_registered/points",
        "/camera/depth/image_raw",
        "/camera/depth/camera_info",
        "/camera/color/image_raw",
        "/camera/gyro_accel/sample",
    ),
    "kinect": (
        "/points2",
        "/depth_to_rgb/image_raw",
        "/depth_to_rgb/camera_info",
        "/rgb/image_raw",
        "/imu",
    ),
    "gazebo": (
        "/camera/points",
        "/camera/depth_image",
        "/camera/camera_info",
        "/camera/image",
        "/imu",
    ),
}

# The topics that config/sr3d.rviz names; they are mapped to the ones in use.
RVIZ_POINTS = "/camera/camera/depth/color/points"
RVIZ_OUTPUTS = tuple(
    topic.name.removeprefix("~/") for topic in OUTPUT_TOPICS if topic.name.startswith("~/output/")
)

ARGUMENTS = (
    # name, default, description
    *(
        (name, "", f"topic of {what}; '' = where the sensor's driver has it")
        for name, what in zip(
            INPUTS,
            (
                "the PointCloud2 to detect in",
                "the depth image, where kind:=depth",
                "the CameraInfo of the depth image, or of the color image where kind:=rgb",
                "the color image that fits the depth image, or that is detected in",
                "the IMU, where up:=imu",
            ),
            strict=True,
        )
    ),
    ("namespace", "", "namespace of the node and its topics"),
    ("name", "sr3d_detector", "name of the node"),
    (
        "params_file",
        "",
        "parameter file; '' = config/sensors/<sensor>.yaml; every parameter is in "
        "config/detector.param.yaml",
    ),
    ("use_sim_time", "false", "take the time from /clock (simulation, replayed bags)"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
    ("respawn", "false", "start the node again two seconds after it died"),
    ("rviz", "false", "start rviz2 with the cloud and the boxes"),
    ("rviz_config", "", "layout of rviz2; '' = config/sr3d.rviz"),
    ("rviz_frame", "base_link", "fixed frame of rviz2; the boxes must be reachable from it"),
)

FALLBACKS = {
    # Made up when an argument is left empty: as defaults, --show-args would print them as code.
    **{name: LaunchConfiguration([f"{name}_of_", SENSOR]) for name in INPUTS},
    "params_file": [SHARE, "/config/sensors/", SENSOR, ".yaml"],
    "rviz_config": PathJoinSubstitution([SHARE, "config", "sr3d.rviz"]),
}

OVERRIDES = (
    # name, parameter, type, description
    ("weights", "model.weights", str, "weights file, or 'default'"),
    ("device", "model.device", str, "auto, cpu, cuda, cuda:1, ..."),
    ("backend", "model.backend", str, ", ".join(BACKENDS)),
    ("camera_weights", "model.camera_weights", str, "weights of color images, or 'camera'"),
    (
        "kind",
        "input.kind",
        str,
        "cloud; depth for depth images; rgb for color images alone; auto for color images where "
        "the preferred of cloud and depth is silent",
    ),
    ("preferred", "input.preferred", str, "cloud or depth, where kind:=auto"),
    (
        "rectified",
        "input.rectified",
        bool,
        "color images are rectified ones; true or false",
    ),
    (
        "depth_transport",
        "input.depth_transport",
        str,
        "messages of the depth topic: raw, or compressedDepth of image_transport",
    ),
    (
        "color_transport",
        "input.color_transport",
        str,
        "messages of the color topic: raw, or compressed (jpeg, png)",
    ),
    ("reliability", "input.reliability", str, "best_effort or reliable"),
    ("up", "frames.up", str, "how to know up: tf, imu, floor or none (the cloud is z up)"),
    ("detection_frame", "frames.detection", str, "z-up frame to detect in"),
    ("target_frame", "frames.target", str, "frame of the published boxes"),
    ("score_threshold", "output.score_threshold", float, "leave out boxes below it; 0.0 .. 1.0"),
    ("tracking", "tracking.enabled", bool, "ids that stay, and ~/output/tracks; true or false"),
    ("autostart", "lifecycle.autostart", bool, "false: wait for a lifecycle manager"),
)


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    sensor = DeclareLaunchArgument(
        "sensor",
        default_value="any",
        choices=list(SENSORS),
        description="whose topics and parameter file are the defaults",
    )
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    overrides = [
        DeclareLaunchArgument(name, default_value="", description=f"{description} [{parameter}]")
        for name, parameter, _, description in OVERRIDES
    ]
    return LaunchDescription(
        [sensor, *arguments, *overrides, *_topics(), *_fallbacks(), _detector(), _rviz()]
    )


def _topics() -> list:
    """`points_of_zed` and so on: what the fallbacks look up."""
    return [
        SetLaunchConfiguration(f"{name}_of_{sensor}", topic)
        for sensor, topics in SENSORS.items()
        for name, topic in zip(INPUTS, topics, strict=True)
    ]


def _fallbacks() -> list:
    """What arguments are that were left empty."""
    return [
        SetLaunchConfiguration(
            name, value, condition=IfCondition(EqualsSubstitution(LaunchConfiguration(name), ""))
        )
        for name, value in FALLBACKS.items()
    ]


def _detector() -> GroupAction:
    """The node, with the parameter file first and the given arguments after it.

    The node itself reads the file, and says what is wrong with it: launch fails without a word
    where there is none.
    """
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
        remappings=[(f"~/input/{name}", LaunchConfiguration(name)) for name in INPUTS],
        arguments=[
            *("--ros-args", "--log-level", LaunchConfiguration("log_level")),
            *("--params-file", LaunchConfiguration("params_file")),
        ],
        output="screen",
        emulate_tty=True,
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=2.0,
    )
    return GroupAction([*given, node])


def _rviz() -> Node:
    """Rviz with the topics in use; a node's private topics are right for every namespace."""
    detector = [LaunchConfiguration("namespace"), "/", LaunchConfiguration("name"), "/"]
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=[
            *("-d", LaunchConfiguration("rviz_config")),
            *("-f", LaunchConfiguration("rviz_frame")),
        ],
        remappings=[
            (RVIZ_POINTS, LaunchConfiguration("points")),
            *((f"/sr3d_detector/{name}", [*detector, name]) for name in RVIZ_OUTPUTS),
        ],
        parameters=[USE_SIM_TIME],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
