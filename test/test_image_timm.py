"""Image networks of timm, whose layout a stand-in has: what is taken of them, and refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sr3d_core.checkpoint import CheckpointError
from sr3d_core.distill.learner import filled
from sr3d_core.model.image import ImageNetwork

STRIDES = [2, 4, 8, 16, 32]
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


class Features(nn.Module):
    """As timm's `features_only`: halves its images five times, with its stages' dots made bars."""

    def __init__(self, strides: list[int], is_even_only: bool) -> None:
        super().__init__()
        self.stages = [f"stages_{index}" for index in range(len(strides))]
        for name in self.stages:
            self.add_module(name, nn.Conv2d(3, 3, 3, stride=2, padding=1))
        self.feature_info = SimpleNamespace(reduction=lambda: strides, channels=lambda: [3] * 5)
        self.pretrained_cfg = HALF
        self.is_even_only = is_even_only
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> list[Tensor]:
        self.seen, levels = x, []
        for name in self.stages:
            if self.is_even_only and x.shape[-2] % 2:
                raise RuntimeError(f"the size of {x.shape[-2]} rows must be even")
            x = self.get_submodule(name)(x)
            levels.append(x)
        return levels


def create_model(name: str, pretrained: bool, features_only: bool) -> Features:
    assert features_only
    assert not pretrained  # nothing is downloaded
    if name == "nonsense":
        raise RuntimeError("Unknown model (nonsense)")
    return Features([16] * 5 if name == "vit" else STRIDES, is_even_only=name == "dla")


@pytest.fixture(autouse=True)
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("timm")
    module.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", module)


def test_the_features_of_three_strides_are_joined_and_colors_are_as_it_learnt_them() -> None:
    network = ImageNetwork("timm:resnet18", 7)
    assert network.widths == [3, 3, 3]
    assert network(torch.full((2, 3, 240, 320), 0.75)).shape == (2, 7, 30, 40)
    seen = network.get_submodule("stages.network").seen
    assert isinstance(seen, Tensor)
    torch.testing.assert_close(seen, torch.ones(2, 3, 240, 320))  # (.75 - .5) / .25


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit", r"features at strides \[16, 16, 16, 16, 16\], expected 8, 16 and 32"),
        ("nonsense", "timm makes no network of 'timm:nonsense': Unknown model"),
        ("dla", "cannot take images of 320 x 240 pixels.*rows must be even; expected.*multiples"),
    ],
)
def test_networks_that_do_not_fit_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageNetwork(f"timm:{name}", 7)


def test_a_size_that_fits_is_taken() -> None:
    assert ImageNetwork("timm:dla", 7, (320, 256))(torch.zeros(1, 3, 256, 320)).shape[-2:] == (
        32,
        40,
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImportError("No module named 'timm'"), r"not installed.*pip install '\.\[camera\]'"),
        (
            RuntimeError("operator torchvision::nms does not exist"),
            "torchvision::nms.*same package",
        ),
    ],
)
def test_without_timm_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(name: str) -> ModuleType:
        raise error

    monkeypatch.setattr("sr3d_core.model.image.import_module", fail)
    with pytest.raises(ValueError, match=message):
        ImageNetwork("timm:resnet18", 7)


def test_a_file_of_a_whole_network_fills_its_features(tmp_path: Path) -> None:
    stages = ImageNetwork("timm:resnet18", 7).stages
    whole = {
        f"stages.{index}.{kind}": torch.full(shape, float(index))
        for index in range(5)
        for kind, shape in (("weight", (3, 3, 3, 3)), ("bias", (3,)))
    }
    path = tmp_path / "whole.safetensors"
    save_file(whole | {"head.weight": torch.zeros(10, 3)}, path)
    assert filled(stages, path).startswith("10 of 10 tensors")
    for name, tensor in stages.state_dict().items():
        torch.testing.assert_close(
            tensor, whole[name.removeprefix("network.").replace("stages_", "stages.")]
        )
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(CheckpointError, match="0 of 10 tensors fit this image network"):
        filled(stages, path)
