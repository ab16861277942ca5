"""A furniture library as one file: small meshes of named classes, and where they are from.

An .npz without pickles. Of each model, one row: `name`, `kind`, `class`, `size` (dx, dy, dz in
metres), `num_vertices`, `num_faces`; of all models one after the other: `vertices` (metres, front
+x, z up, standing on z = 0, the box centred on the axis), `faces` (rows of the model's vertices),
`color` (0..255), `absorbs` (0..255, the chance that a depth sensor gets no answer). `about` is a
JSON object: source, version, licence, seed.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.material import material_of_models
from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.whole_files import write_whole

FORMAT = 1
"""Version of the file."""

MIN_MODELS = 3
"""Models of a class, at least: a network would learn fewer by heart."""

MIN_SIZE_M, MAX_SIZE_M = 0.01, 8.0
"""Furniture is at least and at most so large along an axis."""

_SIZE_STEP_M = 0.002  # how well the size that a file tells agrees with the mesh
_ADVICE = "make it again with `sr3d data furniture`"
_UNREADABLE = (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError)


class LibraryError(ValueError):
    """A furniture library that cannot be used; the text names the file and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A piece of furniture of a library."""

    name: str  # of the generator or the file it is from
    class_name: str
    kind: str  # in the words of our own makers where they have one
    mesh: Mesh  # metres, front +x, standing on z = 0, its box centred on the axis


@dataclass(frozen=True, slots=True)
class About:
    """Where the models of a library are from."""

    source: str
    version: str
    licence: str
    seed: int


def write_library(path: Path, models: Sequence[Model], about: About) -> None:
    """Write a library, whole or not at all; raises OSError, `LibraryError` as reading would."""
    if not models:
        raise LibraryError(f"{path}: no models to write")
    arrays = {
        "about": np.array(
            json.dumps({"format": FORMAT, **{k: getattr(about, k) for k in _ABOUT}})
        ),
        "name": np.array([model.name for model in models]),
        "kind": np.array([model.kind for model in models]),
        "class": np.array([model.class_name for model in models]),
        "size": np.array([np.subtract(*model.mesh.bounds[::-1]) for model in models], np.float32),
        "num_vertices": np.array([len(model.mesh.vertices) for model in models], np.int32),
        "num_faces": np.array([len(model.mesh.faces) for model in models], np.int32),
        "vertices": np.concatenate([model.mesh.vertices for model in models]).astype(np.float32),
        "faces": np.concatenate([model.mesh.faces for model in models]).astype(np.int32),
        "color": _bytes(np.concatenate([model.mesh.color for model in models])),
        "absorbs": _bytes(np.concatenate([model.mesh.absorbs for model in models])),
    }
    _models_of(arrays, str(path))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole({path: content.getvalue()})


def enough(models: Sequence[Model]) -> tuple[list[Model], dict[str, int]]:
    """The models of classes that have enough of them, and how many the other classes have."""
    count = Counter(model.class_name for model in models)
    kept = [model for model in models if count[model.class_name] >= MIN_MODELS]
    return kept, {name: num for name, num in count.items() if num < MIN_MODELS}


_ABOUT = ("source", "version", "licence", "seed")


def _bytes(shares: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def read_library(path: Path) -> tuple[list[Model], About]:
    """All models of a library and where they are from; raises `LibraryError`."""
    if not path.is_file():
        raise LibraryError(
            f"{path} does not exist, expected a furniture library; "
            "make one with `sr3d data furniture --out`"
        )
    if not zipfile.is_zipfile(path):
        raise LibraryError(f"{path}: no .npz or damaged, expected a furniture library; {_ADVICE}")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.get("about")))
        found = about["format"]
        origin = About(**{key: about[key] for key in _ABOUT})
    except (*_UNREADABLE, TypeError) as error:
        raise LibraryError(
            f"{path}: not a furniture library or damaged ({error}); {_ADVICE}"
        ) from error
    if found != FORMAT:
        raise LibraryError(f"{path}: of format {found}, expected {FORMAT}; {_ADVICE}")
    return _models_of(arrays, str(path)), origin


def _models_of(arrays: Mapping[str, np.ndarray], where: str) -> list[Model]:
    """The models, each of them checked, and that there are enough of each class."""
    _check_shapes(arrays, where)
    vertex_ends, face_ends = np.cumsum(arrays["num_vertices"]), np.cumsum(arrays["num_faces"])
    models = []
    for row, (vertex_end, face_end) in enumerate(zip(vertex_ends, face_ends, strict=True)):
        some = slice(face_end - arrays["num_faces"][row], face_end)
        mesh = Mesh(
            arrays["vertices"][vertex_end - arrays["num_vertices"][row] : vertex_end].astype(
                float
            ),
            arrays["faces"][some].astype(np.int64),
            arrays["color"][some] / 255.0,
            arrays["absorbs"][some] / 255.0,
            material_of_models(arrays["absorbs"][some] / 255.0),
        )
        name, kind, class_name = (str(arrays[key][row]) for key in ("name", "kind", "class"))
        model = Model(name, class_name, kind, mesh)
        check_model(model, arrays["size"][row], f"{where}: model {row} ({name})")
        models.append(model)
    for class_name, count in Counter(model.class_name for model in models).items():
        if count < MIN_MODELS:
            raise LibraryError(
                f"{where}: {count} models of the class {class_name}, expected at least "
                f"{MIN_MODELS}; add some or leave the class out"
            )
    return models


def _check_shapes(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse arrays that are missing or do not belong together."""
    missing = [name for name in _SHAPES if name not in arrays]
    if missing:
        raise LibraryError(f"{where}: {', '.join(missing)} missing; {_ADVICE}")
    num = len(arrays["name"]) if arrays["name"].ndim else 0
    if num == 0:
        raise LibraryError(f"{where}: no models, expected some of each class; {_ADVICE}")
    lengths: dict[str, Any] = {"models": num}
    for count, name in (("num_vertices", "vertices"), ("num_faces", "faces")):
        if arrays[count].shape != (num,) or arrays[count].dtype.kind not in "iu":
            raise LibraryError(f"{where}: {count} has the shape {arrays[count].shape}; {_ADVICE}")
        lengths[name] = int(arrays[count].sum())
    for name, (rows, columns, kinds) in _SHAPES.items():
        expected = (lengths[rows], *columns)
        if arrays[name].shape != expected or arrays[name].dtype.kind not in kinds:
            raise LibraryError(
                f"{where}: {name} is {arrays[name].dtype} of the shape {arrays[name].shape}, "
                f"expected {expected}; {_ADVICE}"
            )


