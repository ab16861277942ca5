"""Points in, labelled boxes out.

`Detector` is the one way to run a trained network: the command line, the ROS node, replay and
evaluation all call it, so what is measured is what is deployed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from sr3d_core.arrays import as_cloud, as_images
from sr3d_core.checkpoint import AnyNetwork, ClassSpread, Manifest, load_any
from sr3d_core.geometry.boxes import corners, facing
from sr3d_core.geometry.camera import pixel_centers, project
from sr3d_core.geometry.front import front_direction
from sr3d_core.geometry.nms import nms
from sr3d_core.geometry.origin import FAR_M, moved, near_zero
from sr3d_core.geometry.thinning import thinned
from sr3d_core.geometry.voting import Voting
from sr3d_core.model.camera_network import CameraSR3D
from sr3d_core.model.chances import ClassCalibration, calibrated
from sr3d_core.model.depth import mean_and_std
from sr3d_core.model.image import STRIDE
from sr3d_core.refinement import NONE, Refinement
from sr3d_core.structures import Boxes3D, Detections, Images, PointCloud, Predictions, Sample

MAX_POINTS = 200_000
"""More points than this are thinned out evenly before the network sees them."""

_DEVICES = "is unknown, expected auto, cpu or cuda (or cuda:N)"
_OTHER = "load other weights for the other kind of input"
_ROUNDING = 1e-6  # of a score in single precision, and more


@dataclass(frozen=True, kw_only=True)
class Postprocess:
    """Turn the predictions of one scene into detections (the benchmarks' rule).

    Classes are independent, one anchor point may yield boxes of several classes, unless
    `one_class` is set.
    """

    score_threshold: float = 0.01
    """Detections score more than this; 0..1."""
    class_thresholds: tuple[float, ...] = ()
    """One per class, in place of `score_threshold`; above 1 = such boxes are not wanted, so they
    suppress no others either. Empty = the same for all."""
    iou: float = 0.5
    """Of two boxes of one class that overlap by more than this, the lower-scored goes; 0..1."""
    nms: Literal["bev", "3d"] = "3d"
    """Overlap seen from above (as the reference does it) or in 3D, which keeps stacked objects."""
    one_class: bool = False
    """Boxes of different classes suppress each other too, so that an object is reported once:
    what a robot wants. Average precision is defined without."""
    refine: bool = True
    """Whether boxes are refined, as far as the weights say that it pays: `Detector.refinement`."""
    max_candidates: int = 1000
    """How many anchor points, over all levels, may become boxes; at least 1."""
    max_detections: int | None = None
    """How many detections a scene may have; None for no limit."""

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"postprocess.{name}: {value}, expected 0..1")
        for name in ("max_candidates", "max_detections"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"postprocess.{name}: {value}, expected at least 1")
        if not all(threshold >= 0.0 for threshold in self.class_thresholds):
            raise ValueError(
                f"postprocess.class_thresholds: {self.class_thresholds}, expected 0 or more"
            )
        if self.nms not in ("bev", "3d"):
            raise ValueError(f"postprocess.nms: {self.nms!r}, expected 'bev' or '3d'")

    def __call__(self, predictions: Predictions, voting: Voting | None = None) -> Detections:
        """Detections of one scene, by falling score, on the predictions' device.

        With `voting`, boxes that stay become means of those that they suppress, among others.
        Boxes that are not finite or have no size are left out, and so are scores that are NaN.
        """
        # Most anchor points say nothing: they go first. Rounding is left to the test that counts.
        lowest = min(self.class_thresholds, default=self.score_threshold)
        least = _logit(min(lowest, 1.0) - _ROUNDING)  # above 1, a class is not wanted
        is_mute = predictions.logits.amax(dim=1) <= least  # where one is NaN, look closer
        predictions = predictions[(~is_mute).nonzero()[:, 0]]
        is_sound = predictions.boxes.array.isfinite().all(dim=1)
        is_sound &= (predictions.boxes.size > 0).all(dim=1)
        # A score of 0 passes no threshold; it costs less than picking rows.
        scores = predictions.logits.sigmoid().nan_to_num(0.0) * is_sound[:, None]
        if self.class_thresholds:
            scores = scores * (scores > scores.new_tensor(self.class_thresholds))
        if len(scores) > self.max_candidates:
            best = scores.amax(dim=1).topk(self.max_candidates).indices
            predictions, scores = predictions[best], scores[best]
        rows, labels = (scores > (0.0 if self.class_thresholds else lowest)).nonzero(as_tuple=True)
        boxes = predictions.boxes[rows]
        towards = predictions.front
        front = None if towards is None else front_direction(towards[rows], boxes.yaw)
        scores = scores[rows, labels]
        return self.suppressed(Detections(boxes, scores, labels, facing=front), voting)

    def is_wanted(
        self, scores: Float[Tensor, " D"], labels: Int[Tensor, " D"]
    ) -> Bool[Tensor, " D"]:
        """Which boxes score more than the threshold of their class."""
        if not self.class_thresholds:
            return scores > self.score_threshold
        return scores > scores.new_tensor(self.class_thresholds)[labels]

    def suppressed(self, candidates: Detections, voting: Voting | None = None) -> Detections:
        """Of candidates in any order, those that no better one suppresses, by falling score."""
        boxes, scores, labels = candidates.boxes, candidates.scores, candidates.labels
        group = torch.zeros_like(labels) if self.one_class else labels
        kept = nms(boxes, scores, group, self.iou, overlap=self.nms)
        kept = kept[: self.max_detections]
        found = replace(candidates[kept], time_ms={})
        if voting is None:
            return found
        return replace(found, boxes=voting(boxes, scores, labels, kept))


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What the network says of one cloud or image, before boxes suppress each other."""

    cloud: PointCloud  # the points that it saw, near zero, on its device; none of an image
    origin: Float[Tensor, " 3"]  # what brings its boxes back, see `geometry.origin`
    predictions: Predictions  # logits are of the scores in use: calibrated
    network_ms: float
    image: SeenImage | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SeenImage:
    """A color image as the network saw it, and how sure it was of its depth."""

    images: Images  # one, near zero, of the network's size
    std_m: Float[Tensor, "h w"]  # of the depth of every cell of 8 x 8 pixels
    depth_m: Float[Tensor, "h w"]  # the mean that it deviates from


class Detector:
    """A trained network with everything around it.

    `network` maps a PointCloud (`CameraSR3D`: Images) to Predictions whose logits have one column
    per entry of `classes`; it is moved to `device` and set to evaluation mode.
    """

    def __init__(
        self,
        network: nn.Module,
        classes: Sequence[str],
        *,
        postprocess: Postprocess | None = None,
        device: str | torch.device = "auto",
        max_points: int = MAX_POINTS,
    ) -> None:
        if max_points < 1:
            raise ValueError(f"max_points: {max_points}, expected at least 1")
        self.device = choose_device(device)
        self.network = network.to(self.device).eval()
        self.classes: tuple[str, ...] = tuple(classes)
        self.postprocess = postprocess if postprocess is not None else Postprocess()
        self.max_points = max_points
        self.spread: Mapping[str, ClassSpread] = {}
        """Measured spread by class name; a class that is missing is unknown."""
        self.calibration: Mapping[str, ClassCalibration] = {}
        """What makes scores chances, by class name; a class that is missing keeps its scores."""
        self.refinement: Refinement = NONE
        """Which classes have boxes that are fitted to candidates and points, and how."""
        self.front_classes: tuple[str, ...] = ()
        """The classes whose boxes have a yaw that points out of their front."""

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path = "default",
        *,
        device: str | torch.device = "auto",
        backend: str = "auto",
        postprocess: Postprocess | None = None,
        max_points: int = MAX_POINTS,
    ) -> Detector:
        """A detector from a weights file; "default" means the weights that ship.

        `backend` is the engine of the convolutions, auto or one of `sparse/engine_list.py`;
        ValueError where it is unknown, missing or not for this device.

        It looks at one point before it is returned, so that code is compiled or loaded by now
        and the first cloud takes as long as the next. Raises CheckpointError where the file is
        missing, damaged or not ours.
        """
        network, manifest = load_any(path)
        network.backend = backend
        return cls.of_network(
            network, manifest, device=device, postprocess=postprocess, max_points=max_points
        )

    @classmethod
    def of_network(
        cls,
        network: AnyNetwork,
        manifest: Manifest,
        *,
        device: str | torch.device = "auto",
        postprocess: Postprocess | None = None,
        max_points: int = MAX_POINTS,
    ) -> Detector:
        """A detector with a network that is in memory, as its weights file would give it."""
        detector = cls(
            network,
            manifest.classes,
            postprocess=postprocess,
            device=device,
            max_points=max_points,
        )
        detector.spread = manifest.spread
        detector.calibration = manifest.calibration
        detector.refinement = manifest.refinement
        detector.front_classes = manifest.front_classes
        if detector.takes_images:
            detector.detect(black_image())
        else:
            detector.detect(PointCloud.single(torch.zeros(1, 3), None))
        return detector

    @property
    def takes_images(self) -> bool:
        """Whether it looks at color images, in place of clouds."""
        return isinstance(self.network, CameraSR3D)

    @property
    def engine(self) -> str:
        """The engine that runs the convolutions, also where "auto" was asked for; "" = none."""
        return str(getattr(self.network, "engine_name", ""))

    def __call__(
        self,
        xyz: Tensor | NDArray | None = None,
        rgb: Tensor | NDArray | None = None,
        *,
        image: Tensor | NDArray | None = None,
        K: Tensor | NDArray | None = None,
        world_from_camera: Tensor | NDArray | None = None,
        height_m: float | None = None,
    ) -> Detections:
        """Find objects among points, or in a color image where the weights are of a camera.

        Points `xyz` (N,3), metres, z up; `rgb` (N,3) in 0..1; or an `image` (H,W,3), 0..255 as
        uint8 or 0..1, rectified, with intrinsics `K` (3,3) in pixels and the pose (4,4) of the
        camera's optical frame (x right, y down, z forward) in a world that has z up; `height_m` is
        the camera's above the floor, None where unknown. Raises ValueError for what does not fit
        these weights or these shapes; see `detect`.
        """
        if not self.takes_images:
            if xyz is None or image is not None:
                raise ValueError(f"these weights take clouds, expected xyz (N, 3); {_OTHER}")
            return self.detect(as_cloud(xyz, rgb))
        if image is None or K is None or world_from_camera is None or xyz is not None:
            raise ValueError(
                "these weights take color images, expected image, K and world_from_camera, and no "
                f"points; {_OTHER}"
            )
        return self.detect(as_images(image, K, world_from_camera, height_m))

    def detect(self, seen: PointCloud | Images) -> Detections:
        """Find objects in a cloud of one scene, or in one image; the result is on the CPU.

        Points are left out where they are not finite, have a coordinate beyond 10,000 km or lie
        more than 10 km from the others. What reaches farther than 1 km from the origin is moved
        there for the network, and its boxes back; these are float64. The yaw of `front_classes`
        points out of the front, -pi..pi; that of others is one of the box's sides. `time_ms` holds
        the wall time of `network` (voxels, layers, calibration) and of `postprocess`, with the
        refinement. Of an image, `depth_std_m` says how far off along the line of sight each box
        may be. Raises ValueError for what these weights do not take.
        """
        look = self.look(seen)
        return Detections.empty() if look is None else self.answer(look)

    def look(self, seen: PointCloud | Images) -> Look | None:
        """What the network says of one scene; None of a cloud that has no usable point."""
        if self.takes_images != isinstance(seen, Images):
            kind = "color images" if self.takes_images else "clouds"
            raise ValueError(f"these weights take {kind}, expected one; {_OTHER}")
        return self._look_at(seen) if isinstance(seen, Images) else self._look_into(seen)

    def _look_into(self, cloud: PointCloud) -> Look | None:
        cloud, origin = self._prepare(cloud)
        if len(cloud) == 0:
            return None
        started = time.perf_counter()
        with torch.no_grad():
            predictions = calibrated(self.network(cloud), self.classes, self.calibration)
            self._wait()
        return Look(cloud, origin, predictions, 1e3 * (time.perf_counter() - started))

    def _look_at(self, images: Images) -> Look:
        assert isinstance(self.network, CameraSR3D)
        if len(images) != 1:
            raise ValueError(f"{len(images)} images, expected one: look at them one by one")
        origin = images.world_from_camera[0, :3, 3].double().cpu()
        origin = torch.where(origin.abs() > FAR_M, origin.round(), 0.0)
        pose = images.world_from_camera.double().clone()
        pose[:, :3, 3] -= origin.to(pose.device)
        images = replace(images, world_from_camera=pose).to(self.device)
        started = time.perf_counter()
        with torch.no_grad():
            predictions, output = self.network.look(images)
            predictions = calibrated(predictions, self.classes, self.calibration)
            chance = output.depth_logits[0].softmax(dim=-1)
            depth_m, std_m = mean_and_std(chance, output.centers_m[0, None, None])
            self._wait()
        none = PointCloud.single(torch.zeros(0, 3, device=self.device), None)
        seen = SeenImage(output.images, std_m, depth_m)
        return Look(none, origin, predictions, 1e3 * (time.perf_counter() - started), seen)

    def answer(self, look: Look, postprocess: Postprocess | None = None) -> Detections:
        """What `detect` makes of a look; `postprocess` in place of the detector's own."""
        postprocess = self.postprocess if postprocess is None else postprocess
        started = time.perf_counter()
        with torch.no_grad():
            refinement = self.refinement if postprocess.refine else NONE
            found = postprocess(look.predictions, refinement.voting(self.classes)).to("cpu")
            found = with_fronts(found, self.classes, self.front_classes)
            found = refinement.fitted(found, look.cloud, self.classes)
            if look.image is not None:
                found = replace(found, depth_std_m=std_of_boxes(found.boxes, look.image))
        times = {
            "network": look.network_ms,
            "postprocess": 1e3 * (time.perf_counter() - started),
        }
        return replace(found, boxes=moved(found.boxes, look.origin), time_ms=times)

    def _prepare(self, cloud: PointCloud) -> tuple[PointCloud, Float[Tensor, " 3"]]:
        """Usable points only, not too many of them, on the network's device, and their origin."""
        cloud, origin = near_zero(cloud)
        cloud = thinned(cloud, self.max_points)
        cloud = PointCloud(cloud.xyz.float(), cloud.features.float(), cloud.scene)
        return cloud.to(self.device), origin

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def seen_by(detector: Any, sample: Sample) -> PointCloud | Images:
    """What a detector is to look at of a labelled scene: its image where it takes images.

    Raises ValueError where the scene has none.
    """
    if not getattr(detector, "takes_images", False):
        return sample.cloud
    if sample.images is None:
        raise ValueError(
            f"{sample.name}: has no color image, which these weights take; expected data with "
            "images, such as rooms:,images=true"
        )
    return sample.images


