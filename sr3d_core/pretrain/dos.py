"""DOS, distilling observable softmaps (arXiv 2512.11465), on a sparse convolution network.

Two views of a cloud; the teacher sees both whole, the student what blocks do not hide. For each
prototype both say how much each cell looks like it, as a distribution over the cells that the
student can see; no other cell takes part. The student learns the teacher's distribution of the
same view, and that of the other view at the same places.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sr3d_core.model.network import Architecture
from sr3d_core.pretrain.branch import Branch, Cells, rows_among
from sr3d_core.pretrain.matching import nearest_pairs
from sr3d_core.pretrain.prototypes import (
    SumOverProcesses,
    of_one_process,
    softmap_loss,
    zipf_prior,
    zipf_sinkhorn,
)
from sr3d_core.pretrain.settings import Targets
from sr3d_core.pretrain.views import View, as_batch
from sr3d_core.structures import PointCloud


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The clouds of one step: scenes 2i and 2i + 1 are the two views of cloud i."""

    whole: PointCloud  # for the teacher
    visible: PointCloud  # for the student
    views: tuple[View, ...]

    @classmethod
    def of(cls, views: Sequence[View], visible: Sequence[Tensor]) -> Seen:
        """The views with which of their points the student sees."""
        whole = [view.cloud for view in views]
        parts = [cloud[mask] for cloud, mask in zip(whole, visible, strict=True)]
        return cls(as_batch(whole), as_batch(parts), tuple(views))

    def to(self, device: torch.device | str) -> Seen:
        """The same clouds on another device."""
        return Seen(self.whole.to(device), self.visible.to(device), self.views)

    def originals(self, cells: Cells, voxel_size_m: float) -> Float[Tensor, "V 3"]:
        """Where the middles of cells are in the clouds themselves."""
        centers = cells.centers_m(voxel_size_m)
        original = torch.zeros_like(centers)
        for scene, view in enumerate(self.views):
            is_own = cells.coords[:, 0] == scene
            original[is_own] = view.original(centers[is_own])
        return original


@dataclass(frozen=True, slots=True, eq=False)
class DosStep:
    """What one step came to; without the sum's parts of other processes."""

    same: Tensor  # loss within views
    cross: Tensor  # loss across views
    target: Float[Tensor, "N K"]  # the teacher's softmaps within views
    student: Cells
    teacher: Cells
    matched: float  # share of the student's cells that the other view has as well
    agreement: float  # share of those of which the teacher says the same prototype in both views

    @property
    def total(self) -> Tensor:
        """The loss, `dos_total` of both views at once."""
        return dos_total([self.same, self.same], [self.cross, self.cross])


def dos_total(same: Sequence[Tensor], cross: Sequence[Tensor]) -> Tensor:
    """The sum over target views of half the loss within and half the loss across views."""
    return torch.stack([0.5 * a + 0.5 * b for a, b in zip(same, cross, strict=True)]).sum()


class Dos(nn.Module):
    """Student, teacher and prototypes; both compare with the same prototypes."""

    def __init__(self, architecture: Architecture, targets: Targets, num_prototypes: int) -> None:
        super().__init__()
        self.settings = targets
        self.voxel_size_m = architecture.voxel_size_m
        self.student = Branch(architecture, targets.hidden, targets.bottleneck)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.prototypes = nn.Parameter(torch.randn(num_prototypes, targets.bottleneck))
        self.register_buffer("prior", zipf_prior(num_prototypes, targets.alpha))

    prior: Tensor

    def forward(
        self,
        seen: Seen,
        teacher_temperature: float,
        student_sum: SumOverProcesses = of_one_process,
        teacher_sum: SumOverProcesses = of_one_process,
    ) -> DosStep:
        """The losses of a step."""
        prototypes = nn.functional.normalize(self.prototypes, dim=1)
        with torch.no_grad():
            teacher = self.teacher(seen.whole)
            logits = teacher.embedding @ prototypes.detach().T / teacher_temperature
        student = self.student(seen.visible)
        answers = student.embedding @ prototypes.T / self.settings.student_temperature

        def loss(rows: Tensor, of_teacher: Tensor) -> tuple[Tensor, Tensor]:
            target = zipf_sinkhorn(
                logits[of_teacher], self.prior, self.settings.iterations, teacher_sum
            )
            return softmap_loss(target, answers[rows], student_sum), target

        every = torch.arange(len(student), device=answers.device)
        itself = rows_among(student.coords, teacher.coords, teacher.stride)
        same, target = loss(every, itself)
        rows, others = self._pairs(seen, student, teacher)
        cross, _ = loss(rows, others)
        alike = logits[others].argmax(dim=1) == logits[itself[rows]].argmax(dim=1)
        return DosStep(
            same=same,
            cross=cross,
            target=target,
            student=student,
            teacher=teacher,
            matched=len(rows) / max(len(student), 1),
            agreement=float(alike.float().mean()) if len(rows) else float("nan"),
        )

    @torch.no_grad()
    def _pairs(
        self, seen: Seen, student: Cells, teacher: Cells
    ) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
        """Cells of the student with the teacher's cell of the other view at the same place."""
        places = seen.originals(student, self.voxel_size_m)
        others = seen.originals(teacher, self.voxel_size_m)
        edge_m = student.stride * self.voxel_size_m
        pairs = []
        for scene in range(len(seen.views)):
            own = torch.nonzero(student.coords[:, 0] == scene).flatten()
            other = torch.nonzero(teacher.coords[:, 0] == (scene ^ 1)).flatten()
            first, second = nearest_pairs(places[own], others[other], edge_m)
            pairs.append((own[first], other[second]))
        rows, of_teacher = (torch.cat(part) for part in zip(*pairs, strict=True))
        return rows, of_teacher

    @torch.no_grad()
    def follow(self, kept: float) -> None:
        """Let the teacher move towards the student, and keep so much of itself.

        Statistics of batch norm stay its own: it sees whole clouds, the student parts of them.
        """
        own = dict(self.teacher.named_parameters())
        for name, parameter in self.student.named_parameters():
            own[name].lerp_(parameter.detach(), 1.0 - kept)
