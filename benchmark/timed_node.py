"""The node as it ships, with the course of every frame written to a file.

    python benchmark/timed_node.py FILE INFERENCE_MS --ros-args ...

One JSON object a line and frame: `*_ns` are moments by the machine's clock, which the stamps of
this machine's clouds share, the others durations in milliseconds; `fates.py` reads them. Where
INFERENCE_MS is not 0, a double that takes so long and finds one chair stands in for the detector.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, TextIO

import torch
from rclpy.publisher import Publisher
from vision_msgs.msg import Detection3DArray

from sr3d_core.checkpoint import ClassSpread
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.node import node
from sr3d_ros.node.frames import Finished, FrameProcessor, Frames
from sr3d_ros.parameters.detector import load_detector
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.tf.headers import stamp_of


class Course:
    """What is known of the frame in hand; written when it is done."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._arrivals_ns: deque[tuple[int, int]] = deque(maxlen=100)  # only the newest are used
        self._known: dict[str, float] = {}

    def arrived(self, stamp_ns: int) -> None:
        """A frame is offered to the worker; in the executor's thread."""
        self._arrivals_ns.append((stamp_ns, time.time_ns()))

    def started(self, stamp_ns: int) -> None:
        """The worker takes a frame."""
        self._known = {"stamp_ns": stamp_ns, "started_ns": time.time_ns()}
        self._known["arrived_ns"] = dict(self._arrivals_ns.copy())[stamp_ns]

    def note(self, **known: float) -> None:
        """Something about the frame in hand."""
        self._known.update(known)

    def finished(self) -> None:
        """The worker is done with the frame."""
        self.note(finished_ns=time.time_ns())
        self._file.write(json.dumps(self._known) + "\n")


class Double:
    """Takes its time without using the processor, as a GPU does, and finds one chair."""

    device = torch.device("cpu")
    engine = "double"
    classes = ("chair",)

    def __init__(self, inference_ms: float) -> None:
        self.postprocess = Postprocess()
        self.spread: dict[str, ClassSpread] = {}
        self._inference_s = 1e-3 * inference_ms

    def detect(self, cloud: PointCloud) -> Detections:
        """A cube of half a metre at the sensor."""
        started = time.perf_counter()
        time.sleep(self._inference_s)
        boxes = Boxes3D.from_array(torch.tensor([[0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.0]]))
        took_ms = {"network": 1e3 * (time.perf_counter() - started), "postprocess": 0.0}
        return Detections(boxes, torch.tensor([0.9]), torch.tensor([0]), took_ms)


def run(file: TextIO, inference_ms: float, arguments: list[str]) -> int:
    """Run the node until it is interrupted; its exit status."""
    course = Course(file)

    class TimedFrames(Frames):
        def offer(self, frame: tuple[Any, ...]) -> None:
            course.arrived(stamp_of(frame[0]))
            super().offer(frame)

    class TimedProcessor(FrameProcessor):
        def process(self, frame: tuple[Any, ...]) -> Finished:
            course.started(stamp_of(frame[0]))
            finished = super().process(frame)
            took = {**finished.result.time_ms, **finished.result.detections.time_ms}
            course.note(processed_ns=time.time_ns(), **took)
            return finished

        def publish(self, finished: Finished) -> None:
            super().publish(finished)
            course.finished()

    def load(parameters: Parameters) -> Any:
        detector: Detector | Double
        detector = Double(inference_ms) if inference_ms else load_detector(parameters)
        detect = detector.detect

        def timed(cloud: PointCloud) -> Detections:
            started = time.perf_counter()
            found = detect(cloud)
            course.note(detector=1e3 * (time.perf_counter() - started))
            return found

        detector.detect = timed  # type: ignore[method-assign]
        return detector

    publish = Publisher.publish

    def timed_publish(publisher: Any, message: Any) -> None:
        handed_ns = time.time_ns()
        publish(publisher, message)
        if isinstance(message, Detection3DArray):
            course.note(handed_ns=handed_ns, published_ns=time.time_ns())

    Publisher.publish = timed_publish
    node.Frames, node.FrameProcessor = TimedFrames, TimedProcessor
    return node.main(arguments, load)


if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", buffering=1) as lines:
        sys.exit(run(lines, float(sys.argv[2]), sys.argv[3:]))
