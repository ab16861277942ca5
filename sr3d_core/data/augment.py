"""Random changes of a labelled scene that keep it a plausible room.

Order (as the published recipes do it): choose points, stretch single objects, stretch heights,
flip, rotate about z, tilt, scale, move, then colors. All geometry of one draw but for that of
single objects is one 3x3 matrix and one offset for the points; boxes follow by the functions
below. Axes: `flip_x` mirrors x, so a box's yaw becomes pi - yaw.

The scene as a whole is stretched along z only: x and y grown apart would shear every box that is
not square to them, and a sheared box is none. Single objects are stretched along their own axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from sr3d_core.data.object_stretch import stretch_objects
from sr3d_core.structures import UNKNOWN_COLOR, Boxes3D, PointCloud, Sample, Targets


def flip_x(boxes: Boxes3D) -> Boxes3D:
    """Boxes mirrored in the plane x = 0."""
    sign = boxes.center.new_tensor([-1.0, 1.0, 1.0])
    return Boxes3D(boxes.center * sign, boxes.size, math.pi - boxes.yaw)


def flip_y(boxes: Boxes3D) -> Boxes3D:
    """Boxes mirrored in the plane y = 0."""
    sign = boxes.center.new_tensor([1.0, -1.0, 1.0])
    return Boxes3D(boxes.center * sign, boxes.size, -boxes.yaw)


def rotate_z(boxes: Boxes3D, angle_rad: float) -> Boxes3D:
    """Boxes turned counter-clockwise about the z axis through the origin."""
    return Boxes3D(
        boxes.center @ _about_z(angle_rad).to(boxes.center).T, boxes.size, boxes.yaw + angle_rad
    )


def enclose_rotated(boxes: Boxes3D, angle_rad: float) -> Boxes3D:
    """As `rotate_z`, then the smallest axis-aligned boxes around the result, own yaw included."""
    angle = boxes.yaw.double() + angle_rad
    cos, sin = angle.cos().abs().to(boxes.size), angle.sin().abs().to(boxes.size)
    dx, dy, dz = boxes.size.unbind(dim=1)
    size = torch.stack([dx * cos + dy * sin, dx * sin + dy * cos, dz], dim=1)
    return Boxes3D(rotate_z(boxes, angle_rad).center, size, torch.zeros_like(boxes.yaw))


def scale(boxes: Boxes3D, factor: float) -> Boxes3D:
    """Boxes grown about the origin."""
    return Boxes3D(boxes.center * factor, boxes.size * factor, boxes.yaw)


def scale_z(boxes: Boxes3D, factor: float) -> Boxes3D:
    """Boxes grown about the plane z = 0, upwards and downwards alone."""
    growth = boxes.center.new_tensor([1.0, 1.0, factor])
    return Boxes3D(boxes.center * growth, boxes.size * growth, boxes.yaw)


@dataclass(frozen=True, slots=True, eq=False)
class SceneTransform:
    """One draw of the geometric changes."""

    flip_x: bool
    flip_y: bool
    rotate_rad: float
    tilt_rad: tuple[float, float]  # about x and about y
    scale: float
    translate_m: Float[Tensor, " 3"]
    scale_z: float = 1.0  # of heights, before all else and beside `scale`

    def points(self, xyz: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Where the points go."""
        return xyz @ self._matrix().to(xyz).T + self.translate_m.to(xyz)

    def originals(self, xyz: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Where points came from: undoes `points`."""
        return (xyz - self.translate_m.to(xyz)) @ torch.linalg.inv(self._matrix()).to(xyz).T

    def boxes(self, boxes: Boxes3D, axis_aligned: bool) -> Boxes3D:
        """Where the boxes go; they stay upright, a tilt moves their centres only."""
        # Modulo half a turn, which is all an enclosing box depends on, both flips negate the yaw;
        # unlike pi - yaw that leaves yaw 0 exact.
        half_turn_yaw = -boxes.yaw if self.flip_x != self.flip_y else boxes.yaw
        boxes = scale_z(boxes, self.scale_z)
        if self.flip_x:
            boxes = flip_x(boxes)
        if self.flip_y:
            boxes = flip_y(boxes)
        if axis_aligned:
            boxes = Boxes3D(boxes.center, boxes.size, half_turn_yaw)
        turn = enclose_rotated if axis_aligned else rotate_z
        boxes = turn(boxes, self.rotate_rad)
        tilted = boxes.center @ self._tilt().to(boxes.center).T
        boxes = scale(Boxes3D(tilted, boxes.size, boxes.yaw), self.scale)
        return Boxes3D(boxes.center + self.translate_m.to(boxes.center), boxes.size, boxes.yaw)

    def _matrix(self) -> Float[Tensor, "3 3"]:
        signs = [-1.0 if self.flip_x else 1.0, -1.0 if self.flip_y else 1.0, self.scale_z]
        matrix = self._tilt() @ _about_z(self.rotate_rad) @ torch.diag(torch.tensor(signs))
        return self.scale * matrix

    def _tilt(self) -> Float[Tensor, "3 3"]:
        (a, b) = self.tilt_rad
        about_x = [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]
        about_y = [[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]]
        return torch.tensor(about_y, dtype=torch.float32) @ torch.tensor(
            about_x, dtype=torch.float32
        )


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Change a sample at random; the defaults change nothing."""

    flip_x: float = 0.0
    """Probability 0..1 of mirroring x."""
    flip_y: float = 0.0
    """Probability 0..1 of mirroring y."""
    rotate_rad: tuple[float, float] = (0.0, 0.0)
    """Range of the turn about z."""
    tilt_rad: float = 0.0
    """Largest gravity error: turns about x and about y are drawn from -tilt_rad..tilt_rad."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the growth about the origin; above 0."""
    scale_z: tuple[float, float] = (1.0, 1.0)
    """Range of a further growth of heights alone, about z = 0; above 0."""
    stretch_objects: float = 0.0
    """Probability 0..1, of each object, of being stretched along the axes of its own box together
    with its points, where no other box is in the way."""
    stretch_range: tuple[float, float] = (0.8, 1.25)
    """Range of that stretch, drawn log-uniformly for each axis; above 0."""
    translate_m: float = 0.0
    """Standard deviation of the shift along each axis; at least 0."""
    axis_aligned: bool = False
    """Whether boxes come out with yaw 0: turned ones are enclosed by axis-aligned ones."""
    keep_fraction: tuple[float, float] = (1.0, 1.0)
    """Range of the share of points that stay; above 0, at most 1."""
    max_points: int | None = None
    """How many points may stay at most; None for no limit."""
    drop_color: float = 0.0
    """Probability 0..1 that all colors become unknown."""
    jitter_color: float = 0.0
    """Gain and offset of each channel are drawn from 1 and 0 plus -jitter..jitter; 0..1."""

    def __post_init__(self) -> None:
        for name in ("flip_x", "flip_y", "stretch_objects", "drop_color", "jitter_color"):
            self._expect(name, 0.0 <= getattr(self, name) <= 1.0, "0..1")
        for name in ("tilt_rad", "translate_m"):
            self._expect(name, 0.0 <= getattr(self, name) < math.inf, "at least 0")
        self._expect("rotate_rad", _is_range(self.rotate_rad), "a range low..high")
        for name in ("scale", "scale_z", "stretch_range"):
            pair = getattr(self, name)
            self._expect(name, _is_range(pair) and pair[0] > 0, "a range low..high above 0")
        low, high = self.keep_fraction
        is_share = _is_range(self.keep_fraction) and low > 0 and high <= 1
        self._expect("keep_fraction", is_share, "a range low..high above 0 and at most 1")
        is_count = self.max_points is None or self.max_points >= 1
        self._expect("max_points", is_count, "at least 1, or none")

    def __call__(self, sample: Sample, generator: Generator) -> Sample:
        """A changed copy; the same generator state gives the same copy. Works on the CPU."""
        cloud = self.choose(sample.cloud, generator)
        transform = self.draw(generator)
        cloud = PointCloud(cloud.xyz, self.recolor(cloud.features, generator), cloud.scene)
        cloud, targets = self._stretch(cloud, sample.targets, generator)
        cloud = PointCloud(transform.points(cloud.xyz), cloud.features, cloud.scene)
        targets = targets.map_boxes(lambda boxes: transform.boxes(boxes, self.axis_aligned))
        return Sample(cloud, targets, sample.name)

    def draw(self, generator: Generator) -> SceneTransform:
        """Draw the geometric changes of one sample."""
        u = torch.rand(6, generator=generator).tolist()
        offset = torch.randn(3, generator=generator) * self.translate_m
        return SceneTransform(
            flip_x=u[0] < self.flip_x,
            flip_y=u[1] < self.flip_y,
            rotate_rad=_between(self.rotate_rad, u[2]),
            scale=_between(self.scale, u[3]),
            tilt_rad=((2 * u[4] - 1) * self.tilt_rad, (2 * u[5] - 1) * self.tilt_rad),
            translate_m=offset,
            scale_z=self._draw_scale_z(generator),
        )

    def _draw_scale_z(self, generator: Generator) -> float:
        """Drawn only where it is asked for: trainings without it stay what they were."""
        low, high = self.scale_z
        if low == high:
            return low
        return _between(self.scale_z, torch.rand((), generator=generator).item())

    def _stretch(
        self, cloud: PointCloud, targets: Targets, generator: Generator
    ) -> tuple[PointCloud, Targets]:
        """Single objects stretched, those to be ignored as well.

        The last to be drawn, so that all else is as without it.
        """
        if self.stretch_objects == 0.0:
            return cloud, targets
        boxes = targets.all_boxes
        u = torch.rand(len(boxes), 4, generator=generator)
        low, high = (math.log(factor) for factor in self.stretch_range)
        factor = torch.exp(low + (high - low) * u[:, 1:])
        is_chosen = u[:, :1] < self.stretch_objects
        cloud, boxes = stretch_objects(cloud, boxes, torch.where(is_chosen, factor, 1.0))
        return cloud, targets.with_boxes(boxes)

    def choose(self, cloud: PointCloud, generator: Generator) -> PointCloud:
        """Keep a random share of the points, in random order; at least one stays."""
        return cloud[self.chosen(len(cloud), generator)]

    def chosen(self, num_points: int, generator: Generator) -> Int[Tensor, " M"] | slice:
        """The rows that `choose` keeps of so many."""
        share = _between(self.keep_fraction, torch.rand((), generator=generator).item())
        num_kept = max(1, int(share * num_points))
        if self.max_points is not None:
            num_kept = min(num_kept, self.max_points)
        if num_kept >= num_points:
            return slice(None)
        return torch.randperm(num_points, generator=generator)[:num_kept]

    def recolor(self, color: Float[Tensor, "N 3"], generator: Generator) -> Float[Tensor, "N 3"]:
        """Colors that are changed at random, or unknown from now on."""
        u = torch.rand(7, generator=generator)
        if u[6] < self.drop_color:
            return torch.full_like(color, UNKNOWN_COLOR)
        if self.jitter_color == 0.0:
            return color
        change = (2 * u[:6] - 1).to(color) * self.jitter_color
        return (color * (1 + change[:3]) + change[3:]).clamp(0.0, 1.0)

    def _expect(self, name: str, is_right: bool, expected: str) -> None:
        if not is_right:
            raise ValueError(f"augment.{name}: {getattr(self, name)}, expected {expected}")


def _is_range(pair: tuple[float, float]) -> bool:
    return len(pair) == 2 and -math.inf < pair[0] <= pair[1] < math.inf


def _between(pair: tuple[float, float], share: float) -> float:
    return pair[0] + (pair[1] - pair[0]) * share


def _about_z(angle_rad: float) -> Float[Tensor, "3 3"]:
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
