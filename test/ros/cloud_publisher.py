"""Publishes best-effort clouds at a rate, in a process of its own, until it is ended.

python cloud_publisher.py TOPIC HZ POINTS [RELIABILITY]    (a cloud has 2 x POINTS points)
"""

from __future__ import annotations

import signal
import sys

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from robot import cloud_message, room
from sensor_msgs.msg import PointCloud2


def main(topic: str, hz: str, num_points: str, reliability: str = "best_effort") -> None:
    """Publish for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rclpy ends the spinning by itself
    rclpy.init()
    node = Node("camera_of_the_tests")
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy[reliability.upper()])
    publisher = node.create_publisher(PointCloud2, topic, qos)
    message = cloud_message(room(int(num_points)), "camera", 0)

    def publish() -> None:
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)

    node.create_timer(1.0 / int(hz), publish)
    print("publishing", flush=True)
    try:
        rclpy.spin(node)
    except Exception:  # ExternalShutdownException, or RCLError where it was just at work
        if rclpy.ok():
            raise
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
