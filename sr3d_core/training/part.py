"""Training a part of a network alone, the rest as it came: not one of its other outputs changes.

What is frozen has no gradient, and is in evaluation mode, so that statistics of batch norm stay
as they are too.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sr3d_core.config import TrainablePart
from sr3d_core.model.network import SR3D
from sr3d_core.sparse.layers import VoxelNorm


def freeze_all_but(network: SR3D, parts: Sequence[TrainablePart]) -> None:
    """Let nothing but these parts learn; all where none is named."""
    if parts:
        network.requires_grad_(False)
        for part in parts:
            _module(network, part).requires_grad_()


def begin_training(
    network: SR3D, parts: Sequence[TrainablePart], freeze_norms: bool = False
) -> None:
    """Set the network to training mode; what is frozen works as in use.

    `freeze_norms` freezes the statistics of all batch norms.
    """
    network.train()
    if parts:
        for child in network.children():
            child.eval()
    if freeze_norms:
        for module in network.modules():
            if isinstance(module, VoxelNorm | nn.BatchNorm2d):
                module.eval()


def names_of(network: SR3D, parts: Sequence[TrainablePart]) -> set[str]:
    """The names of the parameters of these parts."""
    own = {id(parameter) for part in parts for parameter in _module(network, part).parameters()}
    return {name for name, parameter in network.named_parameters() if id(parameter) in own}


def _module(network: SR3D, part: TrainablePart) -> nn.Module:
    modules: dict[TrainablePart, nn.Module | None] = {"front": network.head.face}
    module = modules[part]
    assert module is not None, f"a configuration that trains {part} has it"
    return module
