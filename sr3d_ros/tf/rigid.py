"""Rigid transforms as 4x4 float64 matrices and unit quaternions x y z w."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]  # x y z w, as ROS orders it


def matrix_of(translation: Sequence[float], rotation: Sequence[float]) -> Matrix:
    """The 4x4 matrix of a translation in metres and a unit quaternion x y z w."""
    x, y, z, w = rotation
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), translation[0]],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), translation[1]],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), translation[2]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def quaternion_of(matrix: Matrix) -> Quaternion:
    """The unit quaternion x y z w, w >= 0, of the rotation in a 4x4 or 3x3 matrix."""
    m = matrix[:3, :3]
    # Each candidate is the quaternion times four times one of its own parts; the longest is safe.
    rows = np.array(
        [
            [1 + m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], 0.0],
            [m[0, 1] + m[1, 0], 1 - m[0, 0] + m[1, 1] - m[2, 2], m[1, 2] + m[2, 1], 0.0],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1 - m[0, 0] - m[1, 1] + m[2, 2], 0.0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + np.trace(m)],
        ]
    )
    rows[:3, 3] = rows[3, :3]
    best = rows[int(np.argmax(np.diag(rows)))]
    x, y, z, w = (best / np.linalg.norm(best) * (-1 if best[3] < 0 else 1)).tolist()
    return (x, y, z, w)


def rigid_inverse(matrix: Matrix) -> Matrix:
    """The inverse of a rotation with a translation."""
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse


def slerp(first: Quaternion, second: Quaternion, share: float) -> Quaternion:
    """The rotation at a share 0..1 of the way between two unit quaternions, the short way."""
    cosine = sum(a * b for a, b in zip(first, second, strict=True))
    sign = -1.0 if cosine < 0 else 1.0
    angle = math.acos(min(1.0, abs(cosine)))
    if angle < 1e-6:  # sin(angle) is too small to divide by; the chord is the arc
        weight_a, weight_b = 1.0 - share, sign * share
    else:
        weight_a = math.sin((1.0 - share) * angle) / math.sin(angle)
        weight_b = sign * math.sin(share * angle) / math.sin(angle)
    x, y, z, w = (weight_a * a + weight_b * b for a, b in zip(first, second, strict=True))
    return (x, y, z, w)


def level_rotation(up: NDArray[np.float64]) -> Matrix:
    """The 3x3 rotation that turns a unit vector into +z and keeps x as far as it can."""
    forward = np.array([1.0, 0.0, 0.0]) if abs(up[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x = forward - (forward @ up) * up
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(up, x), up])


def without_tilt(matrix: Matrix) -> Matrix:
    """A transform between two nearly level frames, for boxes, which stay upright."""
    heading_rad = math.atan2(matrix[1, 0], matrix[0, 0])
    upright = np.eye(4)
    upright[:2, :2] = [
        [math.cos(heading_rad), -math.sin(heading_rad)],
        [math.sin(heading_rad), math.cos(heading_rad)],
    ]
    upright[:3, 3] = matrix[:3, 3]
    return upright


def is_rigid(matrix: Matrix) -> bool:
    """Whether a 4x4 matrix holds finite numbers and a rotation."""
    rotation = matrix[:3, :3]
    return bool(
        np.isfinite(matrix).all()
        and np.abs(rotation).max() < 2.0  # far larger ones overflow when they are multiplied
        and np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3
        and np.linalg.det(rotation) > 0
    )
