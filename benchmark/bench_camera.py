"""How long one color image takes, stage by stage, beside the cloud of the same moment.

    python benchmark/bench_camera.py --frames 5 --rounds 9

Frames are of rooms with looks, 320 x 240. The student is new, of the size that `sr3d distill`
makes: what it costs depends on its weights by the number of voxels that its depth reaches. So
depth is not its own: it is a normal distribution around the true one, as wide as a trained student
may tell (--depth-error, a share). In each round a cloud and an image are detected in, in turns;
times are the processor's, of all threads, in milliseconds: other programs change them less than
wall time, which is told too. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from measure import aim, machine, ratio, summary
from torch import Tensor, nn

from sr3d_core.checkpoint import Manifest, read_manifest
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.model.camera_network import CameraArchitecture, CameraSR3D, cell_depth
from sr3d_core.structures import Images

ON_A_ROBOT = Postprocess(score_threshold=0.3, one_class=True)


class ToldDepth(nn.Module):
    """In the place of the depth head: beside its work, what it would say if it had learnt."""

    def __init__(self, head: nn.Module, student: CameraSR3D, error: float) -> None:
        super().__init__()
        self.head, self.bins, self.error = head, student.camera.depth, error
        self.images: Images | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Logits of all bins, of every cell."""
        said: Tensor = self.head(features)
        if self.images is None:
            return said
        centers = self.bins.centers_m(self.images.intrinsics[:, 0, 0].float())
        depth = cell_depth(self.images)[:, None].clamp(min=self.bins.near_m)
        off = (centers[:, :, None, None] - depth) / (self.error * depth)
        return said * 0 - off.square() / 2


def student_of(error: float) -> tuple[Detector, ToldDepth]:
    """One that has the later stages of the weights that ship, as every student begins."""
    of_clouds = Detector.from_checkpoint("default", device="cpu")
    manifest = read_manifest("default")
    torch.manual_seed(0)
    camera = CameraArchitecture()
    network = CameraSR3D(manifest.architecture, camera)
    network.start_from(of_clouds.network)
    told = ToldDepth(network.depth, network, error)
    network.depth = told
    made = Manifest(architecture=manifest.architecture, classes=manifest.classes, camera=camera)
    return Detector.of_network(network, made, device="cpu", postprocess=ON_A_ROBOT), told


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
    parser.add_argument("--depth-error", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    about = machine(options.threads)
    of_images, told = student_of(options.depth_error)
    of_clouds = Detector.from_checkpoint("default", device="cpu", postprocess=ON_A_ROBOT)
    network: Any = of_images.network
    parts = {"image": network.image.stages, "mix": network.mix, "depth": network.depth}
    parts |= {"context": network.context, **dict(network.backbone), "neck": network.neck}
    watch = Watch({**parts, "head": network.head})
    images, clouds, stages, cells = list[Any](), list[Any](), list[Any](), list[int]()
    scenes = RoomsSource(images=True).open("val", num=options.frames)
    for sample in (scenes[index] for index in range(len(scenes))):
        assert sample.images is not None
        told.images = sample.images
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
