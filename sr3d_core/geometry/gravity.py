"""Which way is up in a cloud that does not say so.

A floor is a large plane with next to nothing beneath it. Rooms are searched for one near the
ground planes of the frames that occur in practice: z up (maps, data sets), y up (meshes), and
camera frames, which are recognised by the rim of their image: optical ones (z forward, y down) and
OpenGL ones (z backward, y up). The floor is fitted by RANSAC on a fixed seed, so the same cloud
always gives the same answer. Confidence is the share of the seen surface that lies in the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sr3d_core.geometry.field_of_view import is_seen_from, rim_evidence_m
from sr3d_core.geometry.scale import scale_doubt

KEEP_RAD = math.radians(3.0)
"""A z-up cloud whose floor is this level is left alone."""

_CELL_M = 0.05  # surface is counted in cells of this size, near and far alike
_MAX_CELLS = 4000
_MAX_FOLLOWED = 20_000  # points that are looked at where a floor is only followed
_NUM_TRIALS = 500
_NEIGHBOUR_M = (0.15, 1.2)  # how far apart the three points of a trial plane lie
_THICKNESS_M = 0.04  # points this near to a plane support it
_BELOW_M = 0.12  # points this far beneath a plane speak against a floor
_MIN_POINTS = 50
_FLATNESS = 0.7  # a room is at most this high for each metre that it is wide
_MAX_STEP_RAD = math.radians(12.0)  # a known direction may be wrong by so much
_GRAIN_M = 1e-8
_IS_VIEW_M = 0.45  # rim of an image that only a camera's view shows, see field_of_view
_LEVELLED_RAD = math.radians(5.0)  # z-up frames of robots are this level
_GOOD_SCORE = 0.08  # planes that are no floor score less
_CHANCE_SCORE = 0.02  # walls disagree with planes that score less
_LARGE_SUPPORT = (0.3, 0.8)  # share of the surface that a floor holds where it alone decides
_MAX_ROLL_RAD = math.radians(10.0)
_LONE_PLANE = 0.99  # share of the surface near one plane; alone it may be a wall as well
_WEAK_SUPPORT = 0.15  # a floor this small is no reason to turn a cloud that has z up


class GravityError(ValueError):
    """No floor was found; the text says what was looked for."""


class UnitsError(GravityError):
    """No floor was found because the coordinates are no metres; the text says what to do."""


@dataclass(frozen=True, slots=True)
class _Guess:
    """A frame that occurs in practice and what a floor in it must look like."""

    up: Literal["z", "y", "-y"]
    max_tilt_rad: float
    max_below: float  # share of the surface that may lie beneath the floor
    min_support: float  # share of the surface that must lie in it


_UPRIGHT = _Guess("z", math.radians(35), max_below=0.1, min_support=0.05)
_LEVEL = _Guess("z", math.radians(10), max_below=1.0, min_support=0.08)
_MESH = _Guess("y", math.radians(20), max_below=0.05, min_support=0.2)
_OPTICAL = _Guess("-y", math.radians(65), max_below=0.1, min_support=0.05)
_OPENGL = _Guess("y", math.radians(65), max_below=0.1, min_support=0.05)


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """Trial planes through neighbouring cells; each normal may point to either side."""

    cells: Float[Tensor, "S 3"]  # the seen surface
    normals: Float[Tensor, "T 3"]  # unit
    is_inlier: Bool[Tensor, "S T"]  # cells that lie in a plane
    support: Float[Tensor, " T"]  # share of the cells that lie in it
    before: Float[Tensor, " T"]  # share that lies clearly on the side of its normal
    behind: Float[Tensor, " T"]


@dataclass(frozen=True, slots=True, eq=False)
class _Floor:
    """A plane that may be the floor."""

    guess: _Guess
    normal: Float[Tensor, " 3"]  # unit, upwards
    support: float  # share of the surface that lies in it
    below: float  # share of the surface that lies beneath
    score: float  # support, weighted by how well walls agree


def axis_rotation(up: Literal["z", "y", "-y"]) -> Float[Tensor, "3 3"]:
    """The rotation that turns the given axis into +z and keeps x, float64."""
    rows = {
        "z": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "y": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
        "-y": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    }
    if up not in rows:
        raise GravityError(f"up axis {up!r}, expected z, y or -y")
    return torch.tensor(rows[up], dtype=torch.float64)


def up_rotation(
    xyz: Float[Tensor, "N 3"], *, is_from_sensor: bool = False
) -> tuple[Float[Tensor, "3 3"], float]:
    """The rotation (float64) that makes a cloud z-up and its floor level, and the confidence 0..1.

    It is the identity where the cloud is z-up already: its floor is level to within `KEEP_RAD`,
    or is too weak to say otherwise. Where the origin lies does not matter, unless it is known to
    be the sensor (`is_from_sensor`): then that tells a view as well. Raises GravityError where no
    floor is found, or two are as likely; UnitsError where that is for want of metres.
    """
    if len(xyz) < _MIN_POINTS:
        raise GravityError(f"{len(xyz)} points are too few to find a floor")
    xyz, corner = _near_zero(xyz)
    cells = _surface(xyz)
    origin = -corner if is_from_sensor else None
    floor = _best_floor(xyz, _trial_planes(cells), origin) if len(cells) >= 3 else None
    if floor is None:
        doubt = scale_doubt(xyz)
        if doubt is not None:
            raise UnitsError(f"no floor was found: {doubt.advice}")
        raise GravityError("no floor was found: no large plane with the points above it")
    if floor.guess.up == "z" and _is_level(cells, floor):
        return axis_rotation("z"), floor.support
    return _level(floor), floor.support


@dataclass(frozen=True, slots=True, eq=False)
class FloorPlane:
    """A floor: the points with `normal @ xyz == offset_m`."""

    normal: Float[Tensor, " 3"]  # unit, upwards, float64
    offset_m: float
    support: float  # share of the seen surface that lies in it
    num_inliers: int  # cells of the surface, 5 cm wide


def floor_near(xyz: Float[Tensor, "N 3"], up: Float[Tensor, " 3"]) -> FloorPlane | None:
    """The floor of a cloud whose unit up direction is known to some degrees; None if unseen.

    Far cheaper than `up_rotation`, for following a floor from frame to frame. Of the layers across
    `up` with next to nothing beneath, the largest is fitted by least squares.
    """
    if len(xyz) < _MIN_POINTS:
        return None
    xyz = xyz[:: max(1, len(xyz) // _MAX_FOLLOWED)]
    xyz, corner = _near_zero(xyz)
    cells = _surface(xyz)
    if len(cells) < _MIN_POINTS:
        return None
    hint = normal = up.to("cpu", torch.float64)
    offset = _lowest_layer(cells @ normal)
    for thickness in (0.10, 0.06, _THICKNESS_M):
        is_inlier = (cells @ normal - offset).abs() <= thickness
        if int(is_inlier.sum()) < 3:
            return None
        normal = _refine(cells, is_inlier, hint)
        offset = float((cells[is_inlier] @ normal).mean())
    heights = cells @ normal - offset
    is_inlier = heights.abs() <= _THICKNESS_M
    support = float(is_inlier.double().mean())
    is_floor = (
        support >= _UPRIGHT.min_support
        and float((heights < -_BELOW_M).double().mean()) <= _UPRIGHT.max_below
        and float(normal @ hint) >= math.cos(_MAX_STEP_RAD)
    )
    offset += float(normal @ corner)
    return FloorPlane(normal, offset, support, int(is_inlier.sum())) if is_floor else None


def _lowest_layer(heights: Float[Tensor, " S"]) -> float:
    """The middle of the fullest layer, two thicknesses high, with next to nothing beneath."""
    ordered = heights.sort().values
    last = torch.searchsorted(ordered, ordered + 2 * _THICKNESS_M, right=True)
    count = last - torch.arange(len(ordered))
    candidates = count[: max(1, int(_UPRIGHT.max_below * len(ordered)))]
    return float(ordered[int(candidates.argmax())]) + _THICKNESS_M


def _best_floor(
    xyz: Float[Tensor, "N 3"], planes: _Planes, sensor: Float[Tensor, " 3"] | None
) -> _Floor | None:
    """The rim of its image gives a camera away; otherwise z is up unless y is far likelier."""
    direction = _view_direction(xyz, planes, sensor)
    if direction:
        # Seen along +z, z cannot be up: the camera would look through the floor from beneath.
        floor = _find_floor(planes, _OPTICAL) if direction > 0 else _seen_backward(planes)
        return floor if floor is not None and floor.score > _CHANCE_SCORE else None
    if _is_lone_plane(planes):
        raise GravityError("no floor was found: one plane with nothing on it, a floor or a wall")
    return _floor_of_no_view(planes)


def _view_direction(
    xyz: Float[Tensor, "N 3"], planes: _Planes, sensor: Float[Tensor, " 3"] | None
) -> float:
    """Along +z (1.0) or -z (-1.0) where a camera saw this; 0.0 where none is known to have.

    The rim of its image tells; else that a known sensor has all before it, unless a level floor
    says that z is up.
    """
    forward, backward = rim_evidence_m(xyz, 1.0), rim_evidence_m(xyz, -1.0)
    if max(forward, backward) > _IS_VIEW_M:
        return 1.0 if forward > backward else -1.0
    if sensor is None:
        return 0.0
    signs = (sign for sign in (1.0, -1.0) if is_seen_from(planes.cells - sensor, sign))
    direction = next(signs, 0.0)
    return 0.0 if direction and _has_level_floor(planes) else direction


def _has_level_floor(planes: _Planes) -> bool:
    """Whether a large floor lies as level beneath z as in the z-up frames of robots."""
    floor = _find_floor(planes, _UPRIGHT)
    return (
        floor is not None
        and floor.support >= _WEAK_SUPPORT
        and floor.score >= _GOOD_SCORE
        and float(floor.normal[2]) >= math.cos(_LEVELLED_RAD)
    )


def _floor_of_no_view(planes: _Planes) -> _Floor | None:
    """The floor of a cloud that shows no rim of an image."""
    upright = _find_floor(planes, _UPRIGHT)
    cells = planes.cells
    if upright is None or not _is_level(cells, upright):
        camera = _large_floor_ahead(planes)
        rival = upright or _find_floor(planes, _LEVEL)
        if camera is not None and _is_far_likelier(camera, rival, planes):
            return camera
        upright = rival
    mesh = _find_floor(planes, _MESH)
    if upright is None:  # walls without a floor are no higher than wide only where y is up
        return mesh if _is_flat_along_y(cells, 1.0) else None
    is_mesh = mesh is not None and mesh.score > 1.5 * upright.score and _is_flat_along_y(cells)
    return mesh if is_mesh else upright


def _is_flat_along_y(cells: Float[Tensor, "S 3"], flatness: float = _FLATNESS) -> bool:
    """Whether y may be a room's height: rooms are wider than high.

    A view of one wall is not, and the wall must not be taken for a floor.
    """
    low, high = torch.quantile(cells, torch.tensor([0.01, 0.99], dtype=cells.dtype), dim=0)
    width, height, depth = (high - low).tolist()
    return height < flatness * min(width, depth)


def _seen_backward(planes: _Planes) -> _Floor | None:
    """The floor of what was seen along -z: by an OpenGL camera, or from above in a z-up frame."""
    opengl = _find_floor(planes, _OPENGL)
    upright = _find_floor(planes, _UPRIGHT)
    is_level = upright is not None and float(upright.normal[2]) >= math.cos(_LEVELLED_RAD)
    if opengl is not None and _is_upright_wall(opengl):
        return upright if is_level else None
    if upright is None or not is_level or upright.score < _GOOD_SCORE:
        return opengl
    if opengl is None or opengl.score < 0.25 * upright.score:
        return upright
    raise GravityError(
        "two floors are as likely, one with z up and one of a camera frame with y up"
    )


def _is_upright_wall(floor: _Floor) -> bool:
    """Whether an OpenGL camera's floor is rather a wall of a z-up frame, which z lies in.

    The camera would be rolled, and yet look exactly level.
    """
    return _contains_z(floor) and abs(float(floor.normal[0])) > math.sin(_MAX_ROLL_RAD)


def _contains_z(floor: _Floor) -> bool:
    return abs(float(floor.normal[2])) <= math.sin(KEEP_RAD)


def _has_wall_across(floor: _Floor, planes: _Planes) -> bool:
    """Whether another large plane contains z as this floor does.

    Then both may be walls of a z-up frame: their corner looks as a level camera's view does.
    """
    across = torch.linalg.cross(floor.normal, axis_rotation("z")[2])
    is_across = (planes.normals @ across).abs() > math.cos(_MAX_ROLL_RAD)
    return float((planes.support * is_across).max()) >= 0.5 * floor.support


def _is_lone_plane(planes: _Planes) -> bool:
    """Whether the cloud is a single plane, give or take its noise."""
    is_near = 1.0 - planes.before - planes.behind
    return len(is_near) > 0 and float(is_near.max()) >= _LONE_PLANE


def _large_floor_ahead(planes: _Planes) -> _Floor | None:
    """The floor of a camera frame that shows no rim, such as a sparse or cropped one.

    It must be large, with something on it, and seen without roll; walls of level frames are not.
    """
    floors = [_find_floor(planes, guess) for guess in (_OPTICAL, _OPENGL)]
    known = sorted((floor for floor in floors if floor), key=lambda floor: -floor.score)
    if not known or (len(known) == 2 and known[0].score < 1.5 * known[1].score):
        return None
    best = known[0]
    is_large = best.score >= _LARGE_SUPPORT[0] and best.support <= _LARGE_SUPPORT[1]
    return best if is_large and abs(float(best.normal[0])) <= math.sin(_MAX_ROLL_RAD) else None


def _is_far_likelier(camera: _Floor, rival: _Floor | None, planes: _Planes) -> bool:
    """Whether a camera's floor beats the one of a z-up frame, which would have to be turned."""
    if rival is None:
        return not (_contains_z(camera) and _has_wall_across(camera, planes))
    if rival.guess is _LEVEL:  # a small plane, or with most of the room beneath it, is no floor
        is_chance = rival.below > 0.5 or camera.score > 3.0 * rival.score
        return is_chance and _is_flat_along_y(planes.cells)
    return camera.score > 1.3 * rival.score


