"""How rates, temperatures and the teacher's inertia change over the steps of a pre-training."""

from __future__ import annotations

import math


def ramp(step: int, first: float, last: float, num_steps: int) -> float:
    """A straight line from the first value, reached after so many steps; then it stays."""
    if step >= num_steps:
        return last
    return first + (last - first) * step / num_steps


def cosine(step: int, first: float, last: float, num_steps: int) -> float:
    """Half a cosine wave from the first value at step 0 to the last one at `num_steps`."""
    share = min(step / num_steps, 1.0) if num_steps else 1.0
    return last + (first - last) * (1.0 + math.cos(math.pi * share)) / 2.0


def learning_rate(
    step: int, peak: float, num_steps: int, warmup: int, first: float, last: float
) -> float:
    """Up to the peak in a straight line, down from there in a cosine."""
    if step < warmup:
        return ramp(step, first, peak, warmup)
    return cosine(step - warmup, peak, last, num_steps - warmup)
