"""Names as ROS has them, known without ROS: the types of the inputs' messages, topics in full."""

from __future__ import annotations

CLOUD_TYPE = "sensor_msgs/msg/PointCloud2"
IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
INFO_TYPE = "sensor_msgs/msg/CameraInfo"
IMU_TYPE = "sensor_msgs/msg/Imu"


def full_name(topic: str, node: str) -> str:
    """A topic as a node's parameters name it, with the node's namespace or name."""
    node = f"/{node.strip('/')}"
    if topic.startswith("~"):
        return f"{node}{topic[1:]}"
    return topic if topic.startswith("/") else f"{node.rpartition('/')[0]}/{topic}"
