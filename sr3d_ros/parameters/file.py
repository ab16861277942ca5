"""Parameter files as `ros2 run` takes them, read without ROS, so that recordings go the same way.

    /**:                          # every node
      ros__parameters:
        output: {score_threshold: 0.4}
    /front/sr3d_detector:         # this one; what comes later wins
      ros__parameters:
        input.max_points: 100000

Of a file with sections for other nodes too, those count that fit the node's name. A key that
stands twice is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sr3d_core.plain_yaml import YamlError, read_yaml
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.parameters.rules import ParameterError, is_foreign

NODE = "sr3d_detector"
_KEY = "ros__parameters"
_WILDCARDS = {"*": "/[^/]+", "**": "(?:/[^/]+)*"}


def values_of_file(path: str | Path, node: str = NODE) -> dict[str, Any]:
    """What a file sets of a node, by ROS name; raises `ParameterError` that names the file.

    `node` is its name alone, or with its namespace: "/sr3d_detector" is the one without any. What
    other libraries look after, such as use_sim_time, is left out.
    """
    path = Path(path)
    sections = _read(path)
    fitting = [(name, tree) for name, tree in sections if _fits(name, node)]
    named = sorted({name for name, _ in fitting if "*" not in name})
    if len(named) > 1:
        raise ParameterError(
            f"{path}: {' and '.join(named)} both fit the node '{node}'; say which one is meant, "
            f"with its namespace: {named[0]}"
        )
    if not fitting:
        others = ", ".join(dict.fromkeys(name for name, _ in sections))
        raise ParameterError(
            f"{path}: nothing for the node '{node}', but for {others or 'nobody'}; "
            f"expected '/**:' or '{node}:' with '{_KEY}:' below it"
        )
    values = {name: value for _, tree in fitting for name, value in _leaves(tree, "")}
    return {name: value for name, value in values.items() if not is_foreign(name)}


def all_of_file(path: str | Path) -> list[tuple[str, Any]]:
    """All that a file sets, for whichever node; raises `ParameterError`."""
    return [leaf for _, tree in _read(Path(path)) for leaf in _leaves(tree, "")]


def parameters_of_file(path: str | Path, node: str = NODE) -> Parameters:
    """The parameters that a file sets, the others at their defaults; raises `ParameterError`."""
    try:
        return Parameters.from_values(values_of_file(path, node))
    except ParameterError as error:
        text = str(error)
        raise ParameterError(text if str(path) in text else f"{path}: {text}") from error


def _read(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """What a file says to whom; a node may have several sections, as `a/b:` and `a: b:`."""
    try:
        tree = read_yaml(path, "a parameter file")
    except YamlError as error:
        raise ParameterError(str(error)) from error
    return list(_sections(tree, "", path)) if tree is not None else []


def _sections(tree: Any, name: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is said to whom, in the file's order; namespaces may be nested."""
    if not isinstance(tree, Mapping):
        raise ParameterError(
            f"{path}: {name or 'the file'} holds {tree!r}, expected node names with '{_KEY}:' "
            "below them; see config/detector.param.yaml"
        )
    for key, below in tree.items():
        if key == _KEY:
            if not isinstance(below, Mapping):
                raise ParameterError(f"{path}: {_KEY} of {name} is {below!r}, expected parameters")
            yield name, below
        else:
            yield from _sections(below, f"{name.rstrip('/')}/{str(key).strip('/')}", path)


def _fits(section: str, node: str) -> bool:
    """Whether a section is for a node: as in rcl, `*` is one name, `**` any number of them."""
    names = section.strip("/").split("/")
    if "/" not in node:  # in whichever namespace it may run
        return names[-1] in (node, *_WILDCARDS)
    pattern = "".join(_WILDCARDS.get(name, f"/{re.escape(name)}") for name in names)
    return re.fullmatch(pattern, node) is not None


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Parameters by their dotted names."""
    for key, below in tree.items():
        if isinstance(below, Mapping):
            yield from _leaves(below, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", below
