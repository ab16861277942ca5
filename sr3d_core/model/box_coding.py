"""What the numbers of the regression mean: a box from an anchor point and 6, 8 or 10 numbers.

The centre is the anchor point plus the first three numbers, in metres, in every coding. The next
three are logarithms of lengths. Where boxes are rotated, three codings are told apart:

`tr3d` is TR3D's (arXiv 2302.02858): footprint by the sum of its sides and their ratio, always
dx <= dy, yaw modulo pi. The height is the sum of two lengths, one of which is also in the
footprint: a leftover of FCAF3D's face distances that trained weights rely on.

`own_height` is the same, with a height that is a number of its own.

`quarter_turns` also has a yaw that a square can have. In the codings above the vector
`n (sin 2 yaw, cos 2 yaw)` says yaw and ratio at once: on a square it vanishes, and its direction,
the yaw, is noise. Here the yaw comes from a second vector `(sin 4 yaw, cos 4 yaw)`, which is the
same for all four descriptions of a box by quarter turns and never has to vanish. It leaves open
which side is which; the first vector, seen along the yaw, says so: its component `p` there is the
logarithm of dy / dx, of either sign. Where the yaw jumps by a quarter turn, at its seam at 45
degrees, `p` changes its sign and the sides are exchanged: the same box, so box, losses and costs
of the assignment are continuous there, and a long box keeps its sides.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sr3d_core.structures import Boxes3D

BoxCoding = Literal["tr3d", "own_height", "quarter_turns"]
"""How rotated boxes are coded."""

MAX_LOG_EDGE = 8.0
"""Larger logarithms of an edge are cut off, so that a diverged prediction stays finite."""

_CENTER = ("centre x", "centre y", "centre z")
_FOOTPRINT = ("first part of dx + dy", "second part of dx + dy")
_DOUBLE_YAW = ("sin 2 yaw", "cos 2 yaw")
_ROWS: dict[BoxCoding, tuple[str, ...]] = {
    "tr3d": (*_CENTER, *_FOOTPRINT, "height less second part", *_DOUBLE_YAW),
    "own_height": (*_CENTER, *_FOOTPRINT, "height", *_DOUBLE_YAW),
    "quarter_turns": (*_CENTER, *_FOOTPRINT, "height", *_DOUBLE_YAW, "sin 4 yaw", "cos 4 yaw"),
}

INITIAL_BIAS = {"cos 4 yaw": 1.0}
"""What an untrained network says of a number: yaw 0, by a vector that is not nearly 0, where its
angle would turn at the least step. Lengths start at 1 m, but for the height of `tr3d`, at 2."""


def regression_rows(rotated: bool, coding: BoxCoding) -> tuple[str, ...]:
    """What each number of the regression says; a name means the same in all codings."""
    return _ROWS[coding] if rotated else (*_CENTER, "dx", "dy", "height")


def decode(
    anchors: Float[Tensor, "P 3"], regression: Float[Tensor, "P R"], coding: BoxCoding = "tr3d"
) -> Boxes3D:
    """Boxes of raw regressions; six numbers are axis aligned in every coding."""
    regression = regression.T.contiguous().T  # each number's column in one piece: 3 times faster
    if regression.shape[1] == 6:
        return decode_axis_aligned(anchors, regression)
    if coding == "quarter_turns":
        return decode_quarter_turns(anchors, regression)
    return decode_rotated(anchors, regression, has_own_height=coding == "own_height")


def decode_axis_aligned(
    anchors: Float[Tensor, "P 3"], regression: Float[Tensor, "P 6"]
) -> Boxes3D:
    """Centre = anchor + r0..r2 in metres, size = exp r3..r5."""
    size = _edges(regression)
    return Boxes3D(anchors + regression[:, 0:3], size, torch.zeros_like(size[:, 0]))


def decode_rotated(
    anchors: Float[Tensor, "P 3"], regression: Float[Tensor, "P 8"], has_own_height: bool = False
) -> Boxes3D:
    """TR3D's rotated coding, `tr3d` or `own_height`: always dx <= dy, yaw modulo pi.

    With e = exp r3..r5 and n = hypot(r6, r7): dx = (e0 + e1) / (1 + exp n), dy = dx exp n,
    written as sigmoids, which do not overflow. The height is e2, or e1 + e2 in `tr3d`.
    """
    sine, cosine = regression[:, 6], regression[:, 7]
    is_round = (sine == 0) & (cosine == 0)  # the norm has no gradient there
    norm = torch.where(is_round, 0, torch.hypot(sine, torch.where(is_round, 1, cosine)))
    yaw = 0.5 * torch.atan2(sine, torch.where(is_round, 1, cosine))
    return Boxes3D(anchors + regression[:, 0:3], _size(regression, norm, has_own_height), yaw)


def decode_quarter_turns(
    anchors: Float[Tensor, "P 3"], regression: Float[Tensor, "P 10"]
) -> Boxes3D:
    """The coding `quarter_turns`: yaw in -45..45 degrees, either side may be the longer one.

    yaw = atan2(r8, r9) / 4; p = r6 sin 2 yaw + r7 cos 2 yaw is ln(dy / dx); the sum of the sides
    is exp r3 + exp r4 and the height exp r5.
    """
    sine, cosine = regression[:, 8], regression[:, 9]
    is_nowhere = (sine == 0) & (cosine == 0)  # the angle has no gradient there
    yaw = 0.25 * torch.atan2(sine, torch.where(is_nowhere, 1, cosine))
    log_ratio = regression[:, 6] * torch.sin(2 * yaw) + regression[:, 7] * torch.cos(2 * yaw)
    return Boxes3D(anchors + regression[:, 0:3], _size(regression, log_ratio, True), yaw)


def _size(
    regression: Float[Tensor, "P R"], log_ratio: Float[Tensor, " P"], has_own_height: bool
) -> Float[Tensor, "P 3"]:
    """(dx, dy, dz) of the three lengths and ln(dy / dx)."""
    e0, e1, e2 = _edges(regression).unbind(1)
    scale = e0 + e1
    height = e2 if has_own_height else e1 + e2
    return torch.stack(
        [scale * torch.sigmoid(-log_ratio), scale * torch.sigmoid(log_ratio), height], dim=1
    )


def _edges(regression: Float[Tensor, "P R"]) -> Float[Tensor, "P 3"]:
    """exp r3..r5 in metres; no object needs an edge beyond exp 8, about 3 km."""
    return regression[:, 3:6].clamp(max=MAX_LOG_EDGE).exp()
