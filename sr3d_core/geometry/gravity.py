"""Which way is up in a cloud that does not say so.

A floor is a large plane with next to nothing beneath it. Rooms are searched for one near the
ground planes of the frames that occur in practice: z up (maps, data sets), y up (meshes), and
camera frames, which are recognised by the rim of their image: optical ones (z forward, y down) and
OpenGL ones (z backward, y up). The floor is fitted by RANSAC on a fixed seed, so the same cloud
always gives the same answer. Where whole rooms are seen, the way they stand (`standing`) tells a
floor from a wall. Confidence is the share of the seen surface that lies in the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.geometry.field_of_view import is_seen_from, rim_evidence_m
from sr3d_core.geometry.planes import (
    MIN_POINTS,
    THICKNESS_M,
    Planes,
    agreement,
    fitted_normal,
    moved_to_zero,
    surface_of,
    trial_planes,
)
from sr3d_core.geometry.scale import scale_doubt
from sr3d_core.geometry.standing import standing_of

KEEP_RAD = math.radians(3.0)
"""A z-up cloud whose floor is this level is left alone."""

_FLATNESS = 0.7  # a room is at most this high for each metre that it is wide
_IS_VIEW_M = 0.45  # rim of an image that only a camera's view shows, see field_of_view
_LEVELLED_RAD = math.radians(5.0)  # z-up frames of robots are this level
_GOOD_SCORE = 0.08  # planes that are no floor score less
_CHANCE_SCORE = 0.02  # walls disagree with planes that score less
_LARGE_SUPPORT = (0.3, 0.8)  # share of the surface that a floor holds where it alone decides
_MAX_ROLL_RAD = math.radians(10.0)
_LONE_PLANE = 0.99  # share of the surface near one plane; alone it may be a wall as well
_WEAK_SUPPORT = 0.15  # a floor this small is no reason to turn a cloud that has z up
_WALL_M = 2.8  # as far as walls and fronts of furniture reach upwards
_MAX_LOOKING_UP_RAD = math.radians(20.0)  # a camera that looks up farther sees no floor
_STRONG_SCORE = 0.2  # floors that score less are believed only as level cameras see them
_FAR_LIKELIER = 3.0  # log-likelihood: 20 times as likely
_LONE_AGREEMENT = 0.2  # a plane with which no more of the surface agrees has no walls


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
_STANDING = {
    "z": _UPRIGHT,
    "y": _Guess("y", math.radians(20), max_below=0.1, min_support=0.05),
    "-y": _Guess("-y", math.radians(20), max_below=0.1, min_support=0.05),
}
"""What a floor looks like of a room that is known to stand so."""


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
    if len(xyz) < MIN_POINTS:
        raise GravityError(f"{len(xyz)} points are too few to find a floor")
    xyz, corner = moved_to_zero(xyz)
    cells = surface_of(xyz)
    origin = -corner if is_from_sensor else None
    floor = _best_floor(xyz, trial_planes(cells), origin) if len(cells) >= 3 else None
    if floor is None:
        doubt = scale_doubt(xyz)
        if doubt is not None:
            raise UnitsError(f"no floor was found: {doubt.advice}")
        raise GravityError("no floor was found: no large plane with the points above it")
    if floor.guess.up == "z" and _is_level(cells, floor):
        return axis_rotation("z"), floor.support
    return _level(floor), floor.support


def _best_floor(
    xyz: Float[Tensor, "N 3"], planes: Planes, sensor: Float[Tensor, " 3"] | None
) -> _Floor | None:
    """The rim of its image gives a camera away; otherwise z is up unless y is far likelier."""
    direction = _view_direction(xyz, planes, sensor)
    if direction:
        # Seen along +z, z cannot be up: the camera would look through the floor from beneath.
        floor = _find_floor(planes, _OPTICAL) if direction > 0 else _seen_backward(planes)
        return floor if floor is not None and _can_be_seen(floor, direction) else None
    if _is_lone_plane(planes):
        raise GravityError("no floor was found: one plane with nothing on it, a floor or a wall")
    return _as_rooms_stand(_floor_of_no_view(planes), xyz, planes)


def _view_direction(
    xyz: Float[Tensor, "N 3"], planes: Planes, sensor: Float[Tensor, " 3"] | None
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


def _can_be_seen(floor: _Floor, direction: float) -> bool:
    """Whether a camera that looks along z can have the floor before and beneath it.

    In close-ups of furniture chance planes lie as they come: as a camera sees them that looks up
    at a floor, or is rolled, or with nothing that stands on them.
    """
    if floor.score <= _CHANCE_SCORE or floor.score < _LONE_AGREEMENT * floor.support:
        return False
    if floor.guess.up == "z":
        return True
    looks_up = direction * float(floor.normal[2]) > math.sin(_MAX_LOOKING_UP_RAD)
    return not looks_up and (_is_without_roll(floor) or floor.score >= _STRONG_SCORE)


def _has_level_floor(planes: Planes) -> bool:
    """Whether a large floor lies as level beneath z as in the z-up frames of robots."""
    floor = _find_floor(planes, _UPRIGHT)
    return (
        floor is not None
        and floor.support >= _WEAK_SUPPORT
        and floor.score >= _GOOD_SCORE
        and float(floor.normal[2]) >= math.cos(_LEVELLED_RAD)
    )


def _floor_of_no_view(planes: Planes) -> _Floor | None:
    """The floor of a cloud that shows no rim of an image."""
    upright = _find_floor(planes, _UPRIGHT)
    if upright is None or not _is_level(planes.cells, upright):
        camera = _large_floor_ahead(planes)
        rival = upright or _find_floor(planes, _LEVEL)
        if camera is not None and _is_far_likelier(camera, rival, planes):
            return _no_front(camera, planes)
        upright = rival
    mesh = _find_floor(planes, _MESH)
    if mesh is not None and _is_mesh(mesh, upright, planes):
        return _no_front(mesh, planes)
    return None if upright is None or _seems_a_view(upright, planes) else upright


def _as_rooms_stand(
    floor: _Floor | None, xyz: Float[Tensor, "N 3"], planes: Planes
) -> _Floor | None:
    """The floor, unless the room would lie on its side on it: then the one that it stands on."""
    if floor is None:
        return None
    across = axis_rotation(floor.guess.up).T @ _level(floor)  # makes the floor square to its axis
    standing = standing_of(moved_to_zero(xyz @ across.T)[0])
    if standing is None or standing.lead_over(floor.guess.up) < _FAR_LIKELIER:
        return floor
    better = _find_floor(planes, _STANDING[standing.up]) if standing.up in _STANDING else None
    if better is None:
        raise GravityError(
            f"no floor was found: the largest plane would be one with {floor.guess.up} up, but "
            f"the room stands as if {standing.up} were up"
        )
    return better


def _is_mesh(mesh: _Floor, upright: _Floor | None, planes: Planes) -> bool:
    """Whether y is far likelier to be up than z."""
    if upright is None:  # walls without a floor are no higher than wide only where y is up
        return _is_flat_along_y(planes.cells, 1.0)
    return mesh.score > 1.5 * upright.score and _is_flat_along_y(planes.cells)


def _no_front(floor: _Floor, planes: Planes) -> _Floor:
    """A floor of another frame; refused where it may as well stand upright in a z-up one.

    It contains z then, and nothing reaches farther along z than walls and furniture are high.
    """
    contains_z = abs(float(floor.normal[2])) <= math.sin(_LEVELLED_RAD)
    if contains_z and float(_extent(planes.cells)[2]) < _WALL_M:
        raise GravityError(
            "no floor was found: the largest plane may be a floor with y up, or a wall or the "
            "front of furniture with z up"
        )
    return floor


def _seems_a_view(upright: _Floor, planes: Planes) -> bool:
    """Whether a camera's floor says more than this chance plane; neither says enough.

    One that contains z does not: it may be a wall of a z-up frame.
    """
    floors = [_find_floor(planes, guess) for guess in (_OPTICAL, _OPENGL)]
    return upright.score < _GOOD_SCORE and any(
        floor.score > max(_GOOD_SCORE, 2.0 * upright.score)
        and not _contains_z(floor)
        and _is_without_roll(floor)
        for floor in floors
        if floor is not None
    )


def _is_without_roll(floor: _Floor) -> bool:
    return abs(float(floor.normal[0])) <= math.sin(_MAX_ROLL_RAD)


def _extent(cells: Float[Tensor, "S 3"]) -> Float[Tensor, " 3"]:
    """How far the surface reaches along each axis, but for its outermost points."""
    low, high = torch.quantile(cells, torch.tensor([0.01, 0.99], dtype=cells.dtype), dim=0)
    return high - low


def _is_flat_along_y(cells: Float[Tensor, "S 3"], flatness: float = _FLATNESS) -> bool:
    """Whether y may be a room's height: rooms are wider than high.

    A view of one wall is not, and the wall must not be taken for a floor.
    """
    width, height, depth = _extent(cells).tolist()
    return height < flatness * min(width, depth)


def _seen_backward(planes: Planes) -> _Floor | None:
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
    return _contains_z(floor) and not _is_without_roll(floor)


def _contains_z(floor: _Floor) -> bool:
    return abs(float(floor.normal[2])) <= math.sin(KEEP_RAD)


def _has_wall_across(floor: _Floor, planes: Planes) -> bool:
    """Whether another large plane contains z as this floor does.

    Then both may be walls of a z-up frame: their corner looks as a level camera's view does.
    """
    across = torch.linalg.cross(floor.normal, axis_rotation("z")[2])
    is_across = (planes.normals @ across).abs() > math.cos(_MAX_ROLL_RAD)
    return float((planes.support * is_across).max()) >= 0.5 * floor.support


def _is_lone_plane(planes: Planes) -> bool:
    """Whether the cloud is a single plane, give or take its noise."""
    is_near = 1.0 - planes.before - planes.behind
    return len(is_near) > 0 and float(is_near.max()) >= _LONE_PLANE


def _large_floor_ahead(planes: Planes) -> _Floor | None:
    """The floor of a camera frame that shows no rim, such as a sparse or cropped one.

    It must be large, with something on it, and seen without roll; walls of level frames are not.
    """
    floors = [_find_floor(planes, guess) for guess in (_OPTICAL, _OPENGL)]
    known = sorted((floor for floor in floors if floor), key=lambda floor: -floor.score)
    if not known or (len(known) == 2 and known[0].score < 1.5 * known[1].score):
        return None
    best = known[0]
    is_large = best.score >= _LARGE_SUPPORT[0] and best.support <= _LARGE_SUPPORT[1]
    return best if is_large and _is_without_roll(best) else None


def _is_far_likelier(camera: _Floor, rival: _Floor | None, planes: Planes) -> bool:
    """Whether a camera's floor beats the one of a z-up frame, which would have to be turned."""
    if rival is None:
        return not (_contains_z(camera) and _has_wall_across(camera, planes))
    if rival.guess is _LEVEL:  # a small plane, or with most of the room beneath it, is no floor
        is_chance = rival.below > 0.5 or camera.score > 3.0 * rival.score
        return is_chance and _is_flat_along_y(planes.cells)
    return camera.score > 1.3 * rival.score


