"""`sr3d bag play`, `ros2 run sr3d_ros play`: publish a recording over ROS, with /clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr3d_core.console import one_line_errors, say
from sr3d_ros.bag.commands.options import BagPath

if TYPE_CHECKING:
    from sr3d_ros.bag.play.choice import Choice
    from sr3d_ros.bag.play.contents import Contents
    from sr3d_ros.bag.play.publishers import Publishers
    from sr3d_ros.bag.replay import Bag

ANY_ARGUMENTS = {"ignore_unknown_options": True}
"""So that what any node gets may follow: --ros-args -r /from:=/to."""
LATE_S = 0.5
"""From here on it is worth telling; less passes unseen."""
_NAMES = 'Names or patterns such as "/camera/*", with spaces between them'

RosArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[--ros-args ...]", help="As of any node, to remap topics: -r /from:=/to."
    ),
]


def play(
    bag: BagPath,
    ros_arguments: RosArguments = None,
    rate: Annotated[float, typer.Option(min=0.001, help="So many times as fast.")] = 1.0,
    start: Annotated[float, typer.Option(min=0, help="Begin so many seconds into it.")] = 0.0,
    duration: Annotated[float, typer.Option(min=0, help="Seconds to play; 0 = all.")] = 0.0,
    loop: Annotated[
        bool, typer.Option("--loop", help="Again and again, until Ctrl-C; /clock is set back.")
    ] = False,
    topics: Annotated[
        str, typer.Option(help=f"Topics to play. {_NAMES}; '' = all that can be played.")
    ] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Topic, or pattern of topics, to leave out; repeatable."),
    ] = None,
    wait_for: Annotated[
        str,
        typer.Option(
            metavar="NODE",
            help="Start when this node, such as /sr3d_detector, has subscribed to a topic of a "
            "camera, a cloud or an IMU; '' = at once.",
        ),
    ] = "",
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for that node; then play all the same.")
    ] = 60.0,
    delay: Annotated[
        float, typer.Option(min=0, help="Seconds to wait before it starts, after that.")
    ] = 0.0,
) -> None:
    """Publish a recording over ROS 2, with /clock: what `ros2 bag play --clock` does.

    For all that `sr3d bag` reads. Needs ROS: a shell with its setup.bash sourced.

    Example: sr3d bag play drive/ --rate 0.5 --topics "/camera/* /tf /tf_static"
    """
    arguments = ros_arguments or []
    if arguments and arguments[0] != "--ros-args":
        raise typer.BadParameter(f"{arguments[0]}: no such option")
    ros = _ros()
    with one_line_errors(RuntimeError):  # the latter of rclpy
        from sr3d_ros.bag.play.choice import choose
        from sr3d_ros.bag.play.contents import Contents
        from sr3d_ros.bag.replay import Bag

        with Bag(bag) as opened:
            num_said = _say_notes(opened, 0)
            choice = choose(opened.channels, topics.split(), exclude or [], ros.why_not)
            _say_choice(choice)
            contents = Contents(opened, choice, start_s=start, duration_s=duration, tell=say)
            publishers = ros.Publishers(choice, arguments)
            try:
                _play(
                    contents,
                    publishers,
                    rate,
                    loop,
                    lambda: _wait(publishers, wait_for, wait, delay),
                )
            except KeyboardInterrupt:
                say("stopped")
            finally:
                publishers.close()
                _say_notes(opened, num_said)  # met while it was read
                for topic, (count, first) in contents.left_out.items():
                    say(f"{topic}: {count} messages were left out; the first: {first}")


def _ros() -> Any:
    """The module that needs ROS; where there is none, one line and the end."""
    try:
        from sr3d_ros.bag.play import publishers
    except ImportError as error:
        say(
            f"error: this needs ROS 2, which does not import ({error}); source "
            "/opt/ros/<distribution>/setup.bash and use the Python that ROS uses, or look for "
            "objects without ROS: sr3d bag detect"
        )
        raise typer.Exit(1) from error
    return publishers


def _play(
    contents: Contents,
    publishers: Publishers,
    rate: float,
    loop: bool,
    get_ready: Callable[[], None],
) -> None:
    from sr3d_ros.bag.play.player import play
    from sr3d_ros.bag.play.timeline import Pace

    pace = Pace(rate)
    number = play(contents, publishers, pace, loop=loop, get_ready=get_ready)
    is_late = pace.late_s > LATE_S
    late = f", {pace.late_s:.1f} s late: more cannot be read or sent here" if is_late else ""
    say(f"played to the end: {number} messages{late}")


def _wait(publishers: Publishers, node: str, limit_s: float, delay_s: float) -> None:
    """Wait for a node that is named, then for the delay."""
    name = "/" + "/".join(filter(None, node.split("/")))
    if node and limit_s:
        say(f"waiting until {name} subscribes, {limit_s:g} s at most")
        if not publishers.wait_for(name, limit_s):
            say(
                f"{name} subscribed to nothing that is played of a camera, a cloud or an IMU; "
                "played all the same. Is it active, and are its topics those of the recording?"
            )
    time.sleep(delay_s)
    say("playing")


def _say_choice(choice: Choice) -> None:
    say(f"topics: {', '.join(topic.name for topic in choice.played)}")
    if choice.left_out:
        reasons = (f"{name} ({why})" for name, why in choice.left_out.items())
        say(f"left out: {', '.join(reasons)}")
    if choice.has_clock:
        say("time is that of the recording's own /clock")


def _say_notes(bag: Bag, num_said: int) -> int:
    """Say what is damaged of a recording beyond what was said; how much there is by now."""
    for note in bag.notes[num_said:]:
        say(note)
    return len(bag.notes)
