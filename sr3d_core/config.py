"""The whole configuration of a training: YAML in, frozen dataclasses out.

Every part of the program is its own configuration (a dataclass that validates itself); this file
puts them into one tree. Unknown keys and values out of range are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Generator

from sr3d_core.data.augment import Augment
from sr3d_core.data.augment_presets import spelled_out
from sr3d_core.data.balance import Balance
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.data.sources import AnySource, Scenes
from sr3d_core.mistakes import sentences
from sr3d_core.model.network import PRESETS, Architecture
from sr3d_core.plain_yaml import YamlError, flat, read_yaml
from sr3d_core.sparse.engine_list import Backend, Precision
from sr3d_core.structures import Sample
from sr3d_core.supervision.criterion import Criterion


class ConfigError(ValueError):
    """A configuration that cannot be used; the text names the key."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A named architecture and what is changed about it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    preset: Literal["scannet", "sunrgbd", "s3dis", "lite"] = "lite"
    """Architecture to start from."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of `Architecture` that differ from the preset."""
    backend: Backend = "auto"
    """Engine of the convolutions while training; any engine runs the weights afterwards."""
    weights: str | None = None
    """Weights file to start from ("default": those that ship), to fine-tune on other scenes; parts
    whose shapes differ, such as the classifier of other classes, start afresh."""
    fresh_head: bool = False
    """Whether the head starts afresh, too: of `weights` only what comes before it is taken."""

    def architecture(self, num_classes: int) -> Architecture:
        """The architecture for so many classes."""
        fields = {**asdict(PRESETS[self.preset]), **self.changes, "num_classes": num_classes}
        try:
            return TypeAdapter(Architecture).validate_python(fields)
        except ValidationError as error:
            raise ConfigError(f"network.changes: {sentences(error, Architecture)}") from error


