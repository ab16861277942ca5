"""Write an assigner of one's own, which says what each anchor point is trained towards.

    python examples/07_own_assigner.py [room.npz]

A path names a file with `xyz`, `boxes` and `classes`, as `sr3d data room` writes it. An assigner
is a callable: predictions and targets of one scene in, an Assignment out. Here it is a frozen
dataclass, so that its fields are its configuration.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import sr3d_core
from sr3d_core import Boxes3D
from sr3d_core.data.rooms import LABELS
from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.model.network import SR3D
from sr3d_core.structures import Assignment, PointCloud, Predictions, Targets
from sr3d_core.supervision.criterion import Criterion


@dataclass(frozen=True, kw_only=True)
class SmallestBoxAround:
    """Train every anchor point inside a box towards it, towards the smallest where boxes nest."""

    max_per_box: int = 20
    """How many anchor points a box may have, those nearest to its centre; at least 1."""

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Assignment:
        """Match the anchor points and the boxes of one scene."""
        target = torch.full((len(predictions),), -1)
        is_inside = points_in_boxes(predictions.anchors, targets.boxes)  # (P,M)
        for box in targets.boxes.size.prod(dim=1).argsort(descending=True).tolist():
            distance = (predictions.anchors - targets.boxes.center[box]).norm(dim=1)
            distance[~is_inside[:, box]] = torch.inf
            nearest = distance.topk(min(self.max_per_box, len(distance)), largest=False)
            target[nearest.indices[nearest.values.isfinite()]] = box
        return Assignment(target, predictions.anchors.new_ones(len(predictions)))


SAMPLE = Path(sr3d_core.__file__).parent / "data" / "sample" / "room.npz"
with np.load(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE) as arrays:
    cloud = PointCloud.single(torch.from_numpy(arrays["xyz"]).float(), None)
    labels = torch.tensor([LABELS.index(name) for name in arrays["classes"]])
    targets = Targets(Boxes3D.from_array(torch.from_numpy(arrays["boxes"])), labels)

network = SR3D.from_preset("lite", num_classes=len(LABELS))
predictions = network(cloud)
for assigner in (SmallestBoxAround(), SmallestBoxAround(max_per_box=5), Criterion().assigner):
    losses = Criterion(assigner=assigner)(predictions, [targets])
    print(f"{assigner}: {losses.num_positives} positives, loss {float(losses.total.detach()):.3f}")
losses.total.backward()  # from here on it is a training like every other
