"""How far away a pixel is, as a distribution over bins (CaDDN, arXiv 2103.01100).

Bins are of canonical depth (Cube R-CNN's virtual camera, arXiv 2207.10660): what an object's depth
would be if a camera of one fixed focal length saw it at the size it has in the image. So what is
learnt with one camera holds for another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DepthBins:
    """Bins of canonical depth, each the same factor wider than the one before."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    bins: int = 64
    """How many; at least 2. 64 between 0.4 and 8 m: each 4.8 % wider."""
    near_m: float = 0.4
    far_m: float = 8.0
    canonical_focal_px: float = 280.0
    """The focal length of the camera whose depth is binned, in pixels of the network's input."""

    def __post_init__(self) -> None:
        """Refuse bins that are none."""
        if self.bins < 2 or not 0 < self.near_m < self.far_m < math.inf:
            raise ValueError(
                f"{self.bins} bins of {self.near_m:g} to {self.far_m:g} m, expected at least 2, "
                "and 0 < near_m < far_m"
            )
        if not 0 < self.canonical_focal_px < math.inf:
            raise ValueError(f"canonical_focal_px is {self.canonical_focal_px}, expected above 0")

    def centers_m(self, focal_px: Float[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """Depth of the bins' centres for cameras of these focal lengths."""
        edges = torch.linspace(
            math.log(self.near_m),
            math.log(self.far_m),
            self.bins + 1,
            dtype=focal_px.dtype,
            device=focal_px.device,
        ).exp()
        canonical = (edges[:-1] * edges[1:]).sqrt()
        return focal_px[:, None] / self.canonical_focal_px * canonical

    def place(
        self, depth_m: Float[Tensor, "*shape"], focal_px: Float[Tensor, "*#shape"]
    ) -> Float[Tensor, "*shape"]:
        """Where a depth is among the bins of such a camera: 0 at the near end, 1 at the far."""
        canonical = depth_m * (self.canonical_focal_px / focal_px)
        return (canonical / self.near_m).log() / math.log(self.far_m / self.near_m)


def mean_and_std(
    probability: Float[Tensor, "*shape D"], centers_m: Float[Tensor, "*#shape D"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Mean and standard deviation in metres of distributions over bins."""
    mean = (probability * centers_m).sum(dim=-1)
    variance = (probability * (centers_m - mean[..., None]).square()).sum(dim=-1)
    return mean, variance.clamp(min=0.0).sqrt()
