"""The scenes in which a robot would miss or invent most, kept with their clouds for pictures.

What is reported, see `confusion.reported_once`, is right or wrong as in AP25; a box that no
reported detection is right about is missed. Few clouds are kept, whatever number of scenes there
is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sr3d_core.analysis.confusion import MATCH_IOU, REPORTED, reported_once
from sr3d_core.geometry.thinning import thinned
from sr3d_core.matches import match_all
from sr3d_core.structures import Detections, PointCloud, Sample, Targets

_MAX_POINTS = 60_000  # that are kept of a cloud; a picture shows no more


@dataclass(frozen=True, slots=True, eq=False)
class WorstScene:
    """A scene with wrong or missed boxes."""

    name: str
    cloud: PointCloud
    right: Detections
    wrong: Detections
    missed: Targets

    @property
    def num_faults(self) -> int:
        """Wrong and missed boxes together."""
        return len(self.wrong) + len(self.missed)

    def to_dict(self) -> dict[str, object]:
        """How many of which, under the scene's name."""
        counts = {"right": len(self.right), "wrong": len(self.wrong), "missed": len(self.missed)}
        return {"scene": self.name, **counts}


class WorstScenes:
    """Sees scene after scene, and keeps the `num_kept` with most faults."""

    def __init__(self, num_kept: int) -> None:
        self._num_kept = num_kept
        self._kept: list[WorstScene] = []

    def __call__(self, sample: Sample, found: Detections) -> None:
        """The next scene, with all that the detector found in it."""
        scene = _judged(sample, found)
        if scene.num_faults:
            ordered = sorted([*self._kept, scene], key=lambda each: -each.num_faults)
            self._kept = ordered[: self._num_kept]

    @property
    def kept(self) -> tuple[WorstScene, ...]:
        """The worst first; of equal ones the earlier."""
        return tuple(self._kept)


def _judged(sample: Sample, found: Detections) -> WorstScene:
    reported = reported_once(found.to("cpu"), REPORTED)
    targets = sample.targets.to("cpu")
    matches = match_all([reported], [targets])
    is_right = matches.is_right(MATCH_IOU)
    is_wrong = matches.is_scored(MATCH_IOU) & ~is_right
    missed = np.setdiff1d(np.arange(len(targets)), matches.truth[is_right])
    return WorstScene(
        sample.name,
        thinned(sample.cloud, _MAX_POINTS).to("cpu"),
        reported[torch.from_numpy(is_right)],
        reported[torch.from_numpy(is_wrong)],
        targets[torch.from_numpy(missed)],
    )
