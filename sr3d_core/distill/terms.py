"""What a camera student learns of its teacher in a step.

Two networks are compared on voxels that both have, inside of objects. Each channel counts in units
of the teacher's own spread over objects, which is followed from step to step. The published
procedure compares cells of images in their place: `cells`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sr3d_core.distill.cells import CellTerms
from sr3d_core.distill.objects import Objects
from sr3d_core.distill.teachers import Taught
from sr3d_core.distill.term_settings import DepthTerm, Distill, Level
from sr3d_core.geometry.iou import aligned_diou
from sr3d_core.model.camera_network import CellOutput, cell_depth, cells_on
from sr3d_core.sparse.layers import VoxelNorm
from sr3d_core.sparse.tensor import SparseTensor
from sr3d_core.structures import Predictions, Targets
from sr3d_core.supervision.distill.depth import depth_cross_entropy
from sr3d_core.supervision.distill.feature import (
    LEAST_STD,
    feature_loss,
    shared_rows,
)
from sr3d_core.supervision.distill.relation import (
    LEAST_TRUST,
    descriptors,
    gridded_descriptors,
    literal_relation_loss,
    relation_loss,
)
from sr3d_core.supervision.distill.response import soft_score_loss
from sr3d_core.supervision.distill.selection import (
    automatic_reference,
    need,
    object_weights,
)
from sr3d_core.training.processes import ALONE, Processes

_ANCHORS: tuple[Level, Level] = ("fine", "coarse")
_KEPT = 0.9  # of what is followed from step to step


class Distillation(nn.Module):
    """The terms of one training, with what they follow: adapters, spreads, a reference."""

    reference_m: Tensor

    def __init__(
        self,
        settings: Distill,
        widths: dict[Level, tuple[int, int]],
        voxel_size_m: float,
        processes: Processes = ALONE,
        cells: CellTerms | None = None,
        *,
        has_adapter: bool = False,
    ) -> None:
        """`widths` are the student's and the teacher's channels of each level.

        With `has_adapter` the student's features are compared as a linear map of them shows them.

        With `cells` features and relations are those of cells, not of voxels.
        Where several processes share a step, the sum of their terms is that of one with all of
        its scenes, and what is followed is followed over all of them.
        """
        super().__init__()
        self._processes, self.cells = processes, cells
        self.settings, self.voxel_size_m = settings, voxel_size_m
        self.adapters = nn.ModuleDict(
            {name: _adapter(*pair, has_adapter) for name, pair in widths.items()}
        )
        for name, (_, width) in widths.items():
            self.register_buffer(f"mean_{name}", torch.zeros(width))
            self.register_buffer(f"spread_{name}", torch.zeros(width))  # 0: nothing seen yet
        self.register_buffer("reference_m", torch.tensor(0.0))

    def forward(
        self,
        student: Taught,
        teacher: Taught,
        said: Predictions,
        own: Predictions,
        objects: Objects,
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms, weighted; `said` are the teacher's predictions, `own` the student's."""
        settings = self.settings
        weights = object_weights(
            settings.of_features, objects.std_m, objects.trust, self._reference(objects)
        )
        pairs = self._pairs(student, teacher, objects)
        if self.cells is None:
            features, relations = self._of_voxels(student, teacher, pairs, objects, weights)
        else:
            assert student.seen is not None
            assert teacher.seen is not None
            features, relations = self.cells(student.seen, teacher.seen, objects, weights)
        response = response_term(
            *_rows_of_anchors(student, teacher, pairs),
            said,
            own,
            settings.response.least_score,
            self._processes.total,
        )
        return {
            "features": settings.feature.weight * features,
            "relations": settings.relation.weight * relations,
            "response": settings.response.weight * response,
        }

    def _of_voxels(
        self,
        student: Taught,
        teacher: Taught,
        pairs: Mapping[Level, _Pair],
        objects: Objects,
        weights: Float[Tensor, " K"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The terms of features and of relations, of voxels that both have."""
        compared = self._compared(student, pairs)
        relations = objects.std_m.new_zeros(())
        for name, each in compared.items():
            relations = relations + self._relations(
                student.levels[name].replaced((each.adapted - each.mean) / each.spread),
                teacher.levels[name].replaced(
                    (teacher.levels[name].features - each.mean) / each.spread
                ),
                objects,
            )
        return self._features(compared, weights), relations / max(len(compared), 1)

    def features_of_all(
        self, student: Taught, teacher: Taught, objects: Objects
    ) -> Float[Tensor, ""]:
        """The term of features with all objects alike, whatever the preset selects."""
        compared = self._compared(student, self._pairs(student, teacher, objects))
        return self._features(compared, torch.ones_like(objects.trust))

    def needs(self, objects: Objects) -> Float[Tensor, " K"]:
        """How much each object is in need, 0..1; one of unknown depth is so wholly."""
        return need(objects.std_m.nan_to_num(float("inf")), self._reference(objects))

    def _pairs(self, student: Taught, teacher: Taught, objects: Objects) -> dict[Level, _Pair]:
        """The rows that both have, of each level that anything is compared on."""
        return {
            name: _Pair.of(student.levels[name], teacher.levels[name], objects, self.voxel_size_m)
            for name in dict.fromkeys((*self.settings.feature.levels, *_ANCHORS))
        }

    def _compared(self, student: Taught, pairs: Mapping[Level, _Pair]) -> dict[Level, _Compared]:
        """What of the student is compared with its teacher, level by level."""
        found = {}
        for name in self.settings.feature.levels:
            adapted = self.adapters[name](student.levels[name].features)
            found[name] = _Compared(
                pairs[name], adapted, *self._followed(name, pairs[name].teacher_features)
            )
        return found

    def _features(
        self, compared: Mapping[Level, _Compared], weights: Float[Tensor, " K"]
    ) -> Float[Tensor, ""]:
        """The sum over levels of the term of features."""
        total = weights.new_zeros(())
        for each in compared.values():
            total = total + feature_loss(
                each.adapted[each.pair.student_row],
                each.pair.teacher_features,
                each.pair.is_inside,
                weights,
                each.spread,
                self.settings.feature.reduction,
                self._processes.total,
            )
        return total

    def _relations(
        self, student: SparseTensor, teacher: SparseTensor, objects: Objects
    ) -> Float[Tensor, ""]:
        """The mean over images with objects of the term of their objects."""
        described = [self._described(each, objects) for each in (student, teacher)]
        scenes = objects.scene.unique().tolist()
        total = student.features.sum() * 0.0
        for scene in scenes:
            of_scene = (objects.scene == scene).nonzero()[:, 0]
            mine, theirs = (rows[of_scene] for rows in described)
            trust = objects.trust[of_scene]
            if self.settings.is_literal:
                uncertainty = 1 / trust.clamp(min=LEAST_TRUST)
                total = total + literal_relation_loss(mine, theirs, uncertainty)
            else:
                trust = torch.ones_like(trust) if self.settings.trusts_all else trust
                total = total + relation_loss(mine, theirs, trust)
        return total / max(self._processes.total(len(scenes)), 1)

    def _described(self, x: SparseTensor, objects: Objects) -> Float[Tensor, "K D"]:
        xyz, is_inside = rows_of(x, objects, self.voxel_size_m)
        grid = self.settings.relation.grid
        if grid == 1:
            return descriptors(x.features, is_inside)
        return gridded_descriptors(x.features, xyz, is_inside, objects.boxes, grid)

    @torch.no_grad()
    def _followed(
        self, name: str, features: Float[Tensor, "N C"]
    ) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
        """Mean and spread of the teacher's channels over objects, after these rows."""
        mean, spread = self.get_buffer(f"mean_{name}"), self.get_buffer(f"spread_{name}")
        if self.training:
            now = self._moments(features)
            if now is not None:
                kept = _KEPT if bool((spread > 0).any()) else 0.0
                mean.lerp_(now[0].to(mean.dtype), 1 - kept)
                spread.lerp_(now[1].to(spread.dtype), 1 - kept)
        is_known = bool((spread > 0).any())
        return mean, spread.clamp(min=LEAST_STD) if is_known else torch.ones_like(spread)

    def _moments(
        self, features: Float[Tensor, "N C"]
    ) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]] | None:
        """Mean and deviation of the rows of all processes, float64; None of fewer than two."""
        rows = features.double()
        sums = self._processes.summed(torch.cat([rows.sum(dim=0), rows.new_tensor([len(rows)])]))
        count = float(sums[-1])
        mean = sums[:-1] / max(count, 1.0)
        squares = self._processes.summed((rows - mean).square().sum(dim=0))
        return None if count < 2 else (mean, (squares / count).sqrt())

    @torch.no_grad()
    def _reference(self, objects: Objects) -> float:
        """The deviation that counts as known; followed where it is the student's own."""
        fixed = self.settings.fixed_reference_m
        if fixed is not None:
            return fixed
        if self.training:
            own = objects.std_m[~objects.std_m.isnan()].tolist()
            seen = [each for part in self._processes.all_of(own) for each in part]
            if seen:
                kept = _KEPT if float(self.reference_m) > 0 else 0.0
                now = automatic_reference(torch.tensor(seen))
                self.reference_m.lerp_(self.reference_m.new_tensor(now), 1 - kept)
        return float(self.reference_m)


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """The rows that both networks have inside of objects."""

    student_row: Int[Tensor, " N"]
    teacher_row: Int[Tensor, " N"]
    teacher_features: Float[Tensor, "N C"]
    is_inside: Bool[Tensor, "N K"]

    @classmethod
    def of(
        cls, student: SparseTensor, teacher: SparseTensor, objects: Objects, voxel_size_m: float
    ) -> _Pair:
        teacher_row, student_row = shared_rows(teacher.coords, student.coords)
        _, is_inside = rows_of(teacher, objects, voxel_size_m)
        is_inside = is_inside[teacher_row]
        kept = is_inside.any(dim=1)
        teacher_row, student_row = teacher_row[kept], student_row[kept]
        return cls(student_row, teacher_row, teacher.features[teacher_row], is_inside[kept])


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """One level of the student, as its teacher would say it, and the teacher's own scale."""

    pair: _Pair
    adapted: Float[Tensor, "S C"]
    mean: Float[Tensor, " C"]
    spread: Float[Tensor, " C"]


