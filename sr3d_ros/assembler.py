"""Which messages are one frame: the same rule for live topics and for recordings.

A *view* is what one camera saw at one stamp: a PointCloud2, a `DepthSet` of images, or a
`CameraView`, which has no depth. A *frame* is the views that are detected in together, one or
several.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sr3d_ros.errors import DEPTH_NOT_STEADY, UNMATCHED, MessageError, Refused
from sr3d_ros.fallback import Fallback
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.camera_image import CameraView
from sr3d_ros.sensors.compressed_depth import TRANSPORT, plain_depth
from sr3d_ros.sensors.depth_image import DepthSet
from sr3d_ros.sensors.returns import share_of_returns
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


_INPUTS = {
    "cloud": (POINTS,),
    "depth": (DEPTH, CAMERA_INFO, COLOR),
    "rgb": (COLOR, CAMERA_INFO),
}
"""What frames are made of by `input.kind`; the first one decides about them."""


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
    the first color image on, as a node cannot know whether one will come. With `input.kind` auto,
    `fallback` says whether frames are of depth or of color images alone.
    """

    def __init__(self, parameters: Parameters, *, with_color: bool = False) -> None:
        kind, self._parameters = parameters.kind, parameters
        main = parameters.preferred if kind == "auto" else kind
        self._is_depth, self._is_cloud = main == "depth", main == "cloud"
        self._has_camera = kind in ("rgb", "auto")
        self._info: Any = None  # of the camera, the newest
        self.fallback: Fallback | None = None
        if kind == "auto":
            self.fallback = Fallback(parameters.fallback_after_s, parameters.recover_after_s)
        names = [*_INPUTS[main], *(_INPUTS["rgb"] if self._has_camera else ())]
        self.topics: dict[str, str] = {name: f"~/input/{name}" for name in names}
        """What to `add`: inputs by name, each with its topic as the node calls it; the first one
        decides about frames."""
        extra = filter(None, parameters.extra_topics if self._is_cloud else ())
        self.topics |= {f"{POINTS}_{n}": topic for n, topic in enumerate(extra, start=2)}
        clouds = tuple(topic for name, topic in self.topics.items() if name.startswith(POINTS))
        self._window = FuseWindow(clouds, parameters.fuse_window_s)
        self._is_single = len(clouds) == 1
        self._matcher = StampMatcher(
            (DEPTH, CAMERA_INFO), parameters.match_tolerance_s, steady=(CAMERA_INFO,)
        )
        if with_color:
            self._matcher.expect(COLOR)

    def add(
        self, name: str, message: Any, received_ns: int = 0
    ) -> tuple[Frame | None, list[Refused]]:
        """Take a message of an input: the frame that is done now, and what can become none.

        `received_ns` is when it came, by any one clock; it counts where `input.kind` is auto.
        """
        try:
            frame, refused = self._with_depth(name, message)
        except Refused as error:
            return None, [error]
        now_s = 1e-9 * received_ns
        if frame is not None:
            frame, refused = self._wanted(frame, refused, now_s)
        image = self._of_camera(name, message, now_s)
        if image is None:
            return frame, refused
        # The image that completed a frame of holes may be the one that steps in for it.
        return image, refused if frame is None else [*refused, _not_steady(frame)]

    def finish(self) -> tuple[Frame | None, list[Refused]]:
        """The same for what still waits, where no further message will come."""
        if not self._is_depth:
            frame = self._window.hand_out() or None
            is_unwanted = self.fallback is not None and self.fallback.is_camera
            return (None, [_not_steady(frame)]) if frame and is_unwanted else (frame, [])
        advice = self._matcher.advice()
        self._matcher.give_up()
        return None, self._unmatched(advice)

    def advice(self) -> str:
        """What the next frame waits for in vain, in words; "" where it does not."""
        return self._matcher.advice() if self._is_depth else ""

    def _with_depth(self, name: str, message: Any) -> tuple[Frame | None, list[Refused]]:
        """A frame that is no color image alone; raises `Refused`."""
        if name.startswith(POINTS):
            if self._is_single:
                return (message,), []
            return self._window.add(self.topics[name], message), []
        if not self._is_depth:
            return None, []
        if name == COLOR:
            self._matcher.expect(COLOR)
        found = self._matcher.add(name, message)
        return (None if found is None else (_depth_set(found),)), self._unmatched()

    def _wanted(
        self, frame: Frame, refused: list[Refused], now_s: float
    ) -> tuple[Frame | None, list[Refused]]:
        """A frame of depth, unless the camera is in use."""
        if self.fallback is None:
            return frame, refused
        frame = (_plain(frame[0]), *frame[1:])
        share = share_of_returns(frame[0], drop_zeros=self._parameters.drop_zeros)
        # One without any return shows nothing, whatever the parameter says.
        is_usable = share > 0.0 and share >= self._parameters.min_return_share
        if self.fallback.depth_came(now_s, is_usable):
            return frame, refused
        return None, [*refused, _not_steady(frame)]

    def _of_camera(self, name: str, message: Any, now_s: float) -> Frame | None:
        """A frame of a color image alone, where one is wanted."""
        if not self._has_camera:
            return None
        if name == CAMERA_INFO:
            self._info = message
        if name != COLOR or not (self.fallback is None or self.fallback.image_came(now_s)):
            return None
        return (CameraView(message, self._info),)

    def _unmatched(self, advice: str = "") -> list[Refused]:
        """A refusal for each depth image that left without its partners."""
        what = advice or self._matcher.advice() or "a depth image came without its partners"
        images = self._matcher.take_unmatched()[DEPTH]
        return [Refused(UNMATCHED, what, stamp_of(image)) for image in images]


def _not_steady(frame: Frame) -> Refused:
    text = "the camera is in use until depth is steady"
    try:
        return Refused(DEPTH_NOT_STEADY, text, stamp_of(frame[0]))
    except MessageError:
        return Refused(DEPTH_NOT_STEADY, text)


def _plain(view: Any) -> Any:
    """A view whose depth is decompressed once; one that cannot be read is refused later."""
    if not isinstance(view, DepthSet):
        return view
    try:
        return DepthSet(plain_depth(view.depth), view.info, view.color)
    except MessageError:
        return view


def _depth_set(found: dict[str, Any]) -> DepthSet:
    return DepthSet(found[DEPTH], found[CAMERA_INFO], found.get(COLOR))
