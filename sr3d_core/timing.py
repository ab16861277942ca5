"""How long detectors take for the same scenes, and how large they are.

That is Table 7 of arXiv 2511.16140. Every scene goes to all detectors in turn, backwards every
other time, so that whatever else the machine does meets all of them. The first one is shown once
more before, unmeasured. A detector of color images looks at the image of a scene, others at its
cloud.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from sr3d_core.checkpoint import Manifest
from sr3d_core.detector import Detector, Postprocess, seen_by
from sr3d_core.model.network import SR3D
from sr3d_core.structures import Images, PointCloud, Sample


@dataclass(frozen=True, slots=True)
class Times:
    """What one detector took, wall time in milliseconds, one of each scene."""

    num_parameters: int
    total_ms: tuple[float, ...]  # from points or image to boxes
    network_ms: tuple[float, ...]  # voxels and layers; none of a cloud without a point
    postprocess_ms: tuple[float, ...]
    num_boxes: tuple[int, ...]

    @property
    def scenes_per_s(self) -> float:
        """At the median of a scene's time."""
        return 1e3 / statistics.median(self.total_ms)

    def cells(self) -> tuple[str, ...]:
        """As a row of a table: parameters, total and up to, network, postprocess, scenes/s."""
        total, stages = _summary(self.total_ms), (self.network_ms, self.postprocess_ms)
        medians = (_summary(values)["median"] for values in stages)
        times = (total["median"], total["nine_tenths"], *medians)
        return (
            f"{self.num_parameters:,}",
            *("-" if value is None else f"{value:.1f}" for value in times),
            f"{self.scenes_per_s:.2f}",
        )

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values: medians, and the middle eight tenths."""
        return {
            "num_parameters": self.num_parameters,
            "total_ms": _summary(self.total_ms),
            "network_ms": _summary(self.network_ms),
            "postprocess_ms": _summary(self.postprocess_ms),
            "scenes_per_s": round(self.scenes_per_s, 3),
            "median_boxes": statistics.median(self.num_boxes),
        }


def measure_times(
    detectors: Mapping[str, Detector],
    samples: Iterable[Sample],
    progress: Callable[[int], object] | None = None,
) -> dict[str, Times]:
    """Show every scene to every detector; `progress` is told how many scenes are done.

    Raises ValueError where there is no scene, or one lacks the image that a detector takes.
    """
    found: dict[str, list[tuple[float, Mapping[str, float], int]]] = {
        name: [] for name in detectors
    }
    num_done = 0
    for num_done, sample in enumerate(samples, start=1):
        if num_done == 1:
            for detector in detectors.values():
                detector.detect(seen_by(detector, sample))
        for name in list(detectors)[:: 1 if num_done % 2 else -1]:
            found[name].append(_timed(detectors[name], seen_by(detectors[name], sample)))
        if progress is not None:
            progress(num_done)
    if num_done == 0:
        raise ValueError("no scene to take times of, expected at least one")
    return {name: _times(detectors[name], rows) for name, rows in found.items()}


def untrained_detector(
    name: str,
    *,
    device: str | torch.device,
    backend: str,
    postprocess: Postprocess,
    max_points: int,
) -> Detector:
    """A detector of an architecture by its name, whose network has learnt nothing.

    How long it takes depends on weights only by the number of boxes. Raises ValueError.
    """
    torch.manual_seed(0)
    network = SR3D.from_preset(name)
    network.backend = backend
    num_classes = network.architecture.num_classes
    manifest = Manifest(
        architecture=network.architecture,
        classes=tuple(f"class_{label}" for label in range(num_classes)),
    )
    return Detector.of_network(
        network, manifest, device=device, postprocess=postprocess, max_points=max_points
    )


def surroundings(detector: Detector) -> dict[str, str]:
    """What the figures were measured on."""
    is_gpu = detector.device.type == "cuda"
    name = torch.cuda.get_device_name(detector.device) if is_gpu else _processor()
    threads = f"{torch.get_num_threads()} threads"
    return {"device": name, "threads": threads, "engine": detector.engine}


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


_Row = tuple[float, Mapping[str, float], int]
"""Milliseconds in all, those of each stage, and how many boxes are found."""


def _timed(detector: Detector, seen: PointCloud | Images) -> _Row:
    started = time.perf_counter()
    found = detector.detect(seen)
    return 1e3 * (time.perf_counter() - started), found.time_ms, len(found)


def _times(detector: Detector, rows: list[_Row]) -> Times:
    stages = [stages for _, stages, _ in rows if stages]
    return Times(
        num_parameters=sum(parameter.numel() for parameter in detector.network.parameters()),
        total_ms=tuple(total for total, _, _ in rows),
        network_ms=tuple(each["network"] for each in stages),
        postprocess_ms=tuple(each["postprocess"] for each in stages),
        num_boxes=tuple(num for _, _, num in rows),
    )


def _summary(values: tuple[float, ...]) -> dict[str, float | None]:
    """Median, and between what the middle eight tenths lie; null where there is no value."""
    if not values:
        return {"median": None, "tenth": None, "nine_tenths": None}
    ordered = sorted(values)
    place = (len(ordered) - 1) / 10
    return {
        "median": round(statistics.median(ordered), 3),
        "tenth": round(ordered[round(place)], 3),
        "nine_tenths": round(ordered[len(ordered) - 1 - round(place)], 3),
    }
