"""What a study has found, as one table in Markdown and as JSON.

Means and standard deviations are over seeds; of a training that is tested several times, its mean
over the tests counts. The best is that of all tests of all seeds, as published figures have it.
The note compares each seed with the same seed of the first variant, in the first test, on the same
scenes, and of those that the study names: how often the interval of the difference leaves out 0.
Such an interval knows how scenes differ, not how seeds do; for that there is the spread.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from sr3d_core.config import flat_config
from sr3d_core.evaluate import plain_number
from sr3d_core.paired import Difference, paired
from sr3d_core.study import Outcome
from sr3d_core.study_scores import Scores

MEASURES = ("ap25", "ap50")


def summary(outcome: Outcome) -> dict[str, Any]:
    """All figures as plain JSON values."""
    study = outcome.study
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
                "seeds": list(of_seed),
                "data": {
                    data: _of_data(outcome, name, data) if of_seed else {} for data in study.data
                },
            }
            for name, of_seed in outcome.scores.items()
        },
        "failures": list(outcome.failures),
    }


def _of_data(outcome: Outcome, name: str, data: str) -> dict[str, Any]:
    mine = {seed: found[data] for seed, found in outcome.scores[name].items()}
    pairs = {}
    for other in outcome.study.compared_with(name):
        theirs = {seed: found[data] for seed, found in outcome.scores.get(other, {}).items()}
        shared = [seed for seed in mine if seed in theirs]
        pairs[other] = {str(seed): _differences(theirs[seed][0], mine[seed][0]) for seed in shared}
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


def _differences(first: Scores, second: Scores) -> tuple[Difference, Difference]:
    return paired(first.side, second.side, np.random.default_rng(0)).mean


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
    """A line for each variant; `found` is what `summary` says."""
    sources = list(next(iter(found["variants"].values()))["data"])
    heads = ["variant", "seeds"]
    has_best = any(len(row["seeds"]) * found["tests"] > 1 for row in found["variants"].values())
    for data in sources:
        where = f", {data}" if len(sources) > 1 else ""
        heads += [f"AP25{where}", f"AP50{where}", f"AP50 against {found['first']}{where}"]
        heads += [f"best AP25 / AP50{where}"] * has_best
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name, row in found["variants"].items():
        cells = [name, str(len(row["seeds"]))]
        for data in sources:
            of_data = row["data"][data]
            cells += [_cell(of_data.get(measure)) for measure in MEASURES]
            cells.append(_notes(of_data["ap50"]["against"], found["first"]) if of_data else "")
            cells += [_best(of_data)] * has_best
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(spread: dict[str, Any] | None) -> str:
    if spread is None or spread["mean"] is None:
        return ""
    deviation = spread["deviation"]
    return f"{spread['mean']:.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")


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
    return f"{mean:+.1f} (of {len(known)}: {verdict})"
