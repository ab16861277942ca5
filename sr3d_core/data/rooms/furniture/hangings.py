"""Curtains, shower curtains, pictures: what hangs, its back at -x.

As ScanNet labels them: a curtain is all of its cloth, without the rod; of a pair each side is one.
Pictures are paintings, photographs and posters; mirrors, clocks, white boards and screens are
classes of their own there, so that here they stay unlabelled.
"""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.material import Material
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, box, of_faces

Rng = np.random.Generator


def drawn_curtain(rng: Rng) -> Mesh:
    """Cloth across a window or a wall, to the floor or to the sill."""
    return _curtain(rng, rng.uniform(0.9, 3.2), _drop(rng), 0.0)


def open_curtain(rng: Rng) -> Mesh:
    """Cloth pushed together beside a window; gathered by a band now and then."""
    waist = rng.uniform(0.2, 0.5) if rng.random() < 0.3 else 0.0
    return _curtain(rng, rng.uniform(0.2, 0.8), _drop(rng), waist)


def _drop(rng: Rng) -> float:
    return rng.uniform(2.0, 2.6) if rng.random() < 0.7 else rng.uniform(0.7, 1.7)


def _curtain(rng: Rng, width: float, height: float, waist: float) -> Mesh:
    fold = rng.uniform(0.05, 0.14)
    depth = rng.uniform(0.03, 0.12) if width > 0.8 else rng.uniform(0.06, 0.2)
    color = palette.fabric(rng) if rng.random() < 0.7 else palette.white(rng)
    sheer = 0.35 if rng.random() < 0.15 else 0.0
    return _folded(rng, (depth, width, height), fold, color, waist=waist, absorbs=sheer)


def drawn_shower_curtain(rng: Rng) -> Mesh:
    """A sheet along a tub or before a shower."""
    return _shower_curtain(rng, rng.uniform(0.8, 1.9))


def open_shower_curtain(rng: Rng) -> Mesh:
    """The same pushed to one side."""
    return _shower_curtain(rng, rng.uniform(0.2, 0.6))


def _shower_curtain(rng: Rng, width: float) -> Mesh:
    depth = rng.uniform(0.04, 0.12) if width > 0.7 else rng.uniform(0.08, 0.2)
    color = palette.white(rng) if rng.random() < 0.55 else palette.fabric(rng)
    clear = 0.4 if rng.random() < 0.2 else 0.0
    size = (depth, width, rng.uniform(1.65, 2.05))
    return _folded(rng, size, rng.uniform(0.08, 0.2), color, waist=0.0, absorbs=clear)


def _folded(
    rng: Rng,
    size: tuple[float, float, float],
    fold: float,
    color: Color,
    *,
    waist: float,
    absorbs: float,
) -> Mesh:
    """Cloth in folds of `fold` metres, narrower by the share `waist` at 40 % of its height."""
    depth, width, height = size
    count = max(3, int(width / fold) + 1)
    y = np.linspace(-width / 2, width / 2, count)
    x = depth / 2 * (-1.0) ** np.arange(count) + rng.normal(0, 0.1 * depth, count)
    rows = [(0.0, 1 - waist / 2), (0.4, 1 - waist), (1.0, 1.0)] if waist else [(0.0, 1), (1.0, 1)]
    vertices = np.concatenate(
        [np.column_stack([x, y * share, np.full(count, up * height)]) for up, share in rows]
    )
    index = np.arange(len(rows) * count).reshape(len(rows), count)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return of_faces(vertices, faces, color, absorbs)


def framed_picture(rng: Rng) -> Mesh:
    """A painting or photograph in a frame, sometimes behind glass."""
    width, height = _extent(rng)
    deep, bar = rng.uniform(0.012, 0.05), min(rng.uniform(0.015, 0.08), width / 6, height / 6)
    color = palette.wood(rng) if rng.random() < 0.6 else palette.grey(rng)
    parts = [
        box((deep, width, bar), (0, 0, 0), color),
        box((deep, width, bar), (0, 0, height - bar), color),
        box((deep, bar, height), (0, -(width - bar) / 2, 0), color),
        box((deep, bar, height), (0, (width - bar) / 2, 0), color),
    ]
    glass = 0.3 if rng.random() < 0.3 else 0.0
    inner = (width - 2 * bar, height - 2 * bar)
    return Mesh.cat([*parts, _painted(rng, inner, glass).shifted((0, 0, bar))])


def canvas(rng: Rng) -> Mesh:
    """Painted cloth on a stretcher, without a frame."""
    width, height = _extent(rng)
    back = box((rng.uniform(0.015, 0.04), width, height), (0, 0, 0), palette.white(rng))
    front = float(back.bounds[1][0]) + 0.001
    return Mesh.cat([back, _painted(rng, (width, height), 0.0).shifted((front, 0, 0))])


def poster(rng: Rng) -> Mesh:
    """Paper on a wall: as thin as anything that is labelled."""
    return _painted(rng, _extent(rng), 0.0)


def _extent(rng: Rng) -> tuple[float, float]:
    """Width and height, metres: small ones are more frequent, and either may be the longer."""
    longest, ratio = rng.uniform(0.4, 1.3) ** 2, rng.uniform(0.5, 1.0)
    return (longest, longest * ratio) if rng.random() < 0.5 else (longest * ratio, longest)


def _painted(rng: Rng, size: tuple[float, float], absorbs: float) -> Mesh:
    """An upright sheet of patches of some colors, standing on z = 0."""
    n = 5
    y, z = np.meshgrid(
        np.linspace(-size[0] / 2, size[0] / 2, n), np.linspace(0, size[1], n), indexing="ij"
    )
    vertices = np.stack([np.zeros_like(y), y, z], axis=-1).reshape(-1, 3)
    index = np.arange(n * n).reshape(n, n)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=-2).reshape(-1, 3)
    paints = np.array([palette.vivid(rng), palette.vivid(rng), palette.white(rng)])
    tint = np.repeat(paints[rng.integers(len(paints), size=(n - 1) ** 2)], 2, axis=0)
    made_of = np.full(len(faces), int(Material.PRINT))
    return Mesh(vertices, faces, tint, np.full(len(faces), absorbs), made_of)
