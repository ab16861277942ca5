"""Models that trimesh reads as small meshes of ours: colors of materials, few triangles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sr3d_core.data.rooms.furniture.material import material_of_models
from sr3d_core.data.rooms.furniture.mesh import Mesh

if TYPE_CHECKING:
    import trimesh

CELLS_M = (0.004, 0.006, 0.009, 0.013, 0.019, 0.025)
"""Cells that vertices are merged in, until the faces are few enough."""

_GREY = np.full(3, 0.6)
_LEAST_ALPHA = 0.05  # what is clearer than that is not there


def mesh_of(geometries: Iterable[trimesh.Trimesh]) -> Mesh:
    """All that is not clear as one mesh, a color and an absorption (1 - opacity) for each face."""
    parts = []
    for geometry in geometries:
        color, alpha = _appearance(geometry)
        if alpha < _LEAST_ALPHA or not len(geometry.faces):
            continue
        num = len(geometry.faces)
        parts.append(
            Mesh(
                np.asarray(geometry.vertices, dtype=np.float64),
                np.asarray(geometry.faces, dtype=np.int64),
                np.broadcast_to(color, (num, 3)).copy(),
                np.full(num, 1.0 - alpha),
                material_of_models(np.full(num, 1.0 - alpha)),
            )
        )
    return Mesh.cat(parts)


def simplified(mesh: Mesh, max_faces: int) -> Mesh:
    """The mesh with at most `max_faces` triangles where cells of 2.5 cm suffice for that.

    Vertices in one cell of a grid become one; the cells are as small as the number allows. Large
    flat parts lose nothing, and unlike the collapse of edges this also works on loose triangles,
    of which models of people are full.
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
    return Mesh(
        vertices / count[:, None],
        faces[kept],
        mesh.color[kept],
        mesh.absorbs[kept],
        mesh.material[kept],
    )


def _appearance(geometry: trimesh.Trimesh) -> tuple[Float[ndarray, "... 3"], float]:
    """Color of a material, the mean of its texture where it has one, or of each face; opacity."""
    visual: Any = geometry.visual
    material = getattr(visual, "material", None)
    if material is None and visual.kind is None:
        return _GREY, 1.0
    if material is None:
        return np.asarray(visual.face_colors, dtype=np.float64)[:, :3] / 255, 1.0
    alpha = _alpha(getattr(material, "kwargs", {}))
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    if image is not None:
        pixels = np.asarray(image.convert("RGBA"), dtype=np.float64).reshape(-1, 4) / 255
        weight = np.maximum(pixels[:, 3:], 1e-6)
        return (pixels[:, :3] * weight).sum(axis=0) / weight.sum(), alpha
    return np.asarray(material.main_color, dtype=np.float64)[:3] / 255, alpha


def _alpha(values: dict[str, Any]) -> float:
    """Opacity 0..1 of an MTL material (`d`, seldom `Tr` = 1 - d)."""
    if "d" in values:
        return float(np.clip(float(np.ravel(values["d"])[0]), 0, 1))
    return 1.0
