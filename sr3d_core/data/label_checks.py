"""What can be wrong with labelled scenes: the one list, for reading, inspecting and training.

What is certain is a fault: `box_faults` finds those that labels alone show (`number_faults`, in
the ground truth of recordings as well), `scene_faults` those that need the points. A scene with a
fault is refused by whoever reads it. What only many scenes together make likely is a warning:
`Suspicions`.

Some mistakes turn correct labels into others that are just as well formed, such as boxes that
stand on their centre. They are found by reading the labels the other way: where the other way
nearly always encloses clearly more points, it is probably what was meant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sr3d_core.choices import alike
from sr3d_core.geometry.boxes import bounds, points_in_boxes
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.geometry.scale import FARTHEST_M, ROOM_M, SMALLEST_M, extent_of, scale_doubt
from sr3d_core.records import LabelRecord
from sr3d_core.structures import Boxes3D, PointCloud, Sample

FEW_POINTS = 20
"""A labelled box with fewer points can hardly be learnt, or is not where the object is."""

_FULL_TURN_RAD = 2 * math.pi + 0.01  # 6.29 is a full turn that somebody rounded
_HALL_M = 100.0  # no hall is as high
_LONG_M = 10.0  # a longer box than this that is also longer than three of its clouds is wrong
_SAME_IOU = 0.9  # two boxes of one class that overlap by so much are one object
_MAX_POINTS = 20_000  # of a cloud, where other readings of its labels are tried
_CLEARLY_MORE = 1.5  # times as many points
_FAR_MORE = 5.0  # the same, in a box of eight times the volume
_MIN_BOXES = 3  # fewer boxes tell nothing of a folder
_MAJORITY = 4  # boxes for a suspicion to each one against it
_STANDING_M = 0.15  # a box that ends so near to the end of the cloud stands there


def box_faults(records: Sequence[LabelRecord], classes: Sequence[str]) -> list[str]:
    """What is wrong with the boxes of one file, whatever its cloud is like."""
    faults = []
    for index, record in enumerate(records):
        name = record.class_name
        if name not in classes:
            near = alike(name, classes)
            question = f"did you mean {near!r}? " if near else ""
            faults.append(
                f"boxes[{index}].class: {name!r} is not in classes.txt, expected one of "
                f"{', '.join(classes)}; {question}correct the name or add it there"
            )
    return faults + number_faults([(f"boxes[{i}]", record) for i, record in enumerate(records)])


def number_faults(boxes: Sequence[tuple[str, LabelRecord]]) -> list[str]:
    """What cannot be meant by the numbers of boxes of one cloud, each with its place in a file."""
    faults = []
    first: dict[LabelRecord, str] = {}
    for place, record in boxes:
        if abs(record.yaw) > _FULL_TURN_RAD:
            faults.append(
                f"{place}.yaw: {record.yaw:g}, expected radians, at most a full turn "
                "(6.28); if it is in degrees, multiply by 0.0174533"
            )
        if record in first:
            faults.append(f"{place}: the same as {first[record]}; remove one")
        first.setdefault(record, place)
    return faults


def scene_faults(cloud: PointCloud, boxes: Boxes3D) -> list[str]:
    """What is wrong with a cloud, or with its boxes as they lie in it."""
    doubt = scale_doubt(cloud.xyz, is_upright=True)
    extent = extent_of(cloud.xyz)
    # Higher than a room, but not than a hall, is a suspicion only.
    if doubt is not None and (max(extent) > FARTHEST_M or extent[2] > _HALL_M):
        return [
            f"{doubt.text} Clouds are read in metres: multiply millimetres by 0.001, centimetres "
            "by 0.01, in the labels too where they have the same unit"
        ]
    low, high = cloud.xyz.amin(dim=0), cloud.xyz.amax(dim=0)
    width = float((high - low).max())
    box_low, box_high = bounds(boxes)
    gap = torch.maximum(box_low - high, low - box_high).clamp(min=0).norm(dim=1).tolist()
    faults = []
    for index, side in enumerate(boxes.size.amax(dim=1).tolist()):
        if not gap[index] <= ROOM_M:  # also refuses what single precision cannot hold
            faults.append(
                f"boxes[{index}].center: {_row(boxes.center[index])} is {gap[index]:.3g} m away "
                f"from the cloud, which spans {_row(low)} to {_row(high)}; "
                f"{_in_the_cloud(boxes.center[index], low, high)}"
            )
        elif side > ROOM_M or side > max(3 * width, _LONG_M):
            faults.append(
                f"boxes[{index}].size: {_row(boxes.size[index])}, expected metres; the cloud is "
                f"only {width:.3g} m wide: is it in centimetres or millimetres?"
            )
    return faults


def _in_the_cloud(
    center: Float[Tensor, " 3"], low: Float[Tensor, " 3"], high: Float[Tensor, " 3"]
) -> str:
    """What would bring a box that is far away into its cloud."""
    for factor, unit in ((0.01, "centimetres"), (0.001, "millimetres")):
        if bool(((center * factor >= low) & (center * factor <= high)).all()):
            return f"in {unit}? Multiply center and size by {factor}"
    return "expected boxes and points in one frame, in metres: move one of them"


def _row(values: Float[Tensor, " 3"]) -> str:
    return "[" + ", ".join(f"{value:.3g}" for value in values.tolist()) + "]"


@dataclass(frozen=True, slots=True)
class _Reading:
    """Another way to understand the numbers of a box."""

    meaning: str
    remedy: str
    read: Callable[[Boxes3D], Boxes3D]
    is_larger: bool = False  # holds the box as given, so that only far more points tell

    def votes(
        self, xyz: Float[Tensor, "N 3"], boxes: Boxes3D, as_given: Int[Tensor, " M"]
    ) -> tuple[int, int]:
        """How many boxes hold clearly more points when read this way, and how many do not."""
        otherwise = points_in_boxes(xyz, self.read(boxes)).sum(dim=0)
        if self.is_larger:
            is_seen = otherwise >= FEW_POINTS
            is_more = otherwise > _FAR_MORE * as_given
            return int((is_seen & is_more).sum()), int((is_seen & ~is_more).sum())
        return _num_clearly_more(otherwise, as_given), _num_clearly_more(as_given, otherwise)


def _num_clearly_more(num: Int[Tensor, " M"], other: Int[Tensor, " M"]) -> int:
    return int(((num >= FEW_POINTS) & (num > _CLEARLY_MORE * other)).sum())


def _bottom_center(boxes: Boxes3D) -> Boxes3D:
    lift = torch.stack([torch.zeros_like(boxes.yaw)] * 2 + [boxes.size[:, 2] / 2], dim=1)
    return Boxes3D(boxes.center + lift, boxes.size, boxes.yaw)


def _clockwise(boxes: Boxes3D) -> Boxes3D:
    return Boxes3D(boxes.center, boxes.size, -boxes.yaw)


def _sides_swapped(boxes: Boxes3D) -> Boxes3D:
    return Boxes3D(boxes.center, boxes.size[:, [1, 0, 2]], boxes.yaw)


def _doubled(boxes: Boxes3D) -> Boxes3D:
    return Boxes3D(boxes.center, 2 * boxes.size, boxes.yaw)


def _labels_y_up(boxes: Boxes3D) -> Boxes3D:
    x, y, z = boxes.center.unbind(dim=1)
    return Boxes3D(torch.stack([x, -z, y], dim=1), boxes.size[:, [0, 2, 1]], boxes.yaw)


def _points_y_up(boxes: Boxes3D) -> Boxes3D:
    x, y, z = boxes.center.unbind(dim=1)
    return Boxes3D(torch.stack([x, z, -y], dim=1), boxes.size[:, [0, 2, 1]], boxes.yaw)


_YAW_CLOCKWISE = _Reading("yaw is clockwise", "change its sign", _clockwise)
_READINGS = (
    _Reading(
        "center is the middle of the bottom",
        "add half of the height to each center z",
        _bottom_center,
    ),
    _YAW_CLOCKWISE,
    _Reading(
        "the first two sizes are swapped, or yaw is off by a quarter turn",
        "size is [along the heading, across it, up]",
        _sides_swapped,
    ),
    _Reading("sizes are half extents", "double them", _doubled, is_larger=True),
    _Reading(
        "labels are y up, points z up",
        "turn the labels: center [x, -z, y], size [dx, dz, dy]",
        _labels_y_up,
    ),
    _Reading(
        "points are y up, labels z up",
        "turn the points: x, -z, y",
        _points_y_up,
    ),
)


_TURNED = {
    "y": "[x, -z, y] and sizes to [dx, dz, dy]",
    "-y": "[x, z, -y] and sizes to [dx, dz, dy]",
    "-z": "[x, -y, -z] and change the sign of yaw",
}
"""What makes z up of another axis."""


def clockwise_votes(xyz: Float[Tensor, "N 3"], boxes: Boxes3D) -> tuple[int, int]:
    """How many boxes hold clearly more points where yaw is read clockwise, and how many fewer."""
    xyz = xyz[:: max(1, len(xyz) // _MAX_POINTS)]
    return _YAW_CLOCKWISE.votes(xyz, boxes, points_in_boxes(xyz, boxes).sum(dim=0))


class Suspicions:
    """What the scenes of a folder, one after another, make likely to be wrong."""

    def __init__(self) -> None:
        self._num_scenes = 0
        self._votes = [(0, 0)] * len(_READINGS)
        self._standing = {"z": 0, **dict.fromkeys(_TURNED, 0)}
        self._yaws, self._sides = list[float](), list[float]()
        self._num_points = list[int]()
        self._empty, self._twins, self._odd_scale = list[str](), list[str](), list[str]()

    def add(self, sample: Sample, num_inside: Sequence[int], place: Sequence[int]) -> None:
        """Look at one scene; of each box the points that it holds and its place in the file.

        Ignored boxes are not looked at: they may lie where there are no points.
        """
        self._num_scenes += 1
        doubt = scale_doubt(sample.cloud.xyz, is_upright=True)
        if doubt is not None:
            self._odd_scale.append(f"{sample.name}: {doubt.text}")
        boxes = sample.targets.boxes
        self._yaws += boxes.yaw.tolist()
        self._sides += boxes.size.amax(dim=1).tolist()
        self._num_points += num_inside
        self._empty += [
            f"{sample.name}: boxes[{row}]"
            for row, num in zip(place, num_inside, strict=True)
            if num == 0
        ]
        self._look_for_twins(sample, place)
        xyz = sample.cloud.xyz[:: max(1, len(sample.cloud) // _MAX_POINTS)]
        self._look_for_the_ground(xyz, boxes)
        as_given = points_in_boxes(xyz, boxes).sum(dim=0)
        self._votes = [
            (more + votes[0], fewer + votes[1])
            for (more, fewer), reading in zip(self._votes, _READINGS, strict=True)
            for votes in [reading.votes(xyz, boxes, as_given)]
        ]

    def warnings(self) -> list[str]:
        """One line for each suspicion, with its first place and what to do."""
        lines = [self._about_readings(), self._about_up(), self._about_yaw(), self._about_size()]
        lines += [
            self._about_boxes(),
            self._about_points(),
            _first_of(
                self._twins,
                "boxes cover another one of their class nearly whole",
                "; remove one of the two if they are one object",
            ),
            _first_of(self._odd_scale, f"of {self._num_scenes} scenes", ""),
        ]
        return [line for line in lines if line]

    def _look_for_twins(self, sample: Sample, place: Sequence[int]) -> None:
        labels, boxes = sample.targets.labels, sample.targets.boxes
        is_twin = (pairwise_iou(boxes, boxes) > _SAME_IOU) & (labels[:, None] == labels)
        self._twins += [
            f"{sample.name}: boxes[{place[index]}] and boxes[{place[other]}]"
            for index, other in is_twin.triu(diagonal=1).nonzero().tolist()
        ]

    def _look_for_the_ground(self, xyz: Float[Tensor, "N 3"], boxes: Boxes3D) -> None:
        """Most furniture stands on the ground: at which end of the cloud do most boxes end?"""
        low, high = torch.quantile(xyz, xyz.new_tensor([0.01, 0.99]), dim=0)
        above = (boxes.center - boxes.size / 2 - low).abs() < _STANDING_M
        below = (boxes.center + boxes.size / 2 - high).abs() < _STANDING_M
        self._standing["z"] += int(above[:, 2].sum())
        self._standing["y"] += int(above[:, 1].sum())
        self._standing["-y"] += int(below[:, 1].sum())
        self._standing["-z"] += int(below[:, 2].sum())

    def _about_readings(self) -> str:
        """The other reading that most boxes speak for, of those that few speak against.

        Several can be left: right labels that are read wrong fit other readings too.
        """
        likely = [
            (votes, reading)
            for votes, reading in zip(self._votes, _READINGS, strict=True)
            if votes[0] >= max(_MIN_BOXES, _MAJORITY * votes[1])
        ]
        if not likely:
            return ""
        (more, fewer), reading = max(likely, key=lambda each: each[0][0])
        return (
            f"{more} of {more + fewer} boxes that tell hold far more points if "
            f"{reading.meaning}; if so, {reading.remedy}"
        )

    def _about_up(self) -> str:
        up = max(self._standing, key=lambda axis: self._standing[axis])
        num, num_upright = self._standing[up], self._standing["z"]
        is_most = num >= _MIN_BOXES and 2 * num > len(self._sides)
        if up == "z" or not is_most or num < _MAJORITY * num_upright:
            return ""
        return (
            f"{num} of {len(self._sides)} boxes stand on the ground if {up} is up, "
            f"{num_upright} if z is; if so, turn points and centers to {_TURNED[up]}"
        )

    def _about_yaw(self) -> str:
        turned = [yaw for yaw in self._yaws if yaw != 0.0]
        if len(turned) < _MIN_BOXES or any(yaw != round(yaw) for yaw in turned):
            return ""
        return (
            f"yaw is a whole number in all {len(turned)} boxes that are turned; is it in degrees? "
            "If so, multiply by 0.0174533"
        )

    def _about_size(self) -> str:
        if not self._sides or median(self._sides) >= SMALLEST_M:
            return ""
        return (
            f"half of the {len(self._sides)} boxes are less than {SMALLEST_M:g} m long; are sizes "
            "in metres?"
        )

    def _about_boxes(self) -> str:
        if not self._num_scenes or self._sides:
            return ""
        return f"none of {self._num_scenes} scenes has a box; are all labels still to be written?"

    def _about_points(self) -> str:
        num_few = sum(num < FEW_POINTS for num in self._num_points)
        if 2 * num_few > len(self._num_points):
            return (
                f"{num_few} of {len(self._num_points)} boxes hold fewer than {FEW_POINTS} points; "
                "are boxes and points in one frame, in metres, with z up, and sizes full extents?"
            )
        return _first_of(
            self._empty, "boxes hold no point", "; remove what the sensor did not see"
        )


def _first_of(places: Sequence[str], what: str, remedy: str) -> str:
    return f"{len(places)} {what}, the first {places[0]}{remedy}" if places else ""
