"""Make clouds of depth images with depth_image_proc, for those who want the cloud as a topic.

    ros2 launch sr3d_ros depth_to_cloud.launch.py
    ros2 launch sr3d_ros detector.launch.py points:=/points

The detector reads depth images itself (`kind:=depth`), which spares a process and a copy; this
is for cameras whose depth and color images must be registered first (`register:=true`), and
where others want the cloud, too. The defaults are RealSense's topics with `align_depth` off.
"""

from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition, UnlessCondition
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
)
from launch_ros.actions import ComposableNodeContainer, LoadComposableNodes
from launch_ros.descriptions import ComposableNode
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

PROFILE = PathJoinSubstitution([FindPackageShare("sr3d_ros"), "config", "fastdds_large_data.xml"])
# A profile that the user exported comes first: it says who is to be reached, and how.
ROOM_FOR_CLOUDS = {
    name: EnvironmentVariable(name, default_value=PROFILE)
    for name in (
        "FASTDDS_DEFAULT_PROFILES_FILE",  # Kilted and newer
        "FASTRTPS_DEFAULT_PROFILES_FILE",  # Humble and Jazzy
    )
}
CONTAINER = "depth_to_cloud"

ARGUMENTS = (
    # name, default, description
    ("depth", "/camera/camera/depth/image_rect_raw", "topic of the rectified depth image"),
    ("camera_info", "/camera/camera/depth/camera_info", "topic of its CameraInfo"),
    ("color", "/camera/camera/color/image_raw", "topic of the rectified color image"),
    ("color_info", "/camera/camera/color/camera_info", "topic of the color image's CameraInfo"),
    ("points", "/points", "topic of the cloud that is made"),
    ("register", "true", "move depth into the color camera; false: they are aligned already"),
)


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    container = ComposableNodeContainer(
        name=CONTAINER,
        namespace="",
        package="rclcpp_components",
        executable="component_container",
        composable_node_descriptions=[],
        additional_env=ROOM_FOR_CLOUDS,
        output="screen",
    )
    register = LaunchConfiguration("register")
    registered = LoadComposableNodes(
        target_container=CONTAINER,
        composable_node_descriptions=[_register(), _cloud("depth_registered/image_rect")],
        condition=IfCondition(register),
    )
    aligned = LoadComposableNodes(
        target_container=CONTAINER,
        composable_node_descriptions=[_cloud(LaunchConfiguration("depth"))],
        condition=UnlessCondition(register),
    )
    return LaunchDescription([*arguments, container, registered, aligned])


def _register() -> ComposableNode:
    """Depth as the color camera would see it."""
    return ComposableNode(
        package="depth_image_proc",
        plugin="depth_image_proc::RegisterNode",
        name="register_depth",
        remappings=[
            ("depth/image_rect", LaunchConfiguration("depth")),
            ("depth/camera_info", LaunchConfiguration("camera_info")),
            ("rgb/camera_info", LaunchConfiguration("color_info")),
        ],
    )


def _cloud(depth: LaunchConfiguration | str) -> ComposableNode:
    """Points with colors from aligned images."""
    return ComposableNode(
        package="depth_image_proc",
        plugin="depth_image_proc::PointCloudXyzrgbNode",
        name="depth_to_points",
        remappings=[
            ("depth_registered/image_rect", depth),
            ("rgb/image_rect_color", LaunchConfiguration("color")),
            ("rgb/camera_info", LaunchConfiguration("color_info")),
            ("points", LaunchConfiguration("points")),
        ],
    )
