"""RAS: classification that learns how good a box is among its rivals (SR3D eqs 6, 7, 9, 10).

The positives of one ground-truth box are ranked twice, by IoU and by score. The focal loss gives
way to rank-aware distillation (RDL) as far as a positive's score leads its group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import ConfigDict
from torch import Tensor
from torch.nn import functional

from sr3d_core.supervision.losses import Matches, at_least_float32, check_focal, focal_loss

Reading = Literal["literal", "neg", "pos_r", "one_minus_R"]
"""How eq 6 is read, see `rank_aware_distillation`."""


def soft_rank(scores: Float[Tensor, " N"], tau: float) -> Float[Tensor, " N"]:
    """Soft rank r of each score within the group (eqs 9, 10); larger for larger scores.

    `r_i = exp(-R_i)`, `R_i = 1/N sum_{j != i} sigmoid((s_j - s_i) / tau)`: from exp(-(N-1)/N) to
    1, and 1 for a single score. The smaller `tau`, the harder the rank.
    """
    return grouped_soft_rank(scores, torch.zeros_like(scores, dtype=torch.int64), tau)


def grouped_soft_rank(
    scores: Float[Tensor, " N"], group: Int[Tensor, " N"], tau: float
) -> Float[Tensor, " N"]:
    """`soft_rank` of each score among those with the same `group`."""
    if len(scores) == 0:
        return scores
    order = group.argsort(stable=True)
    _, row, size = group[order].unique_consecutive(return_inverse=True, return_counts=True)
    column = torch.arange(len(scores), device=scores.device) - (size.cumsum(0) - size)[row]
    table = scores.new_zeros(len(size), int(size.max())).index_put((row, column), scores[order])
    is_used = torch.arange(table.shape[1], device=scores.device) < size[:, None]
    # ahead[g, i, j]: how far j is ahead of i; unused columns are ahead of nobody.
    ahead = torch.sigmoid((table[:, None, :] - table[:, :, None]) / tau) * is_used[:, None, :]
    rank = (ahead.sum(dim=2) - 0.5) / size[:, None]  # a score is 1/2 ahead of itself
    return torch.exp(-rank)[row, column][order.argsort()]


def group_size(group: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """How many rows share each row's group."""
    _, row, size = group.unique(return_inverse=True, return_counts=True)
    return size[row]


def rank_aware_distillation(
    logits: Float[Tensor, " N"],
    quality: Float[Tensor, " N"],
    rank: Float[Tensor, " N"],
    beta: float,
    reading: Reading,
) -> Float[Tensor, " N"]:
    """RDL of each positive (eq 6, as a loss to minimise), p = sigmoid(logits), q = quality.

    "literal": `-[(1-r)^beta q ln p + q (1-q) ln(1-p)]`, as printed: the best box is pushed up
    least. "neg": the factor stands before the second term, so that the best box is held back
    least, as the prose has it. "pos_r": `r^beta` in the place of `(1-r)^beta`. "one_minus_R":
    `(1-R)^beta` there, with the R = -ln r of eq 9, which is 0 for the best box: the formula as
    printed, with the other of the two ranks.
    """
    attract = -quality * functional.logsigmoid(logits)
    repel = -quality * (1 - quality) * functional.logsigmoid(-logits)
    if reading == "literal":
        return (1 - rank).pow(beta) * attract + repel
    if reading == "neg":
        return attract + (1 - rank).pow(beta) * repel
    if reading == "one_minus_R":
        return (1 + rank.log()).clamp(min=0).pow(beta) * attract + repel
    return rank.pow(beta) * attract + repel


@dataclass(frozen=True, kw_only=True)
class Ras:
    """Focal loss blended with RDL by the rank of the score (eq 7), per positive."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Literal["ras"] = "ras"
    tau: float = 0.1
    """Temperature of the soft rank; above 0. Far below 0.1 the reading "literal" gives the
    best box of each group no pull at all."""
    beta: float = 1.0
    """Strength of the rank factor of eq 6; at least 0, which is none."""
    reading: Reading = "literal"
    """How eq 6 is read; "literal" is the paper as printed, and measured best (docs/study.md).
    "pos_r" asks of every box a confidence that grows with its overlap."""
    blend: Literal["row", "channel"] = "channel"
    """What gives way to RDL: the focal loss of all classes of a positive, as eq 7 is printed
    ("row"), or of its class alone, so that it is told as firmly as any other what it is not.
    "channel" measured better throughout (docs/study.md)."""
    alpha: float = 0.25
    """Focal weight of a positive entry; a negative one has 1 - alpha. 0..1."""
    gamma: float = 2.0
    """Focal: how strongly entries that are nearly right are played down; at least 0."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not self.tau > 0:
            raise ValueError(f"Ras.tau is {self.tau}, expected a number above 0")
        if not self.beta >= 0:
            raise ValueError(f"Ras.beta is {self.beta}, expected a number of at least 0")
        check_focal(self.alpha, self.gamma, "Ras")

    def __call__(self, logits: Float[Tensor, "P K"], matches: Matches) -> Float[Tensor, ""]:
        """Eq 7 over all predictions, divided by the number of positives.

        A box with one positive has nothing to rank: its positive has the focal loss alone.
        """
        logits = at_least_float32(logits)
        focal = focal_loss(logits, matches.is_target(logits.shape[1]), self.alpha, self.gamma)
        of_row = focal.sum(dim=1)
        if self.blend == "row":
            replaced = of_row[matches.row]
        else:
            replaced = focal[matches.row, matches.label]
        distilled, share = self._distilled(logits[matches.row, matches.label], matches)
        # (1 - r) FL + r RDL = FL + r (RDL - FL): the focal sum stays whole, positives correct it.
        correction = matches.weight[matches.row] * share * (distilled - replaced)
        return ((of_row * matches.weight).sum() + correction.sum()) / matches.divisor

    def _distilled(
        self, logits: Float[Tensor, " Q"], matches: Matches
    ) -> tuple[Float[Tensor, " Q"], Float[Tensor, " Q"]]:
        """RDL of each positive and its share r_cls; quality and ranks carry no gradient."""
        with torch.no_grad():
            quality = matches.iou()
            rank = grouped_soft_rank(quality, matches.box, self.tau)
            share = grouped_soft_rank(logits.sigmoid(), matches.box, self.tau)
            share = share.masked_fill(group_size(matches.box) == 1, 0)
        return rank_aware_distillation(logits, quality, rank, self.beta, self.reading), share
