"""Parameters: types, ranges, refusals in words; the shipped file names all of them."""

from __future__ import annotations

import array
import dataclasses
import math
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

from sr3d_ros.parameters.record import ClassRule, Parameters, class_of, specifications
from sr3d_ros.parameters.rules import ParameterError

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
    shipped = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in shipped_values().items()
    }
    assert shipped == {each.name: each.default for each in specifications()}


def test_no_list_of_the_shipped_file_is_empty_because_ros_cannot_type_it() -> None:
    assert all(value != [] for value in shipped_values().values())


def test_the_shipped_file_marks_what_can_change_while_the_node_runs() -> None:
    lines = PARAMETER_FILE.read_text().splitlines()
    for specification in specifications():
        name = specification.name.split(".")[1]
        group = group_of(lines, specification.name)
        (line,) = (each for each in group if each.startswith(f"      {name}: "))
        assert ("# * " in line) == (specification.changes == "live"), specification.name


def test_the_shipped_file_names_every_choice() -> None:
    lines = PARAMETER_FILE.read_text().splitlines()
    for specification in specifications():
        name = specification.name.split(".")[1]
        group = group_of(lines, specification.name)
        start = next(n for n, line in enumerate(group) if line.startswith(f"      {name}: "))
        after = takewhile(lambda line: line.strip().startswith("#"), group[start + 1 :])
        told = set(re.findall(r"\w+", " ".join([group[start], *after])))
        missing = set(map(str, specification.choices)) - told
        assert not missing, f"{specification.name}: {sorted(missing)} not in the comment"


def group_of(lines: list[str], name: str) -> list[str]:
    """The lines of the group that a parameter belongs to."""
    start = lines.index(f"    {name.split('.')[0]}:")
    rest = lines[start + 1 :]
    return rest[: rest.index("")] if "" in rest else rest


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
    with pytest.raises(ParameterError, match=r"qqq does not exist; known: lifecycle\.autostart, "):
        Parameters.from_values({"qqq": 1})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("filter.roi", 5, "5, expected a list of numbers"),
        ("filter.roi", ["a"], "['a'], expected a list of numbers"),
        ("filter.roi", [math.inf] * 6, "inf], expected a list of numbers"),
        ("input.extra_topics", [1], "[1], expected a list of texts"),
        ("input.extra_topics", "/points", "'/points', expected a list of texts"),
    ],
)
def test_a_wrong_list_is_refused_in_words(name: str, value: object, expected: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Parameters.from_values({name: value})
    assert f"{expected} (" in str(caught.value)


def test_a_list_comes_back_as_a_tuple_of_numbers() -> None:
    given = array.array("d", [0.0, 0.0, 0.0, 1.0, 2.0, 3.0])
    assert Parameters.from_values({"filter.roi": given}).roi == (0.0, 0.0, 0.0, 1.0, 2.0, 3.0)
    assert Parameters.from_values({"filter.roi": [0, 0, 0, 1, 2, 3]}).roi == (0, 0, 0, 1, 2, 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"filter.min_range_m": 5.0, "filter.max_range_m": 2.0},
            "filter.min_range_m: 5 is not below filter.max_range_m: 2; set both in one go",
        ),
        (
            {"filter.min_height_m": 2.0, "filter.max_height_m": 1.0},
            "filter.min_height_m: 2 is not below filter.max_height_m: 1",
        ),
        (
            {"filter.min_range_m": 2.0, "filter.max_range_m": 2.0},
            "filter.min_range_m: 2 is not below filter.max_range_m: 2",
        ),
        ({"filter.roi": [0.0, 1.0]}, "filter.roi: 2 numbers, expected six"),
        (
            {"filter.roi": [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]},
            "expected x0 < x1, y0 < y1 and z0 < z1; six zeros switch it off",
        ),
    ],
)
def test_values_at_odds_are_refused(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Parameters.from_values(values)
    assert expected in str(caught.value)


def test_a_largest_range_of_zero_is_no_limit() -> None:
    assert Parameters.from_values({"filter.min_range_m": 5.0}).max_range_m == 0.0


def test_a_class_has_its_own_threshold_and_can_be_switched_off() -> None:
    parameters = Parameters.from_values(
        {"classes.bed.enabled": False, "classes.chair.score_threshold": 0.5}
    )
    assert parameters.rule_of("bed") == ClassRule(enabled=False)
    assert parameters.rule_of("chair") == ClassRule(score_threshold=0.5)
    assert parameters.rule_of("desk") == ClassRule()


def test_what_is_said_about_a_class_adds_up() -> None:
    parameters = Parameters.from_values({"classes.bed.score_threshold": 0.5})
    changed = parameters.with_values({"classes.bed.enabled": False})
    assert changed.rule_of("bed") == ClassRule(enabled=False, score_threshold=0.5)
    assert parameters.rule_of("bed").enabled


@pytest.mark.parametrize("name", ["classes.bed.color", "classes.bed", "classes."])
def test_a_class_has_no_other_parameters(name: str) -> None:
    with pytest.raises(ParameterError, match="does not exist"):
        Parameters.from_values({name: True})


def test_a_wrong_value_for_a_class_is_refused() -> None:
    with pytest.raises(
        ParameterError, match=r"classes\.bed\.score_threshold: 2\.0, expected a num"
    ):
        Parameters.from_values({"classes.bed.score_threshold": 2.0})


def test_a_class_is_read_from_the_name_of_its_parameter() -> None:
    assert class_of("classes.night_stand.enabled") == "night_stand"
    assert class_of("output.markers") == ""


@pytest.mark.parametrize(
    ("name", "changes"),
    [("filter.roi", "live"), ("model.weights", "load"), ("frames.up", "start")],
)
def test_every_parameter_says_when_a_change_acts(name: str, changes: str) -> None:
    assert {s.name: s.changes for s in specifications()}[name] == changes


@pytest.mark.parametrize("specification", specifications(), ids=lambda s: s.name)
def test_every_default_is_allowed_and_described(specification: Any) -> None:
    assert specification.checked(specification.default) == specification.default
    assert specification.description
    assert "." in specification.name
