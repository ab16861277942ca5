"""How long one color image takes, stage by stage, beside the cloud of the same moment.

    python benchmark/bench_camera.py --frames 5 --rounds 9

Frames are of rooms with looks that no training has seen, 320 x 240. What an image costs depends
on how sure its network is of depth: on the number of voxels that it lifts cells to, which is told.
In each round a cloud and an image are detected in, in turns; times are the processor's, of all
threads, in milliseconds: other programs change them less than wall time, which is told too. Prints
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from measure import aim, machine, ratio, summary
from torch import nn

from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.detector import Detector, Postprocess

ON_A_ROBOT = Postprocess(score_threshold=0.3, one_class=True)


class Watch:
    """Processor time of parts of a network, summed over what they do in one frame."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        self.ms = dict.fromkeys(parts, 0.0)
        for name, part in parts.items():
            self._began = 0.0
            part.register_forward_pre_hook(self._begin)
            part.register_forward_hook(self._ender(name))

    def _begin(self, *_: Any) -> None:
        self._began = time.process_time()

    def _ender(self, name: str) -> Callable[..., None]:
        def end(*_: Any) -> None:
            self.ms[name] += 1e3 * (time.process_time() - self._began)

        return end

    def taken(self) -> dict[str, float]:
        """What they took since the last call."""
        found = dict(self.ms)
        self.ms = dict.fromkeys(self.ms, 0.0)
        return found


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall milliseconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.process_time() - processor), 1e3 * (time.perf_counter() - wall)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5, help="images with their clouds")
    parser.add_argument("--rounds", type=int, default=9, help="measured of each, after one more")
    parser.add_argument("--weights", default="camera", help="of color images")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    about = machine(options.threads)
    of_images = Detector.from_checkpoint(options.weights, device="cpu", postprocess=ON_A_ROBOT)
    of_clouds = Detector.from_checkpoint("default", device="cpu", postprocess=ON_A_ROBOT)
    network: Any = of_images.network
    names = ("mix", "depth", "height", "objects", "context", "neck", "head")
    parts = {"image": network.image.stages, **{name: getattr(network, name) for name in names}}
    parts |= dict(network.backbone)
    watch = Watch({name: part for name, part in parts.items() if part is not None})
    images, clouds, stages, cells = list[Any](), list[Any](), list[Any](), list[int]()
    scenes = RoomsSource(images=True).open("val", num=options.frames)
    for sample in (scenes[index] for index in range(len(scenes))):
        assert sample.images is not None
        cells.append(len(network.raw(sample.images).lifted.coords))
        for number in range(options.rounds + 1):
            watch.taken()
            cloud = timed(lambda sample=sample: of_clouds.detect(sample.cloud))
            image = timed(lambda sample=sample: of_images.detect(sample.images))
            if number:
                clouds.append(cloud)
                images.append(image)
                stages.append(watch.taken())
    processor = [each[0] for each in images]
    medians = {name: statistics.median(each[name] for each in stages) for name in stages[0]}
    medians["pyramid, lift, boxes and the rest"] = statistics.median(processor) - sum(
        medians.values()
    )
    wall = summary([each[1] for each in images])
    print(
        json.dumps(
            {
                "machine": about,
                "frames": options.frames,
                "lifted_cells": summary(cells),
                "image_ms": summary(processor),
                "cloud_ms": summary([each[0] for each in clouds]),
                "image_by_cloud": ratio(processor, [each[0] for each in clouds]),
                "image_wall_ms": wall,
                "stages_ms": {name: round(value, 2) for name, value in medians.items()},
                "aim": aim("wall ms of an image", wall["median"], "at most", 120.0),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
