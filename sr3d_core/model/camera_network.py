"""The camera student: color images in, the predictions of the point-cloud network out.

An image network says of every cell of 8 x 8 pixels what is there and how far away; `lift` makes
voxels of that, on the lattice that the point-cloud network has after its second stage; from there
on it is that network, stage by stage, and may start from its weights. Images need the camera's
intrinsics and pose, so that z points up in what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import ConfigDict
from torch import Tensor, nn
from torch.nn import functional

from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.geometry.camera import pixel_centers, resized_intrinsics, unproject
from sr3d_core.model.backbone import stage
from sr3d_core.model.camera_told import OF_CELLS, heights_m, told_of_cells, told_of_pixels
from sr3d_core.model.cell_objects import CellObjects, num_told
from sr3d_core.model.depth import DepthBins
from sr3d_core.model.head import Head
from sr3d_core.model.heights import NUM_HEIGHTS, at_heights, heights_of_bins
from sr3d_core.model.image import PYRAMID, STRIDE, TIMM, ImageNetwork
from sr3d_core.model.lift import lift, picked
from sr3d_core.model.neck import Neck
from sr3d_core.model.network import Architecture, LevelOutput, decoded
from sr3d_core.sparse.engine import engine_for
from sr3d_core.sparse.engine_list import Backend
from sr3d_core.sparse.tensor import SparseTensor
from sr3d_core.structures import Boxes3D, Images, Predictions

_SURFACE_M = 0.05  # what is seen of an object lies on the faces of its box, and depth is noisy
_SAME_SHAPE = 0.95  # of a side: images of Kinects are near enough to 4 : 3, 16 : 9 is not
_OF_POINTS = ("backbone.layer3.", "backbone.layer4.", "neck.", "head.")
"""What begins the names of the tensors that student and point-cloud network have in common."""


@dataclass(frozen=True, kw_only=True)
class CameraArchitecture:
    """What the student is built of, up to the voxels; from there on it is an `Architecture`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    image: str = "res_small"
    """res_small, res_lite, resnet18 (.8, 2.9, 11 million parameters), or one of timm such as
    timm:mobilenetv3_small_100."""
    input: Literal["rgb", "depth"] = "rgb"
    """What its images show: colors, or the depth that belongs to them, to teach another one by."""
    size: tuple[int, int] = (320, 240)
    """Width and height that images are brought to, in pixels; multiples of 8. One of another shape
    becomes as large as fits into it."""
    channels: int = 64
    """Of the image features."""
    depth: DepthBins = field(default_factory=DepthBins)
    by_height: bool = True
    """Whether depth is also told by height above the floor, where the camera's is known."""
    cell_objects: bool = True
    """Whether cells also tell what they show: its class, where its middle is, how large it is."""
    lift: Literal["distribution", "point", "smear"] = "distribution"
    """distribution: into every bin of depth that is likely enough. point: into the likeliest one.
    smear: into all, each alike, as ImVoxelNet does (arXiv 2106.01178)."""
    minimum_probability: float = 0.02
    """Bins that are less likely are left out by `distribution`, the likeliest apart."""

    def __post_init__(self) -> None:
        """Refuse sizes that no image can have."""
        if min(self.size) < STRIDE or any(side % STRIDE for side in self.size):
            raise ValueError(f"size is {self.size}, expected two multiples of {STRIDE}")
        if self.channels < 1:
            raise ValueError(f"channels is {self.channels}, expected at least 1")
        if not 0.0 <= self.minimum_probability < 1.0:
            raise ValueError(
                f"minimum_probability is {self.minimum_probability}, expected from 0 to below 1"
            )


@dataclass(frozen=True, slots=True, eq=False)
class CellOutput:
    """What the student says of the cells of images, before they become voxels; D bins."""

    images: Images  # as the network saw them: of its own size
    rays: Float[Tensor, "B h w 3"]  # what a metre of depth adds to the camera's place
    pyramid: tuple[Float[Tensor, "B _ _ _"], ...]  # of the image network, finest level first
    cells: Float[Tensor, "B C h w"]  # what all that is said of a cell is made of
    depth_logits: Float[Tensor, "B h w D"]
    centers_m: Float[Tensor, "B D"]  # depth of the bins' centres
    objects: CellObjects | None  # where the network tells them


