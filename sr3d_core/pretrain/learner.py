"""What is pre-trained, one step at a time, and the figures that tell whether it learns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from sr3d_core.pretrain.asymdsd import AsymDsd
from sr3d_core.pretrain.clouds import SeenFrom
from sr3d_core.pretrain.diagnostics import deviation, effective_rank
from sr3d_core.pretrain.dos import Dos
from sr3d_core.pretrain.frame_mask import seen_by_one
from sr3d_core.pretrain.method import Drawn, Found, Sums
from sr3d_core.pretrain.schedules import cosine, learning_rate
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.pretrain.views import near_origin, small_views, two_views
from sr3d_core.structures import Sample
from sr3d_core.training.arithmetic import multiplies_short
from sr3d_core.training.errors import NotFiniteError
from sr3d_core.training.processes import Processes, sum_over_all
from sr3d_core.training.shared_norm import SharedNorms

METHODS: dict[str, type[Dos] | type[AsymDsd]] = {"dos": Dos, "asymdsd": AsymDsd}
"""The methods by name: a new one is its file and a line here."""
_LAST_RATE = 1e-6
_SAMPLED_ROWS = 2000


@dataclass(frozen=True)
class DrawViews:
    """Makes of a sample what a step sees; a picklable function for processes that read."""

    settings: Pretraining

    def __call__(self, sample: Sample, generator: torch.Generator) -> Drawn:
        """The views of a cloud; labels are not looked at."""
        views, cloud = self.settings.views, near_origin(sample.cloud)
        seen = None
        if self.settings.mask.kind == "frame":
            known = sample.viewpoint if isinstance(sample, SeenFrom) else None
            seen = seen_by_one(sample.cloud.xyz, known, generator)
        large = two_views(cloud, views, generator, seen)
        has_small = self.settings.method == "asymdsd"
        small = small_views(cloud, views, generator) if has_small else ()
        seed = int(torch.randint(2**31, (), generator=generator))
        return Drawn(large, small, seed, sample.name)


@dataclass(frozen=True, slots=True)
class Losses:
    """What every step tells, over all processes."""

    total: float
    terms: Mapping[str, float]
    gradient_norm: float
    num_cells: int
    learning_rate: float

    def row(self) -> dict[str, float]:
        """The same as columns of a log."""
        rest = (self.gradient_norm, self.num_cells, self.learning_rate)
        names = ("gradient_norm", "num_cells", "rate")
        return {"loss": self.total, **self.terms, **dict(zip(names, rest, strict=True))}


def alarms(health: Mapping[str, float]) -> list[str]:
    """What is wrong by the figures of `Pretrainer.health`, in words; nothing where all is well."""
    rank, spread = health["effective_rank"], health["deviation"]
    found = []
    if rank < 5:
        found.append(f"features use {rank:.1f} directions: they collapse")
    if spread < 0.1:
        found.append(f"features of all cells are alike (deviation {spread:.2f}, 1 is healthy)")
    if health.get("usage_entropy", 1.0) < 0.1 or health.get("marginal_entropy", 1.0) < 0.1:
        found.append("one prototype takes almost all cells")
    if health.get("copies", 0.0) > 0.2:
        found.append(f"{health['copies']:.0%} of the prototypes are copies of another")
    if health.get("narrowest", 0.0) > 0.95:
        found.append("all targets are flat: they say nothing")
    if health.get("matched", 1.0) < 0.2:
        found.append(f"{health['matched']:.0%} of the cells are in both views: larger crops")
    return found


class Pretrainer:
    """Student and teacher with their optimiser; several processes all do the same to them."""

    def __init__(
        self,
        settings: Pretraining,
        num_rows: int,
        processes: Processes,
        num_prototypes: int | None = None,
    ) -> None:
        """With `num_prototypes`, or as many as the `num_rows` cells of a step can feed."""
        self.settings, self._processes = settings, processes
        torch.manual_seed(settings.steps.seed)
        is_short = multiplies_short(settings.steps.precision, settings.backend)
        self.num_prototypes = num_prototypes or settings.num_prototypes(num_rows)
        self.model: Dos | AsymDsd = METHODS[settings.method](settings, self.num_prototypes)
        for side in (self.model.student, self.model.teacher):
            side.encoder.network.backend = settings.backend
            side.encoder.is_short = is_short
        self._sums, self._norms = Sums(), list[SharedNorms]()
        if processes.num > 1:
            self._norms = [SharedNorms(self.model.student), SharedNorms(self.model.teacher)]
            of_student = self._norms[0].sum
            self._sums = Sums(of_student, _sum_of_copies, processes.total, processes.num)
        self.model.to(processes.device)
        steps = settings.steps
        learning = [p for p in self.model.parameters() if p.requires_grad]
        matrices, vectors = (
            [p for p in learning if (p.ndim > 1) == wide] for wide in (True, False)
        )
        self._optimizer = AdamW(
            [
                {"params": matrices, "weight_decay": steps.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=steps.learning_rate,
        )
        self._last: Found | None = None
        self.is_between_steps = True
        """Whether weights and teacher are those of one step, not half of the next one."""

    def learn(self, drawn: Sequence[Drawn], step: int) -> Losses:
        """Do step number `step`, 0 being the first.

        Raises NotFiniteError where loss or gradient are not, and is then as it was before, as
        after any other error. All processes see the same sums, so all raise at the same step.
        """
        before = [buffer.clone() for buffer in self.model.buffers()]
        try:
            losses = self._gradient(drawn, step)
        except Exception:
            with torch.no_grad():
                for buffer, own in zip(self.model.buffers(), before, strict=True):
                    buffer.copy_(own)
            raise
        self.is_between_steps = False
        self._optimizer.step()
        self.model.follow(cosine(step, self.settings.targets.ema, 1.0, self.settings.steps.num))
        self.is_between_steps = True
        return losses

    def _gradient(self, drawn: Sequence[Drawn], step: int) -> Losses:
        """Work out the gradient of all processes' clouds."""
        steps = self.settings.steps
        warmup = round(steps.warmup * steps.num)
        rate = learning_rate(step, steps.learning_rate, steps.num, warmup, 0.0, _LAST_RATE)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        for norms in self._norms:
            norms.begin(self._processes.device)
        self._last = None  # or what it holds would need room beside the next one
        self._last = found = self.model.found(drawn, step, self._sums, self._processes.device)
        self._optimizer.zero_grad()
        loss = self._norms[0].tied(found.total) if self._norms else found.total
        loss.backward()
        self._processes.sum_gradients(self.model)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), steps.clip_norm))
        parts = [found.total.detach(), *(term.detach() for term in found.terms.values())]
        total, *terms = (float(each) for each in self._processes.sums(parts))
        if not math.isfinite(norm) or not math.isfinite(total):
            raise NotFiniteError(
                f"loss {total:.4g}, gradient {norm:.4g} on clouds "
                f"{', '.join(each.name for each in drawn)}; expected finite numbers: look at "
                "these clouds, or lower steps.learning_rate"
            )
        named = dict(zip(found.terms, terms, strict=True))
        return Losses(total, named, norm, self._processes.total(found.num_cells), rate)

    @torch.no_grad()
    def health(self) -> dict[str, float]:
        """Figures that show a collapse, of the last step of this process.

        `effective_rank` of the student's features, from a few to tens; `deviation` of them at
        length 1, times sqrt(width): 0 where all are alike, else about 1; and those of the method.
        """
        assert self._last is not None
        every = max(1, math.ceil(len(self._last.features) / _SAMPLED_ROWS))
        rows = self._last.features[::every]  # the first ones would be those of one cloud
        spread = deviation(rows) * math.sqrt(rows.shape[1]) if len(rows) else 0.0
        common = {"effective_rank": effective_rank(rows), "deviation": spread}
        return {**common, **self._last.figures()}

    @property
    def is_finite(self) -> bool:
        """Whether all that would be saved is made of numbers."""
        return all(bool(each.isfinite().all()) for each in self.model.state_dict().values())

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


def _sum_of_copies(own: Tensor) -> Tensor:
    return sum_over_all(own.clone())
