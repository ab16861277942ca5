"""AsymDSD, asymmetric dual self-distillation (arXiv 2506.21724), on a sparse convolution network.

The teacher sees whole large crops. The student sees a few blocks of them, and a predictor says
from these what the teacher finds in the hidden cells; and the student sees small crops, which it
is to describe as the teacher describes the large ones. Cells are those of the third stage, 0.32 m;
a crop is described by mean and maximum over the last stage's cells. Both are compared over learnt
prototypes, centred and sharpened.

What differs from the paper: cells take the place of 32 nearest points; convolutions mix
neighbours, so each mask costs the student a pass; crops keep their size in metres, and up stays
up; norms are LayerNorm.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from sr3d_core.pretrain.diagnostics import entropy
from sr3d_core.pretrain.encoder import Cells, Encoder, cell_stride, initialised
from sr3d_core.pretrain.masks import different_cells, hide_all_but_blocks
from sr3d_core.pretrain.method import Drawn, Found, Sums, follow
from sr3d_core.pretrain.predictor import Predictor, nearest_rows, some_rows
from sr3d_core.pretrain.prototypes import (
    Centering,
    cross_entropy,
    pairs_cross_entropy,
    spread_loss,
)
from sr3d_core.pretrain.schedules import ramp
from sr3d_core.pretrain.settings import TEMPERATURE_RAMP, Asymmetric, Pretraining
from sr3d_core.pretrain.views import as_batch
from sr3d_core.sparse.lattice import found_among
from sr3d_core.structures import PointCloud

STAGE = 1
"""Stage of the backbone whose cells are predicted: 0.32 m in every preset."""


def asymdsd_total(
    of_cells: Tensor, of_crops: Tensor, spread: Tensor, weights: tuple[float, float, float]
) -> Tensor:
    """The weighted mean of the three losses."""
    terms = zip((of_cells, of_crops, spread), weights, strict=True)
    return torch.stack([term * weight for term, weight in terms]).sum() / sum(weights)


def visible_points(
    cloud: PointCloud, cell_m: float, own: Asymmetric, generator: Generator
) -> Bool[Tensor, " N"]:
    """Which points an inverse block mask over cells of this edge shows.

    Cells are those of the network, from the origin on, so that none is half hidden.
    """
    unique, row = different_cells(torch.floor(cloud.xyz.double() / cell_m).long())
    return hide_all_but_blocks(unique.float(), own.ratio, own.blocks, generator)[row]


class Scores(nn.Module):
    """Cosines with prototypes that each have a length and an offset: logits, not yet sharp."""

    def __init__(self, features: int, hidden: int, bottleneck: int, num_prototypes: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            *(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()),
            nn.Linear(hidden, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.randn(num_prototypes, bottleneck))
        self.length = nn.Parameter(torch.ones(num_prototypes))
        self.offset = nn.Parameter(torch.zeros(num_prototypes))
        initialised(self.project)

    def forward(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N K"]:
        """One logit for each prototype."""
        unit = nn.functional.normalize(self.project(features), dim=1, eps=1e-6)
        prototypes = nn.functional.normalize(self.prototypes, dim=1) * self.length[:, None]
        return unit @ prototypes.T + self.offset


class Side(nn.Module):
    """What student and teacher both have."""

    def __init__(self, settings: Pretraining, num_prototypes: int) -> None:
        super().__init__()
        targets, width = settings.targets, settings.asymmetric.width
        sizes = (targets.hidden, targets.bottleneck, num_prototypes)
        self.encoder = Encoder(settings.architecture, STAGE)
        self.narrow = nn.Linear(self.encoder.width, width)
        self.of_cells = Scores(width, *sizes)
        self.of_crops = Scores(self.encoder.crop_width, *sizes)


class _Masked(NamedTuple):
    """One large crop of which some blocks are visible."""

    crop: int  # which of the step's large crops
    cloud: PointCloud  # what is visible


class AsymDsd(nn.Module):
    """Student, teacher and predictor; each side has prototypes of its own."""

    def __init__(self, settings: Pretraining, num_prototypes: int) -> None:
        super().__init__()
        self.settings = settings
        own = settings.asymmetric
        self.student = Side(settings, num_prototypes)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.predictor = Predictor(own.width, own.width, own.layers, own.heads)
        self.center_of_cells = Centering(num_prototypes, own.center_momentum)
        self.center_of_crops = Centering(num_prototypes, own.center_momentum)
        self.voxel_size_m = settings.architecture.voxel_size_m
        self.cell_m = self.voxel_size_m * cell_stride(settings.architecture, STAGE)

    def found(self, drawn: Sequence[Drawn], step: int, sums: Sums, device: torch.device) -> Found:
        """The losses of a step; large crops 2i and 2i + 1 are of cloud i."""
        own, temperature = self.settings.asymmetric, self.settings.targets.student_temperature
        large = [view.cloud for each in drawn for view in each.large]
        masked = self._masked(drawn)
        small = [view.cloud for each in drawn for view in each.small]
        unmasked = large[::2]
        with torch.no_grad():
            teacher = self.teacher.encoder(as_batch(large).to(device), len(large))
            of_cells = self.teacher.of_cells(self.teacher.narrow(teacher.features))
            of_crops = self.teacher.of_crops(teacher.crops)
            sharp_cells = self._sharpness(own.teacher_temperature_of_cells, step)
            sharp_crops = self._sharpness(self.settings.targets.teacher_temperature, step)
            cell_targets = self.center_of_cells.targets(of_cells, sharp_cells, sums.of_teacher)
            crop_targets = self.center_of_crops.targets(of_crops, sharp_crops, sums.of_teacher)
        seen = [*(each.cloud for each in masked), *small, *unmasked]
        student = self.student.encoder(as_batch(seen).to(device), len(seen))
        answers, rows = self._predicted(masked, student, teacher, drawn)
        losses = cross_entropy(cell_targets[rows], answers, temperature)
        cells = losses.sum() / max(sums.total(len(rows)), 1)
        crops = self._of_crops(student, crop_targets, len(masked), len(small), len(drawn))
        spread = self._spread(student, len(masked), len(small), len(drawn))
        crops, spread = crops / sums.num, spread / sums.num
        total = asymdsd_total(cells, crops, spread, (own.of_cells, own.of_crops, own.spread))

        def figures() -> Mapping[str, float]:
            most = math.log(max(cell_targets.shape[1], 2))
            posterior = float(torch.special.entr(cell_targets[rows]).sum(dim=1).mean())
            return {
                "marginal_entropy": entropy(cell_targets.mean(dim=0)) / most,
                "posterior_entropy": posterior,
                "divergence": float(losses.detach().mean()) - posterior,
            }

        terms = {"cells": cells, "crops": crops, "spread": spread}
        return Found(total, terms, len(rows), student.features.detach(), figures)

    def _masked(self, drawn: Sequence[Drawn]) -> list[_Masked]:
        """Each large crop under each of its masks, all masks of a crop after each other.

        What one sensor sees of a crop is one mask.
        """
        if self.settings.mask.kind == "frame":
            large = [view for each in drawn for view in each.large]
            return [
                _Masked(crop, view.cloud[view.seen])
                for crop, view in enumerate(large)
                if view.seen is not None
            ]
        own, masked = self.settings.asymmetric, []
        for cloud, each in enumerate(drawn):
            generator = torch.Generator().manual_seed(each.seed)
            for side, view in enumerate(each.large):
                for _ in range(own.masks):
                    shown = visible_points(view.cloud, self.cell_m, own, generator)
                    masked.append(_Masked(2 * cloud + side, view.cloud[shown]))
        return masked

    def _sharpness(self, temperature: tuple[float, float], step: int) -> float:
        return ramp(step, *temperature, round(TEMPERATURE_RAMP * self.settings.steps.num))

    def _predicted(
        self, masked: Sequence[_Masked], student: Cells, teacher: Cells, drawn: Sequence[Drawn]
    ) -> tuple[Float[Tensor, "Q K"], Tensor]:
        """Logits of hidden cells, and the teacher's rows of these cells."""
        own = self.settings.asymmetric
        tokens = self.student.narrow(student.features)
        places = teacher.centers_m(self.voxel_size_m)
        visible_m = student.centers_m(self.voxel_size_m)
        answers, rows = [tokens[:0]], [torch.zeros(0, dtype=torch.int64, device=tokens.device)]
        for scene, each in enumerate(masked):
            generator = torch.Generator().manual_seed(drawn[each.crop // 2].seed + scene)
            of_crop = torch.nonzero(teacher.coords[:, 0] == each.crop).flatten()
            shown = torch.nonzero(student.coords[:, 0] == scene).flatten()
            as_there = student.coords[shown].clone()
            as_there[:, 0] = each.crop
            is_shown = found_among(teacher.coords[of_crop], as_there, teacher.stride) >= 0
            hidden = of_crop[~is_shown]
            hidden = hidden[some_rows(len(hidden), own.queries, generator).to(hidden.device)]
            asked = shown[nearest_rows(places[hidden], visible_m[shown], own.memory)]
            if len(asked):
                answers.append(self.predictor(places[hidden], visible_m[asked], tokens[asked]))
                rows.append(hidden)
        return self.student.of_cells(torch.cat(answers)), torch.cat(rows)

    def _of_crops(
        self, student: Cells, targets: Tensor, num_masked: int, num_small: int, num_clouds: int
    ) -> Tensor:
        """The mean of three: small crops and masked ones against both large crops of their cloud,
        and the first large crop against the second."""
        temperature = self.settings.targets.student_temperature
        logits = self.student.of_crops(student.crops)
        parts = logits.split([num_masked, num_small, num_clouds])
        terms = []
        for part in parts[:2]:
            share = len(part) // num_clouds
            pairs = [
                pairs_cross_entropy(
                    targets[2 * cloud : 2 * cloud + 2],
                    part[cloud * share : (cloud + 1) * share],
                    temperature,
                ).mean()
                for cloud in range(num_clouds)
                if share
            ]
            terms += [torch.stack(pairs).mean()] if pairs else []
        terms.append(cross_entropy(targets[1::2], parts[2], temperature).mean())
        return torch.stack(terms).mean()

    def _spread(self, student: Cells, num_masked: int, num_small: int, num_clouds: int) -> Tensor:
        """KoLeo over the clouds of this process, by the number of a crop within its cloud."""
        groups = []
        for part in student.crops.split([num_masked, num_small, num_clouds]):
            share = len(part) // num_clouds
            groups += [part[number::share] for number in range(share)]
        return torch.stack([spread_loss(group) for group in groups]).mean()

    def follow(self, kept: float) -> None:
        """Let the teacher move towards the student, and keep so much of itself."""
        follow(self.teacher, self.student, kept)

    def backbone(self) -> dict[str, Tensor]:
        """The teacher's backbone, statistics of its norms included."""
        return self.teacher.encoder.network.backbone.state_dict()
