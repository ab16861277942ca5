"""Checkpoints of TR3D as public programs write them, made of small networks."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr3d_core.model.network import SR3D, Architecture

NECK = {
    "up_coarse": "up_block_2",
    "lateral_coarse": "lateral_block_1",
    "out_coarse": "out_block_1",
    "up_fine": "up_block_1",
    "lateral_fine": "lateral_block_0",
    "out_fine": "out_block_0",
}
AUTHORS = {"regress": "head.bbox_conv", "classify": "head.cls_conv"}
MMDET3D = {"regress": "bbox_head.conv_reg", "classify": "bbox_head.conv_cls"}


def small(num_classes: int, rotated: bool, voxel_size_m: float = 0.02) -> SR3D:
    """A narrow TR3D with random weights, which finds something."""
    torch.manual_seed(3)
    network = SR3D(
        Architecture(
            num_classes=num_classes,
            rotated=rotated,
            voxel_size_m=voxel_size_m,
            stem_channels=8,
            widths=(8, 8, 16, 16),
            depths=(1, 2, 1, 1),
            neck_channels=8,
        )
    ).eval()
    with torch.no_grad():
        for parameter in (network.head.classify.weight, network.head.regress.weight):
            parameter.copy_(torch.randn_like(parameter))
        network.head.classify.bias.zero_()
        for name, buffer in network.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.rand_like(buffer) + 0.5)
    return network


def as_tr3d(network: SR3D, head: dict[str, str] = AUTHORS) -> OrderedDict[str, Tensor]:
    """The network's weights under TR3D's names and in MinkowskiEngine's shapes."""
    entries: OrderedDict[str, Tensor] = OrderedDict()
    for name, tensor in network.state_dict().items():
        part, block, *rest = name.split(".")
        if part == "backbone":
            entries[name] = tensor
        elif part == "neck":
            index = {"conv": "0", "norm": "1"}[rest[0]]
            entries[".".join(["neck", NECK[block], index, *rest[1:]])] = tensor
        elif rest == ["weight"]:
            entries[f"{head[block]}.kernel"] = tensor.T.contiguous()
        else:
            entries[f"{head[block]}.bias"] = tensor[None]
    return entries


def save(path: Path, content: Any, legacy: bool = False) -> Path:
    """Write a file as torch.save did before torch 1.6, or as it does now."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
