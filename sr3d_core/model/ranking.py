"""What boxes are ranked by: class score, the IoU that is expected of the box, and rival classes.

A class score says what is there, not how good its box is, so ranking by both is better than by
one: their weighted geometric mean, as in the IoU-aware detector of arXiv 1912.05992.

Classes are learnt one by one, so a bathtub may be a likely sofa as well. Right as that is where
objects are looked up, the sofa stands among the sofas with the score of a real one and is wrong
there. As an object is of one class, a score falls with the share that it has of the strongest
score at its anchor point; the strongest stays what it is, and so does all that a threshold does
where classes suppress each other.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def ranked_logits(
    logits: Float[Tensor, "P K"],
    quality: Float[Tensor, " P"] | None = None,
    exponent: float = 0.0,
    rivalry: float = 0.0,
) -> Float[Tensor, "P K"]:
    """Logits of s (s / best)^b, where s = score^(1 - a) iou^a and best the largest s of the row.

    `quality` is the logit of the expected IoU, without it a is 0. `exponent` is a, 0..1: 0 ranks
    by the class score alone, 1 by the fit alone. `rivalry` is b, at least 0: 0 leaves classes to
    themselves.
    """
    log_score = functional.logsigmoid(logits)
    if quality is not None:
        log_score = (1 - exponent) * log_score + exponent * functional.logsigmoid(quality)[:, None]
    if rivalry > 0:
        log_score = log_score + rivalry * (log_score - log_score.amax(dim=1, keepdim=True))
    smallest = torch.finfo(log_score.dtype).tiny  # a score of 1 keeps a finite logit
    return log_score - (-torch.expm1(log_score)).clamp(min=smallest).log()
