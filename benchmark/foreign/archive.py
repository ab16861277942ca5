"""Furniture archives of Sweet Home 3D (.sh3f): zip files of a catalogue and OBJ models.

The catalogue is a Java properties file of numbered entries, `name#12=Chair`: sizes in centimetres,
the model's path, its creator; the archive's licence stands beside them. A model's y axis points
up and its front towards +z once `modelRotation` (nine numbers, row by row) has turned it; its
bounding box is then stretched to the sizes of the catalogue.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

CATALOGUE = "PluginFurnitureCatalog.properties"
SUFFIX = ".sh3f"

HOW_TO_GET = (
    "`apt-get download sweethome3d-furniture && dpkg -x sweethome3d-furniture_*.deb FOLDER` puts "
    "them into FOLDER/usr/share/sweethome3d/furniture"
)
"""Where the archives come from, for messages."""

_AXES = ("depth", "width", "height")  # our x, y, z


class ArchiveError(ValueError):
    """An archive or a model in it that cannot be read."""


@dataclass(frozen=True, slots=True, eq=False)
class CatalogueEntry:
    """One model of an archive, not read yet."""

    archive: Path
    identity: str  # unique, as "Scopia#bed1"
    name: str
    category: str
    tags: tuple[str, ...]
    size: tuple[float, float, float]  # depth, width, height, metres
    elevation: float  # metres above the floor
    rotation: Float[ndarray, "3 3"]  # of the model's axes (y up)
    model: str  # path of the OBJ file in the archive
    creator: str
    licence: str


def archives_in(paths: Sequence[Path]) -> list[Path]:
    """The archives that are named, and those in named folders."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not inside or not path.exists():
            raise ArchiveError(f"{path}: no {SUFFIX} file; {HOW_TO_GET}")
        found += inside
    return found


def read_catalogue(path: Path) -> dict[str, CatalogueEntry]:
    """All models of an archive by identity. Raises `ArchiveError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(CATALOGUE).decode("latin-1")
    except KeyError as error:
        raise ArchiveError(
            f"{path}: no {CATALOGUE} in it, expected an archive of furniture"
        ) from (error)
    except (OSError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{path}: damaged ({error}); {HOW_TO_GET}") from error
    properties = _properties(text)
    numbers = [key.partition("#")[2] for key in properties if key.startswith("id#")]
    entries = [_entry(path, properties, number) for number in numbers]
    return {entry.identity: entry for entry in entries}


def _entry(path: Path, properties: dict[str, str], number: str) -> CatalogueEntry:
    """The entry of a number of the catalogue."""
    where = f"{path}: {properties[f'id#{number}']}"

    def value(key: str, default: str | None = None) -> str:
        found = properties.get(f"{key}#{number}", default)
        if found is None:
            raise ArchiveError(f"{where} has no {key}")
        return found

    def numbers(key: str, count: int, default: str | None = None) -> list[float]:
        text = value(key, default)
        try:
            found = [float(word) for word in text.split()]
        except ValueError:
            found = []
        if len(found) != count:
            raise ArchiveError(f"{where} has {key} {text!r}, expected {count} numbers")
        return found

    size = tuple(numbers(axis, 1)[0] / 100 for axis in _AXES)
    if not min(size) > 0:
        raise ArchiveError(f"{where} is {size} m, expected more than 0 along each axis")
    return CatalogueEntry(
        archive=path,
        identity=value("id"),
        name=value("name"),
        category=value("category", ""),
        tags=tuple(tag.strip() for tag in value("tags", "").split(",") if tag.strip()),
        size=(size[0], size[1], size[2]),
        elevation=numbers("elevation", 1, "0")[0] / 100,
        rotation=np.array(numbers("modelRotation", 9, "1 0 0 0 1 0 0 0 1")).reshape(3, 3),
        model=value("model").lstrip("/"),
        creator=value("creator", "unknown"),
        licence=properties.get("license", "unknown"),
    )


def _properties(text: str) -> dict[str, str]:
    """Keys and values of a Java properties file."""
    joined = re.sub(r"\\\r?\n[ \t]*", "", text)
    pairs = {}
    for line in joined.splitlines():
        key, mark, value = line.strip().partition("=")
        if mark and key[:1] not in ("#", "!"):
            pairs[key.strip()] = _unescaped(value.strip())
    return pairs


def _unescaped(value: str) -> str:
    value = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), value)
    return re.sub(r"\\(.)", r"\1", value)
