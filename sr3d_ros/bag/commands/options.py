"""Options that several commands have, each and as groups.

A command takes a group as one parameter: `with_groups` shows typer its options in its place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from sr3d_ros.parameters.file import NODE

if TYPE_CHECKING:
    from sr3d_ros.bag.source import Topics


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
    str | None,
    typer.Option(
        help="CameraInfo of a depth topic, or of --input rgb, auto; default: the one beside."
    ),
]
Color = Annotated[
    str | None,
    typer.Option(
        help="Color image topic for a depth topic; with --input rgb, auto the one to detect in, "
        "default: the only one; with rgb, where there is none, organized clouds with colors."
    ),
]
InputKind = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="cloud|depth|rgb|auto",
        help="What to detect in; rgb: color images alone, with their CameraInfo, transforms and "
        "weights of color images; auto (bag detect): color images while clouds, or depth images "
        "with --topic of these, are silent, as the node does. Default: as --topic is, else "
        "input.kind.",
    ),
]
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
CameraWeights = Annotated[
    str | None,
    typer.Option(help="Of --input auto: weights of color images; default: model.camera_weights."),
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


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """How a recording is read."""

    topic: Topic = None
    camera_info: CameraInfo = None
    color: Color = None
    imu: Imu = None
    tf_namespace: TfNamespace = None
    params_file: ParamsFile = None
    node: NodeName = NODE
    up: UpOption = None
    detection_frame: DetectionFrame = None

    @property
    def topics(self) -> Topics:
        """Which topics were asked for."""
        from sr3d_ros.bag.source import Topics

        names = (self.topic, self.camera_info, self.color, self.imu, self.tf_namespace)
        return Topics(*names, self.node)

    @property
    def way_up(self) -> Any:
        """The way up as `open_run` takes it: where nobody says one, it is found."""
        if self.up is None:
            return WayUp.AUTO.value if self.params_file is None else None
        return self.up.value

    @property
    def given(self) -> dict[str, object]:
        """The options by the parameters that they set; None = not given."""
        return {"frames.detection": self.detection_frame}


@dataclass(frozen=True, kw_only=True)
class Recording(Replayed):
    """How a recording is read, and what looks for objects in it."""

    input_kind: InputKind = None
    weights: Weights = None
    camera_weights: CameraWeights = None
    device: Device = None
    backend: Backend = None

    @property
    def given(self) -> dict[str, object]:
        """The options by the parameters that they set; None = not given."""
        return {
            **super().given,
            "input.kind": self.input_kind,
            "model.weights": self.weights,
            "model.camera_weights": self.camera_weights,
            "model.device": self.device,
            "model.backend": self.backend,
        }


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer can read it: each group of options by its options."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters = list[inspect.Parameter]()
    for parameter in inspect.signature(command).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=kind))
        else:
            parameters += _options_of(group)

    def run(**given: Any) -> None:
        made = {name: _made(group, given) for name, group in groups.items()}
        command(**made, **given)

    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, __name__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]


def _made(group: Any, given: dict[str, Any]) -> Any:
    """A group of what was given, which is taken out."""
    return group(**{field.name: given.pop(field.name) for field in fields(group)})
