"""The one error of a training."""


class TrainingError(RuntimeError):
    """A training that cannot start or go on; the text says why and what to do."""