@dataclass(frozen=True, slots=True, eq=False)
class CameraOutput(CellOutput):
    """What the student makes of images, before boxes are decoded."""

    lifted: SparseTensor  # on the lattice of the point-cloud network's second stage
    levels: tuple[LevelOutput, LevelOutput]  # fine level first
    features: tuple[SparseTensor, SparseTensor]  # what the head saw, fine level first


class CameraSR3D(nn.Module):
    """Images of one or several scenes in, predictions at all their anchor points out."""

    backend: Backend = "auto"
    """Which engine multiplies; may be changed at any time."""
    sees_depth: bool = False
    """Whether cells are lifted to where the images' depth says that they are, as if the student's
    own were perfect; a cell whose depth is unknown is nowhere. May be changed at any time."""

    def __init__(self, architecture: Architecture, camera: CameraArchitecture) -> None:
        super().__init__()
        self.architecture, self.camera = architecture, camera
        points, channels = architecture, camera.channels
        self.image = ImageNetwork(camera.image, channels, camera.size)
        self.mix = nn.Sequential(nn.Conv2d(channels + OF_CELLS, channels, 1), nn.ReLU())
        self.depth = branch(channels, camera.depth.bins)
        self.height = branch(channels, NUM_HEIGHTS) if camera.by_height else None
        told = num_told(points.num_classes) if camera.cell_objects else 0
        self.objects = branch(channels, told) if camera.cell_objects else None
        self.context = nn.Sequential(*branch(channels, points.widths[1], told), nn.ReLU())
        sizes = zip(points.widths[1:3], points.widths[2:], points.depths[2:], strict=True)
        third, fourth = (stage(*each) for each in sizes)
        self.backbone = nn.ModuleDict({"layer3": third, "layer4": fourth})
        self.neck = Neck(
            points.widths[1:],
            points.neck_channels,
            points.neck_depth,
            points.grow_coarse,
            points.grow_fine,
        )
        has_quality = points.quality_exponent is not None
        rows = points.regression_rows
        self.head = Head(points.neck_channels, points.num_classes, rows, has_quality, points.front)

    @property
    def engine_name(self) -> str:
        """The engine that multiplies, also where `backend` is "auto"."""
        return engine_for(self.backend, next(self.parameters()).device).name

    def start_from(self, teacher: nn.Module) -> None:
        """Take the later stages of a teacher, a network of clouds or of images.

        Raises ValueError where they are built differently.
        """
        given = {
            name: tensor
            for name, tensor in teacher.state_dict().items()
            if name.startswith(_OF_POINTS)
        }
        own = {n: t.shape for n, t in self.state_dict().items() if n.startswith(_OF_POINTS)}
        if own != {name: tensor.shape for name, tensor in given.items()}:
            raise ValueError(
                "the teacher's later stages are built differently from the student's; expected "
                "the same widths, depths, classes and coding of boxes"
            )
        self.load_state_dict(given, strict=False)

    def take_cells_from(self, other: CameraSR3D) -> tuple[str, ...]:
        """Take what comes before the later stages of another one whose `camera` is the same.

        Returns what stays as it is here: branches that are built by other classes or widths.
        """
        afresh, later = [], {part.partition(".")[0] for part in _OF_POINTS}
        for name, own in self.named_children():
            if name in later:
                continue
            given, wanted = other.get_submodule(name).state_dict(), own.state_dict()
            if {n: t.shape for n, t in given.items()} == {n: t.shape for n, t in wanted.items()}:
                own.load_state_dict(given)
            else:
                afresh.append(name)
        return tuple(afresh)

    def forward(self, images: Images) -> Predictions:
        """Boxes in metres and logits at every anchor point; what `SR3D` says of a cloud."""
        return self.look(images)[0]

    def look(self, images: Images) -> tuple[Predictions, CameraOutput]:
        """The same, and what it is made from."""
        output = self.raw(images)
        predictions = decoded(output.levels, self.architecture, is_training=self.training)
        return predictions, output

    def of_cells(self, images: Images) -> CellOutput:
        """What it says of the cells of images, whatever their size: without a voxel."""
        images = fitted(images, seen_size(images, self.camera))
        pixels = images.pixels if self.camera.input == "rgb" else depth_pixels(images)
        maps = told_of_pixels(images, self.camera.depth) if self.image.sees_camera else None
        pyramid = self.image.pyramid(pixels, maps)
        features = self.image.joined(pyramid)
        rays = cell_rays(images)
        features = self.mix(torch.cat([features, told_of_cells(images, rays)], dim=1))
        centers_m = self.camera.depth.centers_m(images.intrinsics[:, 0, 0].float())
        depth_logits = self._depth_logits(features, images, rays, centers_m)
        objects = None if self.objects is None else CellObjects.of(self.objects(features))
        return CellOutput(images, rays, tuple(pyramid), features, depth_logits, centers_m, objects)

    def raw(self, images: Images) -> CameraOutput:
        """All that the student says of images, whatever their size."""
        seen = self.of_cells(images)
        context = self.context(_with_objects(seen)).permute(0, 2, 3, 1).float()
        if self.sees_depth:
            depths_m = cell_depth(seen.images)[..., None]
            chance = (depths_m > 0).to(context.dtype)
        else:
            chance = self._chance(seen.depth_logits)
            depths_m = seen.centers_m[:, None, None].expand_as(chance)
        lifted = self._lifted(seen, depths_m, chance, context)
        middle = self.backbone["layer3"](lifted)
        levels = self.neck((lifted, middle, self.backbone["layer4"](middle)))
        fine, coarse = (LevelOutput(x.coords, x.stride, *self.head(x.features)) for x in levels)
        return CameraOutput(
            seen.images,
            seen.rays,
            seen.pyramid,
            seen.cells,
            seen.depth_logits,
            seen.centers_m,
            seen.objects,
            lifted,
            (fine, coarse),
            levels,
        )

    def _depth_logits(
        self,
        features: Float[Tensor, "B C h w"],
        images: Images,
        rays: Float[Tensor, "B h w 3"],
        centers_m: Float[Tensor, "B D"],
    ) -> Float[Tensor, "B h w D"]:
        by_depth: Tensor = self.depth(features).permute(0, 2, 3, 1).float()
        if self.height is None:
            return by_depth
        by_height = self.height(features).permute(0, 2, 3, 1).float()
        of_bins = heights_of_bins(heights_m(images), rays, centers_m)
        return by_depth + at_heights(by_height, of_bins)

    def _chance(self, depth_logits: Float[Tensor, "B h w D"]) -> Float[Tensor, "B h w D"]:
        """How likely each cell is in each bin, 0 where it is not to be lifted."""
        if self.camera.lift == "smear":
            return torch.ones_like(depth_logits)
        probability = depth_logits.softmax(dim=-1)
        is_kept = probability == probability.amax(dim=-1, keepdim=True)
        if self.camera.lift == "distribution":
            is_kept |= probability >= self.camera.minimum_probability
        return torch.where(is_kept, probability, 0.0)

    def _lifted(
        self,
        seen: CellOutput,
        depths_m: Float[Tensor, "B h w D"],
        chance: Float[Tensor, "B h w D"],
        context: Float[Tensor, "B h w C"],
    ) -> SparseTensor:
        pose = seen.images.world_from_camera[:, None, None, None]
        rays = seen.rays
        points = pose[..., :3, 3].to(rays.dtype) + rays[:, :, :, None] * depths_m[..., None].to(
            rays.dtype
        )
        architecture = self.architecture
        return lift(
            picked(points, chance, context, chance > 0),
            architecture.voxel_size_m,
            architecture.fine_stride,
            engine_for(self.backend, context.device),
        )


