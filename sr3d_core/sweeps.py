"""One setting against accuracy, out of what a study has found: Figure 8 of arXiv 2511.16140.

A sweep is a setting in which three variants of a study or more differ, and in nothing else. Which
these are follows from their whole configurations, whatever the variants are called.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FEWEST = 3
_OF_A_SEED = "schedule.seed"


class SweepError(ValueError):
    """Figures of a study that show no sweep; the text names the file."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Mean average precision over the values of one setting, in percent."""

    key: str  # the setting
    data: str  # the scenes that were scored
    values: tuple[float, ...]  # rising
    variants: tuple[str, ...]
    means: Mapping[str, tuple[float, ...]]  # by measure, one of each value
    deviations: Mapping[str, tuple[float | None, ...]]  # over seeds, None of one seed

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "setting": self.key,
            "data": self.data,
            "values": list(self.values),
            "variants": list(self.variants),
            **{name: list(means) for name, means in self.means.items()},
            **{f"{name}_deviation": list(each) for name, each in self.deviations.items()},
        }


def read_sweeps(path: Path) -> list[Sweep]:
    """The sweeps in the study.json of a study. Raises SweepError where there is none, OSError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        sweeps = sweeps_of(found["variants"])
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise SweepError(
            f"{path}: not the figures of a study of this version, expected the study.json that "
            "`sr3d study` writes: run it again with the same --out, which trains nothing twice"
        ) from error
    if not sweeps:
        raise SweepError(
            f"{path}: no setting in which {_FEWEST} scored variants differ and in nothing else; "
            "add variants with other values of one setting"
        )
    return sweeps


def sweeps_of(variants: Mapping[str, Any]) -> list[Sweep]:
    """All sweeps, by setting, then by data; `variants` as in study.json."""
    scored = {name: row for name, row in variants.items() if _has_figures(row)}
    settings = {
        name: {key: value for key, value in row["configuration"].items() if key != _OF_A_SEED}
        for name, row in scored.items()
    }
    numbers = sorted({key for each in settings.values() for key in each if _is_number(each[key])})
    sources = list(dict.fromkeys(data for row in scored.values() for data in row["data"]))
    return [
        _sweep(key, data, names, scored, settings)
        for key in numbers
        for names in _groups(key, settings)
        for data in sources
    ]


def _has_figures(row: Mapping[str, Any]) -> bool:
    """Whether a variant was scored, on scenes with something to find."""
    figures = [measure["mean"] for of_data in row["data"].values() for measure in of_data.values()]
    return bool(figures) and None not in figures


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _groups(key: str, settings: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Variants that differ in one setting alone, the first of each of three values or more."""
    alike: dict[str, dict[float, str]] = {}
    for name, own in settings.items():
        if key in own and _is_number(own[key]):
            others = json.dumps({k: v for k, v in own.items() if k != key}, sort_keys=True)
            alike.setdefault(others, {}).setdefault(own[key], name)
    return [
        [by_value[value] for value in sorted(by_value)]
        for by_value in alike.values()
        if len(by_value) >= _FEWEST
    ]


def _sweep(
    key: str,
    data: str,
    names: list[str],
    scored: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
) -> Sweep:
    found = [scored[name]["data"][data] for name in names]
    measures = tuple(found[0])
    return Sweep(
        key,
        data,
        tuple(float(settings[name][key]) for name in names),
        tuple(names),
        {measure: tuple(row[measure]["mean"] for row in found) for measure in measures},
        {measure: tuple(row[measure]["deviation"] for row in found) for measure in measures},
    )
