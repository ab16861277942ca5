"""Give the map of objects to Nav2, as obstacles of a costmap, and to MoveIt, as its scene.

    python examples/11_objects_for_planners.py [/my_detector/output/objects]

Publishes ~/obstacles (sensor_msgs/PointCloud2: an obstacle or voxel layer of Nav2 takes it as an
observation source with `clearing: false`), and, where moveit_msgs is installed, /planning_scene
(moveit_msgs/PlanningScene, a diff with one box for each object). The environment of ROS 2 has to
be sourced. It listens until Ctrl-C.
"""

import signal
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP_M = 0.05
"""Distance of the obstacle points: the resolution of Nav2's costmaps."""


def obstacle_points(detections: list[Any]) -> NDArray[np.float32]:
    """Points on the four sides of every box, (N, 3) metres, in the frame of the boxes."""
    parts = [np.zeros((0, 3))]
    for each in detections:
        position, turn, size = (
            each.bbox.center.position,
            each.bbox.center.orientation,
            each.bbox.size,
        )
        x, y, z = (_steps(length) for length in (size.x, size.y, size.z))
        sides = [_grid(x, np.array([side]), z) for side in (y[0], y[-1])]
        sides += [_grid(np.array([side]), y, z) for side in (x[0], x[-1])]
        yaw = 2 * np.arctan2(turn.z, turn.w)
        c, s = np.cos(yaw), np.sin(yaw)
        turned = np.concatenate(sides) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        parts.append(turned + np.array([position.x, position.y, position.z]))
    return np.concatenate(parts).astype(np.float32)


def _steps(length: float) -> NDArray[np.float64]:
    return np.linspace(-length / 2, length / 2, max(int(np.ceil(length / STEP_M)) + 1, 2))


def _grid(*axes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def planning_scene(array: Any, shown: set[str], messages: Any, solid: type) -> Any:
    """A diff of the scene: a box for each object, and those of `shown` that are no more removed.

    `messages` is the module moveit_msgs.msg, `solid` the class shape_msgs.msg.SolidPrimitive.
    """
    scene = messages.PlanningScene()
    scene.is_diff = scene.robot_state.is_diff = True
    boxes = []
    for each in array.detections:
        box = messages.CollisionObject()
        box.header, box.id, box.operation = array.header, f"sr3d_{each.id}", box.ADD
        size = each.bbox.size
        shape = solid()
        shape.type, shape.dimensions = shape.BOX, [size.x, size.y, size.z]
        box.primitives, box.primitive_poses = [shape], [each.bbox.center]
        boxes.append(box)
    for name in sorted(shown - {box.id for box in boxes}):
        box = messages.CollisionObject()
        box.header, box.id, box.operation = array.header, name, box.REMOVE
        boxes.append(box)
    scene.world.collision_objects = boxes
    return scene


def main(topic: str) -> None:
    """Listen to the map and publish what planners take."""
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import PointCloud2, PointField
    from vision_msgs.msg import Detection3DArray

    # rclpy itself ends the spinning at Ctrl-C; a KeyboardInterrupt could break one of its calls.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rclpy.init()
    node = rclpy.create_node("objects_for_planners")
    obstacles = node.create_publisher(PointCloud2, "~/obstacles", 1)
    try:
        import moveit_msgs.msg as moveit
        from shape_msgs.msg import SolidPrimitive

        scenes = node.create_publisher(moveit.PlanningScene, "/planning_scene", 1)
    except ImportError as error:
        moveit = None
        node.get_logger().warning(f"no planning scene: {error.name} is not installed")
    shown: set[str] = set()

    def on_objects(array: Detection3DArray) -> None:
        xyz = obstacle_points(array.detections)
        cloud = PointCloud2(header=array.header, height=1, width=len(xyz), is_dense=True)
        cloud.fields = [
            PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
            for k, name in enumerate("xyz")
        ]
        cloud.point_step, cloud.row_step, cloud.data = 12, 12 * len(xyz), xyz.tobytes()
        obstacles.publish(cloud)
        if moveit is not None:
            scenes.publish(planning_scene(array, shown, moveit, SolidPrimitive))
            shown.clear()
            shown.update(f"sr3d_{each.id}" for each in array.detections)

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(Detection3DArray, topic, on_objects, latched)
    try:
        rclpy.spin(node)
    except Exception:  # ExternalShutdownException, or RCLError where it was just at work
        if rclpy.ok():
            raise


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "/sr3d_detector/output/objects")
