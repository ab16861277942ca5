"""Points in, labelled boxes out.

`Detector` is the one way to run a trained network: the command line, the ROS node, replay and
evaluation all call it, so what is measured is what is deployed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from sr3d_core.checkpoint import load_checkpoint
from sr3d_core.geometry.nms import nms
from sr3d_core.structures import Detections, PointCloud, Predictions

MAX_POINTS = 200_000
"""More points than this are thinned out evenly before the network sees them."""

MAX_COORDINATE_M = 10_000.0
"""Points farther than this from the origin on any axis are dropped like non-finite ones."""


@dataclass(frozen=True, kw_only=True)
class Postprocess:
    """Turn the predictions of one scene into detections (the benchmarks' rule).

    Classes are independent, one anchor point may yield boxes of several classes, unless
    `one_class` is set.
    """

    score_threshold: float = 0.01
    """Detections score more than this; 0..1."""
    iou: float = 0.5
    """Of two boxes of one class that overlap by more than this, the lower-scored goes; 0..1."""
    nms: Literal["bev", "3d"] = "3d"
    """Overlap seen from above (as the reference does it) or in 3D, which keeps stacked objects."""
    one_class: bool = False
    """Boxes of different classes suppress each other too, so that an object is reported once:
    what a robot wants. Average precision is defined without."""
    max_candidates: int = 1000
    """How many anchor points, over all levels, may become boxes; at least 1."""
    max_detections: int | None = None
    """How many detections a scene may have; None for no limit."""

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"postprocess.{name}: {getattr(self, name)}, expected 0..1")
        for name in ("max_candidates", "max_detections"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"postprocess.{name}: {value}, expected at least 1")
        if self.nms not in ("bev", "3d"):
            raise ValueError(f"postprocess.nms: {self.nms!r}, expected 'bev' or '3d'")

    def __call__(self, predictions: Predictions) -> Detections:
        """Detections of one scene, by falling score, on the predictions' device."""
        scores = predictions.logits.sigmoid()
        if len(scores) > self.max_candidates:
            best = scores.amax(dim=1).topk(self.max_candidates).indices
            predictions, scores = predictions[best], scores[best]
        rows, labels = (scores > self.score_threshold).nonzero(as_tuple=True)
        boxes, candidate_scores = predictions.boxes[rows], scores[rows, labels]
        group = torch.zeros_like(labels) if self.one_class else labels
        kept = nms(boxes, candidate_scores, group, self.iou, overlap=self.nms)
        kept = kept[: self.max_detections]
        return Detections(boxes[kept], candidate_scores[kept], labels[kept])


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

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path = "default",
        *,
        device: str | torch.device = "auto",
        postprocess: Postprocess | None = None,
        max_points: int = MAX_POINTS,
    ) -> Detector:
        """A detector from a weights file; "default" means the weights that ship.

        Raises CheckpointError where the file is missing, damaged or not ours.
        """
        network, manifest = load_checkpoint(path)
        return cls(
            network,
            manifest.classes,
            postprocess=postprocess,
            device=device,
            max_points=max_points,
        )

    def __call__(self, xyz: Tensor | NDArray, rgb: Tensor | NDArray | None = None) -> Detections:
        """Find objects among points `xyz` (N,3), metres, z up; `rgb` (N,3) in 0..1.

        Points that are not finite are left out. Raises ValueError where a shape is wrong.
        """
        points = _as_rows("xyz", xyz)
        colours = None if rgb is None else _as_rows("rgb", rgb)
        if colours is not None and len(colours) != len(points):
            raise ValueError(
                f"rgb has {len(colours)} rows, xyz has {len(points)} rows, "
                "expected one colour per point"
            )
        return self.detect(PointCloud.single(points, colours))

    def detect(self, cloud: PointCloud) -> Detections:
        """Find objects in a cloud of one scene; the result is on the CPU.

        `time_ms` holds the wall time of `network` (voxels and layers) and of `postprocess`.
        """
        cloud = self._prepare(cloud)
        if len(cloud) == 0:
            return Detections.empty()
        started = time.perf_counter()
        with torch.no_grad():
            predictions: Predictions = self.network(cloud)
            self._wait()
            predicted = time.perf_counter()
            found = self.postprocess(predictions).to("cpu")
        finished = time.perf_counter()
        times = {
            "network": 1e3 * (predicted - started),
            "postprocess": 1e3 * (finished - predicted),
        }
        return Detections(found.boxes, found.scores, found.labels, times)

    def _prepare(self, cloud: PointCloud) -> PointCloud:
        """Usable points only, not too many of them, on the network's device."""
        is_usable = (cloud.xyz.abs() <= MAX_COORDINATE_M).all(dim=1)
        if not is_usable.all():
            cloud = cloud[is_usable]
        if len(cloud) > self.max_points:
            rows = torch.arange(self.max_points, device=cloud.xyz.device)
            cloud = cloud[rows * len(cloud) // self.max_points]
        return cloud.to(self.device)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def choose_device(device: str | torch.device) -> torch.device:
    """The device meant by a name; "auto" is the GPU where there is one.

    Raises ValueError where the name is unknown or asks for a GPU that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is unknown, expected auto, cpu or cuda") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {device!r}: torch {torch.__version__} sees no GPU; use --device cpu or auto"
        )
    return chosen


def _as_rows(name: str, rows: Tensor | NDArray) -> Float[Tensor, "N 3"]:
    if not isinstance(rows, Tensor):
        array = np.asarray(rows)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{name} holds {array.dtype}, expected real numbers")
        rows = torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise ValueError(f"{name} has shape {tuple(rows.shape)}, expected (N, 3)")
    return rows.to(torch.float32)
