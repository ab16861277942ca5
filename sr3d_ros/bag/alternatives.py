"""What a recording without the clouds that were asked for has instead, and how to use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sr3d_ros.bag.replay import Bag
from sr3d_ros.errors import MessageError
from sr3d_ros.sensors.depth_image import has_depth
from sr3d_ros.sensors.ros_names import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE

_BY_OTHERS = {
    "point_cloud_interfaces/msg/CompressedPointCloud2": (
        "clouds that point_cloud_transport compressed (draco, zlib, zstd): write them as "
        "PointCloud2 with its node republish, package point_cloud_transport"
    ),
    "sensor_msgs/msg/PointCloud": (
        "clouds of the old type PointCloud: convert them to PointCloud2 with the package "
        "point_cloud_converter, or the driver's option for PointCloud2"
    ),
    "stereo_msgs/msg/DisparityImage": (
        "disparities: make a PointCloud2 of them with point_cloud_node of the package "
        "stereo_image_proc"
    ),
}
"""What other packages turn into clouds, by type."""


def advice_on_sources(bag: Bag) -> str:
    """Topics that could be used, each with the option or the package; "" where there is none."""
    return "; ".join(_found(bag))


def _found(bag: Bag) -> Iterator[str]:
    for topic in bag.topics:
        if topic.num_messages == 0:
            continue
        if topic.type_name in _BY_OTHERS:
            yield f"{topic.topic} has {_BY_OTHERS[topic.type_name]}"
        elif topic.type_name in (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE) and has_depth(
            first_message(bag, topic.topic)
        ):
            yield f"{topic.topic} has depth images: --topic {topic.topic}"


def first_message(bag: Bag, topic: str) -> Any:
    """The first message of a topic that can be decoded; None where none can."""
    decoded = (message for _, _, message in bag.messages(topic))
    return next((each for each in decoded if not isinstance(each, MessageError)), None)
