"""What a study has found, as one table in Markdown and as JSON.

Means and standard deviations are over seeds; of a training that is tested several times, its mean
over the tests counts. The best is that of all tests of all seeds, as published figures have it.
The note compares each seed with the same seed of the first variant, in the first test, on the same
scenes, and of those that the study names: how often the interval of the difference leaves out 0.
Such an interval knows how scenes differ, not how seeds do; for that there is the spread, and in
the note the interval that Student's t gives the mean difference of the pairs of equal seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import t as student

from sr3d_core.config import flat_config
from sr3d_core.evaluate import plain_number
from sr3d_core.paired import Difference, Draws
from sr3d_core.study.run import Outcome
from sr3d_core.study.scores import Scores

MEASURES = ("ap25", "ap50")
_PROBES = (("miou", 100.0, 1), ("nearest", 100.0, 1), ("height", 1.0, 2), ("border", 1.0, 2))
"""Of the rows of probes the figures, what they are multiplied by, and their digits."""
_OF_IMAGES = {
    "AP25 at true depth": ("ap25_at_true_depth", 1),
    "AP50 at true depth": ("ap50_at_true_depth", 1),
    "AbsRel": ("abs_rel", 3),
    "within 1.25 (%)": ("delta_1_25", 1),
    "within deviation (%)": ("within_std", 1),
}
"""Headings of what is known of images alone, with names and digits."""


def summary(outcome: Outcome) -> dict[str, Any]:
    """All figures as plain JSON values."""
    study, compare = outcome.study, _Comparisons()
    return {
        "first": study.first,
        "split": study.split,
        "num": study.num,
        "tests": study.tests,
        "shared": study.shared,
        "variants": {
            name: {
                "settings": study.variants[name],
                "configuration": flat_config(study.parsed(name)),
                **_figures(outcome, name, compare),
            }
            for name in outcome.scores
        },
        "references": {
            name: {"settings": asdict(study.references[name]), **_figures(outcome, name, compare)}
            for name in outcome.references
        },
        "probes": {str(seed): rows for seed, rows in outcome.probes.items()},
        "searched": outcome.searched,
        "failures": list(outcome.failures),
    }


def _scores_of(outcome: Outcome, name: str) -> dict[int, dict[str, tuple[Scores, ...]]]:
    return {**outcome.scores, **outcome.references}[name]


def _figures(outcome: Outcome, name: str, compare: _Comparisons) -> dict[str, Any]:
    """What a variant or a reference scored, by data, and of images what else is known."""
    of_seed, sources = _scores_of(outcome, name), outcome.study.data
    return {
        "seeds": list(of_seed),
        "data": {
            data: _of_data(outcome, name, data, compare) if of_seed else {} for data in sources
        },
        "images": {
            data: _of_images([found[data][0] for found in of_seed.values()]) for data in sources
        },
    }


def _of_images(seeds: list[Scores]) -> dict[str, Any]:
    """Means and deviations over seeds; {} where clouds were looked into."""
    rows = [row for row in (each.of_images for each in seeds) if row is not None]
    return {name: _spread([[row[name]] for row in rows]) for name in (rows[0] if rows else ())}


def _of_data(outcome: Outcome, name: str, data: str, compare: _Comparisons) -> dict[str, Any]:
    mine = {seed: found[data] for seed, found in _scores_of(outcome, name).items()}
    pairs = {}
    for other in outcome.study.compared_with(name):
        theirs = {seed: found[data] for seed, found in outcome.scores.get(other, {}).items()}
        shared = [seed for seed in mine if seed in theirs]
        pairs[other] = {str(seed): compare(theirs[seed][0], mine[seed][0]) for seed in shared}
    return {
        measure: {
            **_spread([[test.percent(measure) for test in tests] for tests in mine.values()]),
            "against": {
                other: {
                    seed: {**pair[index].to_dict(), "is_clear": pair[index].is_clear}
                    for seed, pair in of_seed.items()
                }
                for other, of_seed in pairs.items()
            },
        }
        for index, measure in enumerate(MEASURES)
    }


class _Comparisons:
    """Compares scores of trainings on the same scenes; each is drawn from once."""

    def __init__(self) -> None:
        self._draws: dict[Scores, Draws] = {}

    def __call__(self, first: Scores, second: Scores) -> tuple[Difference, Difference]:
        """The differences of the mean AP25 and of the mean AP50."""
        return self._drawn(first).compared_with(self._drawn(second)).mean

    def _drawn(self, scores: Scores) -> Draws:
        if scores not in self._draws:
            self._draws[scores] = Draws.of(scores.read_side(), np.random.default_rng(0))
        return self._draws[scores]


def _spread(seeds: list[list[float]]) -> dict[str, Any]:
    """Of the tests of each seed, in percent; of one seed there is no standard deviation."""
    values = [statistics.mean(tests) for tests in seeds]
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {
        "mean": plain_number(statistics.mean(values)),
        "deviation": None if deviation is None else plain_number(deviation),
        "best": plain_number(max(max(tests) for tests in seeds)),
        "each": [plain_number(value) for value in values],
        "each_test": [[plain_number(value) for value in tests] for tests in seeds],
    }


def markdown(found: dict[str, Any]) -> str:
    """A line for each variant, then what the probes say; `found` is what `summary` says."""
    parts = [_of_variants(found), *_images_of_variants(found)]
    return "\n\n".join([*parts, *_of_probes(found.get("probes", {}))])


def _rows(found: dict[str, Any]) -> dict[str, Any]:
    """Variants, then what is scored beside them."""
    return {**found["variants"], **found.get("references", {})}


def _images_of_variants(found: dict[str, Any]) -> list[str]:
    """A line for each network of images and each data; [] where there is none."""
    shown = [
        (name, data, row)
        for name, row in _rows(found).items()
        for data, figures in row.get("images", {}).items()
        if figures
    ]
    if not shown:
        return []
    has_data = len({data for _, data, _ in shown}) > 1
    heads = ["variant", *["data"] * has_data, f"AP25 against {found['first']}", *_OF_IMAGES]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name, data, row in shown:
        difference = _notes(row["data"][data]["ap25"]["against"], found["first"])
        cells = [name, *[data] * has_data, difference]
        for key, digits in _OF_IMAGES.values():
            cells.append(_cell(row["images"][data][key], digits))
        lines.append(f"| {' | '.join(cells)} |")
    return ["\n".join(lines)]


def _of_probes(seeds: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each pre-training, with means over seeds; [] where none was probed."""
    if not seeds:
        return []
    names = list(dict.fromkeys(name for rows in seeds.values() for name in rows))
    lines = ["| features | seeds | mIoU | k-NN | R2 height | R2 border |", f"|{' --- |' * 6}"]
    for name in names:
        rows = [each[name] for each in seeds.values() if name in each]
        cells = [name, str(len(rows))]
        for key, factor, digits in _PROBES:
            known = [factor * row[key] for row in rows if row[key] is not None]
            cells.append(_mean_of(known, digits))
        lines.append(f"| {' | '.join(cells)} |")
    return ["\n".join(lines)]


