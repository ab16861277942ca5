"""What a pre-training does: method, network, views, masks, schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sr3d_core.data.augment import Augment
from sr3d_core.data.keyframes import KeyframeSettings
from sr3d_core.mistakes import sentences
from sr3d_core.model.network import PRESETS, Architecture
from sr3d_core.plain_yaml import read_yaml
from sr3d_core.pretrain.prototypes import most_prototypes
from sr3d_core.sparse.engine_list import Backend, Precision

TEMPERATURE_RAMP = 0.05
"""Share of the steps in which the teacher's temperature rises."""

_PROTOTYPES_OF_ASYMDSD = 128
"""For two cores; 4096 in the paper, with thousands of clouds a step."""

Method = Literal["dos", "asymdsd"]
"""dos: softmaps over points (arXiv 2512.11465). asymdsd: masked prediction and crops alike
(arXiv 2506.21724)."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """How a cloud becomes two views, each cropped and changed on its own."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    fraction: tuple[float, float] = (0.5, 1.0)
    """Range of the share of a cloud's points that a crop holds; above 0, at most 1."""
    min_overlap: float = 0.3
    """The least share of the smaller crop that is in the other one as well; 0..1."""
    max_points: int = 20_000
    """How many points of a crop are taken at most."""
    small: int = 2
    """How many small crops asymdsd takes of a cloud beside the two large ones."""
    small_fraction: tuple[float, float] = (0.3, 0.6)
    """Range of the share of a cloud's points that a small crop holds. In the paper, of single
    objects, 0.05 to 0.4; so little of a room could be anywhere."""
    jitter_m: float = 0.005
    """Standard deviation of each point's own shift, which ends at four times that."""
    augment: Augment = field(
        default_factory=lambda: Augment(
            flip_x=0.5,
            flip_y=0.5,
            rotate_rad=(-math.pi, math.pi),
            scale=(0.9, 1.1),
            keep_fraction=(0.8, 1.0),
            drop_color=0.2,
            jitter_color=0.2,
        )
    )
    """The changes of a view. Up stays up: a detector knows gravity."""

    def __post_init__(self) -> None:
        for name in ("fraction", "small_fraction"):
            low, high = getattr(self, name)
            _expect(f"views.{name}", (low, high), 0 < low <= high <= 1, "a range in 0..1")
        _expect("views.small", self.small, self.small >= 0, "at least 0")
        _expect("views.min_overlap", self.min_overlap, 0 <= self.min_overlap <= 1, "0..1")
        _expect("views.max_points", self.max_points, self.max_points >= 1, "at least 1")
        _expect("views.jitter_m", self.jitter_m, 0 <= self.jitter_m < math.inf, "at least 0")


