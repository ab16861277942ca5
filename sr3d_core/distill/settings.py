"""The configuration of a camera student's training: YAML in, frozen dataclasses out.

It is that of any training (`sr3d_core.config`) and what follows here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Generator

from sr3d_core.checkpoint import read_manifest
from sr3d_core.config import Config, ConfigError, Network, Schedule
from sr3d_core.data.augment import Augment
from sr3d_core.data.sources import AnySource, Scenes
from sr3d_core.distill.term_settings import (
    CellObjectsTerm,
    DepthTerm,
    Distill,
    FeatureTerm,
    RelationTerm,
    require_positive,
)
from sr3d_core.distill.unlabelled import AndUnlabelled
from sr3d_core.distill.views import ChangeImages
from sr3d_core.mistakes import sentences
from sr3d_core.model.camera_network import CameraArchitecture, fitted, seen_size
from sr3d_core.model.network import Architecture
from sr3d_core.plain_yaml import YamlError, read_yaml
from sr3d_core.structures import Sample


@dataclass(frozen=True, kw_only=True)
class Student:
    """The network that learns."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    camera: CameraArchitecture = field(default_factory=CameraArchitecture)
    """How it makes voxels of images; its later stages are built as the teacher's."""
    weights: str | None = None
    """A student to go on from, such as "camera", that which ships; None: a new one."""
    taken: Literal["all", "image"] = "all"
    """Of `weights`. image: its image network and what that says of cells, which may have learnt of
    other classes and from another teacher; the later stages begin as those of a new one."""
    sees_depth: bool = False
    """Whether its cells are lifted to their true depth while it learns: no student for a robot,
    but a teacher of kind oracle_lift, and a bound of what a better depth would bring."""
    from_teacher: bool = True
    """Whether the later stages of a new one start as the teacher's."""
    image_weights: Path | None = None
    """A .safetensors file for the image network of a new one, such as timm's; mind its licence."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """The network that teaches; it stays as it is."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Literal["points", "depth_image", "oracle_lift"] = "points"
    """points: a network of clouds, which sees the cloud of the same moment. depth_image: one of
    images that was trained with `student.camera.input: depth`. oracle_lift: one of color images,
    whose cells are lifted to where the depth says that they are."""
    weights: str = "default"
    """Its weights file."""


def _schedule() -> Schedule:
    """Shorter than that of a network of clouds: most of the student starts as its teacher."""
    return Schedule(num_steps=4000, warmup_steps=100, ema_decay=0.999, precision="auto")


