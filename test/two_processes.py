"""Trains every case of `CASES` into the folder it is given; torchrun starts two of these.

With a second argument, one of `MOMENTS`, the second process kills itself then, in the third step.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from camera_cases import TAUGHT, taught
from training_cases import config, room, use_scenes, without_boxes, without_points

from sr3d_core.data.folder import DatasetError
from sr3d_core.distill.learner import CameraLearner
from sr3d_core.structures import Sample
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.train import TrainingError, train
from sr3d_core.training.learner import Learner
from sr3d_core.training.validation import Validation


def _with_one_box(sample: Sample) -> Sample:
    return replace(sample, targets=sample.targets[:1])


def _with_few_points(sample: Sample) -> Sample:
    """Voxels so far apart that coarse levels have a few rows, where other scenes have hundreds."""
    return replace(sample, cloud=sample.cloud[::800])


CASES: dict[str, tuple[Sequence[Sample], int]] = {
    "uneven positives": ([room(0), _with_one_box(room(1)), room(2), _with_one_box(room(3))], 10),
    "few voxels in one": ([room(0), _with_few_points(room(1))], 4),
    "no positives in one": ([room(0), without_boxes(room(1))], 1),
    "no points in one": ([room(0), without_points(room(1))], 1),
    "two views": ([room(0), room(1)], 2),
    "no points anywhere": ([without_points(room(0)), without_points(room(1))], 1),
}
"""Scenes, all of which a step sees, and how many steps."""


class BreaksAfter(list[Sample]):
    """Scenes that cannot be read any more once so many were."""

    def __init__(self, scenes: Sequence[Sample], num_read: int) -> None:
        super().__init__(scenes)
        self._left = num_read

    def __getitem__(self, index: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise DatasetError(f"labels/{index}.json: broken")
        return super().__getitem__(index)


def train_case(name: str, folder: Path) -> None:
    """Train one case into a folder of its name."""
    scenes, num_steps = CASES[name]
    use_scenes(scenes)
    wanted = config(num_steps, batch_size=len(scenes), warmup_steps=0)
    consistency = 1.0 if name == "two views" else 0.0
    train(replace(wanted, criterion=Criterion(consistency=consistency)), folder / name)


def teach_case(folder: Path) -> None:
    """Camera students: of boxes and depth, and of all that a teacher says.

    A step is of six scenes, of which the last one has no object: processes have unequal shares.
    """
    for name in TAUGHT:
        train(taught(folder, name), folder / f"images {name}", learner=CameraLearner)


def refuse_cases(folder: Path, rank: int) -> None:
    """Trainings that must stop in both processes; writes what each was told."""
    rooms = [room(0), room(1)]
    use_scenes(BreaksAfter(rooms, 2 if rank == 1 else 99))
    seeds = {"broken scene": 0, "other seed": rank}
    for name, seed in seeds.items():
        try:
            train(config(seed=seed), folder / name)
        except TrainingError as error:
            (folder / f"{name} {rank}.txt").write_text(str(error))


def validate_cases(folder: Path) -> None:
    """The first case with validations, and one that ends because they bring no gain."""
    scenes, num_steps = CASES["uneven positives"]
    use_scenes(scenes)
    asked = {"batch_size": len(scenes), "warmup_steps": 0}
    train(config(num_steps, validate_steps=3, **asked), folder / "validated")
    Validation.score = lambda self, *inputs: {"map25": 0.5, "map50": 0.5}
    train(config(9, validate_steps=2, patience=2, **asked), folder / "without gain")


MOMENTS = {"reading": (BreaksAfter, "__getitem__"), "in the criterion": (Criterion, "__call__")}
"""What the second process is about when it is killed: a class and the name of its method."""


def lose_a_process(folder: Path, rank: int, moment: str) -> None:
    """Train while the second process is killed in its third step; writes what the first says."""
    use_scenes(BreaksAfter([room(0), room(1)], 99))
    owner, method = MOMENTS[moment]
    do = getattr(owner, method)
    steps_done = 0

    def do_or_die(*inputs: Any, **options: Any) -> Any:
        if rank == 1 and steps_done == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return do(*inputs, **options)

    setattr(owner, method, do_or_die)
    learn = Learner.learn

    def count(self: Learner, *inputs: Any) -> Any:
        nonlocal steps_done
        losses = learn(self, *inputs)
        steps_done += 1
        return losses

    Learner.learn = count
    try:
        train(config(4), folder / moment)
    except TrainingError as error:
        (folder / f"{moment}.txt").write_text(str(error))


def main() -> None:
    """What the command line says."""
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    if sys.argv[2:]:
        lose_a_process(folder, rank, sys.argv[2])
        return
    for each in CASES:
        train_case(each, folder)
    teach_case(folder)
    refuse_cases(folder, rank)
    validate_cases(folder)


if __name__ == "__main__":
    main()
