"""A camera driver: publishes one cloud at a rate, best effort, and prints the stamps it sent.

    python benchmark/cloud_source.py SCENE POINTS HZ SECONDS

Waits for the detector first. Prints one JSON line at the end.
"""

from __future__ import annotations

import json
import sys
import time

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from ros_side import BASE, CAMERA, TOPIC, md5_of, point_cloud, stamp_ns
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage


def main(scene: str, num_points: int, hz: float, duration_s: float) -> None:
    """Publish on time, whatever the receivers do."""
    message = point_cloud(scene, num_points)
    rclpy.init()
    node = Node("camera_of_the_benchmark")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    frames = node.create_publisher(TFMessage, "/tf_static", latched)
    edge = TransformStamped(child_frame_id=CAMERA)
    edge.header.frame_id = BASE
    frames.publish(TFMessage(transforms=[edge]))
    publisher = node.create_publisher(PointCloud2, TOPIC, qos_profile_sensor_data)
    while publisher.get_subscription_count() == 0:
        time.sleep(0.05)
    time.sleep(1.0)  # the transform needs its way, too
    sent = []
    started = time.perf_counter()
    for number in range(round(hz * duration_s)):
        time.sleep(max(0.0, started + number / hz - time.perf_counter()))
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        sent.append(stamp_ns(message))
    took_s = time.perf_counter() - started
    time.sleep(1.0)  # the last frame is still on its way
    told = {"sent_ns": sent, "md5": md5_of(message), "rate_hz": (len(sent) - 1) / took_s}
    print(json.dumps({**told, "bytes": len(message.data)}), flush=True)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
