"""DOS, distilling observable softmaps (arXiv 2512.11465), on a sparse convolution network.

Two views of a cloud; the teacher sees both whole, the student what blocks do not hide, or what one
sensor sees. For each
prototype both say how much each cell looks like it, as a distribution over the cells that the
student can see; no other cell takes part. The student learns the teacher's distribution of the
same view, and that of the other view at the same places.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sr3d_core.pretrain.diagnostics import divergence, entropy, likeness, perplexity
from sr3d_core.pretrain.encoder import Cells, Encoder, initialised, rows_among
from sr3d_core.pretrain.masks import hide_blocks
from sr3d_core.pretrain.matching import nearest_pairs
from sr3d_core.pretrain.method import Drawn, Found, Sums, follow
from sr3d_core.pretrain.prototypes import softmap_loss, zipf_prior, zipf_sinkhorn
from sr3d_core.pretrain.schedules import ramp
from sr3d_core.pretrain.settings import TEMPERATURE_RAMP, Pretraining
from sr3d_core.pretrain.views import View, as_batch
from sr3d_core.structures import UNKNOWN_COLOR, PointCloud

STAGE = 0
"""Stage of the backbone whose cells are compared: 0.16 m in every preset."""


def dos_total(same: Sequence[Tensor], cross: Sequence[Tensor]) -> Tensor:
    """The sum over target views of half the loss within and half the loss across views."""
    return torch.stack([0.5 * a + 0.5 * b for a, b in zip(same, cross, strict=True)]).sum()


class Branch(nn.Module):
    """An encoder with a projection: what student and teacher each are."""

    def __init__(self, settings: Pretraining) -> None:
        super().__init__()
        targets = settings.targets
        self.encoder = Encoder(settings.architecture, STAGE)
        self.project = nn.Sequential(
            nn.Linear(self.encoder.width, targets.hidden),
            nn.GELU(),
            nn.Linear(targets.hidden, targets.bottleneck),
        )
        initialised(self.project)

    def embedding(self, cells: Cells) -> Float[Tensor, "V E"]:
        """What is compared with prototypes, of length 1."""
        return nn.functional.normalize(self.project(cells.features), dim=1, eps=1e-6)


class Dos(nn.Module):
    """Student, teacher and prototypes; both compare with the same prototypes.

    One softmap is over the cells of all views of a step, also those of other processes: what a
    scene does not have needs not be found in it.
    """

    prior: Tensor

    def __init__(self, settings: Pretraining, num_prototypes: int) -> None:
        super().__init__()
        self.settings = settings
        self.voxel_size_m = settings.architecture.voxel_size_m
        self.student = Branch(settings)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.prototypes = nn.Parameter(torch.randn(num_prototypes, settings.targets.bottleneck))
        self.register_buffer("prior", zipf_prior(num_prototypes, settings.targets.alpha))

    def found(self, drawn: Sequence[Drawn], step: int, sums: Sums, device: torch.device) -> Found:
        """The losses of a step; scenes 2i and 2i + 1 are the two views of cloud i."""
        views = [view for each in drawn for view in each.large]
        visible = self._visible(drawn, step)
        parts = [self._shown(view, shown) for view, shown in zip(views, visible, strict=True)]
        whole = as_batch([view.cloud for view in views]).to(device)
        return self.compared(views, whole, as_batch(parts).to(device), self._sharpness(step), sums)

    def compared(
        self,
        views: Sequence[View],
        whole: PointCloud,
        visible: PointCloud,
        temperature: float,
        sums: Sums,
    ) -> Found:
        """The losses where the teacher sees the whole views and the student parts of them."""
        targets = self.settings.targets
        prototypes = nn.functional.normalize(self.prototypes, dim=1)
        with torch.no_grad():
            teacher = self.teacher.encoder(whole, len(views))
            logits = self.teacher.embedding(teacher) @ prototypes.detach().T / temperature
        student = self.student.encoder(visible, len(views))
        answers = self.student.embedding(student) @ prototypes.T / targets.student_temperature

        def loss(rows: Tensor, of_teacher: Tensor) -> tuple[Tensor, Tensor]:
            target = zipf_sinkhorn(
                logits[of_teacher], self.prior, targets.iterations, sums.of_teacher
            )
            return softmap_loss(target, answers[rows], sums.of_student), target

        every = torch.arange(len(student), device=answers.device)
        itself = rows_among(student.coords, teacher.coords, teacher.stride)
        same, target = loss(every, itself)
        rows, others = self._pairs(views, student, teacher)
        cross, _ = loss(rows, others)

        def figures() -> Mapping[str, float]:
            chosen = logits.argmax(dim=1)
            alike = (chosen[others] == chosen[itself[rows]]).float()
            usage = torch.softmax(answers.detach(), dim=1).mean(dim=0)
            widths = perplexity(target) / max(len(target), 1)
            mean_likeness, copies = likeness(self.prototypes.detach())
            return {
                "usage_entropy": entropy(usage) / math.log(max(len(usage), 2)),
                "usage_divergence": divergence(usage, self.prior),
                "narrowest": float(widths.min()),
                "widest": float(widths.max()),
                "likeness": mean_likeness,
                "copies": copies,
                "matched": len(rows) / max(len(student), 1),
                "agreement": float(alike.mean()) if len(alike) else math.nan,
            }

        total = dos_total([same, same], [cross, cross])
        terms = {"same": same, "cross": cross}
        return Found(total, terms, len(student), student.features.detach(), figures)

    def _visible(self, drawn: Sequence[Drawn], step: int) -> list[Tensor]:
        """Which points of each view the mask does not hide by now."""
        seen = [view.seen for each in drawn for view in each.large if view.seen is not None]
        if self.settings.mask.kind == "frame":
            return seen
        mask, num = self.settings.mask, self.settings.steps.num
        ratio = ramp(step, mask.ratio / 2, mask.ratio, round(mask.warmup * num))
        visible: list[Tensor] = []
        for each in drawn:
            generator = torch.Generator().manual_seed(each.seed)
            visible += [
                hide_blocks(view.cloud.xyz, mask.block_m, ratio, generator) for view in each.large
            ]
        return visible

    def _shown(self, view: View, visible: Tensor) -> PointCloud:
        """What the student sees of a view."""
        cloud = view.cloud
        if not self.settings.mask.leak:
            return cloud[visible]
        features = torch.where(visible[:, None], cloud.features, UNKNOWN_COLOR)
        return PointCloud(cloud.xyz, features, cloud.scene)

    def _sharpness(self, step: int) -> float:
        first, last = self.settings.targets.teacher_temperature
        return ramp(step, first, last, round(TEMPERATURE_RAMP * self.settings.steps.num))

    @torch.no_grad()
    def _pairs(
        self, views: Sequence[View], student: Cells, teacher: Cells
    ) -> tuple[Int[Tensor, " P"], Int[Tensor, " P"]]:
        """Cells of the student with the teacher's cell of the other view at the same place."""
        places = self._originals(views, student)
        others = self._originals(views, teacher)
        edge_m = student.stride * self.voxel_size_m
        pairs = []
        for scene in range(len(views)):
            own = torch.nonzero(student.coords[:, 0] == scene).flatten()
            other = torch.nonzero(teacher.coords[:, 0] == (scene ^ 1)).flatten()
            first, second = nearest_pairs(places[own], others[other], edge_m)
            pairs.append((own[first], other[second]))
        rows, of_teacher = (torch.cat(part) for part in zip(*pairs, strict=True))
        return rows, of_teacher

    def _originals(self, views: Sequence[View], cells: Cells) -> Float[Tensor, "V 3"]:
        """Where the middles of cells are in the clouds themselves."""
        centers = cells.centers_m(self.voxel_size_m)
        original = torch.zeros_like(centers)
        for scene, view in enumerate(views):
            is_own = cells.coords[:, 0] == scene
            original[is_own] = view.original(centers[is_own])
        return original

    def follow(self, kept: float) -> None:
        """Let the teacher move towards the student, and keep so much of itself."""
        follow(self.teacher, self.student, kept)

    def backbone(self) -> dict[str, Tensor]:
        """The teacher's backbone, statistics of its norms included."""
        return self.teacher.encoder.network.backbone.state_dict()
