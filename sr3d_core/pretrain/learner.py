"""What is pre-trained, one step at a time, and the figures that tell whether it learns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from sr3d_core.pretrain.diagnostics import (
    deviation,
    divergence,
    effective_rank,
    entropy,
    likeness,
    perplexity,
)
from sr3d_core.pretrain.dos import Dos, DosStep, Seen
from sr3d_core.pretrain.masks import hide_blocks
from sr3d_core.pretrain.schedules import cosine, learning_rate, ramp
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.pretrain.views import View, two_views
from sr3d_core.structures import Sample
from sr3d_core.training.errors import NotFiniteError
from sr3d_core.training.processes import Processes, sum_over_all
from sr3d_core.training.shared_norm import SharedNorms

_LAST_RATE = 1e-6
_SAMPLED_ROWS = 2000
_TEMPERATURE_RAMP = 0.05
"""Share of the steps in which the teacher's temperature rises."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One cloud's two views, and the seed of what is hidden of them."""

    views: tuple[View, View]
    seed: int
    name: str


@dataclass(frozen=True)
class DrawViews:
    """Makes of a sample what a step sees; a picklable function for processes that read."""

    settings: Pretraining

    def __call__(self, sample: Sample, generator: torch.Generator) -> Drawn:
        """Two views; labels are not looked at."""
        views = two_views(sample.cloud, self.settings.views, generator)
        seed = int(torch.randint(2**31, (), generator=generator))
        return Drawn(views, seed, sample.name)


@dataclass(frozen=True, slots=True)
class Losses:
    """What every step tells."""

    total: float
    same: float
    cross: float
    gradient_norm: float
    num_cells: int
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Health:
    """Figures that show a collapse; of the last step of this process."""

    effective_rank: float  # of the features; grows from a few to tens
    deviation: float  # of features of length 1, times sqrt(width): 0 where all are alike, else ~1
    usage_entropy: float  # of the student's prototypes, over log K: 0 is one prototype for all
    usage_divergence: float  # from the prior, in nats
    narrowest: float  # perplexity of the narrowest target over cells: 1 / N is a spike
    widest: float  # of the widest one: 1 is flat
    likeness: float  # mean cosine between prototypes
    copies: float  # share of prototypes with a near copy
    matched: float  # share of cells that the other view has as well
    agreement: float  # share of those that the teacher calls the same in both views

    def alarms(self) -> list[str]:
        """What is wrong, in words; nothing where it is well."""
        found = []
        if self.effective_rank < 5:
            found.append(f"features use {self.effective_rank:.1f} directions: they collapse")
        if self.deviation < 0.1:
            found.append(f"features of all cells are alike (deviation {self.deviation:.2f} of 1)")
        if self.usage_entropy < 0.1:
            found.append("one prototype takes almost all cells")
        if self.copies > 0.2:
            found.append(f"{self.copies:.0%} of the prototypes are copies of another")
        if self.narrowest > 0.95:
            found.append("all targets are flat: they say nothing")
        if self.matched < 0.2:
            found.append(f"only {self.matched:.0%} of the cells are in both views: larger crops")
        return found


class Pretrainer:
    """Student and teacher with their optimiser; several processes all do the same to them."""

    def __init__(self, settings: Pretraining, num_rows: int, processes: Processes) -> None:
        self.settings, self._processes = settings, processes
        torch.manual_seed(settings.steps.seed)
        self.architecture = settings.architecture
        self.num_prototypes = settings.targets.num_prototypes(num_rows)
        self.model = Dos(self.architecture, settings.targets, self.num_prototypes)
        for branch in (self.model.student, self.model.teacher):
            branch.network.backend = settings.backend
        self._norms: SharedNorms | None = None
        if processes.num > 1:
            self._norms = SharedNorms(self.model.student)
            self._teacher_norms = SharedNorms(self.model.teacher)
        self.model.to(processes.device)
        steps = settings.steps
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self._optimizer = AdamW(
            [
                {
                    "params": [p for p in learning if p.ndim > 1],
                    "weight_decay": steps.weight_decay,
                },
                {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=steps.learning_rate,
        )
        self._last: DosStep | None = None

    def learn(self, drawn: Sequence[Drawn], step: int) -> Losses:
        """Do step number `step`, 0 being the first.

        Raises NotFiniteError where loss or gradient are not; then nothing was learnt.
        """
        num, steps = self.settings.steps.num, self.settings.steps
        rate = learning_rate(
            step, steps.learning_rate, num, round(steps.warmup * num), 0.0, _LAST_RATE
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        first, last = self.settings.targets.teacher_temperature
        temperature = ramp(step, first, last, round(_TEMPERATURE_RAMP * num))
        self.model.train()
        self._last = found = self._forward(self._seen(drawn, step), temperature)
        self._optimizer.zero_grad()
        loss = found.total if self._norms is None else self._norms.tied(found.total)
        loss.backward()
        self._processes.sum_gradients(self.model)
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), steps.clip_norm))
        same, cross = self._processes.sums([found.same.detach(), found.cross.detach()])
        if not math.isfinite(norm) or not math.isfinite(float(same + cross)):
            names = ", ".join(each.name for each in drawn)
            raise NotFiniteError(
                f"loss {float(same + cross):.4g}, gradient {norm} on clouds {names}; expected "
                "finite numbers: look at these clouds, or lower steps.learning_rate"
            )
        self._optimizer.step()
        self.model.follow(cosine(step, self.settings.targets.ema, 1.0, num))
        num_cells = self._processes.total(len(found.student))
        return Losses(float(same + cross), float(same), float(cross), norm, num_cells, rate)

    def _seen(self, drawn: Sequence[Drawn], step: int) -> Seen:
        """The step's clouds with what is hidden of them by now."""
        mask, num = self.settings.mask, self.settings.steps.num
        ratio = ramp(step, mask.ratio / 2, mask.ratio, round(mask.warmup * num))
        views, visible = [], []
        for each in drawn:
            generator = torch.Generator().manual_seed(each.seed)
            for view in each.views:
                views.append(view)
                visible.append(hide_blocks(view.cloud.xyz, mask.block_m, ratio, generator))
        return Seen.of(views, visible).to(self._processes.device)

    def _forward(self, seen: Seen, temperature: float) -> DosStep:
        if self._norms is None:
            found: DosStep = self.model(seen, temperature)
            return found
        self._norms.begin(self._processes.device)
        self._teacher_norms.begin(self._processes.device)
        shared: DosStep = self.model(seen, temperature, self._norms.sum, sum_over_all_of_copy)
        return shared

    @torch.no_grad()
    def health(self) -> Health:
        """The figures of the last step."""
        assert self._last is not None
        found = self._last
        features = found.student.features[:_SAMPLED_ROWS].detach()
        prototypes = self.model.prototypes.detach()
        unit = torch.nn.functional.normalize(prototypes, dim=1)
        chosen = torch.softmax(
            found.student.embedding.detach() @ unit.T / self.settings.targets.student_temperature,
            dim=1,
        )
        usage = chosen.mean(dim=0) if len(chosen) else self.model.prior.float()
        widths = perplexity(found.target) / max(len(found.target), 1)
        mean_likeness, copies = likeness(prototypes)
        return Health(
            effective_rank=effective_rank(features),
            deviation=deviation(features) * math.sqrt(features.shape[1]) if len(features) else 0.0,
            usage_entropy=entropy(usage) / math.log(max(len(usage), 2)),
            usage_divergence=divergence(usage, self.model.prior),
            narrowest=float(widths.min()),
            widest=float(widths.max()),
            likeness=mean_likeness,
            copies=copies,
            matched=found.matched,
            agreement=found.agreement,
        )

    def backbone(self) -> dict[str, Tensor]:
        """The teacher's backbone, statistics of its norms included: what is worth keeping."""
        return self.model.teacher.network.backbone.state_dict()

    def entries(self) -> dict[str, Any]:
        """Everything that another run needs to go on exactly here."""
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load(self, entries: dict[str, Any]) -> None:
        """Take up what `entries` gave; raises what torch raises."""
        self.model.load_state_dict(entries["model"])
        self._optimizer.load_state_dict(entries["optimizer"])

    def settings_record(self) -> dict[str, Any]:
        """What decides what a step does."""
        return {**asdict(self.settings), "num_prototypes": self.num_prototypes}


def sum_over_all_of_copy(own: Tensor) -> Tensor:
    """The sum over all processes, the own tensor as it was."""
    return sum_over_all(own.clone())
