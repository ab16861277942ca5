"""Whether scores say what they seem to: how often boxes are right, and how good boxes are.

Reliability: detections in `NUM_BINS` equal parts of the score, in each the mean score beside the
share that is right at `RIGHT_IOU`. The expected calibration error (ECE) is the mean of their
distances, weighted by how many detections a part has (Guo et al., "On calibration of modern neural
networks", 2017). Rank correlation is Spearman's, ties with their mean rank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.stats import rankdata

from sr3d_core.calibration import RIGHT_IOU
from sr3d_core.evaluate import plain_number
from sr3d_core.matches import Matches

NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """The detections in one part of the score; parts without any have none."""

    low: float
    high: float
    num: int
    mean_score: float
    share_right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far scores can be believed; NaN where there is too little to say."""

    bins: tuple[ScoreBin, ...]  # those that hold detections, by rising score
    ece: float  # 0..1, NaN without detections
    rank_correlation: float  # score against overlap, of all detections
    rank_correlation_right: float  # the same of right ones alone

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, null for NaN."""
        return {
            "iou": RIGHT_IOU,
            "ece": plain_number(self.ece),
            "score_iou_rank_correlation": plain_number(self.rank_correlation),
            "score_iou_rank_correlation_right": plain_number(self.rank_correlation_right),
            "bins": [
                {
                    **{"low": each.low, "high": each.high, "detections": each.num},
                    "mean_score": plain_number(each.mean_score),
                    "share_right": plain_number(each.share_right),
                }
                for each in self.bins
            ],
        }


def reliability(matches: Matches) -> Reliability:
    """Of all detections that are right or wrong, of every class and score."""
    counts = matches.is_scored(RIGHT_IOU)
    scores, iou = matches.scores[counts], matches.iou[counts]
    is_right = matches.is_right(RIGHT_IOU)[counts]
    bins = _bins(scores, is_right)
    distance = sum(each.num * abs(each.mean_score - each.share_right) for each in bins)
    return Reliability(
        bins,
        distance / len(scores) if len(scores) else math.nan,
        rank_correlation(scores, iou),
        rank_correlation(scores[is_right], iou[is_right]),
    )


def rank_correlation(first: Float[ndarray, " N"], second: Float[ndarray, " N"]) -> float:
    """Spearman's, -1..1; NaN of fewer than two, or where one of both does not vary."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _bins(scores: Float[ndarray, " D"], is_right: Bool[ndarray, " D"]) -> tuple[ScoreBin, ...]:
    place = np.minimum((scores * NUM_BINS).astype(np.int64), NUM_BINS - 1)  # a score of 1 too
    return tuple(
        ScoreBin(
            low=index / NUM_BINS,
            high=(index + 1) / NUM_BINS,
            num=int((place == index).sum()),
            mean_score=float(scores[place == index].mean()),
            share_right=float(is_right[place == index].mean()),
        )
        for index in np.unique(place).tolist()
    )
