"""The list of the node's parameters: ROS name, default, meaning, range.

The list is the only one there is: the node declares these fields; `config/detector.param.yaml`,
the launch file and docs/parameters.md are tested against it. `record.py` reads values into it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sr3d_core.choices import HIGHEST_CAMERA_M
from sr3d_core.sparse.engine_list import BACKENDS
from sr3d_ros.parameters.rules import parameter

_FAR_M = 10_000.0


@dataclass(frozen=True, kw_only=True)
class ParameterList:
    """Everything that can be set about the node, apart from its classes."""

    autostart: bool = parameter(
        "lifecycle.autostart", True, "configure and activate the node when it starts"
    )
    weights: str = parameter(
        "model.weights",
        "default",
        "weights file, or 'default' for the weights that ship; ~/load_model swaps them",
    )
    camera_weights: str = parameter(
        "model.camera_weights",
        "camera",
        "weights of color images, where input.kind is rgb or auto: a file, or 'camera' for those "
        "that ship; with auto they have the classes of model.weights",
    )
    device: str = parameter(
        "model.device",
        "auto",
        "where the network runs: 'auto', 'cpu', 'cuda', 'cuda:1', ...",
    )
    backend: str = parameter(
        "model.backend",
        "auto",
        "engine of the convolutions; auto = numba on a CPU, triton on a GPU, else torch; "
        "int8 = bytes, quicker on a CPU with VNNI",
        choices=BACKENDS,
    )
    num_threads: int = parameter(
        "model.num_threads",
        0,
        "CPU threads of the network; 0 = torch's choice",
        between=(0, 256),
    )
    kind: Literal["cloud", "depth", "rgb", "auto"] = parameter(
        "input.kind",
        "cloud",
        "what to subscribe to: cloud = ~/input/points; depth = ~/input/depth with "
        "~/input/camera_info; rgb = ~/input/color with ~/input/camera_info; auto = "
        "input.preferred, and color images while it is silent",
        choices=("cloud", "depth", "rgb", "auto"),
    )
    preferred: Literal["cloud", "depth"] = parameter(
        "input.preferred",
        "cloud",
        "what input.kind auto detects in while it comes: as input.kind",
        choices=("cloud", "depth"),
    )
    fallback_after_s: float = parameter(
        "input.fallback_after_s",
        1.0,
        "with input.kind auto, color images are detected in when no usable depth has come for so "
        "long, seconds",
        between=(0.1, 60.0),
    )
    recover_after_s: float = parameter(
        "input.recover_after_s",
        2.0,
        "and depth again when it has been steady for so long, seconds",
        between=(0.0, 600.0),
    )
    min_return_share: float = parameter(
        "input.min_return_share",
        0.05,
        "a cloud or depth image of which a smaller share are returns is no usable depth for "
        "input.kind auto; a cloud that leaves its holes out cannot tell",
        between=(0.0, 1.0),
    )
    is_rectified: bool = parameter(
        "input.rectified",
        False,
        "whether the color images that are detected in are rectified already (image_rect); false "
        "= they are raw, and rectified here by their camera info",
    )
    camera_height_m: float = parameter(
        "input.camera_height_m",
        0.0,
        "height of the color camera above the floor where frames.floor is not given, metres; 0 = "
        "unknown",
        between=(0.0, HIGHEST_CAMERA_M),
    )
    depth_transport: Literal["raw", "compressedDepth"] = parameter(
        "input.depth_transport",
        "raw",
        "messages of ~/input/depth, which is remapped to their very topic: raw = Image, "
        "compressedDepth = CompressedImage of image_transport, png or rvl",
        choices=("raw", "compressedDepth"),
    )
    color_transport: Literal["raw", "compressed"] = parameter(
        "input.color_transport",
        "raw",
        "messages of ~/input/color, which is remapped to their very topic: raw = Image, "
        "compressed = CompressedImage, jpeg or png, read by Pillow",
        choices=("raw", "compressed"),
    )
    reliability: Literal["best_effort", "reliable"] = parameter(
        "input.reliability",
        "best_effort",
        "QoS of the sensor subscriptions; best_effort matches every publisher",
        choices=("best_effort", "reliable"),
    )
    max_age_s: float = parameter(
        "input.max_age_s",
        0.0,
        "frames with an older stamp are dropped, seconds; 0 = no limit",
        between=(0.0, 3600.0),
    )
    silence_warning_s: float = parameter(
        "input.silence_warning_s",
        5.0,
        "warn when nothing has come for so long, and let old markers vanish, seconds; 0 = never",
        between=(0.0, 3600.0),
    )
    max_points: int = parameter(
        "input.max_points",
        200_000,
        "larger clouds are thinned evenly to this many points",
        between=(1, 10_000_000),
    )
    drop_zeros: bool = parameter(
        "input.drop_zeros",
        True,
        "treat points at exactly (0, 0, 0) as 'no return'",
    )
    match_tolerance_s: float = parameter(
        "input.match_tolerance_s",
        0.02,
        "depth, camera info and color of one frame differ by at most so much, seconds",
        between=(0.0, 1.0),
    )
    extra_topics: tuple[str, ...] = parameter(
        "input.extra_topics",
        ("",),
        "topics of further clouds to join with ~/input/points in one z-up frame; [''] = none",
    )
    fuse_window_s: float = parameter(
        "input.fuse_window_s",
        0.05,
        "clouds of several cameras whose stamps differ by at most so much are one frame, seconds",
        between=(0.0, 1.0),
    )
    adaptive: bool = parameter(
        "load.adaptive",
        False,
        "lower the number of points under load, raise it again",
    )
    min_points: int = parameter(
        "load.min_points",
        20_000,
        "load.adaptive never goes below this many points",
        between=(1, 10_000_000),
    )
    target_ms: float = parameter(
        "load.target_ms",
        100.0,
        "time for one frame that load.adaptive aims at, milliseconds",
        between=(1.0, 60_000.0),
    )
    up: Literal["tf", "imu", "floor", "none"] = parameter(
        "frames.up",
        "tf",
        "how to know up: tf = a z-up frame, imu = ~/input/imu, floor = fit the largest level "
        "plane, none = the cloud's own frame is z up",
        choices=("tf", "imu", "floor", "none"),
    )
    detection_frame: str = parameter(
        "frames.detection",
        "",
        "z-up frame to detect in; '' = the first of base_footprint, base_link, odom, map that "
        "is known; 'none' = the cloud's own frame is z up",
    )
    floor_frame: str = parameter(
        "frames.floor",
        "",
        "frame whose z is 0 on the floor, such as base_footprint: tells the height of a color "
        "camera; '' = input.camera_height_m",
    )
    target_frame: str = parameter(
        "frames.target",
        "",
        "frame of the published boxes; '' = the frame of the cloud",
    )
    transform_timeout_s: float = parameter(
        "frames.timeout_s",
        0.2,
        "how long one frame may wait for its transform, seconds",
        between=(0.0, 10.0),
    )
    min_range_m: float = parameter(
        "filter.min_range_m",
        0.0,
        "points nearer to the sensor are left out, metres",
        between=(0.0, _FAR_M),
    )
    max_range_m: float = parameter(
        "filter.max_range_m",
        0.0,
        "points farther from the sensor are left out, metres; 0 = no limit",
        between=(0.0, _FAR_M),
    )
    min_height_m: float = parameter(
        "filter.min_height_m",
        -_FAR_M,
        "points with a lower z in the detection frame are left out, metres",
        between=(-_FAR_M, _FAR_M),
    )
    max_height_m: float = parameter(
        "filter.max_height_m",
        _FAR_M,
        "points with a higher z in the detection frame are left out, metres",
        between=(-_FAR_M, _FAR_M),
    )
    roi: tuple[float, ...] = parameter(
        "filter.roi",
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        "points outside are left out: x0 y0 z0 x1 y1 z1 in the detection frame, metres; six "
        "zeros = everywhere",
    )
    score_threshold: float = parameter(
        "output.score_threshold",
        0.3,
        "boxes below this score are left out",
        between=(0.0, 1.0),
    )
    rgb_score_threshold: float = parameter(
        "output.rgb_score_threshold",
        0.3,
        "boxes of color images below this score are left out",
        between=(0.0, 1.0),
    )
    nms_iou: float = parameter(
        "output.nms_iou",
        0.5,
        "of two boxes that overlap by more than this, the one with the lower score is left out",
        between=(0.0, 1.0),
    )
    refine: bool = parameter(
        "output.refine",
        True,
        "fit boxes to candidates and points, for the classes for which the weights say that it "
        "pays; false = boxes as the network says",
    )
    max_detections: int = parameter(
        "output.max_detections",
        100,
        "a frame has at most this many boxes, those with the highest scores; 0 = no limit",
        between=(0, 1000),
    )
    class_id_as: Literal["name", "index"] = parameter(
        "output.class_id_as",
        "name",
        "what ObjectHypothesis.class_id holds: the class's name or its index in ~/label_info",
        choices=("name", "index"),
    )
    publish_markers: bool = parameter(
        "output.markers",
        True,
        "publish ~/output/markers, and ~/output/track_markers of tracks, for rviz",
    )
    object_clouds: Literal["none", "clouds", "indices"] = parameter(
        "output.object_clouds",
        "none",
        "also publish the points in every box: the points themselves or their numbers",
        choices=("none", "clouds", "indices"),
    )
    tracking: bool = parameter(
        "tracking.enabled",
        False,
        "give objects an id that stays from frame to frame, and publish ~/output/tracks",
    )
    tracking_frame: str = parameter(
        "tracking.frame",
        "",
        "frame that stands still, to track in; '' = odom, else map, else the detection frame",
    )
    track_max_age_s: float = parameter(
        "tracking.max_age_s",
        5.0,
        "an object that is not seen for so long is forgotten, seconds",
        between=(0.01, 3600.0),
    )
    track_min_hits: int = parameter(
        "tracking.min_hits",
        3,
        "an object gets its id when it was seen in this many frames",
        between=(1, 100),
    )
    track_gate_m: float = parameter(
        "tracking.gate_m",
        0.5,
        "a box farther than this from where an object is expected is another one, metres",
        between=(0.01, 100.0),
    )
    memory_seconds: float = parameter(
        "memory.seconds",
        0.0,
        "also detect in what was seen within so long, put together by the robot's odometry, "
        "seconds; 0 = in single frames alone, and what was remembered is forgotten",
        between=(0.0, 3600.0),
    )
    memory_mode: Literal["beside", "instead"] = parameter(
        "memory.mode",
        "beside",
        "beside = boxes of the frame and of what is remembered, merged; instead = of what is "
        "remembered alone",
        choices=("beside", "instead"),
    )
    memory_period_s: float = parameter(
        "memory.period_s",
        0.0,
        "how often what is remembered is detected in, by the stamps; in between its boxes move "
        "along with the robot, seconds; 0 = at every frame",
        between=(0.0, 60.0),
    )
    memory_radius_m: float = parameter(
        "memory.radius_m",
        6.0,
        "nothing farther from the sensor is remembered or detected in, metres",
        between=(0.5, 40.0),
    )
    memory_metres: float = parameter(
        "memory.metres",
        0.0,
        "what was seen before the last so many metres of the way is forgotten, so that the drift "
        "of the odometry is bounded; 0 = no limit",
        between=(0.0, 10_000.0),
    )
    memory_voxel_m: float = parameter(
        "memory.voxel_m",
        0.02,
        "one point is remembered in each cube with this edge, metres; a change forgets the rest",
        between=(0.005, 0.5),
    )
    memory_max_points: int = parameter(
        "memory.max_points",
        200_000,
        "of more remembered points, the oldest are forgotten",
        between=(1000, 2_000_000),
    )
    memory_free_space: bool = parameter(
        "memory.free_space",
        True,
        "forget what later rays pass through; needs a cloud of one sensor, in its own frame",
    )
    memory_frame: str = parameter(
        "memory.frame",
        "",
        "frame that stands still, to remember in; '' = odom, else map",
    )
    mapping: bool = parameter(
        "map.enabled",
        False,
        "remember the objects of the place, and publish ~/output/objects; see docs/map.md",
    )
    map_frame: str = parameter(
        "map.frame",
        "",
        "frame that stands still, to map in; '' = map, else odom, else the detection frame",
    )
    map_file: str = parameter(
        "map.file",
        "",
        "map that is loaded when the node is configured, if it exists, and that ~/save_map "
        "writes; '' = none",
    )
    map_free_space: bool = parameter(
        "map.free_space",
        True,
        "find objects gone where the rays of a sensor pass through their place",
    )
    map_gate_m: float = parameter(
        "map.gate_m",
        0.5,
        "a box farther than this from a known object of its class is another one, metres",
        between=(0.01, 100.0),
    )
    map_min_seen: int = parameter(
        "map.min_seen",
        3,
        "an object is confirmed when it was seen in this many frames",
        between=(1, 100),
    )
    map_gone_misses: int = parameter(
        "map.gone_misses",
        3,
        "an object is gone when so many frames have looked through its place",
        between=(1, 1000),
    )
    map_gone_s: float = parameter(
        "map.gone_s",
        1.0,
        "... and it was last seen so long ago, seconds",
        between=(0.0, 3600.0),
    )
    map_keep_gone_s: float = parameter(
        "map.keep_gone_s",
        600.0,
        "so long it stays known that an object is gone, seconds",
        between=(0.0, 1e6),
    )
    late_ms: float = parameter(
        "diagnostics.late_ms",
        500.0,
        "from a frame's stamp to its boxes; more is late and a warning, milliseconds",
        between=(1.0, 600_000.0),
    )
    error_after_s: float = parameter(
        "diagnostics.error_after_s",
        5.0,
        "boxes that are late for so long without a break are an error, seconds",
        between=(0.0, 3600.0),
    )
