"""The same scenes tested several times, with other random points: the published protocol.

Detectors of this family are reported as the best, and the mean, over several trainings that are
each tested several times (arXiv 2302.02858, 2511.16140: 5 x 5). The first test sees the points as
they come, every further one in a random order of its own. Of a cloud with more than `max_points`
a random order leaves a random part; of every other one it decides which point of a voxel is kept
where a network keeps the first (see `Architecture.average`). Where neither matters, tests agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.table import Table

from sr3d_core.data.sources import Scenes
from sr3d_core.evaluate import (
    FIGURES,
    MEAN_FIGURES,
    EvaluationReport,
    FindsObjects,
    evaluate,
    fronts_as_json,
    percent,
    plain_number,
    table_of,
)
from sr3d_core.evaluate_views import spread_of
from sr3d_core.right_fronts import RightFronts
from sr3d_core.structures import Sample


class InRandomOrder:
    """Scenes as test number `test` sees them; 1 is as they come."""

    def __init__(self, scenes: Scenes, test: int) -> None:
        if test < 1:
            raise ValueError(f"test {test}, expected 1 or more")
        self._scenes, self._test = scenes, test
        self.classes = scenes.classes

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        """Always the same for a test and an index."""
        sample = self._scenes[index]
        if self._test == 1:
            return sample
        order = np.random.default_rng((self._test, index)).permutation(len(sample.cloud))
        return Sample(sample.cloud[torch.from_numpy(order)], sample.targets, sample.name)


@dataclass(frozen=True, slots=True, eq=False)
class TestsReport:
    """What several tests of the same weights found, two at least."""

    __test__ = False  # no test of ours

    tests: tuple[EvaluationReport, ...]

    @property
    def fronts(self) -> dict[str, RightFronts]:
        """As of the first test."""
        return self.tests[0].fronts

    def figures(self, index: int | None) -> list[tuple[float, float, float]]:
        """Mean, standard deviation and best over the tests of `EvaluationReport.figures`.

        Each figure has its own best test.
        """
        spreads = spread_of(self.tests, index)
        each = zip(*(test.figures(index) for test in self.tests), strict=True)
        return [(*spread, max(values)) for spread, values in zip(spreads, each, strict=True)]

    def to_dict(self) -> dict[str, object]:
        """As of one `EvaluationReport`, each figure the mean over the tests.

        Beside it stand its standard deviation and its best, `map25_std` and `map25_best` beside
        `map25` and so on; `num_tests` says over how many tests.
        """
        first = self.tests[0]
        rows = {
            name: {
                "boxes": int(first.ap25.num_truth[index]),
                **_by_name(FIGURES, self.figures(index)),
            }
            for index, name in enumerate(first.classes)
        }
        return {
            "num_scenes": first.num_scenes,
            "num_tests": len(self.tests),
            **_by_name(MEAN_FIGURES, self.figures(None)),
            "per_class": rows,
            **fronts_as_json(self.fronts),
        }

    def table(self) -> Table:
        """The report as a table for the terminal, in percent: best (mean ± standard deviation)."""
        first = self.tests[0]
        title = (
            f"Average precision over {first.num_scenes} scenes (%), best (mean and standard "
            f"deviation) of {len(self.tests)} tests"
        )

        def cells(index: int | None) -> Iterator[str]:
            for mean, deviation, best in self.figures(index):
                text = percent(mean)
                yield (text if text == "-" else f"{percent(best)} ({text} ± {percent(deviation)})")

        return table_of(first, title, cells)


def evaluate_tests(
    detector: FindsObjects,
    tests: Sequence[Iterable[Sample]],
    progress: Callable[[int], object] | None = None,
    front_classes: Sequence[str] = (),
) -> TestsReport:
    """Score a detector on the scenes of each test, two at least.

    `progress` is told how many scenes of all tests are done; the rest is as for `evaluate`.
    Raises ValueError for fewer tests.
    """
    if len(tests) < 2:
        raise ValueError(f"{len(tests)} tests have no spread, expected 2 or more; use evaluate")
    reports: list[EvaluationReport] = []
    for samples in tests:
        before = sum(each.num_scenes for each in reports)

        def tell(num_done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + num_done)

        reports.append(evaluate(detector, samples, tell, front_classes))
    return TestsReport(tuple(reports))


def _by_name(
    names: Sequence[str], figures: Sequence[tuple[float, float, float]]
) -> dict[str, float | None]:
    """Means under their names, deviation and best beside them."""
    named: dict[str, float | None] = {}
    for name, (mean, deviation, best) in zip(names, figures, strict=True):
        named |= {
            name: plain_number(mean),
            f"{name}_std": plain_number(deviation),
            f"{name}_best": plain_number(best),
        }
    return named
