"""Accuracy over one setting: which variants of a study form a sweep, and its drawing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_harness import assert_one_line_error, sr3d

from sr3d_core.config import flat_config
from sr3d_core.plots import sweep_plot
from sr3d_core.study.settings import Study
from sr3d_core.sweeps import read_sweeps, sweeps_of

STUDIES = Path(__file__).resolve().parent.parent / "config" / "study"


def row(
    configuration: dict[str, Any], figure: float | None = 50.0, *data: str, **spread: float
) -> dict[str, Any]:
    """A variant as study.json has it; AP25 is ten more than AP50."""
    of_data = {
        measure: {"mean": None if figure is None else figure + more, "deviation": None, **spread}
        for measure, more in (("ap25", 10.0), ("ap50", 0.0))
    }
    names = data or ("rooms",)
    return {"seeds": [1], "configuration": configuration, "data": dict.fromkeys(names, of_data)}


@pytest.mark.parametrize("file", ["paper.yaml", "paper_scannet.yaml"])
def test_the_papers_sweeps_are_those_of_its_figure(file: str) -> None:
    study = Study.read(STUDIES / file)
    variants = {name: row(flat_config(study.parsed(name))) for name in study.variants}
    found = {
        sweep.key: dict(zip(sweep.values, sweep.variants, strict=True))
        for sweep in sweeps_of(variants)
    }
    assert found == {
        "criterion.assigner.k": {4: "k4", 6: "both", 8: "k8", 10: "k10"},
        "criterion.assigner.mu": {0.5: "mu0.5", 1: "both", 2: "mu2", 4: "mu4"},
        "criterion.classification.beta": {0.5: "beta0.5", 1: "both", 2: "beta2"},
        "criterion.classification.tau": {0.01: "tau0.01", 0.1: "both", 1: "tau1"},
    }


def test_figures_belong_to_their_values() -> None:
    variants = {
        "b": row({"x.k": 2, "x.name": "n"}, 20.0),
        "c": row({"x.k": 10, "x.name": "n"}, 30.0),
        "a": row({"x.k": 1, "x.name": "n"}, 10.0),
    }
    (sweep,) = sweeps_of(variants)
    assert sweep.values == (1, 2, 10)
    assert sweep.variants == ("a", "b", "c")
    assert sweep.means == {"ap25": (20, 30, 40), "ap50": (10, 20, 30)}


@pytest.mark.parametrize(
    "third",
    [
        row({"k": 3, "other": 2}),  # differs in more than k
        row({"k": 2, "other": 1}),  # a value that is there
        row({"k": True, "other": 1}),  # no number
        row({"other": 1}),  # has no such setting
        row({"k": 3, "other": 1}, None),  # nothing was there to find
        {"seeds": [], "configuration": {"k": 3, "other": 1}, "data": {"rooms": {}}},  # failed
    ],
)
def test_two_values_are_no_sweep(third: dict[str, Any]) -> None:
    first, second = (row({"k": k, "other": 1}) for k in (1, 2))
    assert sweeps_of({"a": first, "b": second, "c": third}) == []


def test_seeds_are_no_setting() -> None:
    assert sweeps_of({str(k): row({"schedule.seed": k}) for k in range(4)}) == []


def test_every_source_of_scenes_has_its_own() -> None:
    variants = {str(k): row({"k": k}, 5.0, "rooms", "scannet") for k in (1, 2, 3)}
    assert [sweep.data for sweep in sweeps_of(variants)] == ["rooms", "scannet"]


@pytest.mark.parametrize("num", [1, 5])
def test_drawings_hold_any_number_of_them(num: int) -> None:
    variants = {
        f"{key}{k}": row({f"a.{key}": k, "b": key}, 40.0 + k, deviation=1.5)
        for key in "vwxyz"[:num]
        for k in (1, 2, 30)
    }
    found = sweeps_of(variants)
    assert len(found) == num
    assert sweep_plot(found).startswith(b"\x89PNG")


def test_the_command_prints_draws_and_writes(tmp_path: Path) -> None:
    variants = {f"k{k}": row({"criterion.assigner.k": k}, 40.0 + k) for k in (4, 6, 8)}
    path, out = tmp_path / "study.json", tmp_path / "sweeps.json"
    path.write_text(json.dumps({"variants": variants}))
    done = sr3d("sweeps", path, "--picture", tmp_path / "new" / "s.png", "--json", out)
    assert done.exit_code == 0, done.output
    assert "58.0" in done.output
    assert (tmp_path / "new" / "s.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(out.read_text()) == [read_sweeps(path)[0].to_dict()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ("study.json", "sr3d study")),
        ("[]", ("study.json", "sr3d study")),
        ('{"variants": {"a": {"seeds": [1], "data": {}, "settings": {}}}}', ("3",)),
        (
            json.dumps({"variants": {"a": {"seeds": [1], "data": row({})["data"]}}}),
            ("sr3d study", "this version"),
        ),
        ('{"variants": {}}', ("no setting", "3")),
    ],
)
def test_what_shows_no_sweep_is_told_in_one_line(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "study.json"
    path.write_text(text)
    assert_one_line_error(sr3d("sweeps", path), *words)
    assert_one_line_error(sr3d("sweeps", tmp_path / "none.json"), "none.json")
