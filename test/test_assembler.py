"""Messages become frames: the same rules for live topics and for recordings."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

from sr3d_ros.assembler import Frame, FrameAssembler
from sr3d_ros.errors import Refused
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.depth_image import DepthSet

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
