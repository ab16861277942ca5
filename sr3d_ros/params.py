"""The node's parameters: one typed record, its ROS names, ranges and descriptions.

The record is the only list there is: the node declares its fields, `config/detector.param.yaml`
and the launch file are tested against it. Values come from YAML files, launch or `-p`; a name
that does not exist, a wrong type or a value out of range is refused with a text that says what
was expected. Parameters are fixed while the node runs. Nothing of ROS is imported before
`declare_parameters` is called.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

ParameterValue = bool | int | float | str

_FOREIGN_NAMES = ("use_sim_time", "start_type_description_service")
_FOREIGN_GROUPS = ("qos_overrides.", "diagnostic_updater.")


class ParameterError(ValueError):
    """A parameter that cannot be used: unknown, of the wrong type or out of range."""


@dataclass(frozen=True, slots=True)
class Specification:
    """What is known about one parameter; `attribute` is its field of `Parameters`."""

    attribute: str
    name: str
    default: ParameterValue
    description: str
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def expectation(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        words = kind[type(self.default)]
        if self.at_least is not None:
            words += f" from {self.at_least:g} to {self.at_most:g}"
        return words

    def checked(self, value: object) -> ParameterValue:
        """The value with the right type; a whole number is fine where a number is expected.

        Raises `ParameterError`.
        """
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(self.default) or not self._allows(value):
            raise ParameterError(
                f"parameter {self.name}: {value!r}, expected {self.expectation} "
                f"({self.description}); correct it in the parameter file or on the command line"
            )
        return value

    def _allows(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.at_least is None or self.at_most is None:
            return True
        return self.at_least <= value <= self.at_most


def _parameter(
    name: str,
    default: ParameterValue,
    description: str,
    *,
    between: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    at_least, at_most = between or (None, None)
    metadata = {
        "name": name,
        "description": description,
        "at_least": at_least,
        "at_most": at_most,
        "choices": choices,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Everything that can be set about the node."""

    weights: str = _parameter(
        "model.weights", "default", "weights file, or 'default' for the weights that ship"
    )
    device: str = _parameter(
        "model.device", "auto", "where the network runs: 'auto', 'cpu', 'cuda', 'cuda:1', ..."
    )
    backend: str = _parameter(
        "model.backend",
        "auto",
        "engine of the convolutions; auto = numba on a CPU, triton on a GPU, else torch",
        choices=("auto", "torch", "numba", "triton", "torchsparse", "spconv"),
    )
    num_threads: int = _parameter(
        "model.num_threads", 0, "CPU threads of the network; 0 = torch's choice", between=(0, 256)
    )
    reliability: Literal["best_effort", "reliable"] = _parameter(
        "input.reliability",
        "best_effort",
        "QoS of the cloud subscription; best_effort matches every publisher",
        choices=("best_effort", "reliable"),
    )
    max_age_s: float = _parameter(
        "input.max_age_s",
        0.0,
        "clouds with an older stamp are dropped, seconds; 0 = no limit",
        between=(0.0, 3600.0),
    )
    silence_warning_s: float = _parameter(
        "input.silence_warning_s",
        5.0,
        "warn when no cloud has come for so long, seconds; 0 = never",
        between=(0.0, 3600.0),
    )
    max_points: int = _parameter(
        "input.max_points",
        200_000,
        "larger clouds are thinned evenly to this many points",
        between=(1, 10_000_000),
    )
    drop_zeros: bool = _parameter(
        "input.drop_zeros", True, "treat points at exactly (0, 0, 0) as 'no return'"
    )
    detection_frame: str = _parameter(
        "frames.detection",
        "",
        "z-up frame to detect in; '' = the first of base_footprint, base_link, odom, map that "
        "is known; 'none' = the cloud's own frame is z up",
    )
    target_frame: str = _parameter(
        "frames.target", "", "frame of the published boxes; '' = the frame of the cloud"
    )
    transform_timeout_s: float = _parameter(
        "frames.timeout_s",
        0.2,
        "how long one cloud may wait for its transform, seconds",
        between=(0.0, 10.0),
    )
    score_threshold: float = _parameter(
        "output.score_threshold", 0.3, "boxes below this score are left out", between=(0.0, 1.0)
    )
    class_id_as: Literal["name", "index"] = _parameter(
        "output.class_id_as",
        "name",
        "what ObjectHypothesis.class_id holds: the class's name or its index in ~/label_info",
        choices=("name", "index"),
    )
    publish_markers: bool = _parameter("output.markers", True, "publish ~/output/markers for rviz")

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Parameters:
        """The record for values by ROS name; what is not named keeps its default.

        Raises `ParameterError`.
        """
        by_name = {specification.name: specification for specification in specifications()}
        for name in values:
            if name not in by_name:
                raise ParameterError(_unknown(name, list(by_name)))
        return cls(
            **{
                by_name[name].attribute: by_name[name].checked(value)  # type: ignore[arg-type]
                for name, value in values.items()
            }
        )


def specifications() -> tuple[Specification, ...]:
    """Every parameter of the node, in the order of the record."""
    return tuple(
        Specification(
            attribute=field.name, default=getattr(Parameters, field.name), **field.metadata
        )
        for field in dataclasses.fields(Parameters)
    )


def declare_parameters(node: Any) -> Parameters:
    """Declare every parameter on a ROS node, with ranges, and return the values.

    The node was made with `automatically_declare_parameters_from_overrides=True`, so what it
    has already is what the user gave: names that nobody declares do not go unnoticed.
    Raises `ParameterError`.
    """
    given = {
        name: parameter.value
        for name, parameter in node.get_parameters_by_prefix("").items()
        if name not in _FOREIGN_NAMES and not name.startswith(_FOREIGN_GROUPS)
    }
    parameters = Parameters.from_values(given)
    for specification in specifications():
        if specification.name in given:
            node.undeclare_parameter(specification.name)
        node.declare_parameter(
            specification.name,
            getattr(parameters, specification.attribute),
            _descriptor(specification),
            ignore_override=True,
        )
    return parameters


def _descriptor(specification: Specification) -> Any:
    """What `ros2 param describe` shows."""
    messages = import_module("rcl_interfaces.msg")
    descriptor = messages.ParameterDescriptor(
        description=specification.description,
        additional_constraints=f"expected {specification.expectation}",
        read_only=True,
    )
    if specification.at_least is None or specification.at_most is None:
        return descriptor
    if isinstance(specification.default, float):
        descriptor.floating_point_range = [
            messages.FloatingPointRange(
                from_value=float(specification.at_least), to_value=float(specification.at_most)
            )
        ]
    else:
        descriptor.integer_range = [
            messages.IntegerRange(
                from_value=int(specification.at_least), to_value=int(specification.at_most)
            )
        ]
    return descriptor


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"parameter {name} does not exist; {hint}"
