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
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from sr3d_core.checkpoint import ClassSpread, Manifest, load_checkpoint
from sr3d_core.geometry.boxes import facing
from sr3d_core.geometry.front import front_direction
from sr3d_core.geometry.nms import nms
from sr3d_core.geometry.origin import moved, near_zero
from sr3d_core.geometry.thinning import thinned
from sr3d_core.geometry.voting import Voting
from sr3d_core.model.chances import ClassCalibration, calibrated
from sr3d_core.model.network import SR3D
from sr3d_core.refinement import NONE, Refinement
from sr3d_core.structures import UNKNOWN_COLOR, Boxes3D, Detections, PointCloud, Predictions

MAX_POINTS = 200_000
"""More points than this are thinned out evenly before the network sees them."""

_DEVICES = "is unknown, expected auto, cpu or cuda (or cuda:N)"
_ROUNDING = 1e-6  # of a score in single precision, and more
_COLOR_SLACK = 1e-3  # resampled colors may overshoot a little


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
    """What the network says of one cloud, before boxes suppress each other."""

    cloud: PointCloud  # the points that it saw, near zero, on its device
    origin: Float[Tensor, " 3"]  # what brings its boxes back, see `geometry.origin`
    predictions: Predictions  # logits are of the scores in use: calibrated
    network_ms: float


class Detector:
    """A trained network with everything around it.

    `network` maps a PointCloud to Predictions whose logits have one column per entry of
    `classes`; it is moved to `device` and set to evaluation mode.
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
        network, manifest = load_checkpoint(path)
        network.backend = backend
        return cls.of_network(
            network, manifest, device=device, postprocess=postprocess, max_points=max_points
        )

    @classmethod
    def of_network(
        cls,
        network: SR3D,
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
        detector.detect(PointCloud.single(torch.zeros(1, 3), None))
        return detector

    @property
    def engine(self) -> str:
        """The engine that runs the convolutions, also where "auto" was asked for; "" = none."""
        return str(getattr(self.network, "engine_name", ""))

    def __call__(self, xyz: Tensor | NDArray, rgb: Tensor | NDArray | None = None) -> Detections:
        """Find objects among points `xyz` (N,3), metres, z up; `rgb` (N,3) in 0..1.

        Arrays are read as by `as_cloud`, which raises ValueError; for points see `detect`.
        """
        return self.detect(as_cloud(xyz, rgb))

    def detect(self, cloud: PointCloud) -> Detections:
        """Find objects in a cloud of one scene; the result is on the CPU.

        Points are left out where they are not finite, have a coordinate beyond 10,000 km or lie
        more than 10 km from the others. A cloud that reaches farther than 1 km from the origin
        is moved there for the network, and its boxes back; these are float64. The yaw of
        `front_classes` points out of the front, -pi..pi; that of others is one of the box's sides.
        `time_ms` holds the wall time of `network` (voxels, layers, calibration) and of
        `postprocess`, with the refinement.
        """
        look = self.look(cloud)
        return Detections.empty() if look is None else self.answer(look)

    def look(self, cloud: PointCloud) -> Look | None:
        """What the network says of a cloud of one scene; None where it has no usable point."""
        cloud, origin = self._prepare(cloud)
        if len(cloud) == 0:
            return None
        started = time.perf_counter()
        with torch.no_grad():
            predictions = calibrated(self.network(cloud), self.classes, self.calibration)
            self._wait()
        return Look(cloud, origin, predictions, 1e3 * (time.perf_counter() - started))

    def answer(self, look: Look, postprocess: Postprocess | None = None) -> Detections:
        """What `detect` makes of a look; `postprocess` in place of the detector's own."""
        postprocess = self.postprocess if postprocess is None else postprocess
        started = time.perf_counter()
        with torch.no_grad():
            refinement = self.refinement if postprocess.refine else NONE
            found = postprocess(look.predictions, refinement.voting(self.classes)).to("cpu")
            found = with_fronts(found, self.classes, self.front_classes)
            found = refinement.fitted(found, look.cloud, self.classes)
        times = {
            "network": look.network_ms,
            "postprocess": 1e3 * (time.perf_counter() - started),
        }
        return Detections(moved(found.boxes, look.origin), found.scores, found.labels, times)

    def _prepare(self, cloud: PointCloud) -> tuple[PointCloud, Float[Tensor, " 3"]]:
        """Usable points only, not too many of them, on the network's device, and their origin."""
        cloud, origin = near_zero(cloud)
        cloud = thinned(cloud, self.max_points)
        cloud = PointCloud(cloud.xyz.float(), cloud.features.float(), cloud.scene)
        return cloud.to(self.device), origin

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


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


def as_cloud(xyz: Tensor | NDArray, rgb: Tensor | NDArray | None = None) -> PointCloud:
    """A cloud of one scene from points `xyz` (N,3), metres, z up, and `rgb` (N,3) in 0..1.

    Colors of the type uint8 are taken as 0..255 and divided by 255; those that are not finite are
    unknown. Map coordinates should come as float64. Raises ValueError where a shape is wrong or
    colors leave their range.
    """
    points = _as_rows("xyz", xyz)
    colors = None if rgb is None else _as_colors(rgb)
    if colors is not None and len(colors) != len(points):
        raise ValueError(
            f"rgb has {len(colors)} rows, xyz has {len(points)} rows, expected one color per point"
        )
    return PointCloud.single(points, colors)


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


def _as_colors(rgb: Tensor | NDArray) -> Float[Tensor, "N 3"]:
    """Colors in 0..1, NaN where they are not finite."""
    is_bytes = rgb.dtype in (np.uint8, torch.uint8) if hasattr(rgb, "dtype") else False
    colors = _as_rows("rgb", rgb).float()
    if is_bytes:
        return colors / 255.0
    is_known = colors.isfinite()
    known = colors[is_known]
    if len(known):
        low, high = float(known.min()), float(known.max())
        if low < -_COLOR_SLACK or high > 1.0 + _COLOR_SLACK:
            advice = "divide by 255" if low >= 0.0 and high <= 255.0 else "are these colors?"
            raise ValueError(f"rgb spans {low:g}..{high:g}, expected 0..1: {advice}")
    return colors.where(is_known, torch.full_like(colors, UNKNOWN_COLOR))


def _as_rows(name: str, rows: Tensor | NDArray) -> Float[Tensor, "N 3"]:
    if not isinstance(rows, Tensor):
        array = np.asarray(rows)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{name} holds {array.dtype}, expected real numbers")
        is_double = array.dtype.itemsize > 4 or array.dtype.kind in "iu"
        dtype = np.float64 if is_double else np.float32
        rows = torch.from_numpy(np.array(array, dtype=dtype, order="C"))
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise ValueError(f"{name} has shape {tuple(rows.shape)}, expected (N, 3)")
    return rows if rows.dtype in (torch.float32, torch.float64) else rows.double()