def _near_zero(xyz: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N 3"], Float[Tensor, " 3"]]:
    """The cloud with its lowest corner at zero, float64 on the CPU, and that corner.

    Rounded to what double precision resolves in map coordinates, so that the same cloud somewhere
    else gives the same numbers: what follows cannot depend on the origin.
    """
    xyz = xyz.detach().to("cpu", torch.float64)
    corner = xyz.amin(dim=0)
    return ((xyz - corner) / _GRAIN_M).round() * _GRAIN_M, corner


def _surface(xyz: Float[Tensor, "N 3"]) -> Float[Tensor, "S 3"]:
    """One point per occupied cell, at most `_MAX_CELLS` of them."""
    stride = max(1, len(xyz) // 400_000)
    xyz = xyz[::stride]
    cell = torch.div(xyz, _CELL_M, rounding_mode="floor").long()
    cell = cell.clamp(max=2**20 - 1)
    key = (cell[:, 0] << 40) + (cell[:, 1] << 20) + cell[:, 2]
    order = key.sort(stable=True).indices
    is_first = torch.ones(len(key), dtype=torch.bool)
    is_first[1:] = key[order][1:] != key[order][:-1]
    chosen = xyz[order[is_first]]
    if len(chosen) <= _MAX_CELLS:
        return chosen
    return chosen[torch.randperm(len(chosen), generator=_generator())[:_MAX_CELLS]]


def _find_floor(planes: _Planes, guess: _Guess) -> _Floor | None:
    """The best floor that fits the guess."""
    up = axis_rotation(guess.up)[2]
    cosine, support = planes.normals @ up, planes.support
    below = torch.where(cosine < 0, planes.before, planes.behind)
    is_floor = (cosine.abs() >= math.cos(guess.max_tilt_rad)) & (below <= guess.max_below)
    is_floor &= support >= guess.min_support
    if not is_floor.any():
        return None
    score = support * _agreement(planes.normals, support) * is_floor
    best = int(score.argmax())
    normal = _refine(planes.cells, planes.is_inlier[:, best], up)
    return _Floor(guess, normal, float(support[best]), float(below[best]), float(score[best]))


def _agreement(normals: Float[Tensor, "T 3"], support: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """Share of all well-supported planes that stand on a plane or lie parallel to it.

    What people build is upright, so a floor has walls at right angles; a chance plane has not.
    """
    cosine = (normals @ normals.T).abs()
    fits = (cosine < 0.1) | (cosine > 0.99)
    weight = support**2
    return fits.double() @ weight / weight.sum()


def _trial_planes(cells: Float[Tensor, "S 3"]) -> _Planes:
    """Planes through three neighbouring cells each, and what lies in, before and behind them."""
    generator = _generator()
    seeds = cells[torch.randint(len(cells), (_NUM_TRIALS,), generator=generator)]
    distance = torch.cdist(seeds, cells)
    is_neighbour = (distance >= _NEIGHBOUR_M[0]) & (distance <= _NEIGHBOUR_M[1])
    lots = torch.rand(distance.shape, generator=generator) * is_neighbour
    two: Int[Tensor, "T 2"] = lots.topk(2, dim=1).indices
    normals = torch.linalg.cross(cells[two[:, 0]] - seeds, cells[two[:, 1]] - seeds)
    length = normals.norm(dim=1)
    is_plane = (is_neighbour.sum(dim=1) >= 2) & (length > 0.01)
    normals = normals[is_plane] / length[is_plane, None]
    heights = cells @ normals.T - (seeds[is_plane] * normals).sum(dim=1)
    is_inlier = heights.abs() <= _THICKNESS_M
    before, behind = _share(heights > _BELOW_M), _share(heights < -_BELOW_M)
    return _Planes(cells, normals, is_inlier, _share(is_inlier), before, behind)


def _share(is_there: Bool[Tensor, "S T"]) -> Float[Tensor, " T"]:
    """Of the cells, for each plane."""
    return is_there.sum(dim=0).double() / len(is_there)


def _refine(
    cells: Float[Tensor, "S 3"], is_inlier: Bool[Tensor, " S"], up: Float[Tensor, " 3"]
) -> Float[Tensor, " 3"]:
    """Normal of the least-squares plane through the inliers, on the side of `up`."""
    inliers = cells[is_inlier]
    centred = inliers - inliers.mean(dim=0)
    normal = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, 0]
    return -normal if float(normal @ up) < 0 else normal


def _is_level(cells: Float[Tensor, "S 3"], floor: _Floor) -> bool:
    """Whether a floor found in a z-up frame gives no good reason to turn the cloud.

    It is level, or weak, or a level plane holds at least half as much of the surface: then what
    was found is more likely a chance plane across furniture.
    """
    if float(floor.normal[2]) >= math.cos(KEEP_RAD) or floor.support < _WEAK_SUPPORT:
        return True
    heights = cells[:, 2].sort().values
    last = torch.searchsorted(heights, heights + 2 * _THICKNESS_M, right=True)
    most = int((last - torch.arange(len(heights))).max())
    return most / len(heights) >= 0.5 * floor.support


def _level(floor: _Floor) -> Float[Tensor, "3 3"]:
    """Turn the guessed axis up, then by the smallest rotation the normal exactly."""
    turn = axis_rotation(floor.guess.up)
    nx, ny, nz = (turn @ floor.normal).tolist()
    # Rodrigues' formula for the rotation of (nx, ny, nz) into (0, 0, 1).
    skew = torch.tensor([[0.0, 0.0, -nx], [0.0, 0.0, -ny], [nx, ny, 0.0]], dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    return (eye + skew + skew @ skew / (1.0 + nz)) @ turn


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
