"""Points on the surface of a mesh, read with Open3D: OBJ, STL, OFF, GLTF, GLB.

A mesh has few vertices where it is flat, so they are no cloud: points are drawn evenly over the
surface. The same file always gives the same points.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sr3d_core.data.cloud_formats.raw import CloudFileError, RawCloud
from sr3d_core.open3d_bridge import Open3DError, load_open3d

NUM_POINTS = 200_000
"""How many points are drawn: as many as the detector looks at."""


def read_mesh(path: Path, data: bytes) -> RawCloud:
    """Points on a mesh, colored by its texture or its vertices; raises CloudFileError.

    `data` is not used: Open3D reads the file itself, and the textures beside it.
    """
    try:
        o3d = load_open3d()
    except Open3DError as error:
        raise CloudFileError(f"{path}: a mesh; {error}") from error
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        mesh, num_materials = _opened(path, o3d)
        o3d.utility.random.seed(0)
        points = mesh.sample_points_uniformly(NUM_POINTS).point
    num_triangles, has_color = len(mesh.triangle.indices), "colors" in points
    note = f"a mesh: {NUM_POINTS} points drawn from its {num_triangles} triangles"
    rgb = points.colors.numpy()[:, :3].astype(np.float32).clip(0.0, 1.0) if has_color else None
    if rgb is not None and not rgb.any():
        rgb = None
    if num_materials > 1 and "texture_uvs" in mesh.triangle:
        # Open3D keeps the texture of the first material alone and would use it for all of them.
        rgb, note = None, f"{note}, without color: it has {num_materials} materials"
    return RawCloud(points.positions.numpy().astype(np.float64), rgb, note)


def _opened(path: Path, o3d: Any) -> tuple[Any, int]:
    """The mesh, which has triangles, and how many materials they are made of."""
    # Parts first: the reader of whole meshes, which knows textures, crashes where there are none.
    parts = o3d.io.read_triangle_model(str(path)).meshes
    if not any(len(part.mesh.triangles) for part in parts):
        raise CloudFileError(
            f"{path}: Open3D finds no triangle, expected a mesh; is this really a {path.suffix} "
            "file, whole and with the files beside it that it names?"
        )
    mesh = o3d.t.io.read_triangle_mesh(str(path))
    textures = mesh.material.texture_maps
    if "albedo" in textures:
        textures["albedo"] = _three_channels(textures["albedo"], o3d)
    return mesh, len({part.material_idx for part in parts})


def _three_channels(texture: Any, o3d: Any) -> Any:
    """A texture of 3 channels, since Open3D's sampling reads every other number of them wrong."""
    pixels = texture.as_tensor().numpy()
    colors = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1].repeat(3, axis=2)
    return o3d.t.geometry.Image(np.ascontiguousarray(colors))
