"""The worst frames of a recording, kept with their clouds for pictures: few, and far apart.

The recording is divided into as many parts as pictures are wanted, and the worst frame of each is
kept, so that they do not all show the same corner of a room, and memory stays bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sr3d_core.geometry.thinning import thinned
from sr3d_core.structures import Detections, PointCloud, Targets
from sr3d_ros.bag.figures.sightings import FrameView
from sr3d_ros.pipeline import FrameResult

_MAX_POINTS = 60_000  # that are kept of a cloud; a picture shows no more


@dataclass(frozen=True, slots=True, eq=False)
class WorstFrame:
    """A frame with wrong or missed boxes."""

    view: FrameView
    cloud: PointCloud
    right: Detections
    wrong: Detections
    missed: Targets


class WorstFrames:
    """Sees the frames of a recording of about `num_frames`, and keeps `num_kept` at most."""

    def __init__(self, num_frames: int, num_kept: int) -> None:
        self._num_kept = num_kept
        self._length = max(1, -(-num_frames // max(num_kept, 1)))
        self._num_seen = 0
        self._kept: dict[int, WorstFrame] = {}

    def __call__(
        self, frame: FrameResult, found: Detections, targets: Targets, view: FrameView
    ) -> None:
        """The next frame, with the robot's boxes and what was to be found."""
        if not self._num_kept:
            return
        part = min(self._num_seen // self._length, self._num_kept - 1)
        self._num_seen += 1
        before = self._kept.get(part)
        if _faults(view) > (0 if before is None else _faults(before.view)):
            missed = [row for row, each in enumerate(view.sightings) if each.found is None]
            self._kept[part] = WorstFrame(
                view,
                thinned(frame.cloud, _MAX_POINTS),
                found[torch.from_numpy(view.is_right)],
                found[torch.from_numpy(view.is_wrong)],
                targets[torch.tensor(missed, dtype=torch.int64)],
            )

    @property
    def kept(self) -> list[WorstFrame]:
        """In the order of the recording."""
        return [self._kept[part] for part in sorted(self._kept)]


def _faults(view: FrameView) -> int:
    return int(view.is_wrong.sum()) + view.num_missed
