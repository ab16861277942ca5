"""What a camera student learns, and how much each part of it counts: settings of its losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict

from sr3d_core.supervision.distill.feature import Reduction
from sr3d_core.supervision.distill.selection import LITERAL_STD_M, Selection

Preset = Literal["none", "plain", "monostl", "monostl_literal", "both"]
"""none: true boxes and depth alone. plain: all objects alike. monostl: features where the student
needs them, relations where the teacher is right. monostl_literal: the same as published, in metres
and by products; of a teacher of kind depth_image on cells of images, as published, of another one
on voxels. both: features where both hold."""
Level = Literal["lift", "fine", "coarse"]
"""lift: voxels where the student's images become voxels, after the teacher's second stage. fine,
coarse: what the head sees on the two levels that carry anchors."""


def require_positive(name: str, value: float) -> None:
    """Refuse a weight below 0 or without end; raises ValueError naming it."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}, expected a number of at least 0")


@dataclass(frozen=True, kw_only=True)
class FeatureTerm:
    """DASFD: the teacher's features on objects."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    weight: float = 1.0
    levels: tuple[Level, ...] = ("lift", "fine", "coarse")
    reduction: Reduction = "cells"
    """Mean over rows, or over objects."""
    adapter: bool | None = None
    """Whether the student's features pass a linear map and a batch norm first, while it learns.
    None: only where the two networks do not begin alike, `CameraConfig.has_adapter`."""


@dataclass(frozen=True, kw_only=True)
class RelationTerm:
    """DASRD: how alike objects of one image are."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    weight: float = 0.5
    grid: int = 1
    """An object is described by the mean of its rows, or by those of grid^3 cells of its box."""


@dataclass(frozen=True, kw_only=True)
class ResponseTerm:
    """The teacher's scores and boxes on objects."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    weight: float = 0.5
    least_score: float = 0.3
    """Where the teacher scores at least so much, the student learns its box, too."""


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """What says how unsure the student is of an object's depth."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    source: Literal["pixels", "centre"] = "pixels"
    """pixels: the spread of the bins of depth, over the cells that show the object. centre: two
    channels at the cell of the middle of its box, its depth and the deviation of that, which learn
    beside all else and are no part of the weights file (MonoSTL's own, a Laplace distribution)."""


@dataclass(frozen=True, kw_only=True)
class DepthTerm:
    """How far away pixels are; in every arm, or distillation would be credited with it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    weight: float = 1.0
    object_factor: float = 1.0
    """How much more a cell on an object counts: with 3 a network learns more slowly, objects'
    depth as well."""
    first_steps: int = 0
    """So many steps, the first ones, teach cells alone, their depth and what they show: no voxel
    is made of an image yet and no teacher asked, so that such a step takes a fraction of the time.
    Boxes cannot be learnt where their images' depth is not known yet. The learning rate begins
    anew after them."""


@dataclass(frozen=True, kw_only=True)
class CellObjectsTerm:
    """What cells show, where the student tells it (`student.camera.cell_objects`)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Distill:
    """What is learnt of the teacher."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    preset: Preset = "monostl"
    feature: FeatureTerm = field(default_factory=FeatureTerm)
    relation: RelationTerm = field(default_factory=RelationTerm)
    response: ResponseTerm = field(default_factory=ResponseTerm)
    trust: Literal["quality", "score"] = "quality"
    """What says that the teacher is right about an object: the IoU of its best box of the class
    with the labelled one, or the score of that box."""
    uncertainty: Uncertainty = field(default_factory=Uncertainty)
    reference_depth_std_m: float | None = None
    """The deviation of depth that counts as known, metres. None: half of the median deviation of
    the student's own objects, as it learns, so that half of them are in need."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        for name in ("feature", "relation", "response"):
            require_positive(f"distill.{name}.weight", getattr(self, name).weight)
        if not self.feature.levels:
            raise ValueError(
                "distill.feature.levels is empty, expected some of lift, fine, coarse; where no "
                "feature is to be learnt, distill.feature.weight: 0"
            )
        if not 0 <= self.response.least_score <= 1:
            raise ValueError(
                f"distill.response.least_score is {self.response.least_score}, expected 0..1"
            )
        if self.relation.grid < 1:
            raise ValueError(f"distill.relation.grid is {self.relation.grid}, expected at least 1")
        reference = self.reference_depth_std_m
        if reference is not None and not 0 < reference < math.inf:
            raise ValueError(f"distill.reference_depth_std_m is {reference}, expected above 0")

    @property
    def is_asked(self) -> bool:
        """Whether anything is learnt of the teacher."""
        terms = (self.feature, self.relation, self.response)
        return self.preset != "none" and any(term.weight > 0 for term in terms)

    @property
    def of_features(self) -> Selection:
        """Which objects' features are learnt."""
        selections: dict[Preset, Selection] = {"plain": "uniform", "both": "both"}
        return selections.get(self.preset, "need")

    @property
    def trusts_all(self) -> bool:
        """Whether relations of all objects count alike."""
        return self.preset == "plain"

    @property
    def is_literal(self) -> bool:
        """Whether numbers are metres, and relations products."""
        return self.preset == "monostl_literal"

    @property
    def fixed_reference_m(self) -> float | None:
        """The reference, where it is not the student's own."""
        return LITERAL_STD_M if self.is_literal else self.reference_depth_std_m
