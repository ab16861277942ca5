"""Scores made chances: what `sr3d model calibrate` and `sr3d distill --bag` store in weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sr3d_core.console import progress_of, say

if TYPE_CHECKING:
    from sr3d_core.calibration import Measured
    from sr3d_core.data.sources import Scenes
    from sr3d_core.detector import Detector

WEAKEST = 0.1
"""Boxes that score less are nearly never right and too many to count."""


def uncalibrated(weights: Path, device: str = "auto", backend: str = "auto") -> Detector:
    """The detector of weights as on a robot, but with the network's own scores, weak ones too."""
    from sr3d_core.detector import Detector, Postprocess

    as_on_a_robot = Postprocess(score_threshold=WEAKEST, one_class=True)
    detector = Detector.from_checkpoint(
        weights, device=device, backend=backend, postprocess=as_on_a_robot
    )
    detector.calibration = {}
    return detector


def calibrate_on(scenes: Scenes, detector: Detector, weights: Path) -> Measured:
    """Fit on labelled scenes, and store in the file what is best.

    Raises ValueError where nothing can be said; the file is left as it is then.
    """
    from sr3d_core.calibration import measure_calibration
    from sr3d_core.checkpoint import rewrite_manifest

    with progress_of("scenes", len(scenes)) as tell:
        samples = (scenes[index] for index in range(len(scenes)))
        found = measure_calibration(detector, samples, tell)
    rewrite_manifest(weights, calibration=found.calibration)
    if not found.calibration:
        say(f"{weights}: scores stay the network's own, which are the better chances")
    return found
