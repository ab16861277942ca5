"""Tiny triangle meshes: the primitives that furniture is put together from.

Metres, z up. A mesh is a bag of flat triangles with one color each; the renderer is two-sided, so
winding does not matter. Every primitive is as coarse as a depth camera allows: a few hundred
triangles per piece keep a room of thirty pieces cheap to render.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.furniture.material import material_of

Color = tuple[float, float, float]
"""Red, green, blue in 0..1."""

Vector = Sequence[float] | Float[ndarray, " 3"]
"""A point, an offset or three edge lengths, metres."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles with a color, an infrared absorption and a material each."""

    vertices: Float[ndarray, "V 3"]  # metres
    faces: Int[ndarray, "F 3"]  # rows of vertices
    color: Float[ndarray, "F 3"]  # 0..1
    absorbs: Float[ndarray, " F"]  # chance that a depth sensor gets no answer, 0..1
    material: Int[ndarray, " F"]  # values of `Material`

    @classmethod
    def empty(cls) -> Mesh:
        """No triangles."""
        none = np.zeros((0, 3))
        whole = none.astype(np.int64)
        return cls(none, whole, none, np.zeros(0), whole[:, 0])

    @classmethod
    def cat(cls, parts: Sequence[Mesh]) -> Mesh:
        """All parts as one mesh."""
        if not parts:
            return cls.empty()
        starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
        return cls(
            np.concatenate([part.vertices for part in parts]),
            np.concatenate([p.faces + s for p, s in zip(parts, starts, strict=True)]),
            np.concatenate([part.color for part in parts]),
            np.concatenate([part.absorbs for part in parts]),
            np.concatenate([part.material for part in parts]),
        )

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Mesh:
        """Turned about the z axis by `yaw` radians, then shifted."""
        return self.turned(turn_z(yaw)).shifted((x, y, z))

    def shifted(self, offset: Vector) -> Mesh:
        """Shifted by `offset`."""
        return self._with(self.vertices + np.asarray(offset))

    def turned(self, rotation: Float[ndarray, "3 3"]) -> Mesh:
        """Turned about the origin: `p' = R p`."""
        return self._with(self.vertices @ rotation.T)

    def scaled(self, factor: Vector) -> Mesh:
        """Stretched along the axes."""
        return self._with(self.vertices * np.asarray(factor))

    def _with(self, vertices: Float[ndarray, "V 3"]) -> Mesh:
        return Mesh(vertices, self.faces, self.color, self.absorbs, self.material)

    @property
    def bounds(self) -> tuple[Float[ndarray, " 3"], Float[ndarray, " 3"]]:
        """Lowest and highest corner of the axis-aligned bounding box."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    def grounded(self) -> Mesh:
        """Shifted so that it stands on z = 0 with its box centred on the z axis."""
        low, high = self.bounds
        return self.shifted((-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]))

    def squared(self) -> Mesh:
        """Turned about the z axis so that its box has the smallest footprint."""
        flat = self.vertices[:, :2]
        angles = np.linspace(0, np.pi / 2, 45, endpoint=False)
        c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
        x, y = c * flat[:, 0] - s * flat[:, 1], s * flat[:, 0] + c * flat[:, 1]
        area = np.ptp(x, axis=1) * np.ptp(y, axis=1)
        return self.turned(turn_z(float(angles[area.argmin()])))


def turn_x(angle: float) -> Float[ndarray, "3 3"]:
    """Rotation about the x axis, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def turn_y(angle: float) -> Float[ndarray, "3 3"]:
    """Rotation about the y axis, radians; positive tips +z towards +x."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def turn_z(angle: float) -> Float[ndarray, "3 3"]:
    """Rotation about the z axis, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def of_faces(
    vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"], color: Color, absorbs: float = 0
) -> Mesh:
    """A mesh of one color."""
    tint = np.empty((len(faces), 3))
    tint[:] = color
    dark = np.empty(len(faces))
    dark.fill(absorbs)
    made_of = np.empty(len(faces), dtype=np.int64)
    made_of.fill(material_of(color))
    return Mesh(vertices, faces, tint, dark, made_of)


_BOX = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)])
_BOX_FACES = np.array(
    [0, 1, 3, 0, 3, 2, 4, 6, 7, 4, 7, 5, 0, 4, 5, 0, 5, 1,
     2, 3, 7, 2, 7, 6, 0, 2, 6, 0, 6, 4, 1, 5, 7, 1, 7, 3]
).reshape(12, 3)  # fmt: skip


def box(size: Vector, base: Vector, color: Color, absorbs: float = 0.0) -> Mesh:
    """A cuboid; `base` is the centre of its lower face."""
    return of_faces(_BOX * np.asarray(size) + np.asarray(base), _BOX_FACES, color, absorbs)


def quad(corners: Sequence[Vector], color: Color, absorbs: float = 0.0) -> Mesh:
    """A flat four-cornered sheet, corners in order around it."""
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return of_faces(np.asarray(corners, dtype=np.float64), faces, color, absorbs)


