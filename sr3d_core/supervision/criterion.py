"""The training objective: assign, then classify all predictions and fit the positives' boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Protocol, Union, runtime_checkable

import torch
from jaxtyping import Float, Int
from pydantic import ConfigDict, Field, GetPydanticSchema
from torch import Tensor

from sr3d_core.geometry.turns import Turn
from sr3d_core.structures import Assignment, Boxes3D, Losses, Predictions, Targets
from sr3d_core.supervision.consistency import consistency_loss
from sr3d_core.supervision.front import front_loss
from sr3d_core.supervision.ignored import weight_of
from sr3d_core.supervision.losses import BoxDiou, Matches
from sr3d_core.supervision.parts import ASSIGNERS, CLASSIFICATIONS, part
from sr3d_core.supervision.qfl import Qfl
from sr3d_core.supervision.quality import quality_loss
from sr3d_core.supervision.spota import Spota


@runtime_checkable
class Assigner(Protocol):
    """Says what each prediction of one scene is trained towards."""

    def __call__(self, predictions: Predictions, targets: Targets) -> Assignment:
        """One entry per prediction; called without gradient."""
        ...


@runtime_checkable
class Classification(Protocol):
    """What the scores of all predictions learn."""

    def __call__(self, logits: Float[Tensor, "P K"], matches: Matches) -> Float[Tensor, ""]:
        """The term, divided by the number of positives."""
        ...


def _named(places: dict[str, str]) -> Any:
    """What configuration files can name; code may bring its own."""
    parts = tuple(part(places, name) for name in places)
    union: Any = Union[parts]  # noqa: UP007
    named = Annotated[union, Field(discriminator="name")]
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(named))


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What the network is told; the defaults are what measured best (docs/study.md).

    The preset `sr3d_paper` has what the paper prints.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    assigner: Annotated[Assigner, _named(ASSIGNERS)] = field(default_factory=Spota)
    """Which predictions are trained towards which box; works on one scene, without gradient."""
    classification: Annotated[Classification, _named(CLASSIFICATIONS)] = field(default_factory=Qfl)
    """The term over all predictions and classes."""
    box: BoxDiou = field(default_factory=BoxDiou)
    """The term over the positives' boxes."""
    quality: float = 1.0
    """Weight of the term over the positives' expected IoU, where the network has such a branch
    (`quality_exponent`); at least 0."""
    consistency: float = 0.0
    """Weight of what a scene and its turned copy disagree by; at least 0. Above 0, the first scene
    of each step is seen twice, so that a step costs one scene more."""

    front: float = 1.0
    """Weight of the term over which side of the positives' boxes is the front, where the network
    says so (`front`); at least 0."""

    def __post_init__(self) -> None:
        """Refuse weights out of range."""
        for name in ("quality", "consistency", "front"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"criterion.{name} is {getattr(self, name)}, expected a number of at least 0"
                )

    def __call__(
        self,
        predictions: Predictions,
        targets: Sequence[Targets],
        total: Callable[[int], int] = int,
        turn: Turn | None = None,
        front_labels: Sequence[int] = (),
    ) -> Losses:
        """The losses of a batch; `targets[i]` belongs to the predictions with `scene == i`.

        The terms are divided by the positives of the whole batch, so a scene without boxes adds
        its background only. Where several processes share a batch, `total` adds up the positives
        of all of them: the sum of their losses, and of their gradients, is the batch's. With
        `turn`, the last scene is the first one, turned so. `front_labels` are those of classes
        whose boxes have a yaw that points out of the front.
        Raises ValueError for a scene without targets or an unknown label.
        """
        matches = self._match(predictions, targets)
        num_positives = total(len(matches.row))
        matches = replace(matches, num_positives=num_positives)
        return Losses(
            classification=self.classification(predictions.logits, matches),
            box=self.box(matches),
            num_positives=num_positives,
            quality=self._quality(predictions, matches),
            consistency=self._consistency(predictions, matches, targets, turn),
            front=self._front(predictions, matches, targets, turn, front_labels),
        )

    def _front(
        self,
        predictions: Predictions,
        matches: Matches,
        targets: Sequence[Targets],
        turn: Turn | None,
        front_labels: Sequence[int],
    ) -> Float[Tensor, ""] | None:
        """None where the network does not say it; the boxes of a turned copy have lost it."""
        if predictions.front is None:
            return None
        has_front = torch.isin(matches.label, matches.label.new_tensor(list(front_labels)))
        if turn is not None:
            has_front &= matches.box < sum(map(len, targets)) - len(targets[-1])
        return self.front * front_loss(predictions.front, matches, has_front)

    def _quality(self, predictions: Predictions, matches: Matches) -> Float[Tensor, ""] | None:
        if predictions.quality is None:
            return None
        return self.quality * quality_loss(predictions.quality, matches)

    def _consistency(
        self,
        predictions: Predictions,
        matches: Matches,
        targets: Sequence[Targets],
        turn: Turn | None,
    ) -> Float[Tensor, ""] | None:
        """None where it is not asked for; zero where this process does not see the copy."""
        if self.consistency == 0:
            return None
        if turn is None:
            return predictions.logits.sum() * 0
        num_all = sum(len(of_scene) for of_scene in targets)
        return self.consistency * consistency_loss(
            predictions.logits, matches, turn, len(targets[0]), num_all
        )

    def _match(self, predictions: Predictions, targets: Sequence[Targets]) -> Matches:
        """Assign scene by scene, and gather the positives of the batch."""
        truth = _all_targets(predictions, targets)
        weight = predictions.anchors.new_ones(len(predictions))
        box, num_seen = self._boxes_of(predictions, targets, weight)
        if num_seen != len(predictions):
            raise ValueError(
                f"{len(predictions) - num_seen} of {len(predictions)} predictions have a scene "
                f"outside 0..{len(targets) - 1}; give one Targets per scene, empty if need be"
            )
        row = (box >= 0).nonzero()[:, 0]
        box = box[row]
        return Matches(
            weight=weight,
            row=row,
            label=truth.labels[box],
            box=box,
            predicted=predictions.boxes[row],
            truth=truth.boxes[box],
        )

    @torch.no_grad()
    def _boxes_of(
        self, predictions: Predictions, targets: Sequence[Targets], weight: Float[Tensor, " P"]
    ) -> tuple[Int[Tensor, " P"], int]:
        """Each prediction's box counted through the batch, and how many have targets at all.

        Fills in `weight` on the way.
        """
        box = torch.full_like(predictions.scene, -1, dtype=torch.int64)
        num_seen, first_box = 0, 0
        for scene, of_scene in enumerate(targets):
            row = (predictions.scene == scene).nonzero()[:, 0]
            assignment = self.assigner(predictions[row], of_scene)
            is_positive = assignment.is_positive
            box[row] = torch.where(is_positive, assignment.target + first_box, -1)
            weight[row] = weight_of(assignment, predictions[row], of_scene)
            num_seen += len(row)
            first_box += len(of_scene)
        return box, num_seen


def _all_targets(predictions: Predictions, targets: Sequence[Targets]) -> Targets:
    """The boxes of all scenes in one; raises ValueError for a label that has no logit."""
    empty = Targets(Boxes3D.empty(predictions.anchors.device), predictions.level.new_zeros(0))
    parts = [*targets, empty]
    labels = torch.cat([part.labels for part in parts])
    num_classes = predictions.logits.shape[1]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"targets have labels {int(labels.min())}..{int(labels.max())}, but the network has "
            f"{num_classes} classes (0..{num_classes - 1}); check the dataset's class names"
        )
    return Targets(Boxes3D.cat([part.boxes for part in parts]), labels)
