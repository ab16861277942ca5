"""Models of an archive as small meshes of ours: metres, z up, front +x, colors of materials."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from numpy import ndarray
from trimesh.resolvers import ZipResolver

from foreign.archive import ArchiveError, CatalogueEntry
from sr3d_core.data.rooms.furniture.mesh import Mesh

MAX_FACES = 4000
"""Triangles of a model, so that a room of twenty is rendered in about a second."""

CELLS_M = (0.004, 0.006, 0.009, 0.013, 0.019, 0.025)
"""Cells that vertices are merged in, until the faces are few enough."""

_OURS_FROM_THEIRS = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_GREY = np.full(3, 0.6)
_LEAST_ALPHA = 0.05  # what is clearer than that is not there


def read_model(entry: CatalogueEntry) -> Mesh:
    """The model of an entry, standing on z = 0, as large as the catalogue says."""
    parts = [part for part in _parts(entry) if len(part.faces)]
    if not parts:
        raise ArchiveError(f"{entry.archive}: {entry.model} has no triangles")
    turned = Mesh.cat(parts).turned(_OURS_FROM_THEIRS @ entry.rotation)
    name = f"{entry.archive}: {entry.model}"
    return resized(simplified(resized(turned, entry.size, name)), entry.size, name)


def simplified(mesh: Mesh, max_faces: int = MAX_FACES) -> Mesh:
    """The mesh with at most `max_faces` triangles where cells of 2.5 cm suffice for that.

    Vertices in one cell of a grid become one; the cells are as small as the number allows. Large
    flat parts lose nothing, and unlike the collapse of edges this also works on loose triangles,
    of which such models are full.
    """
    for cell_m in CELLS_M:
        if len(mesh.faces) <= max_faces:
            break
        mesh = _clustered(mesh, cell_m)
    return mesh


def _clustered(mesh: Mesh, cell_m: float) -> Mesh:
    """The mesh with one vertex, the mean, for each cell; faces without area go."""
    cells = np.floor(mesh.vertices / cell_m).astype(np.int64)
    _, place, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    vertices = np.stack([np.bincount(place, mesh.vertices[:, k]) for k in range(3)], axis=1)
    faces = place[mesh.faces]
    corners = np.sort(faces, axis=1)
    _, first = np.unique(corners, axis=0, return_index=True)
    has_area = (corners[first, 0] < corners[first, 1]) & (corners[first, 1] < corners[first, 2])
    kept = np.sort(first[has_area])
    return Mesh(vertices / count[:, None], faces[kept], mesh.color[kept], mesh.absorbs[kept])


def resized(mesh: Mesh, size: tuple[float, float, float], name: str) -> Mesh:
    """The mesh stretched to a size, standing in the middle of its box."""
    low, high = mesh.bounds
    if not ((high - low) > 0).all():
        raise ArchiveError(
            f"{name} has the size {high - low}, expected more than 0 along each axis"
        )
    return mesh.scaled(np.asarray(size) / (high - low)).grounded()


def _parts(entry: CatalogueEntry) -> Iterator[Mesh]:
    """One mesh for each material."""
    for geometry in _geometries(entry):
        color, alpha = _appearance(geometry)
        if alpha < _LEAST_ALPHA:
            continue
        num = len(geometry.faces)
        yield Mesh(
            np.asarray(geometry.vertices, dtype=np.float64),
            np.asarray(geometry.faces, dtype=np.int64),
            np.tile(color, (num, 1)),
            np.full(num, 1.0 - alpha),
        )


def _geometries(entry: CatalogueEntry) -> list[trimesh.Trimesh]:
    """What trimesh reads: a geometry for each material."""
    where = f"{entry.archive}: {entry.model}"
    try:
        with zipfile.ZipFile(entry.archive) as archive:
            content = io.BytesIO(archive.read(entry.model))
            resolver = ZipResolver(
                {name: io.BytesIO(archive.read(name)) for name in _beside(archive, entry.model)},
                namespace=str(PurePosixPath(entry.model).parent),
            )
            scene = trimesh.load_scene(
                content, file_type="obj", resolver=resolver, group_material=True
            )
    except KeyError as error:
        raise ArchiveError(f"{where} is missing") from error
    except Exception as error:  # whatever a damaged file makes of the parser
        raise ArchiveError(f"{where} cannot be read: {error}") from error
    return [part for part in scene.dump() if isinstance(part, trimesh.Trimesh)]


def _beside(archive: zipfile.ZipFile, model: str) -> list[str]:
    """Files in the folder of a model: materials and textures."""
    folder = PurePosixPath(model).parent
    return [name for name in archive.namelist() if PurePosixPath(name).parent == folder]


def _appearance(geometry: trimesh.Trimesh) -> tuple[Float[ndarray, " 3"], float]:
    """Color of a material, the mean of its texture where it has one; and how opaque it is."""
    material: Any = getattr(geometry.visual, "material", None)
    if material is None:
        return _GREY, 1.0
    alpha = _alpha(getattr(material, "kwargs", {}))
    image = getattr(material, "image", None)
    if image is not None:
        pixels = np.asarray(image.convert("RGBA"), dtype=np.float64).reshape(-1, 4) / 255
        weight = np.maximum(pixels[:, 3:], 1e-6)
        return (pixels[:, :3] * weight).sum(axis=0) / weight.sum(), alpha
    diffuse = np.asarray(material.diffuse, dtype=np.float64)[:3] / 255
    return diffuse, alpha


def _alpha(values: dict[str, Any]) -> float:
    """Opacity 0..1 of an MTL material (`d`, seldom `Tr` = 1 - d)."""
    if "d" in values:
        return float(np.clip(float(np.ravel(values["d"])[0]), 0, 1))
    return 1.0