def branch(channels: int, out_channels: int, beside: int = 0) -> nn.Sequential:
    """What is said of every cell, of the student's features of cells; any number.

    `beside` is how many channels more it sees.
    """
    return nn.Sequential(
        nn.Conv2d(channels + beside, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, out_channels, 1),
    )


def _with_objects(seen: CellOutput) -> Float[Tensor, "B C h w"]:
    """Features of cells, and what is told of their objects beside them."""
    if seen.objects is None:
        return seen.cells
    return torch.cat([seen.cells, seen.objects.told(seen.images).to(seen.cells.dtype)], dim=1)


def seen_size(images: Images, camera: CameraArchitecture) -> tuple[int, int]:
    """Width and height that a network sees images at: within its own, and nearly of their shape.

    A network that learnt from square pixels would take what is squeezed for something else. Sides
    are multiples of the stride, of the coarsest one for networks of timm.
    """
    height, width = images.pixels.shape[-2:]
    scale = min(camera.size[0] / width, camera.size[1] / height)
    own = width * scale, height * scale
    if all(side >= _SAME_SHAPE * most for side, most in zip(own, camera.size, strict=True)):
        return camera.size
    step = PYRAMID[-1] if camera.image.startswith(TIMM) else STRIDE
    wide, high = (max(step, step * round(side / step)) for side in own)
    return min(wide, camera.size[0]), min(high, camera.size[1])