def _mean_of(values: list[float], digits: int) -> str:
    """Their mean, and their deviation where there is one."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _of_variants(found: dict[str, Any]) -> str:
    sources = list(next(iter(found["variants"].values()))["data"])
    heads = ["variant", "seeds"]
    has_best = any(len(row["seeds"]) * found["tests"] > 1 for row in _rows(found).values())
    for data in sources:
        where = f", {data}" if len(sources) > 1 else ""
        heads += [f"AP25{where}", f"AP50{where}", f"AP50 against {found['first']}{where}"]
        heads += [f"best AP25 / AP50{where}"] * has_best
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name, row in _rows(found).items():
        cells = [name, str(len(row["seeds"]))]
        for data in sources:
            of_data = row["data"][data]
            cells += [_cell(of_data.get(measure)) for measure in MEASURES]
            cells.append(_notes(of_data["ap50"]["against"], found["first"]) if of_data else "")
            cells += [_best(of_data)] * has_best
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(spread: dict[str, Any] | None, digits: int = 1) -> str:
    if spread is None or spread["mean"] is None:
        return ""
    mean, deviation = f"{spread['mean']:.{digits}f}", spread["deviation"]
    return mean if deviation is None else f"{mean} ± {deviation:.{digits}f}"


def _best(of_data: dict[str, Any]) -> str:
    best = [of_data[measure]["best"] for measure in MEASURES] if of_data else []
    return " / ".join("-" if value is None else f"{value:.1f}" for value in best)


def _notes(against: dict[str, Any], first: str) -> str:
    """The notes of all comparisons; those with others than the first say with whom."""
    notes = {other: note(of_seed) for other, of_seed in against.items()}
    return "; ".join(
        text if other == first else f"{text} against {other}"
        for other, text in notes.items()
        if text
    )


def note(against: dict[str, dict[str, Any]]) -> str:
    """The mean difference over seeds in points, and in how many of them it is clear."""
    known = [each for each in against.values() if each["difference"] is not None]
    if not known:
        return ""
    mean = 100 * statistics.mean(each["difference"] for each in known)
    clear = [each["difference"] for each in known if each["is_clear"]]
    better, worse = sum(each > 0 for each in clear), sum(each < 0 for each in clear)
    words = [f"{num} {word}" for num, word in ((better, "better"), (worse, "worse")) if num]
    verdict = f"clearly {' and '.join(words)}" if words else "none clear"
    ends = interval([100 * each["difference"] for each in known])
    seeds = "" if ends is None else f", seeds {ends[0]:+.1f} to {ends[1]:+.1f}"
    return f"{mean:+.1f} (of {len(known)}: {verdict}{seeds})"


def interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Where the mean of such differences lies in 95 of 100 studies, by Student's t; None of one.

    Each is of two trainings with the same seed. It knows how seeds differ on these scenes.
    """
    num = len(differences)
    if num < 2:
        return None
    half = float(student.ppf(0.975, num - 1)) * statistics.stdev(differences) / math.sqrt(num)
    mean = statistics.mean(differences)
    return mean - half, mean + half
