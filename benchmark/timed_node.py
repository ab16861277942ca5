"""The node as it ships, with the detector's own time of every frame written to a file.

    python benchmark/timed_node.py TIMES --ros-args ...

One line a frame, in milliseconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sr3d_core.detector import Detector
from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.node import main
from sr3d_ros.node_parts.work import load_detector
from sr3d_ros.params import Parameters


def run(times: Path, arguments: list[str]) -> int:
    """Run the node until it is interrupted; its exit status."""
    with times.open("w", buffering=1) as file:

        def load(parameters: Parameters) -> Detector:
            detector = load_detector(parameters)
            detect = detector.detect

            def timed(cloud: PointCloud) -> Detections:
                started = time.perf_counter()
                found = detect(cloud)
                file.write(f"{1e3 * (time.perf_counter() - started):.3f}\n")
                return found

            detector.detect = timed
            return detector

        return main(arguments, load)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
