"""What a teacher's features become for the student to match: targets over learnt prototypes.

DOS (arXiv 2512.11465): of each prototype a distribution over points, a softmap; the teacher's are
balanced by Zipf-Sinkhorn first, so that few prototypes are broad and many are narrow, as things
in rooms are. AsymDSD (arXiv 2506.21724): of each point a distribution over prototypes, centred and
sharpened. N points, K prototypes; a logit is a cosine over a temperature.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

SumOverProcesses = Callable[[Tensor], Tensor]
"""Adds up what all processes of a pre-training have."""


def of_one_process(own: Tensor) -> Tensor:
    """The sum where there are no others."""
    return own


def zipf_prior(num_prototypes: int, alpha: float) -> Float[Tensor, " K"]:
    """The share of all points that each prototype is to have: k^-alpha, adding up to 1.

    `alpha` 0 gives all the same; 1.3 is the paper's choice. Double precision. Raises ValueError
    without prototypes.
    """
    if num_prototypes < 1:
        raise ValueError(f"{num_prototypes} prototypes, expected at least 1")
    weights = torch.arange(1, num_prototypes + 1, dtype=torch.float64).pow(-alpha)
    return weights / weights.sum()


def most_prototypes(num_points: int, alpha: float, limit: int = 8192) -> int:
    """The largest number of prototypes, up to a limit, of which the last one still gets a point.

    A prototype whose share is less than one point can only be a spike on a random one.
    """
    if num_points < 1:
        return 1
    ranks = torch.arange(1, limit + 1, dtype=torch.float64)
    last_share = num_points * ranks.pow(-alpha) / ranks.pow(-alpha).cumsum(0)
    return max(1, int((last_share >= 1.0).sum()))


def zipf_sinkhorn(
    logits: Float[Tensor, "N K"],
    prior: Float[Tensor, " K"],
    iterations: int,
    sum_over_processes: SumOverProcesses = of_one_process,
) -> Float[Tensor, "N K"]:
    """The teacher's softmaps, balanced: columns of points that add up to 1 (DOS, Algorithm 1).

    Each iteration gives all points the same total, then each prototype its share of the prior.
    In logarithms, as exp(1 / 0.04) leaves no room in single precision. `iterations` 0 balances
    nothing. With several processes the columns are over the points of all.
    """
    log_q = logits.double()
    log_prior = prior.to(log_q).log()
    of_points = log_q.new_zeros(len(log_q), 1)
    of_prototypes = log_q.new_zeros(1, log_q.shape[1])
    for _ in range(iterations):
        of_points = -torch.logsumexp(log_q + of_prototypes, dim=1, keepdim=True)
        of_prototypes = log_prior - _log_sum_of_columns(log_q + of_points, sum_over_processes)
    log_q = log_q + of_points
    return (log_q - _log_sum_of_columns(log_q, sum_over_processes)).exp().to(logits.dtype)


def log_softmap(
    logits: Float[Tensor, "N K"], sum_over_processes: SumOverProcesses = of_one_process
) -> Float[Tensor, "N K"]:
    """The logarithm of each prototype's distribution over points."""
    return logits - _log_sum_of_columns(logits, sum_over_processes)


def softmap_loss(
    target: Float[Tensor, "N K"],
    student_logits: Float[Tensor, "N K"],
    sum_over_processes: SumOverProcesses = of_one_process,
) -> Float[Tensor, ""]:
    """The mean over prototypes of KL(target || student) over points; 0 without points.

    With several processes it is this process's part: the parts add up to the loss.
    """
    log_student = log_softmap(student_logits, sum_over_processes)
    log_target = target.clamp_min(torch.finfo(target.dtype).tiny).log()
    return (target * (log_target - log_student)).sum() / target.shape[1]


def _log_sum_of_columns(logits: Tensor, sum_over_processes: SumOverProcesses) -> Tensor:
    """log sum exp over points, (1, K), also where there are none in this process."""
    if sum_over_processes is of_one_process:
        return torch.logsumexp(logits, dim=0, keepdim=True)
    # No shift is needed: a cosine over a temperature is at most 1 / temperature.
    return sum_over_processes(logits.exp().sum(dim=0, keepdim=True)).log()


class Centering(nn.Module):
    """AsymDSD's targets: softmax over prototypes of what deviates from the usual, sharpened.

    The centre, a moving average of all logits, keeps one prototype from taking everything; the
    low temperature keeps all from becoming alike (arXiv 2506.21724, sec 3; DINO 2104.14294).
    """

    center: Tensor

    def __init__(self, num_prototypes: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("center", torch.zeros(num_prototypes))

    @torch.no_grad()
    def targets(
        self,
        logits: Float[Tensor, "N K"],
        temperature: float,
        sum_over_processes: SumOverProcesses = of_one_process,
    ) -> Float[Tensor, "N K"]:
        """Each point's distribution over prototypes by the centre so far, which then moves."""
        target = torch.softmax((logits - self.center) / temperature, dim=1)
        own = torch.cat([logits.sum(dim=0), logits.new_tensor([float(len(logits))])])
        total = sum_over_processes(own)
        if total[-1] > 0:
            self.center.lerp_(total[:-1] / total[-1], 1.0 - self.momentum)
        return target


def cross_entropy(
    target: Float[Tensor, "N K"], student_logits: Float[Tensor, "N K"], temperature: float
) -> Float[Tensor, " N"]:
    """How much each point's distribution differs from its target, in nats."""
    return -(target * torch.log_softmax(student_logits / temperature, dim=1)).sum(dim=1)


def pairs_cross_entropy(
    target: Float[Tensor, "T K"], student_logits: Float[Tensor, "S K"], temperature: float
) -> Float[Tensor, "T S"]:
    """That of every target with every student."""
    return -target @ torch.log_softmax(student_logits / temperature, dim=1).T


def spread_loss(embeddings: Float[Tensor, "B C"]) -> Float[Tensor, ""]:
    """KoLeo: how near the embeddings of a batch are to each other, -mean log of the distance to
    the nearest other one, each of length 1 (Sablayrolles et al., arXiv 1806.03198).

    0 for less than two, which have no other.
    """
    if len(embeddings) < 2:
        return embeddings.sum() * 0.0
    unit = nn.functional.normalize(embeddings, dim=1)
    with torch.no_grad():
        likeness = unit @ unit.T
        likeness.fill_diagonal_(-math.inf)
        nearest = likeness.argmax(dim=1)
    return -((unit - unit[nearest]).norm(dim=1) + 1e-6).log().mean()
