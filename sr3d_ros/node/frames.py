"""A frame's way through the node, from its arrival to its boxes or the reason why there are none.

The executor's thread offers frames; the worker's thread detects in the newest one and publishes.
Every frame is counted once as received, and once as processed or dropped under a reason.
`FrameProcessor` is what exists while the node is configured: the model and all that a frame passes
through. A model is swapped between two frames: each frame takes the model once and is published
with the same one's classes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node

from sr3d_core.detector import Detector
from sr3d_core.geometry.scale import scale_doubt
from sr3d_ros.assembler import Frame
from sr3d_ros.budget import MemoryGuard, give_back, memory_values
from sr3d_ros.diagnostics.counters import CloudCounters
from sr3d_ros.errors import DETECTOR_FAILED, STOPPED, Refused, TransformError
from sr3d_ros.node.outputs import Outputs
from sr3d_ros.node.remarks import Remarks
from sr3d_ros.node.worker import Worker
from sr3d_ros.parameters.detector import general_threshold, postprocess_for, weights_of
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline, FrameResult
from sr3d_ros.sensors.camera_image import CameraView
from sr3d_ros.tf.headers import stamp_to_ns
from sr3d_ros.tf.source import PatientTransforms
from sr3d_ros.tf.up import UpSource
from sr3d_ros.tracking.identities import Identities, Tracked
from sr3d_ros.tracking.mapping import Mapped, Mapping


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A detector, how its weights were called, and its guard against full memory."""

    detector: Detector
    weights: str
    guard: MemoryGuard
    of_images: bool  # whether it takes color images

    @classmethod
    def of(cls, detector: Detector, weights: str, of_images: bool) -> LoadedModel:
        """With a guard that has seen nothing yet."""
        return cls(detector, weights, MemoryGuard(detector.detect), of_images)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A frame that is ready to be published."""

    result: FrameResult
    frame: Frame
    model: LoadedModel
    tracked: Tracked | None
    mapped: Mapped | None
    took_s: float

    @property
    def summary(self) -> str:
        """What it shows, in words: "3 objects: 2 chair, 1 table"."""
        labels = self.result.detections.labels.tolist()
        counts = Counter(self.model.detector.classes[label] for label in labels).most_common()
        listed = ", ".join(f"{count} {name}" for name, count in counts)
        return f"{len(labels)} objects: {listed}" if labels else "0 objects"


class FrameProcessor:
    """Turns frames into messages; raises ValueError where the parameters cannot be applied.

    `detector` takes what `input.kind` says; `camera` takes color images beside it, where that is
    auto.
    `process` and `publish` run in the worker's thread, the rest in the executor's.
    """

    def __init__(
        self,
        node: Node,
        detector: Detector,
        parameters: Parameters,
        transforms: PatientTransforms,
        imu: UpSource | None,
        camera: Detector | None = None,
    ) -> None:
        self.advice = ""
        self._log = node.get_logger()
        self._remarks = Remarks(node)
        self._transforms = transforms
        self._parameters = parameters
        self._identities = Identities(transforms)
        self.mapping = Mapping(transforms)
        self._model, self._camera = _models_of(detector, camera, parameters)
        self._pipeline = FramePipeline(self._model.guard, transforms, parameters, imu)
        self.apply(parameters)
        self._begin_map(detector)
        self._outputs = Outputs(node)
        self._outputs.announce(detector, parameters, self._model.weights)

    @property
    def model(self) -> LoadedModel:
        """The model that the next frame gets; with `input.kind` auto, one of clouds."""
        return self._model

    @property
    def memory(self) -> dict[str, str]:
        """Memory in use, the points that a frame may have, and what is known of the place."""
        points = self._pipeline.budget.points(self._parameters)
        values = {**memory_values(self._model.detector.device), "points per frame": str(points)}
        use = self._pipeline.scene.use
        return values | ({} if use is None else use.values) | self.mapping.values

    @property
    def map_file(self) -> str:
        """Where the map is kept; "" = nowhere."""
        return self._parameters.map_file

    def forget_scene(self) -> int:
        """Forget the clouds that `memory.*` keeps; comes back with how many points they had."""
        use = self._pipeline.scene.use
        self._pipeline.scene.forget()
        return 0 if use is None else use.num_points

    def pause(self) -> None:
        """No further frame comes for now; what was said of the last one is over, and forgotten."""
        self.advice = ""
        self._pipeline.scene.forget()
        self._outputs.wipe()

    def close(self) -> None:
        """Leave the topics."""
        self._outputs.close()

    def apply(self, parameters: Parameters) -> None:
        """Work by these from the next frame on; raises ValueError and changes nothing."""
        detector = self._model.detector
        self._identities.apply(parameters)
        self.mapping.apply(parameters)
        _set_wanted((self._model, self._camera), parameters)
        before, self._parameters = self._parameters, parameters
        is_announced_anew = (general_threshold(before), before.class_id_as) != (
            general_threshold(parameters),
            parameters.class_id_as,
        )
        if is_announced_anew:
            self._outputs.announce(detector, parameters, self._model.weights, is_new=False)

    def swap(self, detector: Detector, camera: Detector | None, loaded: Parameters) -> None:
        """Work with other detectors, that these parameters loaded, from the next frame on."""
        models = _models_of(detector, camera, loaded)
        _set_wanted(models, self._parameters)
        self._pipeline.budget.reset()
        self._model, self._camera = models
        self._outputs.announce(detector, self._parameters, self._model.weights)
        give_back()

    def process(self, frame: Frame) -> Finished:
        """Detect in a frame; raises `Refused`, or whatever a detector may raise."""
        started_s = time.perf_counter()
        parameters = self._parameters
        model = self._camera if isinstance(frame[0], CameraView) else self._model
        self._pipeline.parameters = parameters
        self._pipeline.detector = self._pipeline.camera = model.guard
        model.guard.start_frame(parameters)
        self._transforms.start_frame()
        result = self._pipeline.process(*frame)
        tracked, no_tracks = self._tracked(result, model)
        mapped, no_map = self._mapped(result, model)
        self.advice = _advice(result, "; ".join(filter(None, [no_tracks, no_map])))
        for note in (*result.notes, *(() if mapped is None else mapped.remarks)):
            self._remarks.tell(note)
        return Finished(result, frame, model, tracked, mapped, time.perf_counter() - started_s)

    def publish(self, finished: Finished) -> None:
        """Send the messages of a frame."""
        self._outputs.publish(
            finished.result,
            finished.frame,
            finished.model.detector,
            self._parameters,
            finished.tracked,
            finished.mapped,
            finished.took_s,
        )

    def _tracked(self, result: FrameResult, model: LoadedModel) -> tuple[Tracked | None, str]:
        """What is known after a frame, or why nothing: its boxes are good without tracks."""
        try:
            return self._identities.of(result, model.detector.classes), ""
        except TransformError as error:
            trouble = f"no ids and no tracks: {error}"
            self._log.warning(trouble, throttle_duration_sec=5.0)
            return None, trouble

    def _mapped(self, result: FrameResult, model: LoadedModel) -> tuple[Mapped | None, str]:
        """The map after a frame, or why the frame is not in it."""
        try:
            return self.mapping.of(result, model.detector.classes), ""
        except TransformError as error:
            trouble = f"not mapped: {error}"
            self._log.warning(trouble, throttle_duration_sec=5.0)
            return None, trouble

    def _begin_map(self, detector: Detector) -> None:
        """Go on with the map in `map.file`; raises ValueError where it does not fit."""
        path = self._parameters.map_file
        if not (self._parameters.mapping and path):
            return
        if not Path(path).exists():
            self._log.info(f"{path} is not there yet: the map begins empty")
            return
        number = self.mapping.load(path, detector.classes)
        self._log.info(f"the map begins with {number} objects of {path}")


def _models_of(
    detector: Detector, camera: Detector | None, loaded: Parameters
) -> tuple[LoadedModel, LoadedModel]:
    """What detects in frames of `input.kind`, and in color images."""
    model = LoadedModel.of(detector, weights_of(loaded), loaded.kind == "rgb")
    if camera is None:
        return model, model
    return model, LoadedModel.of(camera, loaded.camera_weights, True)


def _set_wanted(models: Iterable[LoadedModel], parameters: Parameters) -> None:
    """Tell the detectors which boxes are wanted of them."""
    for model in models:
        model.detector.postprocess = postprocess_for(
            parameters, model.detector.classes, of_images=model.of_images
        )


def _advice(result: FrameResult, trouble: str) -> str:
    """What is odd about a frame that was worked on all the same; "" where nothing is."""
    said = [*filter(None, [trouble]), *result.notes, *(str(error) for error in result.left_out)]
    doubt = scale_doubt(result.sensor_cloud.xyz, is_upright=True)
    if len(result.sensor_cloud) == 0 and result.input != "rgb":
        said.append("no point is left to look at: the cloud is empty, or filter.* leaves nothing")
    elif doubt is not None and doubt.kind != "large":  # a hall is no mistake
        said.append(f"{doubt.text} ROS clouds are in metres (REP-103)")
    return "; ".join(said)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame and its number, counted from 1."""

    frame: Frame
    number: int


