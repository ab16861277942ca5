"""The node with a test double for a detector: slow, and failing on clouds of some sizes.

The weights' name says what is loaded: "missing" cannot be, "slowly" takes its time, "bedroom"
knows another class; "stuck" takes a day for each cloud.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import torch

from sr3d_core.checkpoint import ClassSpread
from sr3d_core.detector import Postprocess
from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.node.node import main
from sr3d_ros.parameters.record import Parameters

SLOW_S = 0.3
QUICK, UNLUCKY, HUGE = 14, 13, 20_000
LOADING_S = 3.0


class Double:
    """Finds one object in every cloud, slowly; at once in one of `QUICK` points."""

    device = torch.device("cpu")
    engine = "double"
    spread: Mapping[str, ClassSpread] = {
        "chair": ClassSpread(center_m=(0.1, 0.1, 0.1), yaw_rad=0.2, num_boxes=20)
    }
    postprocess = Postprocess()

    def __init__(self, parameters: Parameters) -> None:
        if parameters.weights == "missing":
            raise FileNotFoundError("missing: no such weights file")
        if parameters.weights == "slowly":
            print("loading slowly", flush=True)
            time.sleep(LOADING_S)
        self._stuck_s = 86_400.0 if parameters.weights == "stuck" else 0.0
        self.classes = ("bed", "chair") if parameters.weights == "bedroom" else ("chair",)

    def detect(self, cloud: PointCloud) -> Detections:
        """A chair of half a metre at the origin, or a bed."""
        if self._stuck_s:
            print("stuck", flush=True)
            time.sleep(self._stuck_s)
        if len(cloud) != QUICK:
            time.sleep(SLOW_S)
        if len(cloud) == UNLUCKY:
            raise RuntimeError("13 points bring bad luck")
        if len(cloud) == HUGE:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        boxes = Boxes3D.from_array(torch.tensor([[0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.0]]))
        return Detections(boxes, torch.tensor([0.9]), torch.tensor([0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv, load=Double))  # type: ignore[arg-type]
