"""Runs inside a process with bpy and infinigen, and nothing of SR3D: a factory's model as arrays.

Started with the path of this file; it reads requests, a line of JSON each, and answers each with a
line: `{"factory": "seating:ChairFactory", "seed": 3, "max_faces": 600, "file": PATH}` is answered
with `{"error": null}` once PATH holds the arrays `vertices` (V, 3) in metres as the factory made
them, `faces` (F, 3), `color` (F, 3) in 0..1, NaN where the material does not tell it, and
`is_clear` (F,), what one sees through. Blender may crash or hang; who started this must cope.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from importlib import metadata
from typing import Any

import bpy
import fast_simplification
import numpy as np
from scipy.spatial import cKDTree

CELLS_M = (0.006, 0.009, 0.013, 0.018, 0.025, 0.035, 0.05, 0.07)
"""Cells that vertices are merged in before edges are collapsed, metres."""

TOLERANCE = 1.5
"""How many times the triangles that are wanted a model may have."""

CELL_OF_PROBES_M, NEAR_M, NEAR_SHARE, MAX_SPREAD = 0.018, 0.04, 0.02, 300_000
"""Points of the whole model, how near the thinned one must be (metres, or share of the longest
edge where that is more), and most points spread on it."""

WELL_COVERED, LEAST_COVERED = 0.99, 0.95
"""Share of them that ends the search, and that a model must have."""


def main() -> None:
    """Answer until the input ends; what Blender prints does not mix with the answers."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    importlib.import_module("infinigen")
    version = f"infinigen {metadata.version('infinigen')}, bpy {bpy.app.version_string}"
    answers.write(json.dumps({"error": None, "version": version}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        try:
            np.savez(request["file"], **model_of(**request))  # type: ignore[arg-type]
            error = None
        except Exception as raised:  # whatever a factory of others raises loses that model only
            error = f"{type(raised).__name__}: {raised}"
        answers.write(json.dumps({"error": error}) + "\n")


def model_of(factory: str, seed: int, max_faces: int, **_: Any) -> dict[str, np.ndarray]:
    """The arrays of one model."""
    from infinigen.core.util.math import FixedSeed

    bpy.ops.wm.read_factory_settings(use_empty=True)
    module, name = factory.split(":")
    with FixedSeed(seed):
        made = getattr(importlib.import_module(f"infinigen.assets.objects.{module}"), name)(seed)
        roots = _bare_bed(made) if name == "BedFactory" else [made.spawn_asset(0)]
        made.finalize_assets(roots[:1])
    objects = [each for root in roots for each in (root, *root.children_recursive)]
    vertices, faces, material_index, materials = _joined(objects)
    vertices, faces, material_index = _in_order(vertices, faces, material_index)
    vertices, faces, material_index = _decimated(vertices, faces, material_index, max_faces)
    looks = [_look(material) for material in materials] or [(np.full(3, np.nan), False)]
    pick = np.clip(material_index, 0, len(looks) - 1)
    return {
        "vertices": vertices,
        "faces": faces,
        "color": np.array([color for color, _ in looks])[pick],
        "is_clear": np.array([is_clear for _, is_clear in looks])[pick],
    }


def _bare_bed(made: Any) -> list[Any]:
    """Frame and mattress: the cloth on top of them takes minutes to fall."""
    frame = super(type(made), made).create_asset(i=0, face_size=0.01)
    return [frame, made.make_mattress(0)]


def _joined(objects: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Any]]:
    """Triangles of all meshes in the coordinates of the world, and their materials."""
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    materials: list[Any] = []
    for each in objects:
        if each.type != "MESH":
            continue
        evaluated = each.evaluated_get(graph)
        mesh = evaluated.to_mesh()
        vertices, faces, index = _arrays(mesh)
        turn = np.array(each.matrix_world)
        parts.append((vertices @ turn[:3, :3].T + turn[:3, 3], faces, index + len(materials)))
        materials += [slot.material for slot in each.material_slots] or [None]
        evaluated.to_mesh_clear()
    if not sum(len(faces) for _, faces, _ in parts):
        raise ValueError("the factory made no triangles")
    starts = np.cumsum([0, *(len(vertices) for vertices, _, _ in parts[:-1])])
    return (
        np.concatenate([vertices for vertices, _, _ in parts]),
        np.concatenate([f + start for (_, f, _), start in zip(parts, starts, strict=True)]),
        np.concatenate([index for _, _, index in parts]),
        materials,
    )


def _in_order(
    vertices: np.ndarray, faces: np.ndarray, material_index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same triangles sorted: Blender hands out an equal model in another order each time."""
    vertices, place = np.unique(np.round(vertices, 4), axis=0, return_inverse=True)
    faces = np.sort(place.reshape(-1)[faces], axis=1)  # which way round they go does not matter
    order = np.lexsort((material_index, *faces.T))
    return vertices, faces[order], material_index[order]


def _arrays(mesh: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, triangles and the material of each triangle of a Blender mesh."""
    mesh.calc_loop_triangles()
    vertices = np.zeros(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", vertices)
    faces = np.zeros(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("vertices", faces)
    index = np.zeros(len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("material_index", index)
    return vertices.reshape(-1, 3).astype(np.float64), faces.reshape(-1, 3), index


def _decimated(
    vertices: np.ndarray, faces: np.ndarray, material_index: np.ndarray, max_faces: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """About `max_faces` triangles in the same box, twice as many for a stubborn model.

    Vertices are merged in cells, then edges collapsed. Collapsing stops early where loose parts
    touch, and drops what is thin, legs of a table. So cells grow until nearly all of the surface
    is still there; else the best of them is taken, where enough of it is.
    """
    if len(faces) <= max_faces:
        return vertices, faces, material_index
    probes = _merged(vertices, faces, material_index, CELL_OF_PROBES_M)[0]
    near_m = max(NEAR_M, NEAR_SHARE * float(np.ptp(vertices, axis=0).max()))
    for wanted in (max_faces, 2 * max_faces):
        merged = (vertices, faces, material_index)
        best, best_share = merged, LEAST_COVERED
        for cell_m in CELLS_M:
            merged = _merged(*merged, cell_m)
            points, kept, index = _collapsed(*merged, wanted)
            if not 0 < len(kept) <= TOLERANCE * wanted:
                continue
            points = _fitted(points, kept, vertices)
            share = _covered(probes, points[kept], near_m)
            if share > best_share:
                best, best_share = (points, kept, index), share
            if share >= WELL_COVERED:
                break
        if best_share > LEAST_COVERED:
            return best
    raise ValueError(f"cannot be thinned out to {2 * max_faces} triangles without losing parts")


def _collapsed(
    vertices: np.ndarray, faces: np.ndarray, material_index: np.ndarray, max_faces: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges collapsed by quadric error; a triangle has the material of the nearest before."""
    if len(faces) <= max_faces:
        return vertices, faces, material_index
    points, kept = fast_simplification.simplify(
        vertices.astype(np.float32), faces.astype(np.int32), target_count=max_faces, agg=5
    )
    _, nearest = cKDTree(vertices[faces].mean(axis=1)).query(points[kept].mean(axis=1))
    return points.astype(np.float64), kept, material_index[nearest]


def _fitted(vertices: np.ndarray, faces: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Vertices stretched to the box of the whole model, which thinning shrinks a little."""
    used = vertices[np.unique(faces)]
    factor = np.ptp(whole, axis=0) / np.maximum(np.ptp(used, axis=0), 1e-6)
    return (vertices - used.min(axis=0)) * factor + whole.min(axis=0)


def _covered(probes: np.ndarray, corners: np.ndarray, near_m: float) -> float:
    """Share of the probes that lie on triangles."""
    away, _ = cKDTree(_spread(corners, near_m / 2)).query(probes, distance_upper_bound=near_m)
    return float(np.isfinite(away).mean())


def _spread(corners: np.ndarray, step_m: float) -> np.ndarray:
    """Points all over triangles, about one for each `step_m` squared."""
    rng = np.random.default_rng(0)
    a, b, c = np.moveaxis(corners, 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    num = int(np.clip(area.sum() / step_m**2, 1000, MAX_SPREAD))
    pick = rng.choice(len(area), num, p=area / area.sum())
    s, t = np.sqrt(rng.random((num, 1))), rng.random((num, 1))
    return (1 - s) * a[pick] + s * (1 - t) * b[pick] + s * t * c[pick]


def _merged(
    vertices: np.ndarray, faces: np.ndarray, material_index: np.ndarray, cell_m: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One vertex, the mean, for each cell of a grid; faces without area and copies go."""
    cells = np.floor(vertices / cell_m).astype(np.int64)
    _, place, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    sums = [np.bincount(place, vertices[:, axis]) for axis in range(3)]
    faces = place[faces]
    corners = np.sort(faces, axis=1)
    _, first = np.unique(corners, axis=0, return_index=True)
    has_area = (np.diff(corners[first], axis=1) > 0).all(axis=1)
    kept = np.sort(first[has_area])
    used, faces = np.unique(faces[kept], return_inverse=True)
    vertices = np.stack(sums, axis=1) / count[:, None]
    return vertices[used], faces.reshape(-1, 3), material_index[kept]


def _look(material: Any) -> tuple[np.ndarray, bool]:
    """Color of a material for the eye (sRGB), NaN if unclear; whether one sees through it."""
    if material is None or material.node_tree is None:
        return np.full(3, np.nan), False
    nodes = material.node_tree.nodes
    is_clear = "glass" in material.name.lower() and "rough" not in material.name.lower()
    for node in nodes:
        if node.type in ("BSDF_PRINCIPLED", "BSDF_DIFFUSE", "BSDF_GLASS", "BSDF_GLOSSY"):
            color = node.inputs["Base Color" if node.type == "BSDF_PRINCIPLED" else "Color"]
            return _eye(_constant(color, ())), is_clear or node.type == "BSDF_GLASS"
    for node in nodes:
        if node.type == "GROUP":
            for socket in node.inputs:
                if socket.type == "RGBA":
                    return _eye(_constant(socket, ())), is_clear
    return np.full(3, np.nan), is_clear


def _constant(socket: Any, groups: tuple[Any, ...], depth: int = 0) -> np.ndarray:
    """About the mean linear color that arrives at a socket; NaN where nothing tells it."""
    unknown = np.full(3, np.nan)
    if depth > 12:
        return unknown
    if not socket.is_linked:
        return np.array(socket.default_value)[:3] if socket.type == "RGBA" else unknown
    link = socket.links[0]
    node, output = link.from_node, link.from_socket
    if node.type == "RGB":
        return np.array(node.outputs[0].default_value)[:3]
    if node.type == "VALTORGB":
        return np.mean([element.color[:3] for element in node.color_ramp.elements], axis=0)
    if node.type == "GROUP" and node.node_tree is not None:
        for inner in node.node_tree.nodes:
            if inner.type == "GROUP_OUTPUT":
                for each in inner.inputs:
                    if each.identifier == output.identifier:
                        return _constant(each, (*groups, node), depth + 1)
        return unknown
    if node.type == "GROUP_INPUT" and groups:
        for each in groups[-1].inputs:
            if each.identifier == output.identifier:
                return _constant(each, groups[:-1], depth + 1)
        return unknown
    found = [
        _constant(each, groups, depth + 1)
        for each in node.inputs
        if each.type == "RGBA" and each.enabled
    ]
    known = [color for color in found if not np.isnan(color).any()]
    return np.mean(known, axis=0) if known else unknown


def _eye(linear: np.ndarray) -> np.ndarray:
    """sRGB of a linear color (IEC 61966-2-1)."""
    c = np.clip(linear, 0, 1)
    return np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)


if __name__ == "__main__":
    main()
