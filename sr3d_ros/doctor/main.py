"""`ros2 run sr3d_ros doctor`: why does the detector not see anything? One screen, green or red.

    ros2 run sr3d_ros doctor
    ros2 run sr3d_ros doctor --node /front/sr3d_detector
    ros2 run sr3d_ros doctor --points /camera/camera/depth/color/points
    ros2 run sr3d_ros doctor --json --ros-args --params-file mine.yaml -p frames.up:=floor

It examines the detector that runs, with its parameters and topics; or, with the parameters and
remaps that it is given, what would run. The exit status is 1 where something failed. What a check
means and does is in `doctor/detector.py`, `doctor/topics.py`, `doctor/cloud.py` and, shared with
`sr3d doctor`, in `sr3d_core/machine/checks.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sr3d_core.machine import checks
from sr3d_core.machine.findings import Finding, as_record, fail, is_healthy, lines_of, ok, verdict
from sr3d_ros.doctor.findings import LOOKED_AT, Findings
from sr3d_ros.versions import REMEDY, installed

WAIT_S = 8.0
_INTERRUPTED = 130  # what shells call ended by Ctrl-C
_PACKAGES = {
    "sensor_msgs.msg": "sensor_msgs",
    "vision_msgs.msg": "vision_msgs",
    "visualization_msgs.msg": "visualization_msgs",
    "tf2_msgs.msg": "tf2_msgs",
    "tf2_ros": "tf2_ros_py",
    "diagnostic_updater": "diagnostic_updater",
}
"""Modules that the node imports, and the packages that bring them."""


def check_versions() -> Finding:
    """Which copies of our two packages run here; they are installed apart."""
    text, is_one_version = installed()
    return ok("versions", text) if is_one_version else fail("versions", text, REMEDY)


def check_ros() -> Finding:
    """Whether rclpy and the packages of ROS are there, and which ROS this is."""
    try:
        import rclpy
    except ImportError as error:
        remedy = "source /opt/ros/<distribution>/setup.bash, and use the Python that ROS uses"
        return fail("ros", f"rclpy does not import ({error})", remedy)
    missing = [package for module, package in _PACKAGES.items() if not _imports(module)]
    distribution = os.environ.get("ROS_DISTRO", "")
    if missing:
        packages = " ".join(
            f"ros-{distribution or '<distribution>'}-{name.replace('_', '-')}" for name in missing
        )
        return fail(
            "ros", f"these packages are missing: {', '.join(missing)}", f"apt install {packages}"
        )
    if not _imports("sr3d_ros.msg"):
        remedy = "colcon build --packages-select sr3d_ros, then source install/setup.bash"
        return fail("ros", "the messages of sr3d_ros are not built", remedy)
    middleware = rclpy.utilities.get_rmw_implementation_identifier()
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    return ok("ros", f"{distribution or 'ROS 2'}, {middleware}, domain {domain}")


def _imports(module: str) -> bool:
    from importlib import import_module

    try:
        import_module(module)
    except ImportError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine everything; the exit status."""
    given = list(sys.argv if arguments is None else arguments)
    options = _parse(given)
    quiet = options.json == "-"
    colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def tell(finding: Finding) -> None:
        if not quiet:
            print(lines_of(finding, colored), flush=True)

    findings = Findings(tell)
    try:
        _examine(findings, given, options)
    except KeyboardInterrupt:
        print("interrupted before all was examined", file=sys.stderr)
        return _INTERRUPTED
    _write(findings.all, options.json)
    healthy = is_healthy(findings.all)
    if not quiet:
        print(verdict(findings.all), flush=True)
    return 0 if healthy else 1


def _examine(findings: Findings, given: Sequence[str], options: argparse.Namespace) -> None:
    """This machine; then the robot, where ROS and torch are there to look at it."""
    findings.examine("python", checks.check_python)
    findings.examine("versions", check_versions)
    has_ros = findings.examine("ros", check_ros)
    has_torch = findings.examine("torch", checks.check_torch)
    has_packages = findings.examine("packages", checks.check_packages)
    if has_ros and has_torch and has_packages:
        from sr3d_ros.doctor.examination import examine_robot

        examine_robot(findings, given, options.node, options.points, options.wait)
    else:
        names = ("detector", "parameters", "gpu", "engine", "weights", *LOOKED_AT, "inference")
        findings.skip_rest(names, "python packages are missing")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Our own arguments; what follows --ros-args is the detector's."""
    parser = argparse.ArgumentParser(
        prog="ros2 run sr3d_ros doctor",
        description="Why does the detector not see anything? Examines this machine, the detector "
        "that runs, its topics, the transforms and one cloud. After --ros-args: parameters and "
        "remaps of a detector that is to be examined instead.",
        epilog="Exit status: 0 = detection works, also where the last line tells of warnings; "
        "1 = something failed; 2 = wrong arguments; 130 = Ctrl-C.",
    )
    parser.add_argument(
        "--node",
        default="",
        help="the detector to examine, such as /front/sr3d_detector, where several run; "
        "parameters after --ros-args come before its own",
    )
    parser.add_argument(
        "--points",
        default="",
        help="topic of the cloud (or depth image); default: what the detector listens to, or the "
        "only one there is",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=WAIT_S,
        help="seconds to wait for a detector, a topic, a message, a transform (default: 8)",
    )
    parser.add_argument(
        "--json", nargs="?", const="-", help="write JSON to a file; without a name to stdout"
    )
    return parser.parse_args(_without_ros_arguments(arguments)[1:])


def _without_ros_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments outside of `--ros-args ... [--]`; works where rclpy is missing, too."""
    kept: list[str] = []
    is_ros = False
    for argument in arguments:
        if argument == "--ros-args":
            is_ros = True
        elif is_ros and argument == "--":
            is_ros = False
        elif not is_ros:
            kept.append(argument)
    return kept


def _write(findings: Sequence[Finding], place: str | None) -> None:
    if place is None:
        return
    text = json.dumps(as_record(findings), indent=1) + "\n"
    if place == "-":
        sys.stdout.write(text)
    else:
        Path(place).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
