"""Models of an archive as small meshes of ours: metres, z up, front +x, colors of materials."""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePosixPath

import numpy as np
import trimesh
from trimesh.resolvers import ZipResolver

from foreign.archive import ArchiveError, CatalogueEntry
from sr3d_core.data.rooms.furniture.library.imported import mesh_of, simplified
from sr3d_core.data.rooms.furniture.mesh import Mesh

MAX_FACES = 4000
"""Triangles of a model, so that a room of twenty is rendered in about a second."""

_OURS_FROM_THEIRS = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def read_model(entry: CatalogueEntry) -> Mesh:
    """The model of an entry, standing on z = 0, as large as the catalogue says."""
    mesh = mesh_of(_geometries(entry))
    if not len(mesh.faces):
        raise ArchiveError(f"{entry.archive}: {entry.model} has no triangles")
    turned = mesh.turned(_OURS_FROM_THEIRS @ entry.rotation)
    name = f"{entry.archive}: {entry.model}"
    small = simplified(resized(turned, entry.size, name), MAX_FACES)
    return resized(small, entry.size, name)


def resized(mesh: Mesh, size: tuple[float, float, float], name: str) -> Mesh:
    """The mesh stretched to a size, standing in the middle of its box."""
    low, high = mesh.bounds
    if not ((high - low) > 0).all():
        raise ArchiveError(
            f"{name} has the size {high - low}, expected more than 0 along each axis"
        )
    return mesh.scaled(np.asarray(size) / (high - low)).grounded()


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
