"""Which messages are one frame: the same rule for live topics and for recordings.

A *view* is what one camera saw at one stamp: a PointCloud2, or a `DepthSet` of images. A *frame*
is the views that are detected in together, one or several.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sr3d_ros.errors import UNMATCHED, Refused
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.compressed_depth import TRANSPORT
from sr3d_ros.sensors.depth_image import DepthSet
from sr3d_ros.sensors.ros_names import CLOUD_TYPE, COMPRESSED_IMAGE_TYPE, IMAGE_TYPE, INFO_TYPE
from sr3d_ros.sensors.sync import FuseWindow, StampMatcher
from sr3d_ros.tf.headers import stamp_of

Frame = tuple[Any, ...]
"""Views that are detected in together; the first decides stamp and frame id."""

POINTS, DEPTH, CAMERA_INFO, COLOR = "points", "depth", "camera_info", "color"
"""Inputs that a frame is made of, by the names that the node's topics and options have."""

DEPTH_TYPES = {"raw": IMAGE_TYPE, TRANSPORT: COMPRESSED_IMAGE_TYPE}
"""Types of depth images by `input.depth_transport`."""

COLOR_TYPES = {"raw": IMAGE_TYPE, "compressed": COMPRESSED_IMAGE_TYPE}
"""Types of color images by `input.color_transport`."""


def type_of(name: str, parameters: Parameters) -> str:
    """The type of an input's messages; every other input is one of clouds."""
    if name == DEPTH:
        return DEPTH_TYPES[parameters.depth_transport]
    if name == COLOR:
        return COLOR_TYPES[parameters.color_transport]
    return INFO_TYPE if name == CAMERA_INFO else CLOUD_TYPE


def depth_setting(wanted: str, found: Collection[str]) -> str:
    """The parameter that reads depth where one type was expected and others came; "" = none."""
    transports = [name for name, kind in DEPTH_TYPES.items() if kind in found and kind != wanted]
    if not transports or wanted not in (CLOUD_TYPE, *DEPTH_TYPES.values()):
        return ""
    kind = "input.kind:=depth, the topic at ~/input/depth, " if wanted == CLOUD_TYPE else ""
    return f"depth images there are read with {kind}input.depth_transport:={transports[0]}"


def color_setting(wanted: str, found: Collection[str]) -> str:
    """The parameter that reads color where one type was expected and only others come; or ""."""
    transports = [name for name, kind in COLOR_TYPES.items() if kind in found and kind != wanted]
    if not transports or wanted in found:
        return ""
    return f"color images there are read with input.color_transport:={transports[0]}"


class FrameAssembler:
    """Puts messages together into frames, driven by the messages alone: no clock, no threads.

    `with_color`: a frame of depth images waits for its color image from the start; otherwise from
    the first color image on, as a node cannot know whether one will come.
    """

    def __init__(self, parameters: Parameters, *, with_color: bool = False) -> None:
        self._is_depth = parameters.kind == "depth"
        names = (DEPTH, CAMERA_INFO, COLOR) if self._is_depth else (POINTS,)
        extra = () if self._is_depth else filter(None, parameters.extra_topics)
        self.topics: dict[str, str] = {name: f"~/input/{name}" for name in names}
        """What to `add`: inputs by name, each with its topic as the node calls it; the first one
        decides about frames."""
        self.topics |= {f"{POINTS}_{n}": topic for n, topic in enumerate(extra, start=2)}
        self._window = FuseWindow(tuple(self.topics.values()), parameters.fuse_window_s)
        self._matcher = StampMatcher(
            (DEPTH, CAMERA_INFO), parameters.match_tolerance_s, steady=(CAMERA_INFO,)
        )
        if with_color:
            self._matcher.expect(COLOR)

    def add(self, name: str, message: Any) -> tuple[Frame | None, list[Refused]]:
        """Take a message of an input: the frame that is done now, and what can become none."""
        try:
            if not self._is_depth:
                return self._add_cloud(name, message), []
            if name == COLOR:
                self._matcher.expect(COLOR)
            found = self._matcher.add(name, message)
        except Refused as error:
            return None, [error]
        frame = None if found is None else (_depth_set(found),)
        return frame, self._unmatched()

    def finish(self) -> tuple[Frame | None, list[Refused]]:
        """The same for what still waits, where no further message will come."""
        if not self._is_depth:
            return self._window.hand_out() or None, []
        advice = self._matcher.advice()
        self._matcher.give_up()
        return None, self._unmatched(advice)

    def advice(self) -> str:
        """What the next frame waits for in vain, in words; "" where it does not."""
        return self._matcher.advice() if self._is_depth else ""

    def _add_cloud(self, name: str, cloud: Any) -> Frame | None:
        return (cloud,) if len(self.topics) == 1 else self._window.add(self.topics[name], cloud)

    def _unmatched(self, advice: str = "") -> list[Refused]:
        """A refusal for each depth image that left without its partners."""
        what = advice or self._matcher.advice() or "a depth image came without its partners"
        images = self._matcher.take_unmatched()[DEPTH]
        return [Refused(UNMATCHED, what, stamp_of(image)) for image in images]


def _depth_set(found: dict[str, Any]) -> DepthSet:
    return DepthSet(found[DEPTH], found[CAMERA_INFO], found.get(COLOR))
