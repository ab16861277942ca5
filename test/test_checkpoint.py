"""Weights files: what is written is read, what is wrong is refused with a reason."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_harness import sr3d
from safetensors import safe_open
from safetensors.torch import save_file
from test_network import TINY, points

from sr3d_core.checkpoint import (
    CheckpointError,
    Manifest,
    load_checkpoint,
    read_manifest,
    rewrite_manifest,
    save_checkpoint,
    tr3d_weights,
)
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.model.network import SR3D
from sr3d_core.refinement import NONE, Refinement

MANIFEST = Manifest(architecture=TINY, classes=("chair", "table", "desk"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    save_checkpoint(path, SR3D(TINY), MANIFEST)
    return path


def test_round_trip_gives_the_same_network(weights: Path) -> None:
    torch.manual_seed(0)
    before = SR3D(TINY).eval()
    after, manifest = load_checkpoint(weights)
    torch.testing.assert_close(before(points()).logits, after(points()).logits, rtol=0, atol=0)
    assert manifest.classes == MANIFEST.classes
    assert manifest.architecture == TINY
    assert not after.training


@pytest.mark.slow
def test_loading_needs_neither_torchs_compiler_nor_what_trains(weights: Path) -> None:
    heavy = ("torch._dynamo", "sympy", "accelerate", "matplotlib", "scipy", "rosbags")
    program = (
        "import sys, torch; torchs_own = set(sys.modules); "
        "import sr3d_core.detector; from sr3d_core.checkpoint import load_checkpoint; "
        f"load_checkpoint({str(weights)!r}); "
        f"print([name for name in {heavy} if name in set(sys.modules) - torchs_own])"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE)
    assert told.stdout.decode().strip() == "[]"


def test_half_weights_are_half_as_large_and_nearly_the_same(tmp_path: Path) -> None:
    network = SR3D(TINY).eval()
    save_checkpoint(tmp_path / "full.safetensors", network, MANIFEST)
    save_checkpoint(tmp_path / "half.safetensors", network, MANIFEST, half=True)
    full, half = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("full", "half"))
    assert half < 0.6 * full
    loaded, _ = load_checkpoint(tmp_path / "half.safetensors")
    torch.testing.assert_close(
        loaded(points()).logits, network(points()).logits, atol=2e-2, rtol=1e-2
    )


def test_numbers_that_16_bits_cannot_hold_keep_32(tmp_path: Path) -> None:
    network = SR3D(MANIFEST.architecture)
    large, other, *_ = network.state_dict()
    network.state_dict()[large].flatten()[0] = 100_001.0
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, network, MANIFEST, half=True)
    loaded = load_checkpoint(path)[0].state_dict()
    assert torch.equal(loaded[large], network.state_dict()[large])
    assert torch.equal(loaded[other], network.state_dict()[other].half().float())


def test_weights_that_were_shrunk_keep_what_is_known_of_them(tmp_path: Path) -> None:
    source, small = tmp_path / "full.safetensors", tmp_path / "small.safetensors"
    network = SR3D(MANIFEST.architecture)
    save_checkpoint(source, network, replace(MANIFEST, results={"rooms_map25": 0.5}))
    done = sr3d("model", "shrink", source, small, "--description", "two rooms")
    assert done.exit_code == 0, done.stderr
    loaded, manifest = load_checkpoint(small)
    assert (manifest.description, manifest.results) == ("two rooms", {"rooms_map25": 0.5})
    assert small.stat().st_size < 0.6 * source.stat().st_size
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[name], atol=1e-4, rtol=1e-3)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors: no such weights file"):
        load_checkpoint("nowhere.safetensors")


def test_a_file_cut_short_is_refused(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        load_checkpoint(weights)


def test_text_instead_of_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.safetensors"
    path.write_text("these are not weights")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_checkpoint(path)


def test_one_changed_byte_is_noticed(weights: Path) -> None:
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="was changed or damaged"):
        load_checkpoint(weights)


def test_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match="without an SR3D manifest"):
        load_checkpoint(path)


def _rewrite(path: Path, **changes: Any) -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["sr3d_manifest"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(state, path, metadata={"sr3d_manifest": json.dumps({**header, **changes})})


def test_a_newer_format_says_to_update(weights: Path) -> None:
    _rewrite(weights, format_version=99)
    with pytest.raises(CheckpointError, match=r"format version 99, expected 1: .* newer SR3D"):
        read_manifest(weights)


def test_only_z_up_weights_are_taken(weights: Path) -> None:
    _rewrite(weights, up_axis="y")
    with pytest.raises(CheckpointError, match=r"up_axis: Input should be 'z'"):
        read_manifest(weights)


def test_a_manifest_of_a_giant_is_refused_without_building_it(weights: Path) -> None:
    with safe_open(weights, framework="pt") as file:
        architecture = json.loads(file.metadata()["sr3d_manifest"])["architecture"]
    _rewrite(weights, architecture={**architecture, "widths": [8, 8, 8, 10_000_000]})
    with pytest.raises(CheckpointError, match=r"do not fit its manifest \(size mismatch"):
        load_checkpoint(weights)


def test_a_manifest_with_unknown_keys_is_refused(weights: Path) -> None:
    _rewrite(weights, surprise=1)
    with pytest.raises(CheckpointError, match="surprise"):
        read_manifest(weights)


def test_class_names_must_match_the_network(weights: Path) -> None:
    _rewrite(weights, classes=["chair"])
    with pytest.raises(CheckpointError, match="1 class names for 3 classes"):
        read_manifest(weights)


def test_tensors_must_fit_the_architecture(tmp_path: Path) -> None:
    other = replace(TINY, neck_channels=16)
    path = tmp_path / "odd.safetensors"
    save_checkpoint(path, SR3D(other), MANIFEST)
    with pytest.raises(CheckpointError, match="do not fit its manifest"):
        load_checkpoint(path)


def tr3d_state(worked: dict[str, Any]) -> dict[str, torch.Tensor]:
    shapes = worked["tr3d_state_dict"]["expected"]["shapes"]
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def test_all_262_entries_of_tr3d_load_strictly(worked: dict[str, Any]) -> None:
    state = tr3d_state(worked)
    assert len(state) == 262
    network = SR3D.from_preset("scannet")
    network.load_state_dict(tr3d_weights(state), strict=True)
    kernel = state["head.cls_conv.kernel"]
    torch.testing.assert_close(network.head.classify.weight.detach(), kernel.T)
    torch.testing.assert_close(
        network.neck.up_fine.conv.kernel.detach(), state["neck.up_block_1.0.kernel"]
    )


def test_names_of_the_other_code_base_load_too(worked: dict[str, Any]) -> None:
    names = {"head.bbox_conv": "bbox_head.conv_reg", "head.cls_conv": "bbox_head.conv_cls"}
    state = {}
    for name, tensor in tr3d_state(worked).items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[f"module.{name}"] = tensor
    wrapped: dict[str, Any] = {"state_dict": state, "meta": {}}
    SR3D.from_preset("scannet").load_state_dict(tr3d_weights(wrapped), strict=True)


def test_an_unknown_entry_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'decoder\.weight' is not TR3D's"):
        tr3d_weights({"decoder.weight": torch.ones(1)})


def test_refinement_travels_with_the_weights_and_knows_their_classes(weights: Path) -> None:
    assert read_manifest(weights).refinement == NONE
    chosen = Refinement(vote=("chair", "desk"), vote_iou=0.4, floor=("all",))
    rewrite_manifest(weights, refinement=chosen)
    assert read_manifest(weights).refinement == chosen
    assert Detector.from_checkpoint(weights, device="cpu").refinement == chosen
    rewrite_manifest(weights, refinement=Refinement(size=("sofa",)))
    with pytest.raises(CheckpointError, match=r"weights\.safetensors.*size.*'sofa'.*desk"):
        load_checkpoint(weights)


def test_weights_from_before_refinement_give_what_they_gave(weights: Path) -> None:
    """Their manifest has no word of it."""
    with safe_open(weights, framework="pt") as file:
        manifest = json.loads(file.metadata()["sr3d_manifest"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del manifest["refinement"]
    save_file(state, weights, metadata={"sr3d_manifest": json.dumps(manifest)})
    every = Postprocess(score_threshold=0.0)
    found = Detector.from_checkpoint(weights, device="cpu", postprocess=every).detect(points())
    network, _ = load_checkpoint(weights)
    expected = every(network(points()))
    assert len(found) > 3
    assert torch.equal(found.boxes.array, expected.boxes.array)
    assert torch.equal(found.scores, expected.scores)
