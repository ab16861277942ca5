"""The errors of a training."""


class TrainingError(RuntimeError):
    """A training that cannot start or go on; the text says why and what to do."""


class ProcessLostError(TrainingError):
    """Another process of the training is gone, so that none can be asked any more."""
