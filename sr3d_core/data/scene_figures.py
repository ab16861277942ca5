"""Figures of labelled scenes: how many, how large, how colored, and what they mean for a network.

Unlike an inspection they judge nothing: they are what a configuration is written from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sr3d_core.data.inspection import points_inside
from sr3d_core.data.label_checks import FEW_POINTS
from sr3d_core.data.sources import Scenes

_THIN_M = 0.1
_MAX_POINTS = 20_000  # of a scene, for colors and the floor
_LOW_FLOOR_M = 0.5
_TURNED_RAD = math.radians(2.0)


@dataclass(frozen=True, slots=True)
class Spread:
    """How a number is spread over scenes or boxes; NaN where there are none."""

    median: float
    low: float  # 5 % are lower
    high: float  # 5 % are higher

    @classmethod
    def of(cls, values: Sequence[float] | NDArray) -> Spread:
        """The spread of values."""
        if not len(values):
            return cls(math.nan, math.nan, math.nan)
        middle, low, high = np.quantile(np.asarray(values, dtype=np.float64), [0.5, 0.05, 0.95])
        return cls(float(middle), float(low), float(high))

    def __str__(self) -> str:
        return (
            ""
            if math.isnan(self.median)
            else f"{self.median:.3g} ({self.low:.3g}..{self.high:.3g})"
        )


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """What the boxes of one class are like."""

    num_boxes: int
    num_ignored: int
    num_scenes: int  # that have at least one
    dx_m: Spread
    dy_m: Spread
    dz_m: Spread
    points: Spread  # in a box
    num_few: int  # boxes with hardly a point
    num_thin: int  # boxes thinner than 0.1 m
    num_turned: int  # boxes whose yaw is no quarter turn


@dataclass(frozen=True, slots=True)
class SceneFigures:
    """What the scenes of a split are like."""

    num_scenes: int
    points: Spread  # of a scene
    boxes: Spread  # of a scene
    extent_x_m: Spread
    extent_y_m: Spread
    extent_z_m: Spread
    floor_z_m: Spread  # of a scene: 1 % of its points are lower
    num_colored: int  # scenes with colors
    color_mean: tuple[float, ...]  # red, green, blue in 0..1 over all scenes with colors
    color_std: tuple[float, ...]
    classes: dict[str, ClassFigures]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; null where there is nothing to measure."""
        return {**_plain(asdict(self)), "remarks": self.remarks()}

    def remarks(self) -> list[str]:
        """What is unlike most other data and so a trap."""
        lines = []
        if self.floor_z_m.median < -_LOW_FLOOR_M:
            lines.append(
                f"the floor lies at about z = {self.floor_z_m.median:.1f} m, as in SUN RGB-D, "
                "whose origin is the camera: a height is to be measured from the floor, not from 0"
            )
        if 0 < self.num_colored < self.num_scenes:
            num = self.num_scenes - self.num_colored
            lines.append(f"{num} of {self.num_scenes} scenes have no color, the others do")
        thin = [name for name, each in self.classes.items() if each.num_boxes < 2 * each.num_thin]
        if thin:
            lines.append(
                f"most boxes of {', '.join(thin)} are thinner than {_THIN_M:g} m: an overlap of "
                "0.5 is a matter of some centimetres there"
            )
        missing = [name for name, each in self.classes.items() if not each.num_boxes]
        if missing:
            lines.append(f"no box of {', '.join(missing)}")
        if any(each.num_boxes for each in self.classes.values()) and not any(
            each.num_turned for each in self.classes.values()
        ):
            lines.append(
                "no box is turned, as in ScanNet and S3DIS: a network for it needs no yaw"
            )
        return lines


def scene_figures(
    scenes: Scenes, on_scene: Callable[[int], None] = lambda num_done: None
) -> SceneFigures:
    """Read all scenes and count; raises what reading them raises."""
    seen = _Seen()
    for index in range(len(scenes)):
        seen.add(scenes[index])
        on_scene(index + 1)
    return seen.figures(scenes.classes)


class _Seen:
    """What was seen of the scenes so far."""

    def __init__(self) -> None:
        self._per_scene = list[list[float]]()  # points, boxes, extents, floor
        self._boxes = list[NDArray]()  # scene, label, dx dy dz, yaw, points
        self._ignored = list[int]()
        self._colors = list[Float[NDArray, "2 3"]]()  # mean, and mean of squares

    def add(self, sample: Any) -> None:
        """One scene."""
        cloud, targets, number = sample.cloud, sample.targets, len(self._per_scene)
        step = max(1, len(cloud) // _MAX_POINTS)
        xyz, rgb = (part[::step].double().numpy() for part in (cloud.xyz, cloud.features))
        low, floor, high = np.quantile(xyz, [0.0, 0.01, 1.0], axis=0)
        self._per_scene.append([len(cloud), len(targets), *(high - low), floor[2]])
        if not np.isnan(rgb).any():
            self._colors.append(np.stack([rgb.mean(axis=0), (rgb**2).mean(axis=0)]))
        if targets.ignored is not None:
            self._ignored += targets.ignored.labels.tolist()
        boxes = targets.boxes.array.double().numpy()
        inside = np.array(points_inside(sample), dtype=np.float64)
        scene = np.full(len(boxes), number)
        columns = [scene, targets.labels.numpy(), *boxes[:, 3:7].T, inside]
        self._boxes.append(np.stack(columns, axis=1).reshape(-1, 7))

    def figures(self, classes: Sequence[str]) -> SceneFigures:
        """The figures of all scenes."""
        table = np.array(self._per_scene, dtype=np.float64).reshape(-1, 6)
        boxes = np.concatenate([np.zeros((0, 7)), *self._boxes])
        mean, square = np.mean(self._colors, axis=0) if self._colors else np.zeros((2, 0))
        points, num_boxes, x, y, z, floor = (Spread.of(column) for column in table.T)
        return SceneFigures(
            num_scenes=len(table),
            points=points,
            boxes=num_boxes,
            extent_x_m=x,
            extent_y_m=y,
            extent_z_m=z,
            floor_z_m=floor,
            num_colored=len(self._colors),
            color_mean=tuple(mean.tolist()),
            color_std=tuple(np.sqrt(np.maximum(square - mean**2, 0.0)).tolist()),
            classes={
                name: _of_class(boxes[boxes[:, 1] == label], self._ignored.count(label))
                for label, name in enumerate(classes)
            },
        )


def _of_class(boxes: Float[NDArray, "M 7"], num_ignored: int) -> ClassFigures:
    scene, _, dx, dy, dz, yaw, points = boxes.T
    to_quarter_turn = np.abs(np.remainder(yaw + np.pi / 4, np.pi / 2) - np.pi / 4)
    return ClassFigures(
        num_boxes=len(boxes),
        num_ignored=num_ignored,
        num_scenes=len(np.unique(scene)),
        dx_m=Spread.of(dx),
        dy_m=Spread.of(dy),
        dz_m=Spread.of(dz),
        points=Spread.of(points),
        num_few=int((points < FEW_POINTS).sum()),
        num_thin=int((boxes[:, 2:5].min(axis=1, initial=np.inf) < _THIN_M).sum()),
        num_turned=int((to_quarter_turn > _TURNED_RAD).sum()),
    )


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
