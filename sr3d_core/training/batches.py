"""The scenes of each step, from the step that a run begins or goes on at."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import DataLoader

from sr3d_core.config import Config
from sr3d_core.data.balance import factors_of
from sr3d_core.data.order import TrainingOrder
from sr3d_core.data.sources import Scenes
from sr3d_core.structures import Batch
from sr3d_core.training.processes import Processes


def batches(
    config: Config, scenes: Scenes, first_step: int, share: int, processes: Processes
) -> Iterator[Batch]:
    """What this process sees of each step: `share` augmented scenes."""
    schedule = config.schedule
    order = TrainingOrder(
        scenes,
        config.changes,
        seed=schedule.seed,
        batch_size=share,
        steps=range(first_step, schedule.num_steps),
        rank=processes.rank,
        num_processes=processes.num,
        factors=factors_of(scenes, schedule.balance, schedule.pairs),
    )
    return iter(
        DataLoader(
            order,
            batch_size=share,
            num_workers=schedule.num_workers,
            collate_fn=Batch.collate,
        )
    )
