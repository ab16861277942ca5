"""A network that always says the same, so that what is made of it can be worked out by hand."""

from __future__ import annotations

import torch
from torch import nn

from sr3d_core.detector import Detector, Postprocess
from sr3d_core.structures import Boxes3D, PointCloud, Predictions

CLASSES = ("chair", "bed")


class Fixed(nn.Module):
    """Says one box of a score per class at each anchor, whatever it is shown."""

    def __init__(self, *rows: tuple[tuple[float, float], list[float], list[float]]) -> None:
        """Rows of scores of the two classes, box (x y z dx dy dz yaw) and anchor."""
        super().__init__()
        scores = torch.tensor([row[0] for row in rows]).reshape(-1, 2)
        anchors = torch.tensor([row[2] for row in rows]).reshape(-1, 3)
        boxes = torch.tensor([row[1] for row in rows]).reshape(-1, 7)
        none = torch.zeros(len(rows), dtype=torch.int64)
        self.says = Predictions(
            anchors, Boxes3D.from_array(boxes), scores.logit(), none, none, level_stride_m=(0.16,)
        )

    def forward(self, cloud: PointCloud) -> Predictions:
        """The same predictions."""
        del cloud
        return self.says


def fixed_detector(
    *rows: tuple[tuple[float, float], list[float], list[float]],
    postprocess: Postprocess | None = None,
) -> Detector:
    """A detector around such a network."""
    return Detector(Fixed(*rows), CLASSES, device="cpu", postprocess=postprocess)


def cube(x: float, z: float = 0.5, edge: float = 1.0) -> list[float]:
    """An upright cube on the x axis."""
    return [x, 0.0, z, edge, edge, edge, 0.0]


def shift_of(iou: float) -> float:
    """How far cubes of one metre are shifted that overlap so much."""
    return (1 - iou) / (1 + iou)
