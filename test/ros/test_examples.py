"""The example that reads the detections topic, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import rclpy
from processes import ROOT, NodeProcess
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

SCRIPT = ROOT / "examples" / "08_detections_topic.py"
TOPIC = "/example/output/detections"


def one_chair() -> Detection3DArray:
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = "chair", 0.75
    detection = Detection3D(results=[result], id="7")
    position, size = detection.bbox.center.position, detection.bbox.size
    position.x, position.y, position.z = 1.0, 2.0, 0.5
    size.x, size.y, size.z = 0.6, 0.5, 0.9
    array = Detection3DArray(detections=[detection])
    array.header.frame_id = "base_link"
    return array


def test_the_listener_prints_class_score_place_and_size(tmp_path: Path) -> None:
    node = rclpy.create_node("publisher_of_detections")
    publisher = node.create_publisher(Detection3DArray, TOPIC, 1)
    timer = node.create_timer(0.1, lambda: publisher.publish(one_chair()))
    executor = rclpy.executors.SingleThreadedExecutor()
    executor.add_node(node)
    listener = NodeProcess(tmp_path / "log", [TOPIC], command=(sys.executable, str(SCRIPT)))
    try:
        while not listener.has_ended and "chair" not in listener.output:
            executor.spin_once(timeout_sec=1.0)
        line = listener.wait_for_line(r"chair 0\.75 id '7'")
        listener.interrupt()
        listener.require_end()
    finally:
        listener.end()
        timer.destroy()
        node.destroy_node()
    assert "1.00 2.00 0.50" in line
    assert "0.60 x 0.50 x 0.90" in line
    assert "base_link: 1 objects" in listener.output