TrainablePart = Literal["front"]
"""A part of the network that can be trained alone."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast the network learns; the rates are TR3D's (arXiv 2302.02858)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    epochs: float | None = None
    """How often each scene of the training split is shown, which makes `num_steps` follow from
    their number; above 0. None: `num_steps` counts."""
    num_steps: int = 20_000
    """Optimiser steps. A run that is resumed with more goes on at the rate that the longer
    schedule has at its step."""
    batch_size: int = 4
    """Scenes per step, of all processes together: a multiple of their number."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW."""
    backbone_rate: float = 1.0
    """What the rate of the backbone is multiplied by, 0..1: to fine-tune, such as 0.1. 0: its
    weights stay as they are."""
    freeze_norms: bool = False
    """Whether batch norm works as in use, by the statistics in `network.weights`, which then stay
    as they are: for few scenes. Its scales and biases learn all the same."""
    weight_decay: float = 1e-4
    """Decoupled weight decay of AdamW."""
    decay_norms: bool = True
    """Whether the scales of batch norm and all biases decay too."""
    ema_decay: float = 0.0
    """0: the weights that are saved are those of the last step. Above 0, below 1, such as 0.999:
    they are a moving average over the steps, which keeps so much of itself at each."""
    warmup_steps: int = 300
    """Steps over which the rate grows linearly to its peak."""
    warmup_from: float | None = None
    """The rate of the first step, from which it grows; above 0, at most `learning_rate`. None: as
    if it had been zero one step before."""
    decay: Literal["cosine", "step"] = "cosine"
    """How the rate falls: along a cosine to zero, or to a tenth at each of `decay_at`."""
    decay_at: tuple[float, ...] = (8 / 12, 11 / 12)
    """Shares of the training after which `step` divides the rate by ten."""
    clip_norm: float = 10.0
    """Largest L2 norm of the gradient."""
    precision: Precision = "float32"
    """What convolutions multiply; they sum in float32, and weights are float32. bfloat16 makes a
    step 1.4 times as fast on a processor with AVX-512 BF16 (AMD from Zen 4 on, Intel's servers);
    on others it is slower, on a GPU it was not measured. auto: bfloat16 where it is known to be
    faster."""
    balance: Balance = "none"
    """Whether every scene is shown once an epoch, or those of rare classes, of pairs that are
    easily confused, or of both more often: by sqrt(t / f) where a class, or both of a pair, are in
    the share f of all scenes, and t is the mean share of the classes."""
    pairs: tuple[tuple[str, str], ...] | None = None
    """Names of classes that are easily confused, two by two, for `balance`; None: `LOOK_ALIKES`
    of `sr3d_core/data/balance.py`, as far as the scenes have these classes."""
    train_only: tuple[TrainablePart, ...] = ()
    """Parts that learn while all else stays as it is in `network.weights`, to the last bit: front,
    which side of a box is the front. Empty: the whole network learns."""
    seed: int = 0
    """Seed of the initial weights, the order of scenes and the augmentation."""
    num_workers: int = 0
    """Processes that read and augment scenes; 0 reads in the training process."""
    checkpoint_minutes: float = 5.0
    """Wall time between checkpoints."""
    validate_steps: int = 0
    """After so many steps each time, and at the end, the scenes of the split val are scored, and
    the best weights are kept. 0: never."""
    validate_scenes: int | None = None
    """At most so many of these scenes are scored, spread evenly over the split; at least 1. None:
    all of them."""
    best_by: Literal["ap25", "ap50"] = "ap50"
    """Which mean average precision says which weights are the best; the other one decides between
    equals."""
    patience: int = 0
    """The training ends after so many validations in a row without gain. 0: never."""
    tensorboard: bool = False
    """Whether losses and figures are written for TensorBoard too, which must be installed."""

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        for name in ("num_steps", "batch_size", "learning_rate", "clip_norm"):
            self._expect(name, getattr(self, name) > 0, "above 0")
        for name in ("weight_decay", "warmup_steps", "num_workers", "checkpoint_minutes", "seed"):
            self._expect(name, getattr(self, name) >= 0, "at least 0")
        for name in ("validate_steps", "patience"):
            self._expect(name, getattr(self, name) >= 0, "at least 0")
        if self.patience > 0 and self.validate_steps == 0:
            raise ValueError(
                f"schedule.patience is {self.patience}, but schedule.validate_steps is 0; "
                "expected a number of steps after which to validate: patience counts validations"
            )
        has_scenes = self.validate_scenes is None or self.validate_scenes > 0
        self._expect("validate_scenes", has_scenes, "at least 1, or none")
        self._expect("backbone_rate", 0 <= self.backbone_rate <= 1, "0..1")
        are_pairs = self.pairs is None or all(one != other for one, other in self.pairs)
        self._expect("pairs", are_pairs and self.pairs != (), "two different classes each")
        if self.pairs is not None and "pairs" not in self.balance:
            raise ValueError(
                f"schedule.pairs is set, but schedule.balance is {self.balance}, expected "
                "pairs or classes_and_pairs: nothing else uses them"
            )
        self._expect("epochs", self.epochs is None or self.epochs > 0, "above 0, or none")
        is_start = self.warmup_from is None or 0 < self.warmup_from <= self.learning_rate
        self._expect("warmup_from", is_start, "above 0, at most learning_rate, or none")
        self._expect("ema_decay", 0 <= self.ema_decay < 1, "at least 0, below 1")
        self._expect("decay_at", all(0 < share < 1 for share in self.decay_at), "shares in 0..1")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, 0 being the first: warm-up, then cosine or steps."""
        warmup = self._warmup_at(step)
        done = min(1.0, step / self.num_steps)
        if self.decay == "cosine":
            return self.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * done))
        passed = sum(done >= share for share in self.decay_at)
        return float(self.learning_rate * warmup * 0.1**passed)

    def _warmup_at(self, step: int) -> float:
        """The share of its peak that the rate has grown to."""
        if self.warmup_from is None:
            return min(1.0, (step + 1) / (self.warmup_steps + 1))
        start = self.warmup_from / self.learning_rate
        return start + (1 - start) * min(1.0, step / max(1, self.warmup_steps))

    def for_scenes(self, num: int) -> Schedule:
        """The schedule with the number of steps that so many scenes make of `epochs`."""
        if self.epochs is None:
            return self
        return replace(self, num_steps=math.ceil(self.epochs * num / self.batch_size))

    def _expect(self, name: str, is_right: bool, expected: str) -> None:
        if not is_right:
            raise ValueError(f"schedule.{name}: {getattr(self, name)}, expected {expected}")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What validation and `sr3d eval --config` do; the defaults are the robot's."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    nms: Literal["bev", "3d"] = "3d"
    """Whether boxes suppress each other by the overlap seen from above, as the published detectors
    do it, or in 3D, which keeps stacked objects."""
    max_points: int | None = 200_000
    """Clouds of more points are thinned out evenly; at least 1. None: scenes are seen entire."""

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        if self.max_points is not None and self.max_points < 1:
            raise ValueError(
                f"evaluation.max_points: {self.max_points}, expected at least 1, or none"
            )


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a training needs."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    before: ClassVar[Mapping[str, Any]] = {}
    """What was done before a setting was there, by its dotted key, where that is not what its
    default does now."""

    network: Network = field(default_factory=Network)
    data: Annotated[AnySource, Field(discriminator="name")] = field(default_factory=RoomsSource)
    augment: Annotated[Augment, BeforeValidator(spelled_out)] = field(default_factory=Augment)
    """Or the name of a published one, alone or as `preset` beside what is changed about it: see
    `AUGMENTATIONS` of `sr3d_core/data/augment_presets.py`."""
    criterion: Criterion = field(default_factory=Criterion)
    schedule: Schedule = field(default_factory=Schedule)
    evaluation: Evaluation = field(default_factory=Evaluation)

    def __post_init__(self) -> None:
        """Refuse parts to train that are not there, and statistics that nothing has measured."""
        if self.network.fresh_head and self.network.weights is None:
            raise ValueError(
                "network.fresh_head is true, but network.weights is none; expected weights to "
                "start from: without, the whole network starts afresh"
            )
        key, weights = self.starts_from
        if self.schedule.freeze_norms and weights is None:
            raise ValueError(
                f"schedule.freeze_norms is true, but {key} is none; expected weights to start "
                "from: statistics of batch norm come from there"
            )
        for part in self.schedule.train_only:
            if self.network.weights is None or not self.network.changes.get(part):
                raise ValueError(
                    f"schedule.train_only: {part}, but network.weights is {self.network.weights} "
                    f"and network.changes.{part} is {self.network.changes.get(part, False)}; "
                    f"expected weights to start from, and network.changes.{part}: true"
                )

    @property
    def starts_from(self) -> tuple[str, str | None]:
        """The key of the weights that a training starts from, and which these are."""
        return "network.weights", self.network.weights

    @property
    def changes(self) -> Callable[[Sample, Generator], Sample]:
        """What happens to a scene before it is learnt from."""
        return self.augment

    @property
    def digests(self) -> dict[str, str]:
        """Of files that decide what is learnt in every step, by a dotted key."""
        return {}

    @property
    def other_data(self) -> tuple[AnySource, ...]:
        """What else than `data` is learnt from."""
        return ()

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, 0 being the first."""
        return self.schedule.rate_at(step)

    def scenes(self) -> Scenes:
        """The scenes that are learnt from; raises ValueError."""
        return self.data.open("train")

    def architecture(self, num_classes: int) -> Architecture:
        """That of the network, for so many classes."""
        return self.network.architecture(num_classes)


_ADAPTER = TypeAdapter(Config)


def load_config(path: str | Path) -> Config:
    """The configuration of a YAML file; raises ConfigError naming the file and the key."""
    path = Path(path)
    try:
        tree = read_yaml(path, "a configuration in YAML")
    except YamlError as error:
        raise ConfigError(str(error)) from error
    return parse_config({} if tree is None else tree, where=str(path))


def parse_config(tree: Any, where: str = "config") -> Config:
    """The configuration of a tree of plain values, such as YAML gives."""
    try:
        return _ADAPTER.validate_python(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {sentences(error, Config)}") from error


def dump_config(config: Config) -> str:
    """The configuration as YAML that `load_config` reads back."""
    plain = TypeAdapter(type(config)).dump_python(config, mode="json")
    return yaml.safe_dump(plain, sort_keys=False)


def flat_config(config: Config) -> dict[str, Any]:
    """Every setting as a plain value under its dotted key."""
    return dict(flat(TypeAdapter(type(config)).dump_python(config, mode="json")))