@dataclass(frozen=True, kw_only=True)
class CameraConfig(Config):
    """Everything that the training of a camera student needs."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    before: ClassVar[Mapping[str, Any]] = {
        "view.forget_height": 0.0,
        "view.zoom": 1.0,
        "student.camera.by_height": False,
        "student.camera.cell_objects": False,
    }

    student: Student = field(default_factory=Student)
    teacher: Teacher = field(default_factory=Teacher)
    distill: Distill = field(default_factory=Distill)
    depth: DepthTerm = field(default_factory=DepthTerm)
    cell_objects: CellObjectsTerm = field(default_factory=CellObjectsTerm)
    schedule: Schedule = field(default_factory=_schedule)
    view: ChangeImages = field(default_factory=ChangeImages)
    """Random changes of images with their scenes, in the place of `augment`."""
    unlabelled: Annotated[AnySource, Field(discriminator="name")] | None = None
    """Scenes with color images that are learnt from without their labels, beside those of `data`,
    each as often: what the teacher finds in their clouds is taken as true, as in a recording."""

    def __post_init__(self) -> None:
        """Refuse what belongs to a training on clouds."""
        super().__post_init__()
        for name in ("weight", "object_factor", "first_steps"):
            require_positive(f"depth.{name}", getattr(self.depth, name))
        require_positive("cell_objects.weight", self.cell_objects.weight)
        if self.schedule.epochs is None:  # else the number of scenes says how many steps
            self.check_first_steps()
        if self.network.weights is not None or self.network.changes:
            raise ValueError(
                "network is set, but a student's later stages are built as its teacher's; "
                "expected teacher.weights, student.weights"
            )
        if self.student.taken == "image" and self.student.weights is None:
            raise ValueError("student.taken is image, but student.weights is none to take it from")
        if self.unlabelled is not None and self.teacher.kind != "points":
            raise ValueError(
                f"unlabelled is set, and teacher.kind is {self.teacher.kind}; expected points: "
                "what a teacher of clouds finds is taken as true"
            )
        self._check_of_clouds()
        self._check_cells()

    def check_first_steps(self) -> None:
        """Refuse to teach cells alone for longer than the training lasts.

        For a schedule whose number of steps is known. Raises ConfigError.
        """
        if self.depth.first_steps > self.schedule.num_steps:
            raise ConfigError(
                f"depth.first_steps is {self.depth.first_steps}, expected from 0 to "
                f"schedule.num_steps, which is {self.schedule.num_steps}"
            )

    def rate_at(self, step: int) -> float:
        """The learning rate of a step: that of the schedule, which begins anew after
        `depth.first_steps`; both parts go from warm-up to the end of its decay.

        What learns boxes has seen nothing until then, and would learn little at a rate that has
        fallen already.
        """
        first, num = self.depth.first_steps, self.schedule.num_steps
        if step < first:
            return replace(self.schedule, num_steps=first).rate_at(step)
        return replace(self.schedule, num_steps=max(1, num - first)).rate_at(step - first)

    def _check_of_clouds(self) -> None:
        """Refuse settings that change how a network of clouds learns, and nothing here."""
        usual = Schedule()
        idle = {
            "network.preset": self.network.preset != Network().preset,
            "augment": self.augment != Augment(),
            "criterion.consistency": self.criterion.consistency != 0,
            "schedule.backbone_rate": self.schedule.backbone_rate != usual.backbone_rate,
        }
        if changed := [name for name, is_changed in idle.items() if is_changed]:
            raise ValueError(
                f"{', '.join(changed)} set, which is of networks of clouds and would do nothing "
                "here; leave it out: a student is built as its teacher, view changes its images"
            )

    @property
    def starts_from(self) -> tuple[str, str | None]:
        """The student to go on from."""
        return "student.weights", self.student.weights

    @property
    def compares_cells(self) -> bool:
        """Whether features and relations are those of cells of images, as published."""
        return self.distill.is_literal and self.teacher.kind == "depth_image"

    @property
    def has_adapter(self) -> bool:
        """Whether the student's features are compared through a map that is learnt for this alone.

        Where its later stages begin as the teacher's, what these expect is what the teacher has:
        a map that begins at random asks for other features, and breaks them (docs/camera.md).
        """
        asked = self.distill.feature.adapter
        return self.compares_cells or not self.student.from_teacher if asked is None else asked

    def _check_cells(self) -> None:
        """Refuse what says how voxels are compared where none are."""
        feature, usual = self.distill.feature, FeatureTerm()
        of_voxels = {
            "feature.levels": feature.levels != usual.levels,
            "feature.reduction": feature.reduction != usual.reduction,
            "relation.grid": self.distill.relation.grid != RelationTerm().grid,
        }
        changed = [f"distill.{name}" for name, is_changed in of_voxels.items() if is_changed]
        if changed and self.compares_cells:
            raise ValueError(
                f"{', '.join(changed)} set, which is of voxels; with teacher.kind depth_image "
                "distill.preset monostl_literal compares cells of images: leave it out"
            )

    @property
    def changes(self) -> Callable[[Sample, Generator], Sample]:
        """What happens to a scene before it is learnt from.

        Its image becomes as large as the student sees it: those of one step must be of one size,
        so images of several cameras become as large as the network, whatever their shape.
        """
        is_one_camera = self.data.name == "recording" and self.unlabelled is None
        return partial(_changed, self.view, self.student.camera, is_one_camera)

    @property
    def digests(self) -> dict[str, str]:
        """Of the teacher: another one under the same name would be another training."""
        return {"teacher.sha256": read_manifest(self.teacher.weights).sha256}

    @property
    def other_data(self) -> tuple[AnySource, ...]:
        """Scenes without labels, where there are any."""
        return () if self.unlabelled is None else (self.unlabelled,)

    def scenes(self) -> Scenes:
        """Those of `data`, then those without labels; raises ValueError."""
        labelled = super().scenes()
        if self.unlabelled is None:
            return labelled
        return AndUnlabelled(labelled, self.unlabelled.open("train"))

    def architecture(self, num_classes: int) -> Architecture:
        """That of the student's later stages: the teacher's.

        Raises ConfigError where that has other classes, CheckpointError where it cannot be read.
        """
        found = read_manifest(self.teacher.weights).architecture
        if found.num_classes != num_classes:
            raise ConfigError(
                f"{self.teacher.weights}: a teacher of {found.num_classes} classes, and data of "
                f"{num_classes}; expected the same classes in both"
            )
        return found


def _changed(
    change: ChangeImages,
    camera: CameraArchitecture,
    is_one_camera: bool,
    sample: Sample,
    generator: Generator,
) -> Sample:
    changed = change(sample, generator)
    assert changed.images is not None  # else it was refused
    size = seen_size(changed.images, camera) if is_one_camera else camera.size
    return replace(changed, images=fitted(changed.images, size))


_ADAPTER = TypeAdapter(CameraConfig)


def load_camera_config(path: str | Path) -> CameraConfig:
    """The configuration of a YAML file; raises ConfigError naming the file and the key."""
    path = Path(path)
    try:
        tree = read_yaml(path, "a configuration in YAML")
    except YamlError as error:
        raise ConfigError(str(error)) from error
    return parse_camera_config({} if tree is None else tree, where=str(path))


def parse_camera_config(tree: Any, where: str = "config") -> CameraConfig:
    """The configuration of a tree of plain values, such as YAML gives."""
    try:
        return _ADAPTER.validate_python(tree)
    except ValidationError as error:
        raise ConfigError(f"{where}: {sentences(error, CameraConfig)}") from error
