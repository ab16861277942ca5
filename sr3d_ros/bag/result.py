"""What a result says about a recording: what it is about, and how much was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr3d_ros.assembler import COLOR

if TYPE_CHECKING:
    from sr3d_ros.bag.run import BagRun


def head_of(bag: str | Path, run: BagRun) -> dict[str, object]:
    """What a result is about."""
    head: dict[str, object] = {"bag": str(bag), "topic": run.topic, "model": run.weights}
    if run.camera is None:
        return head
    beside = {"color": run.source.inputs[COLOR], "camera_model": run.parameters.camera_weights}
    return {**head, **beside}


def title_of(stamp_ns: int) -> str:
    """What stands above the picture of a frame."""
    return f"{stamp_ns / 1e9:.3f} s"


class Found:
    """Per class: in how many frames, how many boxes, the best score."""

    def __init__(self) -> None:
        self.num_frames = 0
        self.frames: Counter[str] = Counter()
        self.boxes: Counter[str] = Counter()
        self.best: dict[str, float] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one frame, as `frame_record` writes it down."""
        self.num_frames += 1
        names = [found["class"] for found in record["detections"]]
        self.boxes.update(names)
        self.frames.update(set(names))
        for found in record["detections"]:
            name = found["class"]
            self.best[name] = max(self.best.get(name, 0.0), found["score"])

    def to_dict(self) -> dict[str, dict[str, float]]:
        """As plain JSON values, by class."""
        return {
            name: {"frames": self.frames[name], "boxes": self.boxes[name], "best_score": best}
            for name, best in sorted(self.best.items())
        }
