"""Trains every case of `CASES` into the folder it is given; torchrun starts two of these."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from training_cases import config, room, use_scenes, without_boxes, without_points

from sr3d_core.data.folder import DatasetError
from sr3d_core.structures import Sample
from sr3d_core.train import TrainingError, train


def _with_one_box(sample: Sample) -> Sample:
    return replace(sample, targets=sample.targets[:1])


CASES: dict[str, tuple[Sequence[Sample], int]] = {
    "uneven positives": ([room(0), _with_one_box(room(1)), room(2), _with_one_box(room(3))], 10),
    "no positives in one": ([room(0), without_boxes(room(1))], 1),
    "no points in one": ([room(0), without_points(room(1))], 1),
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
    train(config(num_steps, batch_size=len(scenes), warmup_steps=0), folder / name)


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


if __name__ == "__main__":
    for each in CASES:
        train_case(each, Path(sys.argv[1]))
    refuse_cases(Path(sys.argv[1]), int(os.environ["RANK"]))
