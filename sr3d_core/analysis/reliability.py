"""Whether scores say what they seem to: how often boxes are right, and how good boxes are.

Reliability: detections in `NUM_BINS` equal parts of the score, in each the mean score beside the
share that is right at `RIGHT_IOU`, and the overlaps there. The calibration error is that of
`sr3d_core.calibration`. Rank correlation is Spearman's, ties with their mean rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import rankdata

from sr3d_core.calibration import NUM_BINS, RIGHT_IOU, bin_of, calibration_error
from sr3d_core.evaluate import plain_number
from sr3d_core.matches import Matches


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """The detections in one part of the score; parts without any have none."""

    low: float
    high: float
    num: int
    mean_score: float
    share_right: float
    mean_iou: float  # with the box of their class that they overlap most
    quarters: tuple[float, float]  # between which the middle half of these overlaps lies


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far scores can be believed; NaN where there is too little to say."""

    bins: tuple[ScoreBin, ...]  # those that hold detections, by rising score
    ece: float  # 0..1, NaN without detections
    class_ece: Mapping[str, float]  # of the detections of one class, NaN without any
    rank_correlation: float  # score against overlap, of all detections
    rank_correlation_right: float  # the same of right ones alone

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, null for NaN."""
        return {
            "iou": RIGHT_IOU,
            "ece": plain_number(self.ece),
            "class_ece": {name: plain_number(ece) for name, ece in self.class_ece.items()},
            "score_iou_rank_correlation": plain_number(self.rank_correlation),
            "score_iou_rank_correlation_right": plain_number(self.rank_correlation_right),
            "bins": [
                {
                    **{"low": each.low, "high": each.high, "detections": each.num},
                    "mean_score": plain_number(each.mean_score),
                    "share_right": plain_number(each.share_right),
                    "mean_iou": plain_number(each.mean_iou),
                    "quarters_of_iou": [plain_number(value) for value in each.quarters],
                }
                for each in self.bins
            ],
        }


def reliability(matches: Matches, classes: Sequence[str]) -> Reliability:
    """Of all detections that are right or wrong, of every class and score."""
    counts = matches.is_scored(RIGHT_IOU)
    scores, iou, labels = matches.scores[counts], matches.iou[counts], matches.labels[counts]
    is_right = matches.is_right(RIGHT_IOU)[counts]
    of_class = {name: labels == label for label, name in enumerate(classes)}
    return Reliability(
        _bins(scores, is_right, iou),
        calibration_error(scores, is_right),
        {name: calibration_error(scores[mine], is_right[mine]) for name, mine in of_class.items()},
        rank_correlation(scores, iou),
        rank_correlation(scores[is_right], iou[is_right]),
    )


def rank_correlation(first: Float[ndarray, " N"], second: Float[ndarray, " N"]) -> float:
    """Spearman's, -1..1; NaN of fewer than two, or where one of both does not vary."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _bins(
    scores: Float[ndarray, " D"], is_right: Bool[ndarray, " D"], iou: Float[ndarray, " D"]
) -> tuple[ScoreBin, ...]:
    place = bin_of(scores)
    bins = []
    for index in np.unique(place).tolist():
        mine = place == index
        low, high = np.quantile(iou[mine], (0.25, 0.75)).tolist()
        bins.append(
            ScoreBin(
                low=index / NUM_BINS,
                high=(index + 1) / NUM_BINS,
                num=int(mine.sum()),
                mean_score=float(scores[mine].mean()),
                share_right=float(is_right[mine].mean()),
                mean_iou=float(iou[mine].mean()),
                quarters=(low, high),
            )
        )
    return tuple(bins)