@dataclass(frozen=True, kw_only=True)
class Mask:
    """What is hidden from the student."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["blocks", "frame"] = "blocks"
    """blocks: parts of a grid with dos, all but some blocks of cells with asymdsd. frame: what one
    sensor does not see, outside of its image or behind something; the other keys of the mask, and
    masks, ratio and blocks of asymmetric, mean nothing then."""
    ratio: float = 0.6
    """The share of the blocks that is hidden; 0..1."""
    block_m: float = 0.4
    """Edge of a block, in metres."""
    warmup: float = 0.05
    """So long, as a share of the steps, the ratio grows from half of it."""
    leak: bool = False
    """A known mistake, to measure what it costs (dos): where hidden points are stays known to the
    student, only their color does not, and it is asked about them as well. The shape of what is
    hidden then gives the answers away."""

    def __post_init__(self) -> None:
        _expect("mask.ratio", self.ratio, 0 <= self.ratio <= 1, "0..1")
        _expect("mask.block_m", self.block_m, 0 < self.block_m < math.inf, "above 0")
        _expect("mask.warmup", self.warmup, 0 <= self.warmup <= 1, "0..1")


@dataclass(frozen=True, kw_only=True)
class Asymmetric:
    """What asymdsd alone has."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    masks: int = 2
    """How many masks each large crop gets; each costs the student a pass."""
    ratio: float = 0.7
    """The share of a crop's cells that is hidden; 0..1."""
    blocks: float = 0.1
    """The share of the cells that is in one visible block; above 0, at most 1."""
    width: int = 64
    """Of the predictor, and of what it predicts."""
    layers: int = 2
    heads: int = 2
    queries: int = 256
    """How many hidden cells of a crop are asked for at most."""
    memory: int = 512
    """How many visible cells, the nearest ones, are asked at most."""
    center_momentum: float = 0.9
    teacher_temperature_of_cells: tuple[float, float] = (0.05, 0.07)
    """At the start, and from 5 % of the steps on; that of crops is `targets.teacher_temperature`.
    """
    of_cells: float = 1.0
    """Weight of the loss of hidden cells."""
    of_crops: float = 0.5
    """Weight of the loss of crops: 1 in the paper. A corner of a room is not the room."""
    spread: float = 0.01
    """Weight of KoLeo, which keeps crops apart."""

    def __post_init__(self) -> None:
        counts = (self.masks, self.width, self.layers, self.heads, self.queries, self.memory)
        _expect("asymmetric: counts and widths", counts, min(counts) >= 1, "at least 1 each")
        divides = self.width % self.heads == 0
        _expect("asymmetric.width", self.width, divides, f"a multiple of heads, {self.heads}")
        momentum = self.center_momentum
        _expect("asymmetric.center_momentum", momentum, 0 <= momentum <= 1, "0..1")
        sharp = self.teacher_temperature_of_cells
        are_sharp = min(sharp) > 0 and max(sharp) < math.inf
        _expect("asymmetric.teacher_temperature_of_cells", sharp, are_sharp, "above 0")
        _expect("asymmetric.ratio", self.ratio, 0 < self.ratio < 1, "0..1, ends excluded")
        _expect("asymmetric.blocks", self.blocks, 0 < self.blocks <= 1, "above 0, at most 1")
        weights = (self.of_cells, self.of_crops, self.spread)
        is_some = min(weights) >= 0 and sum(weights) > 0
        _expect("asymmetric: weights", weights, is_some, "at least 0, not all of them 0")


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the teacher says, and how the student is compared with it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    prototypes: int | None = None
    """None: with dos as many as the cells of a step can feed, at most `max_prototypes`; with
    asymdsd 128."""
    max_prototypes: int = 1024
    alpha: float = 1.3
    """How unequal the prototypes are: their shares fall as rank^-alpha. 0: all alike."""
    iterations: int = 3
    """Rounds of Zipf-Sinkhorn."""
    student_temperature: float = 0.1
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    """At the start, and from 5 % of the steps on. Below the student's, or nothing is learnt."""
    hidden: int = 256
    """Width of the projection's hidden layer."""
    bottleneck: int = 64
    """Width of what is compared with the prototypes."""
    ema: float = 0.99
    """What the teacher keeps of itself at each step at the start; at the end it keeps all."""

    def __post_init__(self) -> None:
        counts = (self.prototypes or 1, self.max_prototypes, self.hidden, self.bottleneck)
        _expect("targets: prototypes and widths", counts, min(counts) >= 1, "at least 1 each")
        _expect("targets.iterations", self.iterations, self.iterations >= 0, "at least 0")
        _expect("targets.alpha", self.alpha, 0 <= self.alpha < math.inf, "at least 0")
        _expect("targets.ema", self.ema, 0 <= self.ema <= 1, "0..1")
        student, teacher = self.student_temperature, self.teacher_temperature
        _expect(
            "targets.teacher_temperature",
            teacher,
            min(teacher) > 0 and max(teacher) < student,
            f"two numbers above 0 and below student_temperature, which is {student}: sharper "
            "targets than answers are what drives learning",
        )


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How long and how fast."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    num: int = 3000
    batch_size: int = 8
    """Clouds of a step, each in two views."""
    learning_rate: float = 0.001
    warmup: float = 0.05
    """Share of the steps in which the rate rises."""
    weight_decay: float = 0.05
    clip_norm: float = 3.0
    seed: int = 0
    precision: Precision = "auto"
    """What convolutions multiply, as `schedule.precision` of a training has it."""
    log_steps: int = 50
    """After so many steps each time the figures that show a collapse are worked out."""
    checkpoint_minutes: float = 3.0

    def __post_init__(self) -> None:
        counts = (self.num, self.batch_size, self.log_steps)
        _expect("steps: num, batch_size, log_steps", counts, min(counts) >= 1, "at least 1 each")
        rates = (self.learning_rate, self.clip_norm)
        _expect("steps: learning_rate, clip_norm", rates, min(rates) > 0, "above 0")
        _expect("steps.warmup", self.warmup, 0 <= self.warmup < 1, "0..1")
        decay = self.weight_decay
        _expect("steps.weight_decay", decay, 0 <= decay < math.inf, "at least 0")
        _expect("steps.seed", self.seed, self.seed >= 0, "at least 0")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What the teacher's features are asked while they are learnt; decides nothing of what is."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    data: str = "auto"
    """Labelled scenes of at least two rooms that nothing is learnt from, as `--data` says them.
    auto: procedural rooms where such rooms are learnt from, else none. off: none."""
    split: str = "val"
    """Which of these scenes."""
    num: int = 24
    """So many of them at most; they stay in memory, up to 40,000 points each."""
    every: int = 250
    """After so many steps each time, and after the last one."""
    seed: int = 1
    """Of the random network beside it, and of the linear probe's batches."""

    def __post_init__(self) -> None:
        counts = (self.num, self.every)
        _expect("probe: num, every", counts, min(counts) >= 1, "at least 1 each")
        _expect("probe.seed", self.seed, self.seed >= 0, "at least 0")

    def scenes_of(self, sources: Iterable[str]) -> str | None:
        """The scenes to ask about where these sources are learnt from; None where not to ask."""
        if self.data == "auto":
            has_rooms = any(source.partition(":")[0] == "rooms" for source in sources)
            return "rooms" if has_rooms else None
        return None if self.data == "off" else self.data


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Everything a pre-training needs but its clouds."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    method: Method = "dos"
    data: KeyframeSettings = field(default_factory=KeyframeSettings)
    """Which clouds recordings are learnt by."""
    preset: Literal["scannet", "sunrgbd", "s3dis", "lite"] = "lite"
    """Architecture whose backbone learns."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of it that differ; a training from these weights has to name the same."""
    backend: Backend = "auto"
    """Engine of the convolutions."""
    views: Views = field(default_factory=Views)
    mask: Mask = field(default_factory=Mask)
    targets: Targets = field(default_factory=Targets)
    asymmetric: Asymmetric = field(default_factory=Asymmetric)
    steps: Steps = field(default_factory=Steps)
    probe: Probe = field(default_factory=Probe)

    def __post_init__(self) -> None:
        is_right = not self.mask.leak or self.method == "dos"
        _expect("mask.leak", self.mask.leak, is_right, f"false with {self.method}")

    def num_prototypes(self, num_rows: int) -> int:
        """How many there are where a step has so many cells."""
        if self.targets.prototypes is not None:
            return self.targets.prototypes
        if self.method == "asymdsd":
            return _PROTOTYPES_OF_ASYMDSD
        return most_prototypes(num_rows, self.targets.alpha, self.targets.max_prototypes)

    @property
    def architecture(self) -> Architecture:
        """The network whose backbone learns; raises ValueError for changes that build none."""
        fields = {**asdict(PRESETS[self.preset]), **self.changes, "num_classes": 1}
        return TypeAdapter(Architecture).validate_python(fields)


def load_settings(path: Path) -> Pretraining:
    """The settings of a YAML file; raises ValueError that names the file and the key."""
    tree = read_yaml(path, "settings of a pre-training in YAML")
    try:
        return TypeAdapter(Pretraining).validate_python(tree or {})
    except ValidationError as error:
        raise ValueError(f"{path}: {sentences(error, Pretraining)}") from error


def _expect(name: str, value: object, is_right: bool, expected: str) -> None:
    if not is_right:
        raise ValueError(f"{name}: {value}, expected {expected}")
