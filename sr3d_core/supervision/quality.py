"""The quality term: each positive learns the IoU that its own box has with its object.

As in IoU-Net (arXiv 1807.11590), with the cross-entropy of FCOS's centre-ness (arXiv 1904.01355)
and of IoU-aware detectors (arXiv 1912.05992), which has its minimum at the IoU itself. Only
positives learn: elsewhere the class score is low, and there is no object to overlap.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from sr3d_core.supervision.losses import Matches


def quality_loss(quality: Float[Tensor, " P"], matches: Matches) -> Float[Tensor, ""]:
    """Cross-entropy of the expected IoU (its logits) with the IoU of the box, per positive.

    The box gets no gradient from it.
    """
    loss = functional.binary_cross_entropy_with_logits(
        quality[matches.row], matches.iou(), reduction="none"
    )
    return (loss * matches.weight[matches.row]).sum() / matches.divisor
