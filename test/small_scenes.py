"""Small labelled scenes for assigners, and the worked example that many of them share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr3d_core.structures import Boxes3D, Predictions, Targets

EXAMPLES: dict[str, Any] = json.loads(
    (Path(__file__).parent / "worked_examples.json").read_text()
)["examples"]

STRIDES_M = (0.16, 0.32)


def boxes(rows: Any) -> Boxes3D:
    return Boxes3D.from_array(torch.as_tensor(rows, dtype=torch.float64))


def scene_of(inputs: dict[str, Any], labels: str) -> tuple[Predictions, Targets]:
    """The scene of a worked example with five anchors on two levels."""
    anchors = torch.tensor(inputs["points"], dtype=torch.float64)
    stride = inputs.get("stride_metres", [STRIDES_M[level] for level in inputs.get("levels", [])])
    level = torch.tensor([STRIDES_M.index(value) for value in stride])
    logits = torch.tensor(inputs.get("logits", [[0.0] * 18] * len(anchors)), dtype=torch.float64)
    found = Predictions(
        anchors,
        boxes(inputs["pred_boxes"]),
        logits,
        level,
        torch.zeros_like(level),
        level_stride_m=STRIDES_M,
    )
    return found, Targets(boxes(inputs["gt_boxes"]), torch.tensor(inputs[labels]))


def room(
    seed: int = 0,
    *,
    num: int = 400,
    num_boxes: int = 6,
    rotated: bool = False,
    num_classes: int = 4,
    dtype: torch.dtype = torch.float64,
) -> tuple[Predictions, Targets]:
    """A room of 3 x 2.5 x 2 m with anchors on the lattices of two levels, most near a box."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    turn = 3.0 if rotated else 0.0
    size = 0.2 + 0.8 * uniform(num_boxes, 3)
    center = uniform(num_boxes, 3) * torch.tensor([3.0, 2.5, 2.0], dtype=torch.float64)
    truth = Boxes3D(center.to(dtype), size.to(dtype), (turn * uniform(num_boxes)).to(dtype))
    near = torch.randint(0, num_boxes, (num,), generator=generator)
    level = torch.randint(0, 2, (num,), generator=generator)
    stride = torch.tensor(STRIDES_M, dtype=torch.float64)[level, None]
    place = center[near] + (uniform(num, 3) - 0.5) * (size[near] + 0.4)
    anchors = (place / stride).floor() * stride
    noise = 0.15 * torch.randn(num, 3, generator=generator, dtype=torch.float64)
    # Off the lattice by a little, each by another amount, so that no two costs are equal.
    found = Boxes3D(
        (center[near] + noise).to(dtype),
        (size[near] * (0.7 + 0.6 * uniform(num, 3))).to(dtype),
        (truth.yaw[near] + 0.2 * turn * (uniform(num) - 0.5)).to(dtype),
    )
    logits = (2 * torch.randn(num, num_classes, generator=generator) - 2).to(dtype)
    anchors = (anchors + 1e-3 * (uniform(num, 3) - 0.5)).to(dtype)
    predictions = Predictions(
        anchors, found, logits, level, torch.zeros_like(level), level_stride_m=STRIDES_M
    )
    labels = torch.randint(0, num_classes, (num_boxes,), generator=generator)
    return predictions, Targets(truth, labels)