def std_of_boxes(boxes: Boxes3D, seen: SeenImage) -> Float[Tensor, " D"]:
    """How far off along the line of sight boxes may be: one standard deviation, metres.

    Root mean square of the cells in the middle half of what a box covers of the image, of the
    nearest cell where that is smaller than one; NaN where the image does not show it.
    """
    images = seen.images.to("cpu")
    points = corners(boxes).double().cpu().reshape(1, -1, 3)
    intrinsics, pose = images.intrinsics.double(), images.world_from_camera.double()
    pixels, depth = project(points, intrinsics, pose)
    pixels, depth = pixels.reshape(-1, 8, 2), depth.reshape(-1, 8)
    low, high = pixels.amin(dim=1), pixels.amax(dim=1)
    middle, reach = (low + high) / 2, ((high - low) / 4).clamp(min=STRIDE / 2)
    height, width = seen.std_m.shape
    cells = pixel_centers(height, width, STRIDE).double()
    is_of = ((cells[None] - middle[:, None]).abs() <= reach[:, None]).all(dim=-1)
    is_of &= (depth > 0).all(dim=1)[:, None]
    own = is_of.double()
    variance = seen.std_m.double().cpu().square().flatten()
    away = boxes.center.double().cpu() - pose[0, :3, 3]
    # Off the optical axis a metre of depth is more than a metre along the line of sight.
    stretch = away.norm(dim=1) / (away @ pose[0, :3, 2])
    return ((own @ variance) / own.sum(dim=1)).sqrt() * stretch


