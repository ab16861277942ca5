"""What one parameter may be: its type, range or choices, when it may change, refusals in words.

Plain Python, no ROS: `declared.py` lists the parameters, `node/live_parameters.py` declares them.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

ParameterValue = bool | int | float | str | tuple[float, ...] | tuple[str, ...]

Changes = Literal["live", "load", "start"]
"""When a change acts: at the next frame, when the model is loaded anew, or at the next start."""

CLASS_PREFIX = "classes."
_FOREIGN = ("use_sim_time", "start_type_description_service")
_FOREIGN_GROUPS = ("qos_overrides.", "diagnostic_updater.")
_LIVE_GROUPS = (CLASS_PREFIX, "filter.", "load.", "map.", "memory.", "output.", "tracking.")
_LIVE = ("frames.target", "input.drop_zeros", "input.max_age_s", "input.max_points")
_LOAD_GROUP = "model."

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


class ParameterError(ValueError):
    """A parameter that cannot be used: unknown, of the wrong type, out of range or at odds."""


@dataclass(frozen=True, slots=True)
class Specification:
    """What is known about one parameter; `attribute` is its field of `Parameters`."""

    attribute: str
    name: str
    default: ParameterValue
    description: str
    changes: Changes
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def expectation(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        if isinstance(self.default, tuple):
            words = "a list of texts" if self._entry is str else "a list of numbers"
        else:
            words = _WORDS[type(self.default)]
        if self.at_least is not None:
            words += f" from {self.at_least:g} to {self.at_most:g}"
        return words

    def checked(self, value: object) -> ParameterValue:
        """The value with the right type; a whole number is fine where a number is expected.

        Lists come back as tuples. Raises `ParameterError`.
        """
        if isinstance(self.default, tuple) and _is_list(value):
            entries: Any = value
            found: Any = tuple(_as(self._entry, entry) for entry in entries)
            is_right = all(type(entry) is self._entry for entry in found)
        else:
            found = _as(type(self.default), value)
            is_right = type(found) is type(self.default)
        if not is_right or not self._allows(found):
            shown = list(found) if isinstance(found, tuple) else value
            raise ParameterError(
                f"parameter {self.name}: {shown!r}, expected {self.expectation} "
                f"({self.description}); correct it in the parameter file or on the command line"
            )
        return found

    @property
    def _entry(self) -> type:
        """Type of a list's entries; the defaults of lists are not empty."""
        assert isinstance(self.default, tuple)
        return type(self.default[0])

    def _allows(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        numbers = value if isinstance(value, tuple) else (value,)
        if self.at_least is None or self.at_most is None:
            return all(not isinstance(x, float) or math.isfinite(x) for x in numbers)
        return all(self.at_least <= number <= self.at_most for number in numbers)


def parameter(
    name: str,
    default: ParameterValue,
    description: str,
    *,
    between: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that carries everything that is known about a parameter."""
    at_least, at_most = between or (None, None)
    metadata = {
        "name": name,
        "description": description,
        "changes": changes_of(name),
        "at_least": at_least,
        "at_most": at_most,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata=metadata)


def changes_of(name: str) -> Changes:
    """When a change of a parameter acts, by its ROS name."""
    if name in _LIVE or name.startswith(_LIVE_GROUPS):
        return "live"
    return "load" if name.startswith(_LOAD_GROUP) else "start"


def is_foreign(name: str) -> bool:
    """Whether rclpy or another library looks after a parameter."""
    return name in _FOREIGN or name.startswith(_FOREIGN_GROUPS)


def unknown_name(name: str, known: Iterable[str]) -> str:
    """The refusal of a name that does not exist, with the one that was probably meant."""
    names = list(known)
    begun = [each for each in names if each.startswith(name)]  # a name that was cut short
    near = begun or difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"
    return f"parameter {name} does not exist; {hint}"


def _is_list(value: object) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__iter__")


def _as(kind: type, value: Any) -> Any:
    """A whole number as a number where one is expected; everything else as it is."""
    return float(value) if kind is float and type(value) is int else value
