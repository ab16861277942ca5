"""The gate of the node: nothing is published once it was told to stop."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from robot import Robot, cloud_message, room

from sr3d_core.structures import Detections
from sr3d_ros.diagnostics.counters import CloudCounters
from sr3d_ros.node.frames import Frames

PATIENCE_S = 60.0


class HeldProcessor:
    """A `FrameProcessor` whose frame stays in hand until it is let go."""

    def __init__(self) -> None:
        self.is_in_hand, self.may_go = threading.Event(), threading.Event()
        self.published: list[Any] = []

    def process(self, frame: Any) -> Any:
        self.is_in_hand.set()
        assert self.may_go.wait(PATIENCE_S)
        result = SimpleNamespace(detections=Detections.empty(), frame_id="camera", input="cloud")
        return SimpleNamespace(result=result, summary="0 objects")

    def publish(self, finished: Any) -> None:
        self.published.append(finished)


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_frame_in_hand_is_published_unless_the_node_was_stopped_meanwhile(
    robot: Robot, is_stopped: bool
) -> None:
    processor, counters, done = HeldProcessor(), CloudCounters(), list[int]()
    frames = Frames(
        robot.node,
        counters,
        is_wanted=lambda number: True,
        on_done=lambda number, text: done.append(number),
        on_trouble=lambda: None,
    )
    frames.start(processor)  # type: ignore[arg-type]
    frames.offer((cloud_message(room(), "camera", robot.now_ns()),))
    assert processor.is_in_hand.wait(PATIENCE_S)
    if is_stopped:
        frames.stop()
    processor.may_go.set()
    assert frames._worker.close(PATIENCE_S)
    counts = counters.snapshot()
    assert len(processor.published) == len(done) == counts.processed == (not is_stopped)
    assert counts.drops["stopped"] == is_stopped
