"""The topics that the node publishes: publishers, launch and documents follow this list.

Neither ROS nor torch is imported: launch files and `make/robot_reference.py` read it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutputTopic:
    """One topic that is published."""

    name: str
    """As `create_publisher` takes it: "~/" stands for the node's full name."""
    kind: str
    """Type of its messages."""
    when: str
    """When something is published, in words."""
    meaning: str
    """What its messages say, in words."""
    depth: int = 10
    """How many messages wait for a slow subscriber."""
    is_latched: bool = False
    """Whether late subscribers get the last message."""


_EVERY_FRAME = "every frame"
_WITH_TRACKING = "every frame, with tracking"

DETECTIONS = OutputTopic(
    "~/output/detections",
    "vision_msgs/msg/Detection3DArray",
    _EVERY_FRAME,
    "the boxes, in the frame of the cloud unless `frames.target` is given; empty: looked, found "
    "nothing",
)
MARKERS = OutputTopic(
    "~/output/markers",
    "visualization_msgs/msg/MarkerArray",
    f"{_EVERY_FRAME}, where somebody subscribes; wiped when the node is disabled or deactivated",
    "the same for rviz2; each vanishes when nothing renews it",
)
TRACKS = OutputTopic(
    "~/output/tracks",
    "vision_msgs/msg/Detection3DArray",
    _WITH_TRACKING,
    "all confirmed tracks, smoothed, also while occluded, in a frame that stands still; empty: "
    "there are none",
)
TRACK_MARKERS = OutputTopic(
    "~/output/track_markers",
    "visualization_msgs/msg/MarkerArray",
    f"{_WITH_TRACKING}, where somebody subscribes",
    "the same for rviz2, occluded objects paler",
)
OBJECTS = OutputTopic(
    "~/output/objects",
    "vision_msgs/msg/Detection3DArray",
    "every frame, with `map.enabled`",
    "the map: all confirmed objects with their ids, fused over all views, in a frame that stands "
    "still; scores are probabilities. See [map.md](map.md)",
    depth=1,
    is_latched=True,
)
OBJECT_MARKERS = OutputTopic(
    "~/output/object_markers",
    "visualization_msgs/msg/MarkerArray",
    "every frame, with `map.enabled`, where somebody subscribes",
    "the same for rviz2",
)
OBJECT_CLOUDS = OutputTopic(
    "~/output/object_clouds",
    "sensor_msgs/msg/PointCloud2",
    "every frame, where `output.object_clouds` says so",
    "the points in the boxes, or their indices in the input cloud",
    depth=2,
)
LABEL_INFO = OutputTopic(
    "~/label_info",
    "vision_msgs/msg/LabelInfo",
    "when a model is loaded",
    "which number is which class",
    depth=1,
    is_latched=True,
)
VISION_INFO = OutputTopic(
    "~/vision_info",
    "vision_msgs/msg/VisionInfo",
    "when a model is loaded",
    "which weights detect",
    depth=1,
    is_latched=True,
)
STATUS = OutputTopic(
    "~/status",
    "sr3d_ros/msg/DetectorStatus",
    "once a second, and when a frame is dropped",
    "times, and how many frames were dropped, by reason",
)
DIAGNOSTICS = OutputTopic(
    "/diagnostics",
    "diagnostic_msgs/msg/DiagnosticArray",
    "once a second, by diagnostic_updater",
    "the same in words, with remedies",
)

OUTPUT_TOPICS = (
    *(DETECTIONS, MARKERS, TRACKS, TRACK_MARKERS, OBJECTS, OBJECT_MARKERS, OBJECT_CLOUDS),
    *(LABEL_INFO, VISION_INFO, STATUS, DIAGNOSTICS),
)
