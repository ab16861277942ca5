"""Messages become frames: the same rules for live topics and for recordings."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_depth_image import image as image_message
from test_pipeline import cloud

from sr3d_ros.assembler import Frame, FrameAssembler
from sr3d_ros.errors import Refused
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.camera_image import CameraView
from sr3d_ros.sensors.depth_image import DepthSet
from sr3d_ros.sensors.returns import share_of_returns

ONE, TWO = Parameters(), Parameters(extra_topics=("/rear/points",))
DEPTH = Parameters(kind="depth")


class Message(SimpleNamespace):
    """A subclass, because weak references to SimpleNamespace itself do not exist."""


def at(milliseconds: int) -> Any:
    """A message with a stamp."""
    stamp = SimpleNamespace(sec=0, nanosec=milliseconds * 1_000_000)
    return Message(header=SimpleNamespace(stamp=stamp, frame_id="camera"))


def frames(assembler: FrameAssembler, *arrivals: tuple[str, int]) -> list[Any]:
    """What is handed out, each view as its stamps; refusals as their reason and stamp."""
    found = [assembler.add(name, at(moment)) for name, moment in arrivals]
    return [entry for each in [*found, assembler.finish()] for entry in told(*each)]


def told(frame: Frame | None, refused: list[Refused]) -> list[Any]:
    shown: list[Any] = [(error.reason, error.stamp_ns) for error in refused]
    return shown if frame is None else [*shown, [moments(view) for view in frame]]


def moments(view: Any) -> Any:
    if isinstance(view, DepthSet):
        return [
            None if part is None else moments(part) for part in (view.depth, view.info, view.color)
        ]
    return view.header.stamp.nanosec // 1_000_000


def test_a_cloud_is_a_frame() -> None:
    assert FrameAssembler(ONE).topics == {"points": "~/input/points"}
    assert frames(FrameAssembler(ONE), ("points", 1), ("points", 2)) == [[1], [2]]


def test_clouds_of_two_cameras_are_one_frame_led_by_the_main_one() -> None:
    assembler = FrameAssembler(TWO)
    assert assembler.topics == {"points": "~/input/points", "points_2": "/rear/points"}
    assert frames(assembler, ("points_2", 0), ("points", 10)) == [[10, 0]]


def test_what_waits_for_another_camera_comes_in_the_end() -> None:
    assert frames(FrameAssembler(TWO), ("points", 0), ("points", 100)) == [[0], [100]]


def test_a_late_cloud_is_refused() -> None:
    arrivals = (("points", 0), ("points", 100), ("points_2", 10), ("points_2", 100))
    (first, late, both) = frames(FrameAssembler(TWO), *arrivals)
    assert (first, both, late[0]) == ([0], [100, 100], "unmatched")


def test_depth_images_go_without_color_until_one_comes() -> None:
    arrivals = (("camera_info", 0), ("depth", 1), ("color", 33), ("depth", 33), ("depth", 66))
    assert frames(FrameAssembler(DEPTH), *arrivals) == [
        [[1, 0, None]],
        [[33, 0, 33]],
        ("unmatched", 66_000_000),
    ]


def test_the_first_color_image_does_not_forget_a_camera_info_that_comes_once() -> None:
    arrivals = (("camera_info", 0), ("color", 5), ("depth", 5), ("color", 40), ("depth", 40))
    assert frames(FrameAssembler(DEPTH), *arrivals) == [[[5, 0, 5]], [[40, 0, 40]]]


def test_color_that_is_known_to_come_is_waited_for() -> None:
    arrivals = (("camera_info", 0), ("depth", 1), ("color", 2))
    assert frames(FrameAssembler(DEPTH, with_color=True), *arrivals) == [[[1, 0, 2]]]


def test_color_images_are_not_kept_where_no_depth_comes() -> None:
    assembler = FrameAssembler(DEPTH)
    images = [at(33 * tick) for tick in range(100)]
    watched = [weakref.ref(image) for image in images]
    for image in images:
        assembler.add("color", image)
    del image
    images.clear()
    gc.collect()
    assert sum(ref() is not None for ref in watched) <= 10  # as many as may wait for a partner


def test_a_message_without_a_header_is_refused_and_the_next_is_taken() -> None:
    assembler = FrameAssembler(TWO)
    frame, (error,) = assembler.add("points", None)
    assert (frame, error.reason) == (None, "header")
    assert frames(assembler, ("points", 1), ("points_2", 1)) == [[1, 1]]


def test_what_is_missing_is_named() -> None:
    assembler = FrameAssembler(DEPTH)
    assert assembler.advice() == ""
    assembler.add("depth", at(1))
    assert "camera_info" in assembler.advice()


def test_no_messages_are_no_frames() -> None:
    for parameters in (ONE, TWO, DEPTH):
        assert frames(FrameAssembler(parameters)) == []


# --- color images alone -------------------------------------------------------------------------

RGB, AUTO = Parameters(kind="rgb"), Parameters(kind="auto")
AUTO_DEPTH = Parameters(kind="auto", preferred="depth")


def arrived(assembler: FrameAssembler, *arrivals: tuple[str, Any, float]) -> list[str]:
    """What becomes of messages that come at a second: the kind of frame, or reasons."""
    told = []
    for name, message, at_s in arrivals:
        frame, refused = assembler.add(name, message, round(at_s * 1e9))
        kind = "" if frame is None else type(frame[0]).__name__
        told.append(" ".join([kind, *(error.reason for error in refused)]).strip())
    return told


def some_cloud(value: float = 1.0) -> Any:
    return cloud(np.full((14, 3), value))


def a_depth_image(millimetres: int, milliseconds: int) -> Any:
    pixels = np.full((2, 3), millimetres, np.uint16)
    return image_message(pixels, "16UC1", header=at(milliseconds).header)


def test_a_color_image_is_a_frame_with_the_newest_camera_info() -> None:
    assembler = FrameAssembler(RGB)
    assert assembler.topics == {"color": "~/input/color", "camera_info": "~/input/camera_info"}
    (without,), _ = assembler.add("color", at(1))
    assert without.info is None
    first, second = at(2), at(3)
    assert [assembler.add("camera_info", each) for each in (first, second)] == [(None, [])] * 2
    (found,), refused = assembler.add("color", at(9))
    assert isinstance(found, CameraView)
    assert (found.info is second, refused, found.header.stamp.nanosec) == (True, [], 9_000_000)
    assert assembler.finish() == (None, [])


def test_with_auto_the_camera_is_in_use_while_clouds_are_silent() -> None:
    assembler = FrameAssembler(AUTO)
    assert list(assembler.topics) == ["points", "color", "camera_info"]
    assert arrived(
        assembler,
        *(("points", some_cloud(), 0.0), ("color", at(1), 0.5), ("color", at(2), 1.1)),
        *(("points", some_cloud(), 1.2), ("color", at(3), 1.3)),
        *(("points", some_cloud(), 2.1), ("points", some_cloud(), 3.0)),
        *(("points", some_cloud(), 3.3), ("color", at(4), 3.4)),
    ) == [
        *("SimpleNamespace", "", "CameraView"),
        *("depth_not_steady", "CameraView"),
        *("depth_not_steady", "depth_not_steady"),
        *("SimpleNamespace", ""),
    ]


@pytest.mark.parametrize("holes", [some_cloud(0.0), some_cloud(np.nan), cloud(np.zeros((0, 3)))])
def test_clouds_of_holes_are_no_depth_but_are_detected_in_until_the_camera_steps_in(
    holes: Any,
) -> None:
    assert arrived(
        FrameAssembler(AUTO),
        *(("points", some_cloud(), 0.0), ("points", holes, 0.9), ("color", at(1), 1.0)),
        *(("points", holes, 1.1), ("color", at(2), 5.0)),
    ) == ["SimpleNamespace", "SimpleNamespace", "CameraView", "depth_not_steady", "CameraView"]


def test_a_depth_image_of_holes_is_told_apart_although_its_color_completes_the_frame() -> None:
    def moment(millimetres: int, at_s: float) -> list[tuple[str, Any, float]]:
        milliseconds = round(1e3 * at_s)
        depth = a_depth_image(millimetres, milliseconds)
        return [("depth", depth, at_s), ("color", at(milliseconds), at_s)]

    assembler = FrameAssembler(AUTO_DEPTH)
    assert list(assembler.topics) == ["depth", "camera_info", "color"]
    assert arrived(assembler, ("camera_info", at(0), 0.0)) == [""]
    assert arrived(assembler, *moment(900, 0.0)) == ["DepthSet", ""]  # color was not expected yet
    assert arrived(assembler, *moment(900, 0.2)) == ["", "DepthSet"]
    assert arrived(assembler, *moment(0, 0.8)) == ["", "DepthSet"]
    assert arrived(assembler, *moment(0, 1.3)) == ["", "CameraView depth_not_steady"]
    for at_s in (2.0, 2.9, 3.8):
        assert arrived(assembler, *moment(900, at_s)) == ["", "CameraView depth_not_steady"]
    assert arrived(assembler, *moment(900, 4.1)) == ["", "DepthSet"]


def test_what_waits_in_the_end_while_the_camera_is_in_use_is_counted() -> None:
    assembler = FrameAssembler(Parameters(kind="auto", extra_topics=("/rear/points",)))
    assert arrived(assembler, ("color", at(1), 0.0), ("color", at(2), 1.0)) == ["", "CameraView"]
    assert arrived(assembler, ("points", some_cloud(), 1.1)) == [""]
    frame, (error,) = assembler.finish()
    assert (frame, error.reason) == (None, "depth_not_steady")


def test_shares_of_returns_are_those_of_the_whole_cloud() -> None:
    rng = np.random.default_rng(0)
    xyz = np.where(rng.random((60_000, 1)) < 0.3, np.nan, 1.0 + rng.random((60_000, 3)))
    sent = cloud(xyz)
    assert share_of_returns(sent) == pytest.approx(0.7, abs=0.05)
    sent.height, sent.width, sent.row_step = 200, 300, 3600  # organised
    assert share_of_returns(sent) == pytest.approx(0.7, abs=0.05)
    sent.data = sent.data[:-1]
    assert share_of_returns(sent) == 0.0  # cannot be read
    zeros = cloud(np.zeros((5, 3)))
    assert (share_of_returns(zeros), share_of_returns(zeros, drop_zeros=False)) == (0.0, 1.0)
