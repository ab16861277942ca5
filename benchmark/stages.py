"""One frame from cloud bytes to boxes, and how long each of its stages takes."""

from __future__ import annotations

import time
from typing import Any

import torch
from watched import MapTimer

from sr3d_core.detector import Detector
from sr3d_core.model.network import SR3D, LevelOutput
from sr3d_core.sparse.tensor import SparseTensor
from sr3d_core.structures import PointCloud
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import CLOUD_IS_Z_UP, FramePipeline, FrameResult

STAGES = (
    *("parse", "transform", "prepare", "voxelise", "maps", "backbone", "neck", "head"),
    *("postprocess", "return"),
)
NETWORK = ("maps", "backbone", "neck")
"""Stages that may take more than a twentieth of a frame."""


class Frame:
    """A detector behind the node's path, without ROS."""

    def __init__(self, detector: Detector, message: Any) -> None:
        self.detector = detector
        self.message = message
        parameters = Parameters(detection_frame=CLOUD_IS_Z_UP)
        self.pipeline = FramePipeline(detector.detect, _NoTransforms(), parameters)

    def whole(self) -> tuple[float, dict[str, float], FrameResult]:
        """Milliseconds of one frame, of the stages that it tells of, and its result."""
        started = time.perf_counter()
        result = self.pipeline.process(self.message)
        finished = time.perf_counter()
        told, inside = result.time_ms, result.detections.time_ms
        times = {
            "parse": told["parse"],
            "transform": told["transform"],
            "prepare": told["detect"] - inside["network"] - inside["postprocess"],
            "postprocess": inside["postprocess"],
            "return": 1e3 * (finished - started) - sum(told.values()),
        }
        return 1e3 * (finished - started), times, result

    def stages(self) -> tuple[float, dict[str, float], FrameResult]:
        """Milliseconds of a frame, of all its stages, and its result.

        What happens within the network is timed in a second pass over the same cloud.
        """
        total, times, result = self.whole()
        return total, times | network_stages(self.detector.network, result.cloud), result


def network_stages(network: Any, cloud: PointCloud) -> dict[str, float]:
    """Milliseconds of what the network does with a cloud."""
    with torch.no_grad():
        started = time.perf_counter()
        voxels, timer = watched_voxels(network, cloud)
        voxelised = time.perf_counter()
        levels = network.backbone(voxels)
        passed, maps = time.perf_counter(), timer.seconds
        fine = network.neck(levels)
        merged = time.perf_counter()
        network.predictions(
            tuple(LevelOutput(x.coords, x.stride, *network.head(x.features)) for x in fine)
        )
        finished = time.perf_counter()
    seconds = {
        "voxelise": voxelised - started,
        "maps": timer.seconds,
        "backbone": passed - voxelised - maps,
        "neck": merged - passed - (timer.seconds - maps),
        "head": finished - merged,
    }
    return {name: 1e3 * value for name, value in seconds.items()}


def watched_voxels(network: SR3D, cloud: PointCloud) -> tuple[SparseTensor, MapTimer]:
    """The network's input, whose kernel maps will be timed."""
    voxels = network.voxels(cloud)
    timer = MapTimer(voxels.engine)
    voxels.cache.engine = timer  # it is handed on to all tensors that are made of these voxels
    return voxels, timer


class _NoTransforms:
    """A source that is never asked: the cloud is z up."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> Any:
        """Refuse."""
        raise LookupError(f"{target} from {source}: this cloud needs no transform")