def beam(start: Vector, end: Vector, width: float, depth: float, color: Color) -> Mesh:
    """A straight bar of rectangular section from `start` to `end`."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    along = b - a
    length = max(float(np.linalg.norm(along)), 1e-6)
    along = along / length
    aside = np.array([0.0, 1.0, 0.0]) if abs(along[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    first = _cross(aside, along)
    first /= np.linalg.norm(first)
    frame = np.stack([first, _cross(along, first), along], axis=1)
    return box((width, depth, length), (0, 0, 0), color).turned(frame).shifted(a)


def _cross(a: Float[ndarray, " 3"], b: Float[ndarray, " 3"]) -> Float[ndarray, " 3"]:
    """As `numpy.cross`, which takes four times as long for two vectors."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def loft(rings: Float[ndarray, "L n 3"], color: Color, *, bottom: bool, top: bool) -> Mesh:
    """A skin over rings of equally many points; `bottom` and `top` close the (convex) ends."""
    levels, n = rings.shape[:2]
    here = np.arange(n)
    right = (here + 1) % n
    below = np.empty((2, n, 3), dtype=np.int64)  # the two triangles of each side of a level
    below[0, :, 0] = below[1, :, 0] = here
    below[0, :, 1], below[0, :, 2] = right, right + n
    below[1, :, 1], below[1, :, 2] = right + n, here + n
    steps = (np.arange(levels - 1) * n)[:, None, None, None]
    faces = [(below + steps).reshape(-1, 3)]
    fan = np.zeros((n - 2, 3), dtype=np.int64)
    fan[:, 1], fan[:, 2] = here[1:-1], here[2:]
    if bottom:
        faces.append(fan)
    if top:
        faces.append(fan + (levels - 1) * n)
    return of_faces(rings.reshape(-1, 3), np.concatenate(faces), color)


def ring(
    radius_x: float, radius_y: float, z: float, *, n: int = 12, power: float = 2.0
) -> Float[ndarray, "n 3"]:
    """A super-ellipse around the z axis: power 2 is an ellipse, 5 a soft rectangle."""
    angle = np.arange(n) * (2 * np.pi / n)
    c, s = np.cos(angle), np.sin(angle)
    points = np.empty((n, 3))
    if power == 2.0:
        points[:, 0], points[:, 1] = radius_x * c, radius_y * s
    else:
        points[:, 0] = radius_x * np.sign(c) * np.abs(c) ** (2 / power)
        points[:, 1] = radius_y * np.sign(s) * np.abs(s) ** (2 / power)
    points[:, 2] = z
    return points


def cylinder(
    radius: float,
    height: float,
    base: Vector,
    color: Color,
    *,
    top_radius: float | None = None,
    n: int = 10,
) -> Mesh:
    """An upright cylinder, or a cone's stump when `top_radius` differs."""
    upper = radius if top_radius is None else top_radius
    rings = np.stack([ring(radius, radius, 0.0, n=n), ring(upper, upper, height, n=n)])
    return loft(rings, color, bottom=True, top=True).shifted(base)


def cushion(size: Vector, base: Vector, color: Color, *, soft: float = 0.25) -> Mesh:
    """A cuboid with rounded edges; `soft` is the share of the height that is rounded."""
    dx, dy, dz = (float(edge) for edge in size)
    inset = min(soft * dz, 0.2 * dx, 0.2 * dy)
    levels = [(0.0, inset), (0.3 * dz, 0.0), (0.7 * dz, 0.0), (dz, inset)]
    rings = [ring(dx / 2 - i, dy / 2 - i, z, power=5.0) for z, i in levels]
    return loft(np.stack(rings), color, bottom=True, top=True).shifted(base)


def blob(size: Vector, base: Vector, color: Color, *, n: int = 8) -> Mesh:
    """An ellipsoid standing on `base`."""
    dx, dy, dz = (float(edge) for edge in size)
    polar = np.linspace(-0.42 * np.pi, 0.42 * np.pi, 5)
    rings = [
        ring(dx / 2 * np.cos(t), dy / 2 * np.cos(t), dz * (0.5 + np.sin(t) / 2), n=n)
        for t in polar
    ]
    return loft(np.stack(rings), color, bottom=True, top=True).shifted(base)


def arc_panel(
    radius: float, spread: float, height: float, thick: float, color: Color, *, n: int = 6
) -> Mesh:
    """An upright curved board around the z axis, its middle at x = -radius, standing on z = 0."""
    angle = np.pi + np.linspace(-spread / 2, spread / 2, n + 1)
    parts = []
    for a, b in itertools.pairwise(angle):
        middle = (a + b) / 2
        chord = 2 * radius * np.sin((b - a) / 2) * 1.02
        parts.append(
            box((thick, chord, height), (0, 0, 0), color).moved(
                x=radius * np.cos(middle), y=radius * np.sin(middle), yaw=middle
            )
        )
    return Mesh.cat(parts)


def height_field(
    size: tuple[float, float],
    base: Vector,
    heights: Float[ndarray, "nx ny"],
    color: Color,
) -> Mesh:
    """A sheet over a grid of heights, centred on `base`."""
    nx, ny = heights.shape
    x, y = np.meshgrid(
        np.linspace(-size[0] / 2, size[0] / 2, nx),
        np.linspace(-size[1] / 2, size[1] / 2, ny),
        indexing="ij",
    )
    vertices = np.stack([x, y, heights], axis=-1).reshape(-1, 3) + np.asarray(base)
    index = np.arange(nx * ny).reshape(nx, ny)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return of_faces(vertices, faces, color)
