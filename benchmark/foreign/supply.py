"""Models of other people as a supply of furniture, their sizes drawn over what is real.

Reading and thinning out all models takes minutes, so that their small meshes are kept in a file
beside the rooms.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreign.archive import CatalogueEntry, archives_in, read_catalogue
from foreign.models import MAX_FACES, read_model
from foreign.table import AXES, Chosen, FurnitureTable, TableError
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.library.imported import CELLS_M
from sr3d_core.data.rooms.furniture.material import material_of_models
from sr3d_core.data.rooms.furniture.mesh import Mesh, turn_z
from sr3d_core.data.rooms.furniture.piece import Piece
from sr3d_core.whole_files import write_whole

Rng = np.random.Generator

MAX_STRETCH = 1.5
"""A model is at most this much larger or smaller than drawn, unless its class is never so."""


@dataclass(frozen=True, slots=True, eq=False)
class ForeignModel:
    """A model of the table with its mesh: front +x, standing on z = 0, as large as drawn."""

    chosen: Chosen
    entry: CatalogueEntry
    mesh: Mesh


class ForeignFurniture:
    """The supply."""

    def __init__(self, models: Sequence[ForeignModel], table: FurnitureTable) -> None:
        self.models = tuple(models)
        self._table = table
        self._of_class = {
            name: [model for model in models if model.chosen.class_name == name] for name in LABELS
        }

    def kinds(self, name: str) -> tuple[str, ...]:
        """The kind of every model of a class."""
        return tuple(model.chosen.kind for model in self._of_class[name])

    def make(self, name: str, rng: Rng, kind: str | None = None) -> Piece:
        """Any model of the class and kind, stretched."""
        models = self._of_class[name]
        fitting = [model for model in models if model.chosen.kind == kind] or models
        mesh = fitting[rng.integers(len(fitting))].mesh
        low, high = mesh.bounds
        factor = _drawn_size(high - low, self._range(name), rng) / (high - low)
        return Piece(mesh.scaled(factor).grounded(), LABELS.index(name))

    def _range(self, name: str) -> np.ndarray:
        """Rows: axes; smallest and largest."""
        return np.array([getattr(self._table.classes[name].range, axis) for axis in AXES])


def _drawn_size(native: np.ndarray, limits: np.ndarray, rng: Rng) -> np.ndarray:
    """A size within the limits of the class, near that of the model."""
    low = np.clip(native / MAX_STRETCH, limits[:, 0], limits[:, 1])
    high = np.clip(native * MAX_STRETCH, limits[:, 0], limits[:, 1])
    return np.exp(rng.uniform(np.log(low), np.log(high)))


def open_models(
    paths: Sequence[Path],
    table: FurnitureTable,
    cache: Path,
    tell: Callable[[int], object] | None = None,
) -> list[ForeignModel]:
    """All models of the table, out of archives or folders of them; raises ValueError.

    `cache` is a folder; `tell` is told how many models are ready.
    """
    archives = archives_in(paths)
    entries: dict[str, CatalogueEntry] = {}
    for path in archives:
        entries.update(read_catalogue(path))
    missing = [model.identity for model in table.models if model.identity not in entries]
    if missing:
        raise TableError(
            f"{', '.join(map(str, archives))}: {len(missing)} models of the table are not there: "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; give all archives of "
            "sweethome3d-furniture 1.8"
        )
    kept = cache / f"models_{_digest(archives, table)}.npz"
    meshes = _read_meshes(kept) if kept.is_file() else _thinned_out(entries, table, kept, tell)
    return [
        ForeignModel(model, entries[model.identity], mesh)
        for model, mesh in zip(table.models, meshes, strict=True)
    ]


def _digest(archives: Sequence[Path], table: FurnitureTable) -> str:
    """Changes with everything that the small meshes are made of."""
    digest = hashlib.sha256(f"{MAX_FACES} {CELLS_M} {table.models}".encode())
    for path in archives:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _thinned_out(
    entries: Mapping[str, CatalogueEntry],
    table: FurnitureTable,
    kept: Path,
    tell: Callable[[int], object] | None,
) -> list[Mesh]:
    meshes = []
    for number, model in enumerate(table.models, start=1):
        turn = turn_z(np.deg2rad(model.turned_deg))
        meshes.append(read_model(entries[model.identity]).turned(turn).grounded())
        if tell is not None:
            tell(number)
    _write_meshes(kept, meshes)
    return meshes


def _write_meshes(path: Path, meshes: Sequence[Mesh]) -> None:
    arrays = {
        f"{number}_{name}": getattr(mesh, name)
        for number, mesh in enumerate(meshes)
        for name in ("vertices", "faces", "color", "absorbs")
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole({path: content.getvalue()})


def _read_meshes(path: Path) -> list[Mesh]:
    with np.load(path, allow_pickle=False) as arrays:
        return [
            Mesh(
                arrays[f"{number}_vertices"],
                arrays[f"{number}_faces"],
                arrays[f"{number}_color"],
                arrays[f"{number}_absorbs"],
                material_of_models(arrays[f"{number}_absorbs"]),
            )
            for number in range(len(arrays.files) // 4)
        ]
