"""The parameters of the detector on a robot and in recordings: one typed record.

Everything that works on frames reads this record; nothing keeps settings of its own. Values come
by ROS name from YAML files, launch, `-p`, `ros2 param set` or the options of `sr3d bag`. A name
that does not exist, a wrong type, a value out of range or two values at odds are refused with a
text that says what was expected. No ROS is imported.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sr3d_ros.parameters.declared import ParameterList
from sr3d_ros.parameters.rules import (
    CLASS_PREFIX,
    ParameterError,
    ParameterValue,
    Specification,
    changes_of,
    unknown_name,
)


@dataclass(frozen=True, slots=True)
class ClassRule:
    """What is wanted of one class: parameters `classes.<name>.enabled`, `.score_threshold`."""

    enabled: bool = True
    """Whether its boxes are reported."""
    score_threshold: float = 0.0
    """Its own threshold, 0..1; 0 = the general one."""


@dataclass(frozen=True, kw_only=True)
class Parameters(ParameterList):
    """Everything that can be set; raises `ParameterError` where that cannot be used."""

    class_rules: Mapping[str, ClassRule] = field(default_factory=dict)
    """What was said about classes, by class name; the others have `ClassRule()`."""

    def __post_init__(self) -> None:
        for specification in specifications():
            specification.checked(getattr(self, specification.attribute))
        _require_agreement(self)

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Parameters:
        """The record for values by ROS name; what is not named keeps its default.

        Raises `ParameterError`.
        """
        return cls().with_values(values)

    def with_values(self, values: Mapping[str, object]) -> Parameters:
        """The record with other values, by ROS name; raises `ParameterError`."""
        by_name = {specification.name: specification for specification in specifications()}
        changes: dict[str, ParameterValue] = {}
        rules = dict(self.class_rules)
        for name, value in values.items():
            specification = by_name.get(name)
            if specification is not None:
                changes[specification.attribute] = specification.checked(value)
                continue
            class_name = class_of(name)
            part = next((s for s in class_specifications(class_name) if s.name == name), None)
            if part is None:
                raise ParameterError(unknown_name(name, by_name))
            rule = rules.get(class_name, ClassRule())
            changed: dict[str, ParameterValue] = {part.attribute: part.checked(value)}
            rules[class_name] = dataclasses.replace(rule, **changed)  # type: ignore[arg-type]
        return dataclasses.replace(self, class_rules=rules, **changes)  # type: ignore[arg-type]

    @property
    def values(self) -> dict[str, ParameterValue]:
        """Every value by ROS name, without the classes'."""
        return {s.name: getattr(self, s.attribute) for s in specifications()}

    @property
    def region_m(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The corners x y z, in the detection frame, between which points are detected in.

        Where there is no limit they are infinite: six zeros of `filter.roi` are none, and so are
        the ends of the heights' range.
        """
        low = list(self.roi[:3]) if any(self.roi) else [-math.inf] * 3
        high = list(self.roi[3:]) if any(self.roi) else [math.inf] * 3
        if self.min_height_m > ParameterList.min_height_m:
            low[2] = max(low[2], self.min_height_m)
        if self.max_height_m < ParameterList.max_height_m:
            high[2] = min(high[2], self.max_height_m)
        return tuple(low), tuple(high)

    def rule_of(self, class_name: str) -> ClassRule:
        """What is wanted of a class."""
        return self.class_rules.get(class_name, ClassRule())


def specifications() -> tuple[Specification, ...]:
    """Every parameter of the node, in the order of the list, without the classes'."""
    return tuple(
        Specification(
            attribute=entry.name, default=getattr(ParameterList, entry.name), **entry.metadata
        )
        for entry in dataclasses.fields(ParameterList)
    )


def class_specifications(class_name: str) -> tuple[Specification, ...]:
    """The parameters of one class."""
    return (
        Specification(
            attribute="enabled",
            name=f"{CLASS_PREFIX}{class_name}.enabled",
            default=True,
            description=f"look for {class_name}",
            changes=changes_of(CLASS_PREFIX),
        ),
        Specification(
            attribute="score_threshold",
            name=f"{CLASS_PREFIX}{class_name}.score_threshold",
            default=0.0,
            description="boxes below this score are left out; 0 = as output.score_threshold",
            changes=changes_of(CLASS_PREFIX),
            at_least=0.0,
            at_most=1.0,
        ),
    )


def class_of(name: str) -> str:
    """The class that a parameter is about; "" if it is about none."""
    if not name.startswith(CLASS_PREFIX):
        return ""
    return name[len(CLASS_PREFIX) :].rpartition(".")[0]


def _require_agreement(parameters: Parameters) -> None:
    """Values that are fine alone may contradict each other."""
    if parameters.max_range_m > 0.0:
        _require_order(parameters, "filter.min_range_m", "filter.max_range_m")
    _require_order(parameters, "filter.min_height_m", "filter.max_height_m")
    if parameters.kind != "cloud" and parameters.object_clouds == "indices":
        raise ParameterError(
            "parameter output.object_clouds: 'indices' counts the points of a cloud, and "
            f"input.kind is {parameters.kind!r}; use 'clouds'"
        )
    roi = parameters.roi
    if len(roi) not in (0, 6):
        raise ParameterError(
            f"parameter filter.roi: {len(roi)} numbers, expected six: x0 y0 z0 x1 y1 z1, metres"
        )
    if any(roi) and not all(low < high for low, high in zip(roi[:3], roi[3:], strict=True)):
        raise ParameterError(
            f"parameter filter.roi: {list(roi)}, expected x0 < x1, y0 < y1 and z0 < z1; six "
            "zeros switch it off"
        )


def _require_order(parameters: Parameters, low_name: str, high_name: str) -> None:
    low, high = parameters.values[low_name], parameters.values[high_name]
    if low >= high:  # type: ignore[operator]
        raise ParameterError(
            f"parameter {low_name}: {low:g} is not below {high_name}: {high:g}; set both in one go"
        )
