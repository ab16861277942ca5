"""Which way is up in a recording that was not told: through its transforms, else from its floor.

As for files (`sr3d detect`): a cloud whose floor is level is left as it is, another one is turned
upon its floor, and where no floor is seen nothing is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

from sr3d_core.geometry.gravity import GravityError, up_rotation
from sr3d_core.structures import Detections
from sr3d_ros.assembler import FrameAssembler
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.replay import Bag, DroppedFrame, Source, replay
from sr3d_ros.frame_notes import is_optical
from sr3d_ros.parameters.declared import ParameterList
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.tf.headers import frame_name
from sr3d_ros.tf.recorded import RecordedTransforms
from sr3d_ros.tf.source import GRAVITY_FRAMES
from sr3d_ros.tf.up import UpMode

_NUM_TRIED = 20
"""Frames that are looked at, at most, in search of a floor."""


@dataclass(frozen=True, slots=True)
class FoundUp:
    """How to find up, and why."""

    mode: UpMode
    reason: str


def find_up(
    bag: Bag,
    source: Source,
    transforms: RecordedTransforms,
    parameters: Parameters,
    remark: str = "",
) -> FoundUp:
    """How to find up in what the source shows; raises `ReplayError` where that is not known.

    `remark` is what there is to say about the choice of the transforms' topics.
    """
    wanted = frame_name(parameters.detection_frame)
    if wanted or {*GRAVITY_FRAMES} & {*transforms.frames}:
        return FoundUp("tf", "")
    if parameters.kind == "rgb":
        raise ReplayError(
            f"{bag.path}: {source.topic}: which way is up? No z-up frame is among the transforms, "
            "and a color image shows no floor; say --up imu, or --detection-frame with a z-up "
            f"frame{'; ' * bool(remark)}{remark}"
        )
    # As they come: a region or another frame means something only once up is known.
    plain = replace(
        parameters,
        kind=parameters.preferred if parameters.kind == "auto" else parameters.kind,
        up="none",
        detection_frame="",
        target_frame="",
        memory_seconds=0.0,
        roi=ParameterList.roi,
        min_height_m=ParameterList.min_height_m,
        max_height_m=ParameterList.max_height_m,
    )
    look = FramePipeline(lambda _: Detections.empty(), transforms, plain)
    frames = replay(bag, source, FrameAssembler(plain), look, transforms)
    try:
        return _up_from_floor(frames, f"{bag.path}: {source.topic}", remark)
    finally:
        transforms.go_to_end()


def _up_from_floor(
    frames: Iterable[FrameResult | DroppedFrame], where: str, remark: str
) -> FoundUp:
    """From the first frame that shows a floor; `frames` are as they came, none is turned.

    Raises `ReplayError` that names the frame and the options, where no floor is seen or the frame
    has the name of a camera's and the floor of a robot's.
    """
    lead = f"{where}: which way is up? No z-up frame is among the transforms"
    frame_id = ""
    for frame in islice(frames, _NUM_TRIED):
        if isinstance(frame, DroppedFrame):
            continue
        frame_id = frame.gravity_frame
        if frame_id in GRAVITY_FRAMES:
            return FoundUp("none", f"no transforms: z of '{frame_id}' is up by its name (REP-105)")
        try:
            rotation, share = up_rotation(frame.cloud.xyz, is_from_sensor=True)
        except GravityError:
            continue
        angle = math.degrees(math.acos(max(-1.0, min(1.0, float(rotation[2, 2])))))
        floor = f"its floor ({share:.0%} of the surface)"
        if angle > 0.0:
            return FoundUp(
                "floor",
                f"no z-up frame among the transforms: '{frame_id}' is turned by {angle:.0f} "
                f"degrees upon {floor}; --up says otherwise",
            )
        if is_optical(frame_id):
            raise ReplayError(
                f"{lead}; '{frame_id}' has the name of a camera's frame, whose z points forward, "
                f"but {floor} is level in it: say --up none or --up floor"
            )
        return FoundUp(
            "none",
            f"no z-up frame among the transforms: z of '{frame_id}' is up, {floor} is level; "
            "--up says otherwise",
        )
    if not frame_id:
        return FoundUp("none", "")  # nothing can be read: the replay says why
    optical = ", whose name is that of a camera's with z forward" if is_optical(frame_id) else ""
    raise ReplayError(
        f"{lead}, and no floor is in the first clouds of '{frame_id}'{optical}; say --up none "
        "where its z points up, --up floor where later clouds show the floor, --up imu, or "
        f"--detection-frame with a z-up frame{'; ' * bool(remark)}{remark}"
    )
