"""What exists while the node is configured: the model and everything that a frame passes through.

`process` and `publish` run in the worker's thread, the rest in the executor's. A model is swapped
between two frames: each frame takes the model once and is published with the same one's classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rclpy.node import Node

from sr3d_core.detector import Detector, Postprocess
from sr3d_ros.budget import AdaptiveBudget, SparingDetector, give_back, memory_values
from sr3d_ros.diagnostics.advice import advice_on_extent
from sr3d_ros.errors import TransformError
from sr3d_ros.node.outputs import Outputs
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.parameters.settings import frame_settings, load_limits, postprocess
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.sensors.extent import extent_of
from sr3d_ros.tf.source import PatientTransforms
from sr3d_ros.tf.up import UpSource
from sr3d_ros.tracking.identities import Identities, Tracked

Load = Callable[[Parameters], Detector]
"""Makes the detector that parameters name; raises ValueError or OSError with the reason."""


def load_detector(parameters: Parameters) -> Detector:
    """The detector that the parameters name; raises ValueError or OSError with the reason."""
    if parameters.num_threads > 0:
        torch.set_num_threads(parameters.num_threads)
    return Detector.from_checkpoint(
        parameters.weights,
        device=parameters.device,
        backend=parameters.backend,
        postprocess=Postprocess(one_class=True),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A detector, how it was called, and its guard against full memory."""

    detector: Detector
    weights: str
    guard: SparingDetector


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A frame that is ready to be published."""

    result: FrameResult
    frame: tuple[Any, ...]
    model: Model
    tracked: Tracked | None


class Work:
    """Turns frames into messages; raises what the settings raise where they cannot be applied."""

    def __init__(
        self,
        node: Node,
        detector: Detector,
        settings: Parameters,
        transforms: PatientTransforms,
        imu: UpSource | None,
    ) -> None:
        self.advice = ""
        self._log = node.get_logger()
        self._transforms = transforms
        self._settings = settings
        self._budget = AdaptiveBudget()
        self._identities = Identities(transforms)
        self._model = _model(detector, settings.weights)
        self._pipeline = FramePipeline(self._model.guard, transforms, imu=imu)
        self.apply(settings)
        self._outputs = Outputs(node)
        self._outputs.announce(detector, settings, settings.weights)

    @property
    def model(self) -> Model:
        """The model that the next frame gets."""
        return self._model

    @property
    def memory(self) -> dict[str, str]:
        """Memory in use, and the points that a frame may have."""
        points = self._points(self._settings)
        return {**memory_values(self._model.detector.device), "points per frame": str(points)}

    def pause(self) -> None:
        """No further frame comes for now."""
        self._outputs.wipe()

    def close(self) -> None:
        """Leave the topics."""
        self._outputs.close()

    def apply(self, settings: Parameters) -> None:
        """Work by these settings from the next frame on; raises ValueError and changes nothing."""
        detector = self._model.detector
        chosen = postprocess(settings, detector.classes)
        frame_settings(settings, settings.max_points)
        self._identities.apply(settings)
        detector.postprocess = chosen
        if settings.max_points != self._settings.max_points:
            self._model.guard.reset()
        is_announced_anew = settings.score_threshold != self._settings.score_threshold
        self._settings = settings
        if is_announced_anew:
            self._outputs.announce(detector, settings, self._model.weights, is_new=False)

    def swap(self, detector: Detector, weights: str) -> None:
        """Work with another detector from the next frame on."""
        detector.postprocess = postprocess(self._settings, detector.classes)
        self._budget.reset()
        self._model = _model(detector, weights)
        self._outputs.announce(detector, self._settings, weights)
        give_back()

    def process(self, frame: tuple[Any, ...]) -> Finished:
        """Detect in a frame; raises `Refused`, or whatever a detector may raise."""
        settings, model = self._settings, self._model
        self._pipeline.settings = frame_settings(settings, self._points(settings))
        self._pipeline.detector = model.guard
        self._transforms.start_frame()
        result = self._pipeline.process(*frame)
        tracked, trouble = self._tracked(result, model)
        if settings.adaptive:
            busy_ms = result.time_ms["parse"] + result.time_ms["detect"]
            self._budget.observe(busy_ms, result.num_points, load_limits(settings))
        self.advice = _advice(result, trouble)
        return Finished(result, frame, model, tracked)

    def publish(self, finished: Finished) -> None:
        """Send the messages of a frame."""
        self._outputs.publish(
            finished.result,
            finished.frame,
            finished.model.detector,
            self._settings,
            finished.tracked,
        )

    def _tracked(self, result: FrameResult, model: Model) -> tuple[Tracked | None, str]:
        """What is known after a frame, or why nothing: its boxes are good without tracks."""
        try:
            return self._identities.of(result, model.detector.classes), ""
        except TransformError as error:
            trouble = f"no ids and no tracks: {error}"
            self._log.warning(trouble, throttle_duration_sec=5.0)
            return None, trouble

    def _points(self, settings: Parameters) -> int:
        """How many points the next frame may have."""
        limits = load_limits(settings)
        return self._budget.points(limits) if settings.adaptive else limits.max_points


def summary(finished: Finished) -> str:
    """What a frame showed, in words: "3 objects: 2 chair, 1 table"."""
    classes = finished.model.detector.classes
    labels = finished.result.detections.labels.tolist()
    counts = Counter(classes[label] for label in labels).most_common()
    listed = ", ".join(f"{count} {name}" for name, count in counts)
    return f"{len(labels)} objects: {listed}" if labels else "0 objects"


def _model(detector: Detector, weights: str) -> Model:
    return Model(detector, weights, SparingDetector(detector.detect))


def _advice(result: FrameResult, trouble: str) -> str:
    """What is odd about a frame that was worked on all the same; "" where nothing is."""
    said = [*filter(None, [trouble]), *result.notes, *(str(error) for error in result.left_out)]
    extent = extent_of(result.sensor_cloud.xyz)
    if not extent:
        said.append("no point is left to look at: the cloud is empty, or filter.* leaves nothing")
    elif advice := advice_on_extent(extent):
        said.append(advice)
    return "; ".join(said)
