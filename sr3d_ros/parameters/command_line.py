"""What a command line gives to a node, and why ROS cannot take it, in words that help.

No ROS is imported; `arguments` are all that a process was started with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sr3d_core.plain_yaml import YamlError, read_yaml
from sr3d_ros.parameters.file import all_of_file, values_of_file
from sr3d_ros.parameters.rules import ParameterError

_NOTHING = ("", "[]", "~", "null")


def files_given(arguments: Sequence[str]) -> list[str]:
    """The parameter files, in their order."""
    return _given(arguments, "--params-file")


def files_for_others(arguments: Sequence[str], node: str) -> list[str]:
    """What is said of the files that hold nothing for a node; `node` is its full name."""
    said = []
    for path in files_given(arguments):
        try:
            values_of_file(path, node)
        except ParameterError as error:
            said.append(str(error))
    return said


def values_of_files(arguments: Sequence[str], node: str) -> dict[str, Any]:
    """What the files set of a node and `-p` does not set anew; raises `ParameterError`."""
    values: dict[str, Any] = {}
    for path in files_given(arguments):
        values |= values_of_file(path, node)
    named = {given.partition(":=")[0] for given in _given(arguments, "-p", "--param")}
    return {name: value for name, value in values.items() if name not in named}


def explained(error: Exception, arguments: Sequence[str]) -> ParameterError:
    """Why rclpy could not start with these arguments, or make a node of them."""
    if "NOT_SET" in str(error):
        where = ", ".join(_untyped(arguments)) or "a parameter file"
        return ParameterError(
            f"{where}: a value without a type, such as [] or nothing at all; leave the line out, "
            "or write [''] for no texts and six zeros for no region"
        )
    for path in files_given(arguments):
        try:
            read_yaml(Path(path), "a parameter file")
        except YamlError as reason:
            return ParameterError(str(reason))
    return ParameterError(str(error) or type(error).__name__)


def _given(arguments: Sequence[str], *flags: str) -> list[str]:
    return [value for flag, value in pairwise(arguments) if flag in flags]


def _untyped(arguments: Sequence[str]) -> Iterator[str]:
    """Parameters that have no value, each with its place."""
    for given in _given(arguments, "-p", "--param"):
        name, _, value = given.partition(":=")
        if value.strip() in _NOTHING:
            yield f"parameter {name} on the command line"
    for path in files_given(arguments):
        for name, value in all_of_file(path):
            if value is None or value == []:
                yield f"{path}: parameter {name}"
