"""How often imitating the teacher is against the labels, object by object: `sr3d model conflicts`.

MonoSTL's claim is that this happens to objects which need no help, and that leaving them out is
what pays. Measured is a student that has been taught, with the adapters it was taught by: the
gradient of its losses of boxes and scores against that of imitating the teacher's features, of all
objects alike, both at the voxels where its images become voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from sr3d_core.data.sources import Scenes
from sr3d_core.distill.learner import CameraLearner, TaughtObject
from sr3d_core.distill.settings import CameraConfig, load_camera_config
from sr3d_core.evaluate import plain_number
from sr3d_core.structures import Batch
from sr3d_core.supervision.distill.conflict import Bucket, conflicts_by_need
from sr3d_core.training.errors import TrainingError
from sr3d_core.training.folder import CONFIG, STATE
from sr3d_core.training.processes import Processes
from sr3d_core.training.state import read_state


@dataclass(frozen=True, slots=True)
class Conflicts:
    """What was found in a run's student."""

    step: int
    preset: str
    reference_m: float  # the deviation of depth from which on an object is in need
    num_images: int
    objects: tuple[tuple[int, TaughtObject], ...]  # with the number of the image

    @property
    def buckets(self) -> list[Bucket]:
        """The share of conflicts by need."""
        return conflicts_by_need(
            np.array([each.need for _, each in self.objects], np.float64),
            np.array([each.cosine for _, each in self.objects], np.float64),
            np.array([image for image, _ in self.objects], np.int64),
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "step": self.step,
            "preset": self.preset,
            "reference_depth_std_m": plain_number(self.reference_m),
            "images": self.num_images,
            "buckets": [
                {
                    "need_above": each.low,
                    "need_to": each.high,
                    "objects": each.num,
                    "conflicts": each.num_conflicts,
                    "share": plain_number(each.share),
                    "low": plain_number(each.interval[0]),
                    "high": plain_number(each.interval[1]),
                }
                for each in self.buckets
            ],
            "objects": [
                {
                    "image": image,
                    **{
                        name: plain_number(value) if isinstance(value, float) else value
                        for name, value in asdict(each).items()
                    },
                }
                for image, each in self.objects
            ],
        }


def config_of_run(folder: Path) -> CameraConfig:
    """That of a run of `sr3d distill`; raises TrainingError where it would tell nothing."""
    path = folder / CONFIG
    if not path.is_file() or not (folder / STATE).is_file():
        raise TrainingError(
            f"{folder}: no {CONFIG} and {STATE}; expected the folder of a run of `sr3d distill`, "
            "which keeps there what the student is compared by"
        )
    config = load_camera_config(path)
    if config.distill.preset == "none" or config.distill.feature.weight == 0:
        raise TrainingError(
            f"{path}: learns no features of its teacher, so nothing says what of them is what of "
            "the student; expected distill.preset other than none, and distill.feature.weight "
            "above 0"
        )
    if config.compares_cells:
        raise TrainingError(
            f"{path}: compared cells of images, and conflicts are of voxels; expected "
            "distill.preset other than monostl_literal, or teacher.kind other than depth_image"
        )
    return config


def measure_conflicts(
    folder: Path,
    scenes: Scenes,
    on_done: Callable[[int], object] = lambda num_done: None,
) -> Conflicts:
    """Look at labelled images with the student of a run as it learnt last; nothing is learnt.

    Raises TrainingError and ValueError that say what is missing.
    """
    config = config_of_run(folder)
    accelerator = Accelerator()
    alone = Processes(0, 1, accelerator.device)
    learner = CameraLearner(config, tuple(config.data.classes), accelerator, alone)
    state = read_state(folder / STATE)
    learner.load(state)
    objects = list[tuple[int, TaughtObject]]()
    for index in range(len(scenes)):
        sample = scenes[index]
        batch = Batch.collate([sample]).to(accelerator.device)
        objects += [(index, each) for each in learner.objects(batch)]
        on_done(index + 1)
    preset, reference_m = config.distill.preset, learner.reference_m
    return Conflicts(state.step, preset, reference_m, len(scenes), tuple(objects))
