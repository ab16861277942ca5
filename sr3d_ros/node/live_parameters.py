"""The node's side of the parameters: declared with ranges, checked before they are applied.

Only the callback that every distribution has is used (`add_on_set_parameters_callback`): it runs
before values are stored, refuses with a reason, and hands an accepted set on as one record.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from sr3d_ros.parameters.record import (
    ClassRule,
    Parameters,
    class_of,
    class_specifications,
    specifications,
)
from sr3d_ros.parameters.rules import ParameterError, Specification, is_foreign

_REFUSAL = "; nothing was changed"
_CHANGES = {
    "live": "acts on the next frame",
    "load": "acts when the model is loaded: ~/load_model, or the next configure",
    "start": "fixed while the node runs",
}


class LiveParameters:
    """The node's parameters as one record, `values`, that follows what is set.

    The node was made with `automatically_declare_parameters_from_overrides=True`, so what it has
    already is what the user gave: names that nobody declares do not go unnoticed. `on_change` gets
    each new record; what it raises as ValueError refuses the change. Raises `ParameterError`.
    """

    def __init__(self, node: Node, on_change: Callable[[Parameters], None]) -> None:
        self._node = node
        self._on_change = on_change
        self._classes: Sequence[str] = ()  # of the model; none while there is no model
        self._declared: set[str] = set()  # parameters of classes, with their descriptors
        given = {
            name: parameter.value
            for name, parameter in node.get_parameters_by_prefix("").items()
            if not is_foreign(name)
        }
        self.values = Parameters.from_values(given)
        for specification in specifications():
            value = getattr(self.values, specification.attribute)
            self._declare(specification, value)
        node.add_on_set_parameters_callback(self._on_set)

    def declare_classes(self, classes: Sequence[str]) -> str:
        """Make `classes.<name>.*` of these classes settable; those of others go.

        Comes back with a warning about what was given for classes that are not there, or "".
        """
        self._classes = tuple(classes)
        specified = [entry for name in classes for entry in class_specifications(name)]
        for name in self._declared - {entry.name for entry in specified}:
            if name not in self._given_names():
                self._node.undeclare_parameter(name)
                self._declared.discard(name)
        for entry in specified:
            if entry.name not in self._declared:
                rule = self.values.rule_of(class_of(entry.name))
                self._declare(entry, getattr(rule, entry.attribute))
                self._declared.add(entry.name)
        rules = self.values.class_rules.items()
        unknown = [name for name, rule in rules if rule != ClassRule() and name not in classes]
        said = [f"classes.{name}.* is ignored: {_no_class(name, classes)}" for name in unknown]
        return "; ".join(said)

    def _require_known_classes(self, names: Iterable[str]) -> None:
        for name in names:
            class_name = class_of(name)
            if class_name and self._classes and class_name not in self._classes:
                raise ParameterError(f"parameter {name}: {_no_class(class_name, self._classes)}")

    def _given_names(self) -> set[str]:
        """Names of class parameters that say something else than the default."""
        rules = self.values.class_rules.items()
        given = [name for name, rule in rules if rule != ClassRule()]
        return {entry.name for name in given for entry in class_specifications(name)}

    def _declare(self, specification: Specification, value: Any) -> None:
        name = specification.name
        if self._node.has_parameter(name):
            self._node.undeclare_parameter(name)
        plain = list(value) if isinstance(value, tuple) else value
        self._node.declare_parameter(name, plain, _descriptor(specification), ignore_override=True)

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        ours = {each.name: each.value for each in changes if not is_foreign(each.name)}
        try:
            self._require_known_classes(ours)
            values = self.values.with_values(ours)
            if values != self.values:
                self._on_change(values)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=f"{error}{_REFUSAL}")
        self.values = values
        return SetParametersResult(successful=True)


def _no_class(name: str, classes: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, classes, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(classes)}"
    return f"the model has no class '{name}'; {hint}"


def _descriptor(specification: Specification) -> ParameterDescriptor:
    """What `ros2 param describe` shows."""
    descriptor = ParameterDescriptor(
        description=specification.description,
        additional_constraints=(
            f"expected {specification.expectation}; {_CHANGES[specification.changes]}"
        ),
        read_only=specification.changes == "start",
        # An empty list has no type of its own, so a list may change its type; see _on_set.
        dynamic_typing=isinstance(specification.default, tuple),
    )
    if specification.at_least is None or specification.at_most is None:
        return descriptor
    if isinstance(specification.default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=float(specification.at_least), to_value=float(specification.at_most)
            )
        ]
    elif isinstance(specification.default, int):
        descriptor.integer_range = [
            IntegerRange(
                from_value=int(specification.at_least), to_value=int(specification.at_most)
            )
        ]
    return descriptor
