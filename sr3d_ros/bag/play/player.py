"""Plays a recording: one pass, or one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.play.contents import Contents
from sr3d_ros.bag.play.timeline import CLOCK_HZ, Pace, with_clock
from sr3d_ros.bag.storage.file import END_NS


class Output(Protocol):
    """Where messages go."""

    def publish(self, topic: str, data: bytes) -> None:
        """Publish a message in CDR on a topic of the choice."""

    def tell_time(self, time_ns: int) -> None:
        """Publish /clock, where the recording has none of its own."""


def play(
    contents: Contents,
    output: Output,
    pace: Pace,
    *,
    loop: bool = False,
    get_ready: Callable[[], None] = lambda: None,
) -> int:
    """Play it to its end, with `loop` again and again; the number of messages.

    What is latched is published first; then `get_ready` is waited for. In another pass time
    starts again, on /clock too. Raises `ReplayError` where there is nothing to play.
    """
    period_ns = round(1e9 * pace.rate / CLOCK_HZ)
    num_played = 0
    while True:
        for message in contents.before():
            output.publish(message.topic, message.data)
        if not num_played:
            get_ready()
        now_ns = contents.start_ns
        pace.begin(now_ns)
        for due_ns, event in with_clock(contents.messages(), contents.start_ns, period_ns):
            now_ns = due_ns
            pace.wait_until(now_ns)
            if event is None:
                output.tell_time(now_ns)
            else:
                output.publish(event.topic, event.data)
                num_played += 1
        if not num_played:
            until = "" if contents.stop_ns == END_NS else " in the part that was chosen"
            raise ReplayError(f"the topics that are played have no sound message{until}")
        if not loop:
            return num_played
        pace.wait_until(now_ns + period_ns)  # also where all have one time
