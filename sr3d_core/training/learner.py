"""What learns: the network with its optimiser and its moving average, one step at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW

from sr3d_core.checkpoint import Manifest, checkpoint_content, network_of
from sr3d_core.config import Config, Schedule
from sr3d_core.detector import Detector
from sr3d_core.evaluate import detector_rules
from sr3d_core.geometry.turns import Turn, turns
from sr3d_core.model.network import SR3D
from sr3d_core.structures import Batch, Losses, Predictions
from sr3d_core.supervision.consistency import with_turned_copy
from sr3d_core.training.arithmetic import arithmetic, multiplies_short
from sr3d_core.training.average import WeightAverage
from sr3d_core.training.errors import NotFiniteError, TrainingError
from sr3d_core.training.part import begin_training, freeze_all_but, names_of
from sr3d_core.training.processes import Processes
from sr3d_core.training.shared_norm import SharedNorms
from sr3d_core.training.state import State
from sr3d_core.training.warm_start import take_weights

_FACTOR = "rate_factor"
"""The key of a group of parameters that says what its learning rate is multiplied by."""


class Learner:
    """A network in training; with several processes, all do the same to it."""

    def __init__(
        self, config: Config, classes: tuple[str, ...], accelerator: Accelerator, own: Processes
    ) -> None:
        self._config, self._accelerator, self._processes = config, accelerator, own
        self._is_short = multiplies_short(config.schedule.precision, config.network.backend)
        torch.manual_seed(config.schedule.seed)
        self._architecture = config.architecture(len(classes))
        has_front = self._architecture.front
        self._front_classes = front_classes_of(config, classes) if has_front else ()
        self._classes = classes
        network = self._built()
        self._norms = SharedNorms(network) if own.num > 1 else None
        optimizer = AdamW(parameter_groups(network, config.schedule))
        # In evaluation mode nothing is wrapped around it: gradients are summed here.
        self._network: nn.Module = accelerator.prepare_model(network, evaluation_mode=True)
        self._optimizer = accelerator.prepare_optimizer(optimizer)
        self._average: WeightAverage | None = None
        self.is_between_steps = True
        """Whether what it has learnt can be saved."""

    def _built(self) -> nn.Module:
        """What learns, as it is initialised."""
        network = SR3D(self._architecture)
        network.backend = self._config.network.backend
        freeze_all_but(network, self._config.schedule.train_only)
        return network

    @property
    def network(self) -> Any:
        """What learns: the network itself."""
        return self._accelerator.unwrap_model(self._network)

    def start(self) -> str:
        """Take the weights that the configuration names; in words what was taken of them.

        "" where nothing was to be taken. Raises TrainingError.
        """
        weights = self._config.network.weights
        if weights is None:
            return ""
        parts, fresh_head = self._config.schedule.train_only, self._config.network.fresh_head
        start = take_weights(self.network, self._classes, weights, fresh_head=fresh_head)
        strange = [row for row in start.fresh if row not in names_of(self.network, parts)]
        if parts and strange:
            raise TrainingError(
                f"schedule.train_only: {', '.join(parts)}, but {weights} lacks "
                f"{', '.join(strange)}, which would never learn; expected weights of the same "
                "classes and architecture"
            )
        taken, fresh = "; ".join(start.taken), "; ".join(start.fresh_in_short)
        if not fresh:
            return f"taken from {weights}: all that it learns with"
        return f"taken from {weights}: {taken}. Starting afresh: {fresh}"

    def begin(self, average: dict[str, Any] | None) -> None:
        """Call when the weights to start from are in: all get those of the main process.

        `average` is that of a run that is taken up.
        """
        self._processes.copy_from_main(self.network.state_dict())
        if self._config.schedule.ema_decay > 0:
            self._average = WeightAverage(self.network, self._config.schedule.ema_decay)
            if average is not None:
                self._average.load(average)
            self._processes.copy_from_main(self._average.weights)

    def load(self, state: State) -> None:
        """Take up the network and the optimiser of a state; raises what torch raises."""
        self.network.load_state_dict(state.network)
        self._optimizer.load_state_dict(state.optimizer)

    def learn(self, batch: Batch, step: int) -> Losses:
        """Do step number `step`, 0 being the first.

        Raises NotFiniteError where loss or gradient are not, and is then as it was before. The
        gradient is shared by all processes, so they all raise at the same step.
        """
        statistics = [buffer.clone() for buffer in self._network.buffers()]
        try:
            losses, norm = self._gradient(batch, step)
        except Exception:
            self._forget(statistics)
            raise
        if norm is None or not math.isfinite(float(norm)):
            self._forget(statistics)
            raise NotFiniteError(
                f"loss {float(losses.total):.4g}, gradient {norm} on "
                f"scenes {', '.join(batch.names)}; expected finite numbers: look at these scenes' "
                "boxes, or lower schedule.learning_rate"
            )
        rate = self._config.rate_at(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get(_FACTOR, 1.0)  # none in old states
        self.is_between_steps = False
        self._optimizer.step()
        if self._average is not None:
            self._average.follow(self.network, step + 1)
        self.is_between_steps = True
        return losses

    def _gradient(self, batch: Batch, step: int) -> tuple[Losses, Tensor | None]:
        """The losses of all processes' scenes, and the norm of their gradient."""
        batch = batch.to(self._accelerator.device)
        turn = self._second_view(step)
        if turn is not None:
            batch = with_turned_copy(batch, turn)
        schedule = self._config.schedule
        begin_training(self.network, schedule.train_only, schedule.freeze_norms)
        if self._norms is not None:
            self._norms.begin(self._accelerator.device)
        losses = self._losses(batch, turn, step)
        self._optimizer.zero_grad()
        loss = losses.total if self._norms is None else self._norms.tied(losses.total)
        self._accelerator.backward(loss)
        self._processes.sum_gradients(self.network)
        norm = self._accelerator.clip_grad_norm_(
            self._network.parameters(), self._config.schedule.clip_norm
        )
        return self._of_all(losses), norm

    def _losses(self, batch: Batch, turn: Turn | None, step: int) -> Losses:
        """The losses of this process's scenes in a step."""
        with self._arithmetic():
            predictions = self._network(batch.cloud)
        return self._boxes_of(predictions, batch, turn)

    def _arithmetic(self) -> torch.autocast:
        """Within, convolutions multiply what the schedule asks for."""
        return arithmetic(self._processes.device, self._is_short)

    def _boxes_of(self, predictions: Predictions, batch: Batch, turn: Turn | None) -> Losses:
        """What the boxes and scores of a batch lack."""
        front_labels = [self._classes.index(name) for name in self._front_classes]
        return self._config.criterion(
            predictions, batch.targets, self._processes.total, turn, front_labels
        )

    def _second_view(self, step: int) -> Turn | None:
        """How the step's first scene, which the main process sees, is turned for its copy."""
        if self._config.criterion.consistency == 0 or not self._processes.is_main:
            return None
        others = turns(8)[1:]
        random = np.random.default_rng((self._config.schedule.seed, step))
        return others[int(random.integers(len(others)))]

    def _of_all(self, losses: Losses) -> Losses:
        """The sums over all processes, without gradient."""
        sums = self._processes.sums(list(losses.terms.values()))
        terms: dict[str, Any] = dict(zip(losses.terms, (s.detach() for s in sums), strict=True))
        return replace(losses, **terms)

    @torch.no_grad()
    def _forget(self, statistics: list[Tensor]) -> None:
        """Take back what a forward pass did, so that the state is that before the step."""
        for buffer, before in zip(self._network.buffers(), statistics, strict=True):
            buffer.copy_(before)

    @property
    def is_finite(self) -> bool:
        """Whether all that would be saved is made of numbers."""
        tensors = [*self.network.state_dict().values(), *self._averaged().values()]
        return all(bool(tensor.isfinite().all()) for tensor in tensors)

    def _averaged(self) -> dict[str, Tensor]:
        return {} if self._average is None else self._average.weights

    def _in_use(self) -> dict[str, Tensor]:
        """The tensors of the weights file: those of the network, or their average."""
        network = self.network
        return network.state_dict() if self._average is None else self._average.state(network)

    def _manifest(self, step: int) -> Manifest:
        return Manifest(
            architecture=self._architecture,
            classes=self._classes,
            front_classes=self._front_classes,
            description=f"trained on {self._config.data.name} for {step} steps",
        )

    def detector(self, step: int) -> Detector:
        """The detector that `sr3d eval` would make of the weights file, which shares tensors.

        It is a network of its own: what learns stays in its mode, with its statistics.
        """
        manifest, evaluation = self._manifest(step), self._config.evaluation
        network = network_of(self._in_use(), manifest)
        network.backend = self._config.network.backend
        return Detector.of_network(
            network,
            manifest,
            device=self._accelerator.device,
            **detector_rules(evaluation),
        )

    def contents(self, step: int, settings: dict[str, Any]) -> tuple[bytes, State]:
        """The weights file after so many steps, and the state that belongs to it."""
        weights, written = checkpoint_content(self._in_use(), self._manifest(step))
        state = State(
            step=step,
            network=self.network.state_dict(),
            optimizer=self._optimizer.state_dict(),
            settings=settings,
            weights_sha256=written.sha256,
            average=self._averaged() or None,
        )
        return weights, state


