"""The errors of a training, and how it tells those of others."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """A training that cannot start or go on; the text says why and what to do."""


class ProcessLostError(TrainingError):
    """Another process of the training is gone, so that none can be asked any more."""


class NotFiniteError(TrainingError):
    """A loss or a gradient that is no number; nothing was learnt from it."""


def in_one_line(error: Exception) -> str:
    """The last line of an error's text: readers' processes put their stack before it."""
    lines = str(error).strip().splitlines()
    text = lines[-1] if lines else ""
    if len(lines) > 1:  # "module.TypeOfTheError: its text"
        text = text.partition(": ")[2] or text
    is_ours = isinstance(error, (ValueError, OSError, RuntimeError)) and text
    return text if is_ours else f"{type(error).__name__}: {text}"
