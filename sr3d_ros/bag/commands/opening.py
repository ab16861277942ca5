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

Values = dict[str, Any]
"""Parameters by ROS name."""

_MAX_NOTES = 5
"""What is said about frames at the end, at most; some name a number that is each frame's own."""


def values_asked(params_file: Path | None, node: str, given: Mapping[str, object]) -> Values:
    """Parameters by ROS name: of a robot's file, and above them options that were given.

    `given` are options by the parameters that they set, None = not given. Raises
    `ParameterError`.
    """
    from sr3d_ros.parameters.file import parameters_of_file, values_of_file
    from sr3d_ros.parameters.record import Parameters

    values = dict[str, Any]()
    if params_file is not None:
        parameters_of_file(params_file, node)  # what is wrong in it is said of it
        values = values_of_file(params_file, node)
    values |= {name: value for name, value in given.items() if value is not None}
    Parameters.from_values(values)
    return values


def up_asked(up: WayUp | None, params_file: Path | None) -> Any:
    """The way up as `open_run` takes it: where nobody says one, it is found."""
    if up is None and params_file is None:
        up = WayUp.AUTO
    return None if up is None else up.value


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

    `given` as in `values_asked`, `one_class` and `num_views` as in `load_finder`.
    """
    from sr3d_ros.bag.finder import load_finder
    from sr3d_ros.bag.run import open_run
    from sr3d_ros.parameters.record import Parameters

    parameters = Parameters.from_values(values_asked(params_file, topics.node, given))
    finder = load_finder(parameters, one_class=one_class, num_views=num_views)
    chosen = up_asked(up, params_file)
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
