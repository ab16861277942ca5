"""Parameters: types, ranges, refusals in words; the shipped file names all of them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from sr3d_ros.params import ParameterError, Parameters, specifications

PARAMETER_FILE = Path(__file__).parent.parent / "config" / "detector.param.yaml"


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested YAML groups as ROS flattens them: names joined by dots."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            values.update(flat(value, f"{prefix}{name}."))
        else:
            values[prefix + name] = value
    return values


def shipped_values() -> dict[str, Any]:
    return flat(yaml.safe_load(PARAMETER_FILE.read_text())["/**"]["ros__parameters"])


def test_nothing_given_is_all_defaults() -> None:
    assert Parameters.from_values({}) == Parameters()


def test_the_shipped_file_holds_every_parameter_with_its_default() -> None:
    defaults = {specification.name: specification.default for specification in specifications()}
    assert shipped_values() == defaults


def test_the_values_of_the_shipped_file_are_accepted() -> None:
    assert Parameters.from_values(shipped_values()) == Parameters()


def test_a_given_value_replaces_only_its_own_default() -> None:
    parameters = Parameters.from_values({"output.score_threshold": 0.6})
    assert parameters == dataclasses.replace(Parameters(), score_threshold=0.6)


def test_a_whole_number_is_fine_where_a_number_is_expected() -> None:
    value = Parameters.from_values({"frames.timeout_s": 1}).transform_timeout_s
    assert value == 1.0
    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("output.score_threshold", 1.5, "1.5, expected a number from 0 to 1"),
        ("output.score_threshold", -0.1, "-0.1, expected a number from 0 to 1"),
        ("output.score_threshold", math.nan, "nan, expected a number from 0 to 1"),
        ("output.score_threshold", "high", "'high', expected a number from 0 to 1"),
        ("input.max_points", 0, "0, expected a whole number from 1 to 1e+07"),
        ("input.max_points", 1000.0, "1000.0, expected a whole number from 1 to 1e+07"),
        ("input.max_points", True, "True, expected a whole number from 1 to 1e+07"),
        ("input.drop_zeros", 1, "1, expected true or false"),
        ("input.reliability", "tcp", "'tcp', expected one of 'best_effort', 'reliable'"),
        ("frames.target", 5, "5, expected a text"),
        ("model.weights", None, "None, expected a text"),
    ],
)
def test_a_wrong_value_is_refused_in_words(name: str, value: object, expected: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Parameters.from_values({name: value})
    assert str(caught.value).startswith(f"parameter {name}: {expected} (")


def test_the_ends_of_a_range_are_inside() -> None:
    for value in (0.0, 1.0):
        parameters = Parameters.from_values({"output.score_threshold": value})
        assert parameters.score_threshold == value


def test_a_misspelt_name_is_refused_with_the_right_one() -> None:
    with pytest.raises(ParameterError, match=r"input\.reliabilty does not exist; did you mean"):
        Parameters.from_values({"input.reliabilty": "reliable"})


def test_a_foreign_name_is_refused_with_the_list_of_names() -> None:
    with pytest.raises(ParameterError, match=r"qqq does not exist; known: model\.weights, "):
        Parameters.from_values({"qqq": 1})


@pytest.mark.parametrize("specification", specifications(), ids=lambda s: s.name)
def test_every_default_is_allowed_and_described(specification: Any) -> None:
    assert specification.checked(specification.default) == specification.default
    assert specification.description
    assert "." in specification.name
