"""The teacher's scores as soft targets (quality focal loss, arXiv 2006.04388, eq. 4)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def soft_score_loss(
    logits: Float[Tensor, "N K"], teacher_scores: Float[Tensor, "N K"], beta: float = 2.0
) -> Float[Tensor, "N K"]:
    """Cross-entropy to the teacher's scores, times `|their distance|^beta`."""
    target = teacher_scores.detach()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return entropy * (target - logits.sigmoid()).abs().pow(beta)