def _find_floor(planes: Planes, guess: _Guess) -> _Floor | None:
    """The best floor that fits the guess."""
    up = axis_rotation(guess.up)[2]
    cosine, support = planes.normals @ up, planes.support
    below = torch.where(cosine < 0, planes.before, planes.behind)
    is_floor = (cosine.abs() >= math.cos(guess.max_tilt_rad)) & (below <= guess.max_below)
    is_floor &= support >= guess.min_support
    if not is_floor.any():
        return None
    score = support * agreement(planes.normals, support) * is_floor
    best = int(score.argmax())
    inliers = planes.cells[planes.is_inlier[:, best]]
    normal = torch.from_numpy(fitted_normal(inliers.numpy(), up.numpy()))
    return _Floor(guess, normal, float(support[best]), float(below[best]), float(score[best]))


def _is_level(cells: Float[Tensor, "S 3"], floor: _Floor) -> bool:
    """Whether a floor found in a z-up frame gives no good reason to turn the cloud.

    It is level, or weak, or a level plane holds at least half as much of the surface: then what
    was found is more likely a chance plane across furniture.
    """
    if float(floor.normal[2]) >= math.cos(KEEP_RAD) or floor.support < _WEAK_SUPPORT:
        return True
    heights = cells[:, 2].sort().values
    last = torch.searchsorted(heights, heights + 2 * THICKNESS_M, right=True)
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
