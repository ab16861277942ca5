"""The moving average of a network's weights, which finds better boxes than the last weights alone.

Weights of the last steps lie around a good place; their mean lies closer to it (Polyak and
Juditsky, 1992; as "mean teacher" in arXiv 1703.01780). Statistics of batch norm are not averaged:
they are moving averages already.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of all parameters of a network.

    `decay` is what it keeps of itself at each step, 0..1. In the first steps it keeps less,
    (1 + n) / (10 + n) after n steps, so that the initial weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in network.named_parameters()}

    @torch.no_grad()
    def follow(self, network: nn.Module, num_steps: int) -> None:
        """Move towards the network's weights, after so many steps."""
        kept = min(self.decay, (1 + num_steps) / (10 + num_steps))
        for name, parameter in network.named_parameters():
            self.weights[name].lerp_(parameter.detach(), 1 - kept)

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Take up an average that was saved; raises KeyError or RuntimeError for another one."""
        for name, own in self.weights.items():
            own.copy_(weights[name])

    def state(self, network: nn.Module) -> dict[str, Tensor]:
        """A state of the network with the average in the place of its weights."""
        return {**network.state_dict(), **self.weights}
