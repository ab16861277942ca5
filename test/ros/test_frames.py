"""A frame in hand when the node is stopped: worked on to the end, not published, counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from processes import PATIENCE_S
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from sr3d_ros.diagnostics.counters import CloudCounters
from sr3d_ros.errors import STOPPED
from sr3d_ros.node.frames import Frames


class Bench:
    """Frames, and a detection that finds nothing and during which something happens."""

    def __init__(self) -> None:
        self.node = Node("frames_of_the_tests")
        self.counters = CloudCounters()
        self.is_wanted = True
        self.num_published = 0
        self.frames = Frames(
            self.node,
            self.counters,
            is_wanted=lambda _: self.is_wanted,
            on_done=lambda *_: None,
            on_trouble=lambda: None,
        )

    def send(self, meanwhile: Callable[[], None]) -> None:
        """Have one frame worked on; comes back when it is published or dropped."""

        def process(_: Any) -> Any:
            meanwhile()
            return SimpleNamespace(result=SimpleNamespace(detections=(), frame_id=""), summary="")

        def publish(_: Any) -> None:
            self.num_published += 1

        self.frames.start(SimpleNamespace(process=process, publish=publish))  # type: ignore[arg-type]
        self.frames.offer((PointCloud2(),))
        started_s = time.monotonic()
        while not self._is_counted():
            assert time.monotonic() - started_s < PATIENCE_S, "the frame is not counted"
            time.sleep(0.001)

    def _is_counted(self) -> bool:
        counts = self.counters.snapshot()
        return counts.processed + sum(counts.drops.values()) == counts.received


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.frames.close(PATIENCE_S)
    bench.node.destroy_node()


def test_a_frame_is_published(bench: Bench) -> None:
    bench.send(meanwhile=lambda: None)
    assert bench.num_published == bench.counters.snapshot().processed == 1


def test_a_frame_in_hand_is_not_published_once_the_node_was_stopped(bench: Bench) -> None:
    bench.send(meanwhile=bench.frames.stop)
    assert bench.num_published == 0
    assert bench.counters.snapshot().drops[STOPPED] == 1


def test_a_frame_in_hand_is_not_published_once_nobody_wants_it(bench: Bench) -> None:
    bench.send(meanwhile=lambda: setattr(bench, "is_wanted", False))
    assert bench.num_published == 0
    assert bench.counters.snapshot().drops[STOPPED] == 1
