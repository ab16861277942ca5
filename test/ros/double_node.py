"""The node with a test double for a detector: slow, and failing on clouds of 13 points."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import torch

from sr3d_core.checkpoint import ClassSpread
from sr3d_core.detector import Postprocess
from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.node import main

SLOW_S = 0.2
UNLUCKY = 13


class SlowDetector:
    """Finds nothing, slowly."""

    classes = ("chair",)
    device = torch.device("cpu")
    spread: Mapping[str, ClassSpread] = {}
    postprocess = Postprocess()

    def detect(self, cloud: PointCloud) -> Detections:
        """Nothing; raises on an unlucky number of points."""
        time.sleep(SLOW_S)
        if len(cloud) == UNLUCKY:
            raise RuntimeError("13 points bring bad luck")
        return Detections.empty()


if __name__ == "__main__":
    sys.exit(main(sys.argv, load=lambda _: SlowDetector()))  # type: ignore[arg-type, return-value]