class Frames:
    """Works on frames while there is a `FrameProcessor` and somebody wants them.

    `is_wanted(number)` is asked before a frame is worked on and before it is published;
    `on_done(number, text)` and `on_trouble()` are called in the worker's thread, the latter when
    something was logged.
    """

    def __init__(
        self,
        node: Node,
        counters: CloudCounters,
        is_wanted: Callable[[int], bool],
        on_done: Callable[[int, str], None],
        on_trouble: Callable[[], None],
    ) -> None:
        self._node = node
        self._counters = counters
        self._is_wanted = is_wanted
        self._on_done = on_done
        self._on_trouble = on_trouble
        self._processor: FrameProcessor | None = None
        self._gate = threading.Lock()  # held while a frame is published
        self._num_arrived = 0
        self._worker: Worker[Arrival] = Worker(
            handle=self._work_on,
            on_drop=lambda _, reason: self._reject(reason, "a frame waited too long"),
            on_failure=self._on_failure,
            age_s=lambda arrival: 1e-9 * self._age_ns(arrival),
        )

    @property
    def num_arrived(self) -> int:
        """How many frames have arrived."""
        return self._num_arrived

    def limit_age(self, max_age_s: float) -> None:
        """Drop frames that are older when their turn comes; 0 = no limit."""
        self._worker.max_age_s = max_age_s

    def start(self, processor: FrameProcessor) -> None:
        """Work on what comes."""
        self._processor = processor

    def stop(self) -> None:
        """Publish nothing any more once this has returned; drop what waits."""
        with self._gate:
            self._processor = None
        self._worker.clear()

    def pause(self) -> None:
        """Drop what waits, and take away the markers of what was published."""
        self._worker.clear()
        with self._gate:
            if self._processor is not None:
                self._processor.pause()

    def close(self, timeout_s: float) -> bool:
        """End the thread; false if a frame is still in hand after the time."""
        self.stop()
        return self._worker.close(timeout_s)

    def offer(self, frame: Frame) -> None:
        """A frame has arrived."""
        self._num_arrived += 1
        arrival = Arrival(frame, self._num_arrived)
        self._counters.count_received(age_ms=1e-6 * self._age_ns(arrival))
        self._worker.offer(arrival)

    def refuse(self, error: Refused) -> None:
        """Something has arrived that is not a frame."""
        self._counters.count_received()
        self._reject(error.reason, str(error))

    def _work_on(self, arrival: Arrival) -> None:
        with self._counters.at_work():
            self._process(arrival)

    def _process(self, arrival: Arrival) -> None:
        """Detect in one frame and publish; whatever it raises, the worker reports."""
        started_s = time.perf_counter()
        processor = self._processor
        if processor is None or not self._is_wanted(arrival.number):
            self._reject(STOPPED, "")
            return
        finished = processor.process(arrival.frame)
        with self._gate:
            if self._processor is not processor or not self._is_wanted(arrival.number):
                self._reject(STOPPED, "")
                return
            processor.publish(finished)
        is_first = self._counters.count_processed(
            processing_ms=1e3 * (time.perf_counter() - started_s),
            latency_ms=1e-6 * self._age_ns(arrival),
            num_detections=len(finished.result.detections),
            frame_id=finished.result.frame_id,
            input=finished.result.input,
        )
        self._on_done(arrival.number, finished.summary)
        if is_first:
            self._on_trouble()

    def _on_failure(self, _: Arrival, error: Exception) -> None:
        if isinstance(error, Refused):
            self._reject(error.reason, str(error))
        else:
            self._reject(DETECTOR_FAILED, f"{type(error).__name__}: {error}")

    def _reject(self, reason: str, what: str) -> None:
        """Count a frame that yields no boxes, and say why, not more than once a second."""
        text = self._counters.count_dropped(reason, what)
        if text is None:
            return
        try:
            self._node.get_logger().warning(text)
            self._on_trouble()
        except Exception:
            if self._node.context.ok():
                raise  # otherwise: the node is being ended

    def _age_ns(self, arrival: Arrival) -> int:
        """Time since the stamp of a frame's first view."""
        stamp = arrival.frame[0].header.stamp
        return int(self._node.get_clock().now().nanoseconds) - stamp_to_ns(stamp)
