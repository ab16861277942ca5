"""A recording opened as the options say, and what is printed about its replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr3d_core.console import result_console, say
from sr3d_ros.bag.commands.options import Recording, Replayed

if TYPE_CHECKING:
    from sr3d_core.evaluate import FindsObjects
    from sr3d_ros.bag.run import BagRun, Tally
    from sr3d_ros.parameters.record import Parameters

Values = dict[str, Any]
"""Parameters by ROS name."""

_MAX_NOTES = 5
"""What is said about frames at the end, at most; some name a number that is each frame's own."""


def values_asked(recording: Replayed, more: Mapping[str, object]) -> Values:
    """Parameters by ROS name: of a robot's file, and above them options that were given.

    `more` are options that not every command has, by the parameters that they set, None = not
    given. Raises `ParameterError`.
    """
    from sr3d_ros.parameters.file import parameters_of_file, values_of_file
    from sr3d_ros.parameters.record import Parameters

    values = dict[str, Any]()
    if recording.params_file is not None:
        where = (recording.params_file, recording.node)
        parameters_of_file(*where)  # what is wrong in it is said of it
        values = values_of_file(*where)
    given = {**recording.given, **more}
    asked = {name: value for name, value in given.items() if value is not None}
    kind = asked.get("input.kind", values.get("input.kind"))
    values |= _asked_of(kind, asked)
    Parameters.from_values(values)
    return values


_OF_IMAGES = {
    "model.weights": "model.camera_weights",
    "output.score_threshold": "output.rgb_score_threshold",
}
"""Parameters that color images have of their own: the same options set them."""


def _asked_of(kind: object, asked: Mapping[str, object]) -> Values:
    """Options by the parameters that they set, for this `input.kind`."""
    camera = asked.get("model.camera_weights")
    if kind == "auto":
        score = asked.get("output.score_threshold")
        both = {} if score is None else {"output.rgb_score_threshold": score}
        return {**asked, **both}
    if camera is not None:
        raise ValueError(
            f"--camera-weights {camera}: of --input auto, where clouds and color images are "
            "detected in; expected --weights for one kind of input"
        )
    return _of_images(asked) if kind == "rgb" else dict(asked)


def _of_images(asked: Mapping[str, object]) -> Values:
    """Options by the parameters that they set where color images are detected in."""
    if asked.get("memory.seconds"):
        raise ValueError(
            f"--memory {asked['memory.seconds']} puts clouds together, and color images are "
            "detected in; leave it out"
        )
    return {_OF_IMAGES.get(name, name): value for name, value in asked.items()}


@contextmanager
def opened(
    bag: Path,
    recording: Recording,
    more: Mapping[str, object],
    *,
    one_class: bool,
    num_views: int,
    falls_back: bool = False,
) -> Iterator[BagRun]:
    """The recording with a detector, and what there is to say about it.

    `more` as in `values_asked`, `one_class` and `num_views` as in `load_finder`. `falls_back`:
    with `input.kind` auto color images step in for depth, as on a robot; it is refused otherwise.
    """
    from sr3d_ros.bag.finder import load_camera_finder, load_finder
    from sr3d_ros.parameters.record import Parameters

    parameters = Parameters.from_values(values_asked(recording, more))
    finder = load_finder(parameters, one_class=one_class, num_views=num_views)
    camera = None
    if falls_back:
        camera = load_camera_finder(parameters, finder, one_class=one_class)
    with replayed(bag, recording, parameters, finder, one_class=one_class, camera=camera) as run:
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


def replayed(
    bag: Path,
    recording: Replayed,
    parameters: Parameters,
    finder: FindsObjects,
    *,
    one_class: bool,
    camera: FindsObjects | None = None,
) -> AbstractContextManager[BagRun]:
    """The recording as its options say, with a detector; nothing is said about it."""
    from sr3d_ros.bag.run import open_run

    return open_run(
        bag,
        finder,
        topics=recording.topics,
        up=recording.way_up,
        parameters=parameters,
        one_class=one_class,
        camera=camera,
    )


def print_tally(tally: Tally) -> None:
    """Times, drops and notes of a replay."""
    console = result_console()
    times = "  ".join(f"{name} {value:.1f}" for name, value in tally.latency_ms.items())
    what = "image" if set(tally.inputs) == {"rgb"} else "cloud"
    console.print(f"latency, {what} to boxes (ms): {times}")
    for reason, count in tally.drops_by_reason.items():
        first = next(drop for drop in tally.dropped if drop.reason == reason)
        console.print(f"dropped, {reason}: {count}; the first: {first.text}", markup=False)
    if len(tally.inputs) > 1:
        counts = ", ".join(f"{number} {name}" for name, number in sorted(tally.inputs.items()))
        say(f"frames by what they were made of: {counts}")
    if tally.num_empty:
        say(
            f"{tally.num_empty} of {len(tally.time_ms)} clouds have no point to detect in: they "
            "are empty, not a number, or outside the range and region of the parameters"
        )
    for note in tally.notes[:_MAX_NOTES]:
        say(note)
    if len(tally.notes) > _MAX_NOTES:
        say(f"{len(tally.notes) - _MAX_NOTES} further notes are in the file of --json")