_SHAPES: dict[str, tuple[str, tuple[int, ...], str]] = {
    "name": ("models", (), "U"),
    "kind": ("models", (), "U"),
    "class": ("models", (), "U"),
    "size": ("models", (3,), "f"),
    "num_vertices": ("models", (), "iu"),
    "num_faces": ("models", (), "iu"),
    "vertices": ("vertices", (3,), "f"),
    "faces": ("faces", (3,), "iu"),
    "color": ("faces", (3,), "u"),
    "absorbs": ("faces", (), "u"),
}
"""Of each array: whose rows it has, its columns, and the kinds of NumPy type."""


def check_model(model: Model, size: np.ndarray, where: str) -> None:
    """Refuse a model of no class, without size, or whose mesh is not as large as its row says.

    Raises `LibraryError`.
    """
    if model.class_name not in LABELS:
        raise LibraryError(
            f"{where}: unknown class {model.class_name!r}, expected one of {', '.join(LABELS)}"
        )
    vertices, faces = model.mesh.vertices, model.mesh.faces
    if not len(faces) or not len(vertices):
        raise LibraryError(f"{where}: has no triangles; {_ADVICE}")
    if faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices).all():
        raise LibraryError(f"{where}: its triangles are damaged; {_ADVICE}")
    low, high = model.mesh.bounds
    if not ((high - low >= MIN_SIZE_M) & (high - low <= MAX_SIZE_M)).all():
        raise LibraryError(
            f"{where}: has the size {np.round(high - low, 3).tolist()} m, expected "
            f"{MIN_SIZE_M} to {MAX_SIZE_M} along each axis; its unit may be wrong"
        )
    middle = (low + high) / 2
    offset = np.array([*middle[:2], low[2], *(high - low - size)])
    if not (np.abs(offset) <= _SIZE_STEP_M).all():
        raise LibraryError(
            f"{where}: reaches from {np.round(low, 3).tolist()} to {np.round(high, 3).tolist()}, "
            f"expected the size {np.round(size, 3).tolist()} standing on z = 0 around the axis"
        )
