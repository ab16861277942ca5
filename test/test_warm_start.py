"""Starting from the weights of another network: which rows are taken, and that this is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_network import TINY

from sr3d_core.checkpoint import CheckpointError, Manifest, load_checkpoint, save_checkpoint
from sr3d_core.config import ConfigError, parse_config
from sr3d_core.model.network import SR3D
from sr3d_core.training.warm_start import WarmStart, take_weights

MANIFEST = Manifest(architecture=TINY, classes=("chair", "table", "desk"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    torch.manual_seed(0)
    save_checkpoint(path, SR3D(TINY), MANIFEST)
    return path


def rows(network: SR3D) -> torch.Tensor:
    """Weights and bias of each number of the regression."""
    regress = network.head.regress
    return torch.cat([regress.weight, regress.bias[:, None]], dim=1).detach().clone()


def test_fine_tuning_takes_classifier_rows_by_name(weights: Path) -> None:
    given = load_checkpoint(weights)[0].head.classify
    network = SR3D(replace(TINY, num_classes=2))
    before = network.head.classify.weight.detach().clone()
    start = take_weights(network, ("sofa", "table"), weights)
    assert start.fresh == ["class sofa"]
    assert "class table" in start.taken
    torch.testing.assert_close(network.head.classify.weight[0], before[0])
    torch.testing.assert_close(network.head.classify.weight[1], given.weight[1])
    torch.testing.assert_close(network.head.classify.bias[1], given.bias[1])


@pytest.mark.parametrize("name", ["Sofa", "sofas", "SO FA", "so_fa"])
def test_fine_tuning_names_the_class_that_is_only_spelled_otherwise(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, SR3D(TINY), replace(MANIFEST, classes=("chair", "table", "sofa")))
    network = SR3D(replace(TINY, num_classes=2))
    (fresh,) = take_weights(network, ("chair", name), path).fresh
    assert fresh.startswith(f"class {name} ")
    assert "sofa" in fresh.removeprefix(f"class {name}")


def test_fine_tuning_refuses_another_architecture(weights: Path) -> None:
    network = SR3D(replace(TINY, widths=(12, 12, 12, 12)))
    with pytest.raises(CheckpointError, match=r"\d+ of \d+ tensors fit this architecture"):
        take_weights(network, MANIFEST.classes, weights)


def test_another_coding_takes_the_numbers_that_mean_the_same(weights: Path) -> None:
    """All but the height, which is a sum in TR3D's, and the second vector of the yaw."""
    given = rows(load_checkpoint(weights)[0])
    network = SR3D(replace(TINY, box_coding="quarter_turns", quality_exponent=0.5))
    before = rows(network)
    start = take_weights(network, MANIFEST.classes, weights)
    after = rows(network)
    same = [0, 1, 2, 3, 4, 6, 7]
    torch.testing.assert_close(after[same], given[same], rtol=0, atol=0)
    torch.testing.assert_close(after[[5, 8, 9]], before[[5, 8, 9]], rtol=0, atol=0)
    fresh = ["box: height", "box: sin 4 yaw", "box: cos 4 yaw", "head.rate.bias"]
    assert start.fresh == [*fresh, "head.rate.weight"]


def test_the_height_of_axis_aligned_boxes_is_a_height_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    aligned = SR3D(replace(TINY, rotated=False))
    save_checkpoint(path, aligned, replace(MANIFEST, architecture=aligned.architecture))
    network = SR3D(replace(TINY, box_coding="own_height"))
    start = take_weights(network, MANIFEST.classes, path)
    torch.testing.assert_close(rows(network)[5], rows(aligned)[5], rtol=0, atol=0)
    assert "box: height" in start.taken
    assert "box: sin 2 yaw" in start.fresh


def test_a_head_of_another_width_is_all_fresh(weights: Path) -> None:
    network = SR3D(replace(TINY, neck_channels=12))
    before = rows(network)
    start = take_weights(network, MANIFEST.classes, weights)
    torch.testing.assert_close(rows(network), before, rtol=0, atol=0)
    assert {f"class {name}" for name in MANIFEST.classes} <= set(start.fresh)
    assert not [row for row in start.taken if row.startswith(("class ", "box: "))]


def test_a_fresh_head_takes_all_but_the_head(weights: Path) -> None:
    given = load_checkpoint(weights)[0].state_dict()
    network = SR3D(TINY)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start = take_weights(network, MANIFEST.classes, weights, fresh_head=True)
    for name, tensor in network.state_dict().items():
        expected = before if name.startswith("head.") else given
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    assert {f"class {name}" for name in MANIFEST.classes} <= set(start.fresh)
    assert not [row for row in start.taken if row.startswith(("class ", "box: "))]


def test_many_fresh_tensors_of_one_part_are_counted() -> None:
    few = ["class a", "box: height", "head.rate.bias", "head.rate.weight"]
    start = WarmStart([], [*few, *(f"neck.{i}.weight" for i in range(7))])
    assert start.fresh_in_short == [*few, "neck (7 tensors)"]


def test_a_fresh_head_needs_weights_for_the_rest() -> None:
    with pytest.raises(ConfigError, match=r"network\.weights is none"):
        parse_config({"network": {"fresh_head": True}})


def test_the_weights_that_ship_start_a_network_of_more_classes() -> None:
    given, manifest = load_checkpoint("default")
    classes = ("mug", *manifest.classes, "plate")
    network = SR3D(replace(manifest.architecture, num_classes=len(classes)))
    start = take_weights(network, classes, "default")
    assert start.fresh == ["class mug", "class plate"]
    own, shipped = network.state_dict(), given.state_dict()
    for name, tensor in shipped.items():
        taken = own[name][1:-1] if name.startswith("head.classify") else own[name]
        torch.testing.assert_close(taken, tensor, rtol=0, atol=0)
