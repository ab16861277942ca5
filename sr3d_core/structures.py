"""The nouns: records that travel between the parts of SR3D.

Flat batches: points, voxels and predictions of all scenes are one tensor each, and `scene` says
which scene a row belongs to. Metres and radians, z up; colors 0..1.
N points, P predictions, M boxes, D detections, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

UNKNOWN_COLOR = float("nan")
"""What a color channel holds where the sensor gave none."""


def _places(index: Tensor | slice, num: int) -> Tensor | slice:
    """A mask over `num` rows as the numbers of its rows, anything else as it is."""
    if isinstance(index, slice) or index.dtype != torch.bool:
        return index
    if index.shape != (num,):
        raise IndexError(
            f"mask of shape {tuple(index.shape)}, expected one value for each of {num}"
        )
    return index.nonzero()[:, 0]


def _rows(column: Tensor, places: Tensor | slice) -> Tensor:
    """The rows at these places.

    By `index_select`, which takes a third of the time of `column[places]` on a CPU, and over some
    thousand rows does not wait for other threads, which on a busy computer takes milliseconds.
    """
    return column[places] if isinstance(places, slice) else column.index_select(0, places)


@dataclass(frozen=True, slots=True, eq=False)
class PointCloud:
    """Points of one or several scenes, z up."""

    xyz: Float[Tensor, "N 3"]  # metres
    features: Float[Tensor, "N 3"]  # red, green, blue in 0..1; NaN where unknown
    scene: Int[Tensor, " N"]  # int64, which scene of the batch a point belongs to

    @classmethod
    def single(cls, xyz: Float[Tensor, "N 3"], rgb: Float[Tensor, "N 3"] | None) -> PointCloud:
        """A cloud of one scene; colors unknown where `rgb` is None."""
        color = torch.full_like(xyz, UNKNOWN_COLOR) if rgb is None else rgb
        scene = torch.zeros(len(xyz), dtype=torch.int64, device=xyz.device)
        return cls(xyz=xyz, features=color, scene=scene)

    def __len__(self) -> int:
        return len(self.xyz)

    def __getitem__(self, index: Tensor | slice) -> PointCloud:
        """The points that a mask, an index tensor or a slice selects."""
        at = _places(index, len(self))
        return PointCloud(_rows(self.xyz, at), _rows(self.features, at), _rows(self.scene, at))

    def to(self, device: torch.device | str) -> PointCloud:
        """The same cloud on another device."""
        return PointCloud(self.xyz.to(device), self.features.to(device), self.scene.to(device))

    def transformed(self, target_from_source: Float[Tensor, "4 4"]) -> PointCloud:
        """The cloud in another frame: `p' = R p + t`, computed in the matrix's precision."""
        matrix = target_from_source.to(self.xyz.device)
        xyz = torch.addmm(matrix[:3, 3], self.xyz.to(matrix.dtype), matrix[:3, :3].T)
        return PointCloud(xyz.to(self.xyz.dtype), self.features, self.scene)


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Color images of one size, rectified, with where their cameras stood.

    A camera looks along +z, x to the right and y down (REP-103's optical frame); pixel centres are
    at whole numbers, that of the first pixel at 0.
    """

    pixels: Float[Tensor, "B 3 H W"]  # red, green, blue in 0..1, as the camera encodes them (sRGB)
    intrinsics: Float[Tensor, "B 3 3"]  # pixels: `u = fx x/z + cx`, `v = fy y/z + cy`
    world_from_camera: Float[Tensor, "B 4 4"]  # metres, the world z up
    depth: Float[Tensor, "B H W"] | None = None  # metres along z, 0 where unknown; for training
    height: Float[Tensor, " B"] | None = None  # metres above the floor; NaN: unknown

    @classmethod
    def cat(cls, parts: Sequence[Images]) -> Images:
        """All images of `parts`, in order, of one size.

        Depth and height are unknown for parts that have none, and None where no part has any.
        `parts` has at least one entry.
        """
        depths = [
            torch.zeros_like(part.pixels[:, 0]) if part.depth is None else part.depth
            for part in parts
        ]
        heights = [
            part.pixels.new_full((len(part),), torch.nan) if part.height is None else part.height
            for part in parts
        ]
        has_depth = any(part.depth is not None for part in parts)
        has_height = any(part.height is not None for part in parts)
        return cls(
            torch.cat([part.pixels for part in parts]),
            torch.cat([part.intrinsics for part in parts]),
            torch.cat([part.world_from_camera for part in parts]),
            torch.cat(depths) if has_depth else None,
            torch.cat(heights) if has_height else None,
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Tensor | slice) -> Images:
        """The images that a mask, an index tensor or a slice selects."""
        depth = None if self.depth is None else self.depth[index]
        height = None if self.height is None else self.height[index]
        place = self.world_from_camera[index]
        return Images(self.pixels[index], self.intrinsics[index], place, depth, height)

    def to(self, device: torch.device | str) -> Images:
        """The same images on another device."""
        return Images(
            self.pixels.to(device),
            self.intrinsics.to(device),
            self.world_from_camera.to(device),
            None if self.depth is None else self.depth.to(device),
            None if self.height is None else self.height.to(device),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Boxes3D:
    """Upright boxes: geometric centre, full extents, counter-clockwise yaw about +z.

    `size` is (dx, dy, dz) with dx along the heading; yaw 0 points along +x.
    """

    center: Float[Tensor, "M 3"]  # metres
    size: Float[Tensor, "M 3"]  # metres, full extents
    yaw: Float[Tensor, " M"]  # radians

    @classmethod
    def from_array(cls, rows: Float[Tensor, "M C"]) -> Boxes3D:
        """Boxes of rows `x y z dx dy dz [yaw]`; six columns mean yaw 0."""
        if rows.ndim != 2 or rows.shape[1] not in (6, 7):
            raise ValueError(
                f"box rows have shape {tuple(rows.shape)}, expected (M, 6) or (M, 7): "
                "x y z dx dy dz [yaw]"
            )
        yaw = rows[:, 6] if rows.shape[1] == 7 else rows.new_zeros(len(rows))
        return cls(center=rows[:, 0:3], size=rows[:, 3:6], yaw=yaw)

    @classmethod
    def empty(cls, device: torch.device | str = "cpu") -> Boxes3D:
        """No boxes."""
        return cls.from_array(torch.zeros(0, 7, device=device))

    @classmethod
    def cat(cls, parts: Sequence[Boxes3D]) -> Boxes3D:
        """All boxes of `parts`, in order; `parts` has at least one entry."""
        return cls(
            torch.cat([part.center for part in parts]),
            torch.cat([part.size for part in parts]),
            torch.cat([part.yaw for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.center)

    def __getitem__(self, index: Tensor | slice) -> Boxes3D:
        """The boxes that a mask, an index tensor or a slice selects."""
        at = _places(index, len(self))
        return Boxes3D(_rows(self.center, at), _rows(self.size, at), _rows(self.yaw, at))

    @property
    def array(self) -> Float[Tensor, "M 7"]:
        """Rows `x y z dx dy dz yaw`."""
        return torch.cat([self.center, self.size, self.yaw[:, None]], dim=1)

    def to(self, device: torch.device | str) -> Boxes3D:
        """The same boxes on another device."""
        return Boxes3D(self.center.to(device), self.size.to(device), self.yaw.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Ground truth of one scene."""

    boxes: Boxes3D
    labels: Int[Tensor, " M"]  # int64, index into the class names
    ignored: Targets | None = None  # objects of which too little is seen to ask for their boxes
    seen: Float[Tensor, " M"] | None = None  # share of each that is seen, 0..1; None: not known

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> Targets:
        """The boxes that a mask, an index tensor or a slice selects, beside all ignored ones."""
        at = _places(index, len(self))
        seen = None if self.seen is None else _rows(self.seen, at)
        return Targets(self.boxes[at], _rows(self.labels, at), self.ignored, seen)

    def map_boxes(self, change: Callable[[Boxes3D], Boxes3D]) -> Targets:
        """The same objects with changed boxes, also those of ignored ones."""
        ignored = None if self.ignored is None else self.ignored.map_boxes(change)
        return Targets(change(self.boxes), self.labels, ignored, self.seen)

    @property
    def all_boxes(self) -> Boxes3D:
        """The boxes, then those of ignored objects."""
        ignored = [] if self.ignored is None else [self.ignored.boxes]
        return Boxes3D.cat([self.boxes, *ignored])

    def with_boxes(self, boxes: Boxes3D) -> Targets:
        """The same objects with other boxes, in the order of `all_boxes`."""
        ignored = None
        if self.ignored is not None:
            ignored = self.ignored.with_boxes(boxes[len(self) :])
        return Targets(boxes[: len(self)], self.labels, ignored, self.seen)

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        ignored = None if self.ignored is None else self.ignored.to(device)
        seen = None if self.seen is None else self.seen.to(device)
        return Targets(self.boxes.to(device), self.labels.to(device), ignored, seen)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One labelled scene."""

    cloud: PointCloud  # one scene, `scene` all 0
    targets: Targets
    name: str  # where it comes from, for reports and errors
    images: Images | None = None  # one, of what the cloud shows; where it is known and wanted
    is_labelled: bool = True  # False: nobody has said what is there, `targets` are none


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Several scenes; `targets[i]` belongs to the points with `scene == i`."""

    cloud: PointCloud
    targets: tuple[Targets, ...]
    names: tuple[str, ...]
    images: Images | None = None  # one of each scene, in order; None where a scene has none
    unlabelled: tuple[int, ...] = ()  # the scenes whose targets are not known

    @classmethod
    def collate(cls, samples: Sequence[Sample]) -> Batch:
        """One batch of several samples, in order."""
        scene = [torch.full((len(s.cloud),), i) for i, s in enumerate(samples)]
        cloud = PointCloud(
            torch.cat([sample.cloud.xyz for sample in samples]),
            torch.cat([sample.cloud.features for sample in samples]),
            torch.cat(scene),
        )
        targets, names = tuple(s.targets for s in samples), tuple(s.name for s in samples)
        images = [sample.images for sample in samples if sample.images is not None]
        has_images = len(images) == len(samples) > 0
        unlabelled = tuple(i for i, sample in enumerate(samples) if not sample.is_labelled)
        return cls(cloud, targets, names, Images.cat(images) if has_images else None, unlabelled)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        targets = tuple(target.to(device) for target in self.targets)
        images = None if self.images is None else self.images.to(device)
        return Batch(self.cloud.to(device), targets, self.names, images, self.unlabelled)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the network says at every anchor point of every scene."""

    anchors: Float[Tensor, "P 3"]  # metres
    boxes: Boxes3D
    logits: Float[Tensor, "P K"]
    level: Int[Tensor, " P"]  # 0 is the finest level
    scene: Int[Tensor, " P"]
    quality: Float[Tensor, " P"] | None = None  # logit of the IoU that is expected of each box
    front: Float[Tensor, "P 4"] | None = None  # logits of its front towards +x, +y, -x, -y
    level_stride_m: tuple[float, ...] = ()  # between neighbouring anchors of each level

    def __len__(self) -> int:
        return len(self.anchors)

    def __getitem__(self, index: Tensor | slice) -> Predictions:
        """The predictions that a mask, an index tensor or a slice selects."""
        at = _places(index, len(self))
        return Predictions(
            _rows(self.anchors, at),
            self.boxes[at],
            _rows(self.logits, at),
            _rows(self.level, at),
            _rows(self.scene, at),
            None if self.quality is None else _rows(self.quality, at),
            None if self.front is None else _rows(self.front, at),
            self.level_stride_m,
        )

    def of_scene(self, scene: int) -> Predictions:
        """The predictions of one scene."""
        return self[self.scene == scene]


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Which ground-truth box each prediction of one scene is trained towards."""

    target: Int[Tensor, " P"]  # index into the scene's targets, -1 = background
    weight: Float[Tensor, " P"]  # 1 unless an assigner says otherwise

    @property
    def is_positive(self) -> Bool[Tensor, " P"]:
        """Which predictions are trained towards a box."""
        return self.target >= 0


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """The terms of the training loss, each already normalised and weighted."""

    classification: Float[Tensor, ""]
    box: Float[Tensor, ""]
    num_positives: int
    quality: Float[Tensor, ""] | None = None  # None: not asked for, as the others
    consistency: Float[Tensor, ""] | None = None
    front: Float[Tensor, ""] | None = None
    depth: Float[Tensor, ""] | None = None  # this and those that follow: of a camera student
    cell_objects: Float[Tensor, ""] | None = None
    features: Float[Tensor, ""] | None = None
    relations: Float[Tensor, ""] | None = None
    response: Float[Tensor, ""] | None = None
    centre: Float[Tensor, ""] | None = None

    @property
    def terms(self) -> dict[str, Float[Tensor, ""]]:
        """The terms that there are, by the names of their fields."""
        named = {
            "classification": self.classification,
            "box": self.box,
            "quality": self.quality,
            "consistency": self.consistency,
            "front": self.front,
            "depth": self.depth,
            "cell_objects": self.cell_objects,
            "features": self.features,
            "relations": self.relations,
            "response": self.response,
            "centre": self.centre,
        }
        return {name: term for name, term in named.items() if term is not None}

    @property
    def total(self) -> Float[Tensor, ""]:
        """What is minimised."""
        first, *others = self.terms.values()
        for term in others:
            first = first + term
        return first


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes found in one scene, sorted by falling score."""

    boxes: Boxes3D
    scores: Float[Tensor, " D"]  # 0..1
    labels: Int[Tensor, " D"]  # int64, index into the class names
    time_ms: dict[str, float] = field(default_factory=dict)  # wall time per stage, may be empty
    facing: Float[Tensor, " D"] | None = None  # where fronts point, while yaws do not say it yet
    depth_std_m: Float[Tensor, " D"] | None = None
    """Of boxes that a color image gave: how far off along the line of sight they may be, one
    standard deviation, NaN where unknown. None: of a cloud."""

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Tensor | slice) -> Detections:
        """The detections that a mask, an index tensor or a slice selects."""
        at = _places(index, len(self))
        return Detections(
            self.boxes[at],
            _rows(self.scores, at),
            _rows(self.labels, at),
            self.time_ms,
            None if self.facing is None else _rows(self.facing, at),
            None if self.depth_std_m is None else _rows(self.depth_std_m, at),
        )

    @classmethod
    def empty(cls, device: torch.device | str = "cpu") -> Detections:
        """Nothing found."""
        return cls(
            Boxes3D.empty(device),
            torch.zeros(0, device=device),
            torch.zeros(0, dtype=torch.int64, device=device),
        )

    def to(self, device: torch.device | str) -> Detections:
        """The same detections on another device."""
        return Detections(
            self.boxes.to(device),
            self.scores.to(device),
            self.labels.to(device),
            self.time_ms,
            None if self.facing is None else self.facing.to(device),
            None if self.depth_std_m is None else self.depth_std_m.to(device),
        )