def fitted(images: Images, size: tuple[int, int]) -> Images:
    """The same images, width x height pixels, with intrinsics that fit; depth is picked."""
    width, height = size
    before = images.pixels.shape[-2:]
    if before == (height, width):
        return images
    pixels = functional.interpolate(
        images.pixels, (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    depth = images.depth
    if depth is not None:
        depth = functional.interpolate(depth[:, None], (height, width), mode="nearest-exact")[:, 0]
    scales = width / before[1], height / before[0]
    intrinsics = resized_intrinsics(images.intrinsics, *scales)
    return Images(pixels, intrinsics, images.world_from_camera, depth, images.height)


def cell_rays(images: Images) -> Float[Tensor, "B h w 3"]:
    """What one metre of depth adds to the camera's place, for the centre of every cell."""
    height, width = (side // STRIDE for side in images.pixels.shape[-2:])
    pixels = pixel_centers(height, width, STRIDE).double().to(images.pixels.device)
    depth = pixels.new_ones(len(images), len(pixels))
    pose = images.world_from_camera.double()
    points = unproject(pixels.expand(len(images), -1, -1), depth, images.intrinsics.double(), pose)
    return (points - pose[:, None, :3, 3]).reshape(len(images), height, width, 3)


def cells_on(images: Images, boxes: Boxes3D) -> Bool[Tensor, "N K"]:
    """Which cells of one image show which boxes, by its depth; none where that is unknown."""
    if images.depth is None:
        num_cells = (images.pixels.shape[-2] // STRIDE) * (images.pixels.shape[-1] // STRIDE)
        return torch.zeros(num_cells, len(boxes), dtype=torch.bool, device=boxes.center.device)
    is_known = cell_depth(images)[0].flatten() > 0
    xyz = cell_points(images)[0].reshape(-1, 3)
    grown = Boxes3D(boxes.center, boxes.size + 2 * _SURFACE_M, boxes.yaw)
    return points_in_boxes(xyz.to(boxes.center.dtype), grown) & is_known[:, None]


def cell_points(images: Images) -> Float[Tensor, "B h w 3"]:
    """Where what every cell shows is, by the images' depth; at the camera where it is unknown."""
    place = images.world_from_camera[:, None, None, :3, 3].double()
    return place + cell_rays(images) * cell_depth(images)[..., None].double()


def cell_depth(images: Images) -> Float[Tensor, "B h w"]:
    """Depth in metres of the pixel in the middle of every cell, 0 where it is unknown."""
    if images.depth is None:
        raise ValueError("images have no depth; expected that of every pixel, 0 where unknown")
    half = STRIDE // 2
    return _known(images.depth[:, half::STRIDE, half::STRIDE])


def _known(depth: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Depth as it is, 0 where it is no finite number: infinity is no distance to learn."""
    return depth.nan_to_num(0.0, posinf=0.0, neginf=0.0)


def depth_pixels(images: Images) -> Float[Tensor, "B 3 H W"]:
    """Depth as an image: 1 / depth in 1/metres, whether it is known, and the height in metres.

    Heights are above the world's zero, 0 where unknown.
    """
    if images.depth is None:
        raise ValueError("images have no depth; expected that of every pixel, 0 where unknown")
    depth = _known(images.depth)
    is_known = depth > 0
    rows, columns = (
        torch.arange(side, dtype=torch.float64, device=depth.device) for side in depth.shape[-2:]
    )
    to_camera = torch.linalg.inv(images.intrinsics.double())
    upwards = torch.einsum("bi,bij->bj", images.world_from_camera[:, 2, :3].double(), to_camera)
    slope = upwards[:, 0, None, None] * columns + upwards[:, 1, None, None] * rows[:, None]
    slope = slope + upwards[:, 2, None, None]
    height = images.world_from_camera[:, 2, 3, None, None].double() + slope * depth
    inverse = 1 / depth.clamp(min=1e-3)
    parts = [torch.where(is_known, part, 0.0) for part in (inverse, height.to(depth.dtype))]
    return torch.stack([parts[0], is_known.to(depth.dtype), parts[1]], dim=1)
