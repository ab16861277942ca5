"""The table of models and sizes, furniture.yaml, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sr3d_core.plain_yaml import read_yaml

TABLE = Path(__file__).with_name("furniture.yaml")
AXES = ("depth", "width", "height")
"""Our x, y, z: depth is along the front."""

ENOUGH_MODELS = 5
"""A class of fewer models says more about these than about the class: it is left out of means."""

_Length = Annotated[float, Field(gt=0)]


class TableError(ValueError):
    """A table that cannot be used."""


class Sizes(BaseModel):
    """Smallest and largest extent of a class along each axis, metres."""

    model_config = ConfigDict(extra="forbid")
    depth: tuple[_Length, _Length]
    width: tuple[_Length, _Length]
    height: tuple[_Length, _Length]


class ClassOfModels(BaseModel):
    """What the table says about one class."""

    model_config = ConfigDict(extra="forbid")
    published: dict[str, tuple[_Length, _Length, _Length]]
    range: Sizes
    models: dict[str, list[str]]


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")
    turned_deg: dict[str, float] = {}
    not_offered: list[str] = []
    classes: dict[str, ClassOfModels]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One model of the table."""

    identity: str
    class_name: str
    kind: str
    turned_deg: float


@dataclass(frozen=True, slots=True)
class FurnitureTable:
    """All classes and models."""

    classes: Mapping[str, ClassOfModels]
    models: tuple[Chosen, ...]

    @property
    def is_rare(self) -> dict[str, bool]:
        """Whether a class has too few models for a mean."""
        count = dict.fromkeys(self.classes, 0)
        for model in self.models:
            count[model.class_name] += 1
        return {name: num < ENOUGH_MODELS for name, num in count.items()}


def read_table(path: Path, labels: tuple[str, ...]) -> FurnitureTable:
    """The table of a file; raises `TableError` where it does not fit the label space."""
    try:
        content = _Content.model_validate(read_yaml(path, "a table of furniture"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise TableError(f"{path}: {place}: {first['msg']}") from error
    unknown = sorted(set(content.classes) - set(labels))
    if unknown:
        raise TableError(f"{path}: classes {', '.join(unknown)}, expected some of {labels}")
    models = [
        Chosen(identity, name, kind, content.turned_deg.get(identity, 0.0))
        for name, one in content.classes.items()
        for kind, identities in one.models.items()
        for identity in identities
    ]
    _check(path, content, models, labels)
    return FurnitureTable(content.classes, tuple(models))


def _check(path: Path, content: _Content, models: list[Chosen], labels: tuple[str, ...]) -> None:
    identities = [model.identity for model in models]
    twice = sorted({each for each in identities if identities.count(each) > 1})
    if twice:
        raise TableError(f"{path}: {', '.join(twice)} stand twice, expected one class each")
    lost = sorted(set(content.turned_deg) - set(identities))
    if lost:
        raise TableError(f"{path}: turned_deg names {', '.join(lost)}, which no class lists")
    empty = {name for name in labels if name not in {model.class_name for model in models}}
    if empty != set(content.not_offered):
        raise TableError(
            f"{path}: no model of {', '.join(sorted(empty)) or 'nothing'}, but not_offered says "
            f"{', '.join(sorted(content.not_offered)) or 'nothing'}; name there what rooms shall "
            "do without"
        )
    for name, one in content.classes.items():
        for axis in AXES:
            low, high = getattr(one.range, axis)
            if not low < high:
                raise TableError(
                    f"{path}: {name}: {axis} from {low} to {high} m, expected a range"
                )
