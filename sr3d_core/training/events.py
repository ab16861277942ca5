"""Losses and figures as events for TensorBoard, where a configuration asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from sr3d_core.training.folder import Progress


class Events:
    """Writes events into a folder, in the background; what a resumed run does again replaces."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = SummaryWriter(folder, purge_step=step + 1)

    def note(self, at: Progress) -> None:
        """A step."""
        self._writer.add_scalar("rate", at.learning_rate, at.step)
        for name in ("total", "classification", "box"):
            value = float(getattr(at.losses, name).detach())
            self._writer.add_scalar(f"loss/{name}", value, at.step)

    def validated(self, step: int, report: dict[str, Any]) -> None:
        """A validation: means, AIC where it is known, and AP of the classes that are there."""
        for name in ("map25", "map50"):
            self._writer.add_scalar(f"val/{name}", report[name], step)
        if report["aic"] is not None:
            self._writer.add_scalar("val/aic", report["aic"], step)
        for name, row in report["per_class"].items():
            if row["ap50"] is not None:
                self._writer.add_scalar(f"val ap50/{name}", row["ap50"], step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
