"""Options that several commands have."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class WayUp(str, Enum):
    """How to find up in a recording."""

    AUTO = "auto"
    TF = "tf"
    IMU = "imu"
    FLOOR = "floor"
    NONE = "none"


BagPath = Annotated[Path, typer.Argument(help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag file.")]
BagPaths = Annotated[
    list[Path],
    typer.Argument(help="rosbag2 folders, .mcap, .db3 or ROS 1 .bag files; several: --out-dir."),
]
Topic = Annotated[
    str | None,
    typer.Option(help="Point cloud or depth image topic; needed where the bag has several."),
]
CameraInfo = Annotated[
    str | None, typer.Option(help="CameraInfo of a depth topic; default: the one beside it.")
]
Color = Annotated[str | None, typer.Option(help="Color image topic for a depth topic.")]
Imu = Annotated[str | None, typer.Option(help="IMU topic, for --up imu.")]
TfNamespace = Annotated[
    str | None,
    typer.Option(
        help="Namespace of the transforms, such as /robot1 for /robot1/tf and /robot1/tf_static; "
        "default: /tf and /tf_static, or the only one there is."
    ),
]
ParamsFile = Annotated[
    Path | None,
    typer.Option(
        help="A robot's parameter file: the recording is worked on as that robot's detector does "
        "it, with its crop, thresholds, cameras and tracking. Options given here come first."
    ),
]
NodeName = Annotated[
    str,
    typer.Option(
        "--node",
        help="The robot's detector, with its namespace: whose section of the file, where it has "
        "several, and what relative names of topics begin with.",
    ),
]
Weights = Annotated[
    str | None, typer.Option(help='Weights file, or "default"; default: model.weights.')
]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda; default: model.device.")]
Backend = Annotated[
    str | None, typer.Option(help="Engine of the convolutions; default: model.backend.")
]
Score = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Leave out boxes below this; default: output.score_threshold"),
]
UpOption = Annotated[
    WayUp | None,
    typer.Option(
        help="tf: through a z-up frame of the bag's transforms; imu: from the accelerometer; "
        "floor: from the floor in the cloud; none: the cloud is z up; auto: tf where the bag "
        "knows such a frame, else floor, or none where that is level. Default: frames.up of "
        "--params-file, else auto."
    ),
]
DetectionFrame = Annotated[
    str | None,
    typer.Option(help="Z-up frame; default: base_footprint, base_link, odom, map, the first."),
]
Memory = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Also detect in what was seen within so many seconds, put together by the "
        "recording's odometry; 0 = in single frames. Default: memory.seconds.",
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result here.")]
