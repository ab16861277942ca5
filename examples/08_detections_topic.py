"""Read the detections of the node in a ROS 2 node of one's own.

    python examples/08_detections_topic.py [/my_detector/output/detections]

The environment of ROS 2 has to be sourced. It listens until Ctrl-C.
"""

import signal
import sys

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from vision_msgs.msg import Detection3DArray


class Listener(Node):
    """Prints the boxes of every array that comes in."""

    def __init__(self, topic: str) -> None:
        super().__init__("detections_listener")
        # Best effort hears reliable publishers too; the other way round nothing would come.
        self.create_subscription(
            Detection3DArray, topic, self.on_detections, qos_profile_sensor_data
        )

    def on_detections(self, array: Detection3DArray) -> None:
        """One array a frame; an empty one means: looked, found nothing."""
        stamp = array.header.stamp
        where = f"{stamp.sec}.{stamp.nanosec:09} in {array.header.frame_id}"
        self.get_logger().info(f"{where}: {len(array.detections)} objects")
        for detection in array.detections:
            hypothesis = detection.results[0].hypothesis
            center, size = detection.bbox.center.position, detection.bbox.size
            self.get_logger().info(
                f"{hypothesis.class_id} {hypothesis.score:.2f} id '{detection.id}' "
                f"at {center.x:.2f} {center.y:.2f} {center.z:.2f}, "
                f"{size.x:.2f} x {size.y:.2f} x {size.z:.2f} m"
            )


if __name__ == "__main__":
    topic = sys.argv[1] if len(sys.argv) > 1 else "/sr3d_detector/output/detections"
    # rclpy itself ends the spinning at Ctrl-C; a KeyboardInterrupt could break one of its calls.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rclpy.init()
    try:
        rclpy.spin(Listener(topic))
    except Exception:  # ExternalShutdownException, or RCLError where it was just at work
        if rclpy.ok():
            raise
