"""Scores that are chances: of boxes with a score of p, a share p is right.

What one network calls .5 is right one time in ten, what another does nine times in ten, and so
with classes. What was measured on labelled scenes, see `sr3d_core.calibration`, bends the scores
of each class until they say how often its boxes are right. Within a class the order stays, and so
does its average precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import ConfigDict

from sr3d_core.structures import Predictions


@dataclass(frozen=True, kw_only=True)
class ClassCalibration:
    """How the score of a class becomes a chance: `sigmoid(scale * logit + offset)`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    scale: float
    """Above 0: a higher score is a higher chance."""
    offset: float
    num_boxes: int
    """How many boxes of the class this was measured on."""
    num_right: int
    """How many of these were right."""

    def __post_init__(self) -> None:
        """Refuse what would turn the order of boxes around, or lose it."""
        if not (0 < self.scale < math.inf and math.isfinite(self.offset)):
            raise ValueError(
                f"calibration has scale {self.scale} and offset {self.offset}, expected a scale "
                "above 0 and numbers that are finite"
            )


def calibrated(
    predictions: Predictions, classes: Sequence[str], calibration: Mapping[str, ClassCalibration]
) -> Predictions:
    """The same predictions with logits of chances; classes without a calibration stay."""
    if not calibration:
        return predictions
    rows = [calibration.get(name) for name in classes]
    scale = predictions.logits.new_tensor([1.0 if row is None else row.scale for row in rows])
    offset = predictions.logits.new_tensor([0.0 if row is None else row.offset for row in rows])
    return replace(predictions, logits=predictions.logits * scale + offset)
