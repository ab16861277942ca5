"""Furniture of one's own: a folder of OBJ, PLY or GLB models and the file that names them.

    licence: CC0-1.0
    models:
      - {file: armchair.glb, class: chair, kind: armchair, up: y, front: +z}
      - {file: desk.obj, class: desk, size: [0.8, 1.6, 0.75]}

`up` (z or y, z where it is not told) and `front` (+x where it is not told) are axes of the file;
`size` is depth along the front, width and height in metres, where the file's unit is another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sr3d_core.data.rooms.furniture.library.file import About, LibraryError, Model, check_model
from sr3d_core.data.rooms.furniture.library.imported import mesh_of, simplified
from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.plain_yaml import YamlError, read_yaml

LIST = "furniture.yaml"
"""File that names the models of a folder."""

MAX_FACES = 900
"""Triangles of a model where cells of 2.5 cm suffice for that."""

_AXES = {"x": np.array([1.0, 0, 0]), "y": np.array([0, 1.0, 0]), "z": np.array([0, 0, 1.0])}


class Entry(BaseModel):
    """A model of the list."""

    model_config = ConfigDict(extra="forbid")

    file: str
    class_name: str = Field(alias="class")
    kind: str = ""
    up: Literal["z", "y"] = "z"
    front: Literal["+x", "-x", "+y", "-y", "+z", "-z"] = "+x"
    size: tuple[float, float, float] | None = None


class FurnitureList(BaseModel):
    """What `furniture.yaml` holds."""

    model_config = ConfigDict(extra="forbid")

    licence: str
    models: list[Entry]


def read_folder(folder: Path) -> tuple[list[Model], About]:
    """All models of a folder's list; raises `LibraryError` for the first that cannot be used."""
    wanted = _read_list(folder / LIST)
    models = [_read_model(folder / entry.file, entry) for entry in wanted.models]
    return models, About(str(folder.resolve().name), "", wanted.licence, 0)


def _read_list(path: Path) -> FurnitureList:
    try:
        content = read_yaml(path, "a licence and a list of models")
        return FurnitureList.model_validate(content)
    except YamlError as error:
        raise LibraryError(str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise LibraryError(f"{path}: {where}: {first['msg']}") from error


def _read_model(path: Path, entry: Entry) -> Model:
    """One model, standing on z = 0, front +x, as large as the list says."""
    if entry.front[1] == entry.up:
        raise LibraryError(f"{path}: front {entry.front} and up {entry.up} are the same axis")
    mesh = _loaded(path)
    if not len(mesh.faces):
        raise LibraryError(f"{path}: has no triangles, expected a model with some")
    front, up = _AXES[entry.front[1]] * float(entry.front[0] + "1"), _AXES[entry.up]
    mesh = mesh.turned(np.stack([front, np.cross(up, front), up]))
    size = mesh.bounds[1] - mesh.bounds[0]
    if entry.size is not None and (size > 0).all():
        mesh = mesh.scaled(np.array(entry.size) / size)
        size = np.array(entry.size)
    small = simplified(mesh, MAX_FACES)
    change = small.bounds[1] - small.bounds[0]
    if (change > 0).all():
        small = small.scaled(size / change)
    model = Model(entry.file, entry.class_name, entry.kind, small.grounded())
    check_model(model, size, str(path))
    return model


def _loaded(path: Path) -> Mesh:
    import trimesh

    if not path.is_file():
        raise LibraryError(f"{path} does not exist; {LIST} names it")
    try:
        scene = trimesh.load_scene(path)
        parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh)]
        return mesh_of(parts)
    except Exception as error:  # whatever a damaged file makes of the parser
        raise LibraryError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
