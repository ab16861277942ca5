"""What every method of pre-training is: student, teacher, losses of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.pretrain.prototypes import SumOverProcesses, of_one_process
from sr3d_core.pretrain.views import View


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One cloud's views, and the seed of what is hidden of them."""

    large: tuple[View, View]
    small: tuple[View, ...]
    seed: int
    name: str


@dataclass(frozen=True, slots=True)
class Sums:
    """What the processes of a pre-training add up."""

    of_student: SumOverProcesses = of_one_process  # with gradients
    of_teacher: SumOverProcesses = of_one_process
    total: Callable[[int], int] = int
    num: int = 1  # processes


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a step came to in this process."""

    total: Tensor  # what is learnt from; parts add up over processes
    terms: Mapping[str, Tensor]  # what it is made of; parts, too
    num_cells: int  # that the student said something of
    features: Float[Tensor, "N F"]  # of the student's cells
    figures: Callable[[], Mapping[str, float]] = field(default=dict)
    """What shows whether this method learns, worked out when asked for."""


class Method(Protocol):
    """A module with student and teacher."""

    def found(self, drawn: Sequence[Drawn], step: int, sums: Sums, device: torch.device) -> Found:
        """The losses of a step, 0 being the first."""

    def follow(self, kept: float) -> None:
        """Let the teacher move towards the student, and keep so much of itself."""

    def backbone(self) -> dict[str, Tensor]:
        """The teacher's backbone, statistics of its norms included: what is worth keeping."""


@torch.no_grad()
def follow(teacher: torch.nn.Module, student: torch.nn.Module, kept: float) -> None:
    """Move the teacher's parameters towards the student's of the same names.

    Statistics of batch norm stay its own: it sees whole clouds, the student parts of them.
    """
    of_student = dict(student.named_parameters())
    for name, own in teacher.named_parameters():
        own.lerp_(of_student[name].detach(), 1.0 - kept)
