"""The same scenes tested several times, with other random points: the published protocol.

Detectors of this family are reported as the best, and the mean, over several trainings that are
each tested several times (arXiv 2302.02858, 2511.16140: 5 x 5). The first test sees the points as
they come, every further one in a random order of its own. Of a cloud with more than `max_points`
a random order leaves a random part; of every other one it decides which point of a voxel is kept
where a network keeps the first (see `Architecture.average`). Where neither matters, tests agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from sr3d_core.data.sources import Scenes
from sr3d_core.evaluate import EvaluationReport, FindsObjects, evaluate
from sr3d_core.evaluate_several import SeveralReports
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


class TestsReport(SeveralReports):
    """What several tests of the same weights found; the papers report the best."""

    __test__ = False  # no test of ours
    looks = "tests"
    title = "best (mean and standard deviation)"

    def cell(self, mean: str, deviation: str, best: str) -> str:
        """One figure in the table."""
        return f"{best} ({mean} ± {deviation})"

    def named(self, name: str, mean: float, deviation: float, best: float) -> dict[str, float]:
        """One figure in JSON."""
        return {name: mean, f"{name}_std": deviation, f"{name}_best": best}


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
