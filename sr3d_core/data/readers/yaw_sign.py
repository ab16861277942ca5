"""Which way yaws turn: said by whoever forces it, by the file's version, or by the points.

The same numbers are in use clockwise (VoteNet, mmdetection3d before 1.0 and forks of it) and
counter-clockwise (mmdetection3d 1.1). Boxes of long objects that are seen well hold far fewer
points when they are turned the wrong way; square ones and those seen from one side tell nothing,
or even the opposite, so that many must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.data.label_checks import clockwise_votes
from sr3d_core.structures import Boxes3D

YawSign = Literal["auto", "counter_clockwise", "clockwise"]
"""Which way the yaws of a file turn; auto finds out and says so, or refuses."""

_MIN_VOTES = 8
_MAJORITY = 4  # votes for a sign to each one against it
_ENOUGH = 60  # votes; no further scene is read then
_MAX_SCENES = 300
_LONG = 1.4  # times as long as wide


@dataclass(frozen=True, slots=True)
class Decision:
    """How yaws are read, and how that is known."""

    sign: int  # 1 counter-clockwise, -1 clockwise
    note: str

    def apply(self, rows: Float[NDArray, "M 7"]) -> Float[NDArray, "M 7"]:
        """Boxes as the file has them with counter-clockwise yaw."""
        return rows if self.sign == 1 else rows * [1, 1, 1, 1, 1, 1, -1]


Scene = tuple[Callable[[], Float[Tensor, "N 3"]], Float[NDArray, "M 7"]]
"""Points of a scene, read when asked for, and its boxes with the yaw as it is in the file."""


def decide(
    where: str,
    forced: YawSign,
    stated: Literal["counter_clockwise", "clockwise"] | None,
    why: str,
    scenes: Iterable[Scene],
) -> Decision:
    """The sign that is forced, that the version of the file states, or that the points show.

    `why` says which version states what. Raises DatasetError where neither version nor points
    tell, or where they contradict each other.
    """
    if forced != "auto":
        return Decision(_sign(forced), f"yaw {forced}, as it was asked for")
    for_clockwise, against = _votes(scenes)
    if for_clockwise is None:
        return Decision(1, "no box is turned")
    seen: Literal["counter_clockwise", "clockwise"] | None = None
    if max(for_clockwise, against) >= _MIN_VOTES:
        if for_clockwise >= _MAJORITY * against:
            seen = "clockwise"
        elif against >= _MAJORITY * for_clockwise:
            seen = "counter_clockwise"
    counts = f"of {for_clockwise + against} boxes that tell, {for_clockwise} speak for clockwise"
    if (seen or stated) is None or (stated and seen and stated != seen):
        raise DatasetError(
            f"{where}: {why}, but {counts}; the sign of yaw is unsure: look at the boxes with "
            "`sr3d data sheet`, then say it, such as --data READER:PATH,yaw=clockwise or "
            "yaw=counter_clockwise"
        )
    if stated is None:
        assert seen is not None
        return Decision(_sign(seen), f"yaw {seen}: {why}; {counts}")
    return Decision(_sign(stated), f"yaw {stated}: {why}; {counts}")


def _sign(name: Literal["counter_clockwise", "clockwise"]) -> int:
    return 1 if name == "counter_clockwise" else -1


def _votes(scenes: Iterable[Scene]) -> tuple[int | None, int]:
    """Boxes that hold clearly more points clockwise, and clearly fewer; None: none is turned."""
    num_for: int | None = None
    num_against = num_read = 0
    for read_points, rows in scenes:
        is_turned = np.abs(np.sin(2 * rows[:, 6])) > 0.2
        if is_turned.any() and num_for is None:
            num_for = 0
        sides = np.sort(rows[:, 3:5], axis=1)
        boxes = rows[is_turned & (sides[:, 1] > _LONG * sides[:, 0])]
        if not len(boxes):
            continue
        more, fewer = clockwise_votes(read_points(), Boxes3D.from_array(torch.tensor(boxes)))
        num_for, num_against = (num_for or 0) + more, num_against + fewer
        num_read += 1
        if num_for + num_against >= _ENOUGH or num_read == _MAX_SCENES:
            break
    return num_for, num_against