def rows_of(
    x: SparseTensor, objects: Objects, voxel_size_m: float
) -> tuple[Float[Tensor, "N 3"], Bool[Tensor, "N K"]]:
    """Where the middle of rows is, and which objects hold it, grown by half of a row's size.

    So a row belongs to each object that has a part of it, however thin.
    """
    middle = x.coords[:, 1:].to(objects.boxes.center.dtype) + 0.5 * x.stride
    xyz = middle * voxel_size_m
    return xyz, objects.holding(x.coords, xyz, 0.5 * x.stride * voxel_size_m)


def _rows_of_anchors(
    student: Taught, teacher: Taught, pairs: Mapping[Level, _Pair]
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """The rows of shared anchors inside of objects, counted through both levels of predictions."""
    first = (len(student.outputs[0].coords), len(teacher.outputs[0].coords))
    fine, coarse = (pairs[name] for name in _ANCHORS)
    return (
        torch.cat([fine.student_row, coarse.student_row + first[0]]),
        torch.cat([fine.teacher_row, coarse.teacher_row + first[1]]),
    )


def response_term(
    of_student: Int[Tensor, " N"],
    of_teacher: Int[Tensor, " N"],
    said: Predictions,
    own: Predictions,
    least_score: float,
    total: Callable[[int], int] = int,
) -> Float[Tensor, ""]:
    """The teacher's scores on shared anchors inside of objects, and its boxes where it is sure.

    The rows are those of `own` and of `said`. Scores: quality focal loss, summed over classes,
    mean over anchors. Boxes: mean of 1 - DIoU. `total` as of `feature_loss`.
    """
    scores = said.logits[of_teacher].sigmoid()
    is_sure = (scores.amax(dim=1) >= least_score).nonzero()[:, 0]
    num, num_sure = total(len(of_student)), total(len(is_sure))
    term = own.logits.sum() * 0.0
    if len(of_student):
        term = term + soft_score_loss(own.logits[of_student], scores).sum() / num
    if len(is_sure):
        boxes = own.boxes[of_student[is_sure]], said.boxes[of_teacher[is_sure]]
        term = term + (1 - aligned_diou(*boxes)).sum() / num_sure
    return term


def depth_term(
    output: CellOutput,
    targets: Sequence[Targets],
    settings: DepthTerm,
    processes: Processes = ALONE,
) -> Float[Tensor, ""]:
    """Cross-entropy of the bins where the depth is known, mean over cells; more on objects.

    Over those of all processes that share a step: the sum of their terms is the mean.
    """
    truth = cell_depth(output.images)
    is_known = truth > 0
    weight = torch.where(_on_objects(output, targets), settings.object_factor, 1.0)[is_known]
    centers_m = output.centers_m[:, None, None].expand_as(output.depth_logits)
    error = depth_cross_entropy(
        output.depth_logits[is_known], truth[is_known].to(centers_m.dtype), centers_m[is_known]
    )
    divisor = processes.summed(weight.sum())
    if float(divisor) == 0:
        return output.depth_logits.sum() * 0.0
    return settings.weight * (weight * error).sum() / divisor


def _on_objects(output: CellOutput, targets: Sequence[Targets]) -> Bool[Tensor, "B h w"]:
    cells = [
        cells_on(output.images[scene : scene + 1], of_scene.boxes).any(dim=1)
        for scene, of_scene in enumerate(targets)
    ]
    return torch.stack(cells).reshape(output.depth_logits.shape[:3])


def _adapter(width: int, to_width: int, is_wanted: bool) -> nn.Module:
    if not is_wanted and width == to_width:
        return nn.Identity()
    return nn.Sequential(nn.Linear(width, to_width), VoxelNorm(to_width))