def front_classes_of(config: Config, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes whose labels say where the front is; raises TrainingError where none does."""
    named = tuple(config.data.front_classes)
    unknown = [name for name in named if name not in classes]
    if unknown or not named:
        found = f"{', '.join(unknown)}: no such class" if unknown else "no class is named"
        raise TrainingError(
            f"network.changes.front is true, but data.front_classes: {found}; expected those of "
            f"{', '.join(classes)} whose labels have a yaw that points out of the front"
        )
    return named


def parameter_groups(network: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    """The parameters that learn, by their rate and weight decay.

    The backbone may have a rate of its own, norms and biases no decay.
    """
    learning = {name: each for name, each in network.named_parameters() if each.requires_grad}
    if schedule.backbone_rate == 1.0:
        return _by_decay(list(learning.values()), schedule, 1.0)
    backbone = [each for name, each in learning.items() if name.startswith("backbone.")]
    others = [each for name, each in learning.items() if not name.startswith("backbone.")]
    return [
        *_by_decay(backbone, schedule, schedule.backbone_rate),
        *_by_decay(others, schedule, 1.0),
    ]


def _by_decay(
    parameters: list[nn.Parameter], schedule: Schedule, rate_factor: float
) -> list[dict[str, Any]]:
    both = {"lr": schedule.learning_rate * rate_factor, _FACTOR: rate_factor}
    if schedule.decay_norms:
        return [{"params": parameters, "weight_decay": schedule.weight_decay, **both}]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": schedule.weight_decay, **both},
        {"params": vectors, "weight_decay": 0.0, **both},
    ]
