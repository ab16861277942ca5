"""What several looks at the same scenes found, as one report: figures with their spread.

Spreads are standard deviations of a sample (N - 1): the looks stand for all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rich.table import Table

from sr3d_core.evaluate import (
    FIGURES,
    MEAN_FIGURES,
    EvaluationReport,
    fronts_as_json,
    percent,
    plain_number,
    table_of,
)
from sr3d_core.right_fronts import RightFronts


@dataclass(frozen=True, slots=True, eq=False)
class SeveralReports:
    """The reports of several looks, two at least."""

    each: tuple[EvaluationReport, ...]

    looks: ClassVar[str] = "looks"
    """What they are called."""
    title: ClassVar[str] = "mean and standard deviation"
    """What the table says of each figure."""

    @property
    def fronts(self) -> dict[str, RightFronts]:
        """As of the first look."""
        return self.each[0].fronts

    def figures(self, index: int | None) -> list[tuple[float, ...]]:
        """Mean, standard deviation and best of each of `EvaluationReport.figures`.

        Each figure has its own best look.
        """
        values = zip(*(report.figures(index) for report in self.each), strict=True)
        return [(float(np.mean(v)), float(np.std(v, ddof=1)), max(v)) for v in values]

    def to_dict(self) -> dict[str, object]:
        """As of one `EvaluationReport`, each figure the mean over the looks.

        Beside it stands its standard deviation, `map25_std` beside `map25` and so on, and where a
        report has one its best, `map25_best`; `num_views` or the like says over how many looks.
        """
        first = self.each[0]
        rows = {
            name: {
                "boxes": int(first.ap25.num_truth[index]),
                **self._by_name(FIGURES, index),
            }
            for index, name in enumerate(first.classes)
        }
        return {
            "num_scenes": first.num_scenes,
            f"num_{self.looks}": len(self.each),
            **self._by_name(MEAN_FIGURES, None),
            "per_class": rows,
            **fronts_as_json(self.fronts),
        }

    def table(self) -> Table:
        """The report as a table for the terminal, in percent."""
        first = self.each[0]
        title = (
            f"Average precision over {first.num_scenes} scenes (%), {self.title} of "
            f"{len(self.each)} {self.looks}"
        )

        def cells(index: int | None) -> Iterator[str]:
            for mean, deviation, best in self.figures(index):
                known = percent(mean) != "-"
                yield self.cell(*map(percent, (mean, deviation, best))) if known else "-"

        return table_of(first, title, cells)

    def cell(self, mean: str, deviation: str, best: str) -> str:
        """One figure in the table."""
        return f"{mean} ± {deviation}"

    def named(self, name: str, mean: float, deviation: float, best: float) -> dict[str, float]:
        """One figure in JSON."""
        return {name: mean, f"{name}_std": deviation}

    def _by_name(self, names: Sequence[str], index: int | None) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for name, figure in zip(names, self.figures(index), strict=True):
            found |= {key: plain_number(x) for key, x in self.named(name, *figure).items()}
        return found
