"""A recording opened as the options say, and what is printed about its replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr3d_core.console import result_console, say
from sr3d_ros.bag.commands.options import WayUp

if TYPE_CHECKING:
    from sr3d_ros.bag.run import BagRun, Tally
    from sr3d_ros.bag.source import Topics

_MAX_NOTES = 5
"""What is said about frames at the end, at most; some name a number that is each frame's own."""


def head_of(bag: Path, run: BagRun) -> dict[str, object]:
    """What a result is about."""
    return {"bag": str(bag), "topic": run.topic, "model": run.parameters.weights}


@contextmanager
def opened(
    bag: Path,
    topics: Topics,
    params_file: Path | None,
    given: Mapping[str, object],
    up: WayUp | None,
    *,
    one_class: bool,
    num_views: int,
) -> Iterator[BagRun]:
    """The recording with a detector, and what there is to say about it.

    `given` are options by the parameters that they set, None = not given. `one_class`: boxes of
    different classes suppress each other, as on a robot; average precision is defined without.
    `num_views` are looked at of each frame and merged, which no robot does.
    """
    from dataclasses import replace

    from sr3d_core.merged_views import merge_views
    from sr3d_ros.bag.run import open_run
    from sr3d_ros.parameters.detector import load_detector
    from sr3d_ros.parameters.file import parameters_of_file
    from sr3d_ros.parameters.record import Parameters

    parameters = (
        Parameters() if params_file is None else parameters_of_file(params_file, topics.node)
    )
    if up is None and params_file is None:
        up = WayUp.AUTO
    options = {name: value for name, value in given.items() if value is not None}
    parameters = parameters.with_values(options)
    detector = load_detector(parameters)
    detector.postprocess = replace(detector.postprocess, one_class=one_class)
    chosen: Any = None if up is None else up.value
    finder = merge_views(detector, num_views)
    with open_run(
        bag, finder, topics=topics, up=chosen, parameters=parameters, one_class=one_class
    ) as run:
        for error in run.transform_errors[:1]:
            say(f"{len(run.transform_errors)} transforms left out; the first: {error}")
        for remark in run.remarks:
            say(remark)
        num_said = len(run.bag.notes)
        if parameters.adaptive:
            say("load.adaptive: the points of a frame follow this machine's speed, as on a robot")
        yield run
        for note in run.bag.notes[num_said:]:  # met while it was read
            say(note)


def print_tally(tally: Tally) -> None:
    """Times, drops and notes of a replay."""
    console = result_console()
    times = "  ".join(f"{name} {value:.1f}" for name, value in tally.latency_ms.items())
    console.print(f"latency, cloud to boxes (ms): {times}")
    for reason, count in tally.drops_by_reason.items():
        first = next(drop for drop in tally.dropped if drop.reason == reason)
        console.print(f"dropped, {reason}: {count}; the first: {first.text}", markup=False)
    for note in tally.notes[:_MAX_NOTES]:
        say(note)
    if len(tally.notes) > _MAX_NOTES:
        say(f"{len(tally.notes) - _MAX_NOTES} further notes are in the file of --json")