def with_fronts(
    found: Detections, classes: Sequence[str], front_classes: Sequence[str]
) -> Detections:
    """The same boxes, written so that the yaw of classes with a front points out of it."""
    if found.facing is None:
        return found
    has_front = torch.tensor([name in front_classes for name in classes])[found.labels]
    turned = facing(found.boxes, found.facing).array
    boxes = Boxes3D.from_array(torch.where(has_front[:, None], turned, found.boxes.array))
    return replace(found, boxes=boxes, facing=None)


def choose_device(device: str | torch.device) -> torch.device:
    """The device meant by a name: auto (the GPU where there is one), cpu, cuda or cuda:N.

    Raises ValueError where the name is another or asks for a GPU that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} {_DEVICES}") from error
    if chosen.type not in ("cpu", "cuda") or (chosen.type == "cpu" and chosen.index):
        raise ValueError(f"device {str(device)!r} {_DEVICES}")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {str(device)!r}: torch {torch.__version__} sees no GPU; choose cpu or auto"
        )
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(device)!r}: there are {torch.cuda.device_count()} GPUs, counted from 0; "
            "choose a lower number or auto"
        )
    return chosen


def _logit(score: float) -> float:
    """What the sigmoid turns into this score, below 1."""
    return math.log(score / (1.0 - score)) if score > 0.0 else -math.inf


def black_image() -> Images:
    """An image that shows nothing, to run code once, and its camera."""
    intrinsics = torch.tensor([[280.0, 0.0, 159.5], [0.0, 280.0, 119.5], [0.0, 0.0, 1.0]])
    return Images(torch.zeros(1, 3, 240, 320), intrinsics[None], torch.eye(4)[None])
