"""Checkpoints of TR3D become weights that find what they found; all else is refused in words."""

from __future__ import annotations

import hashlib
import json
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_harness import assert_one_line_error, save_untrained, sr3d
from test_network import points
from test_torch_file import Command
from tr3d_checkpoints import AUTHORS, MMDET3D, as_tr3d, save, small

from sr3d_core.checkpoint import CheckpointError, load_checkpoint
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.tr3d_import import DATASETS, import_tr3d

CLASSES = ("chair", "table", "garbage_bin")
META = {"CLASSES": ("Chair", "table", "garbagebin"), "mmcv_version": "1.6.0", "epoch": 12}
EVERYTHING = Postprocess(score_threshold=0.0)


def authors(entries: dict[str, Any]) -> Any:
    state = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-3}]}
    meta = {**META, "config": "voxel_size = .02\nmodel = dict(voxel_size=0.02)", "time": 1}
    return {"meta": meta, "state_dict": entries, "optimizer": state}


def mmengine(entries: dict[str, Any]) -> Any:
    meta = {"dataset_meta": {"classes": list(META["CLASSES"])}, "cfg": "x=dict(voxel_size=2e-2)"}
    hub = {"log": {"loss": np.float64(0.5)}}
    return {"meta": meta, "state_dict": entries, "message_hub": hub, "param_schedulers": [{}]}


def parallel(entries: dict[str, Any]) -> Any:
    return {"state_dict": {f"module.{name}": tensor for name, tensor in entries.items()}}


def bare(entries: dict[str, Any]) -> Any:
    return entries


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("rotated", [False, True], ids=["aligned", "rotated"])
@pytest.mark.parametrize("wrap", [authors, mmengine, parallel, bare])
@pytest.mark.parametrize("head", [AUTHORS, MMDET3D], ids=["authors", "mmdet3d"])
def test_the_converted_network_finds_the_same(
    tmp_path: Path,
    legacy: bool,
    rotated: bool,
    wrap: Callable[[Any], Any],
    head: dict[str, str],
) -> None:
    network = small(3, rotated)
    path = save(tmp_path / "tr3d.pth", wrap(as_tr3d(network, head)), legacy)
    imported = import_tr3d(path, CLASSES, 0.02)
    assert imported.manifest.classes == CLASSES
    assert imported.manifest.architecture == network.architecture
    assert hashlib.sha256(path.read_bytes()).hexdigest() in imported.manifest.description
    expected, found = (
        Detector(one, CLASSES, device="cpu", postprocess=EVERYTHING).detect(points())
        for one in (network, imported.network)
    )
    assert len(expected) > 3
    assert torch.equal(found.boxes.array, expected.boxes.array)
    assert torch.equal(found.scores, expected.scores)


def test_heights_are_the_sum_of_two_numbers_as_tr3d_was_trained(tmp_path: Path) -> None:
    path = save(tmp_path / "tr3d.pth", as_tr3d(small(3, rotated=True)))
    network = import_tr3d(path, CLASSES, 0.02).network
    with torch.no_grad():
        levels = network.raw(points())
        boxes = network.predictions(levels).boxes
    r = torch.cat([level.regression for level in levels]).double().numpy()
    e = np.exp(np.minimum(r[:, 3:6], 8.0))
    ratio = np.exp(np.hypot(r[:, 6], r[:, 7]))
    np.testing.assert_allclose(boxes.size[:, 2], e[:, 1] + e[:, 2], rtol=1e-4)
    np.testing.assert_allclose(boxes.size[:, 0], (e[:, 0] + e[:, 1]) / (1 + ratio), rtol=1e-3)
    np.testing.assert_allclose(boxes.yaw, 0.5 * np.arctan2(r[:, 6], r[:, 7]), atol=1e-5)


@pytest.mark.parametrize(("dataset", "rotated"), [("scannet", False), ("sunrgbd", True)])
def test_the_published_network_converts_whole(
    tmp_path: Path, dataset: str, rotated: bool, worked: dict[str, Any]
) -> None:
    shapes = dict(worked["tr3d_state_dict"]["expected"]["shapes"])
    num = len(DATASETS[dataset])
    for part, size in (("cls", num), ("bbox", 8 if rotated else 6)):
        shapes |= {f"head.{part}_conv.kernel": [128, size], f"head.{part}_conv.bias": [1, size]}
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    path, out = save(tmp_path / "tr3d.pth", {"state_dict": state}), tmp_path / "out.safetensors"
    done = sr3d("convert", path, "--out", out, "--classes", dataset)
    assert done.exit_code == 0, done.output
    network, manifest = load_checkpoint(out)
    assert manifest.classes == DATASETS[dataset]
    assert manifest.architecture.rotated is rotated
    assert manifest.architecture.voxel_size_m == 0.01
    assert "0.01 m, as published" in done.stderr
    num_expected = {"scannet": 14_661_464, "sunrgbd": 14_660_690}[dataset]
    assert sum(parameter.numel() for parameter in network.parameters()) == num_expected


def test_classes_stand_in_the_order_of_the_published_configurations() -> None:
    scannet, sunrgbd = DATASETS["scannet"], DATASETS["sunrgbd"]
    assert scannet[:5] == ("cabinet", "bed", "chair", "sofa", "table")
    assert scannet[11:] == (
        *("curtain", "refrigerator", "shower_curtain", "toilet", "sink", "bathtub"),
        "garbage_bin",
    )
    assert sunrgbd[:4] == ("bed", "table", "sofa", "chair")
    assert sunrgbd[6:] == ("dresser", "night_stand", "bookshelf", "bathtub")
    assert DATASETS["s3dis"] == ("table", "chair", "sofa", "bookcase", "board")


def test_everything_that_was_not_used_is_named(tmp_path: Path) -> None:
    content = authors(as_tr3d(small(3, False)))
    content["state_dict"]["ema_backbone_conv1_kernel"] = torch.ones(1)
    content["meta"]["best"] = np.float64(0.7)
    path, out = save(tmp_path / "tr3d.pth", content), tmp_path / "out.safetensors"
    json_out = tmp_path / "said.json"
    done = sr3d("convert", path, "--out", out, "--json", json_out)
    assert done.exit_code == 0, done.output
    unused = json.loads(json_out.read_text())["unused"]
    assert set(unused) == {
        *("meta.mmcv_version", "meta.epoch", "meta.time", "meta.best", "optimizer"),
        "ema_backbone_conv1_kernel",
    }
    assert unused["meta.mmcv_version"] == "'1.6.0'"
    assert "not read" in unused["meta.best"]
    for key in unused:
        assert f"not used: {key}: " in done.stderr
    assert "3 classes by the file: chair, table, garbage_bin" in done.stderr
    assert "0.02 m, by the configuration" in done.stderr
    assert Detector.from_checkpoint(out, device="cpu").classes == CLASSES


def test_what_is_given_goes_before_what_the_file_says_and_both_are_told(tmp_path: Path) -> None:
    path = save(tmp_path / "tr3d.pth", authors(as_tr3d(small(3, False))))
    imported = import_tr3d(path, ("mug", "Coffee Table", "pallet"), 0.03, "ours")
    assert imported.manifest.classes == ("mug", "coffee_table", "pallet")
    assert imported.manifest.architecture.voxel_size_m == 0.03
    assert imported.manifest.license == "ours"
    assert "the file itself names chair, table, garbage_bin" in imported.notes[0]
    assert "0.02" in imported.notes[1]


def test_unknown_classes_are_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "tr3d.pth", as_tr3d(small(5, False)))
    with pytest.raises(CheckpointError, match=r"its 5 classes; expected --classes .*s3dis has as"):
        import_tr3d(path)
    with pytest.raises(CheckpointError, match=r"18 class names .* for 5 classes"):
        import_tr3d(path, ("scannet",))
    with pytest.raises(CheckpointError, match="all different"):
        import_tr3d(path, ("a", "b", "c", "d", "d"))


def test_two_voxel_sizes_are_asked_about(tmp_path: Path) -> None:
    content = authors(as_tr3d(small(3, False)))
    content["meta"]["config"] = "voxel_size=0.01; voxel_size = 0.02"
    path = save(tmp_path / "tr3d.pth", content)
    with pytest.raises(CheckpointError, match=r"\[0\.01, 0\.02\].*--voxel-size"):
        import_tr3d(path)


@pytest.mark.parametrize(
    ("entry", "network"),
    [
        ("img_backbone.conv1.weight", r"TR3D\+FF"),
        ("img_neck.lateral_convs.0.conv.weight", r"TR3D\+FF"),
        ("neck_with_head.centerness_conv.kernel", "FCAF3D"),
        ("bbox_head.conv_center.kernel", "FCAF3D"),
        ("head.scales.0.scale", "FCAF3D"),
        ("unet.blocks.block0.conv_branch.0.weight", "UniDet3D"),
        ("module.mlp_heads.sem_cls_head.layers.0.weight", "V-DETR"),
    ],
)
def test_other_networks_are_recognised(tmp_path: Path, entry: str, network: str) -> None:
    entries = {entry: torch.ones(3), **as_tr3d(small(3, False))}
    for content in ({"state_dict": entries}, {"model": entries, "args": Namespace(seed=0)}):
        path = save(tmp_path / "other.pth", content)
        with pytest.raises(CheckpointError, match=rf"other\.pth: .*{network}.*cannot be conv"):
            import_tr3d(path, CLASSES)


def _without(entries: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: tensor for key, tensor in entries.items() if key != name}


KERNEL = "backbone.layer1.0.conv1.kernel"
VARIANCE = "backbone.norm1.bn.running_var"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: {}, "no tensors"),
        (lambda e: {**e, "decoder.weight": torch.ones(1)}, r"'decoder\.weight' is not TR3D's"),
        (lambda e: _without(e, "backbone.norm1.bn.weight"), r"norm1\.bn\.weight"),
        (lambda e: _without(e, "head.cls_conv.kernel"), r"no entry for head\.classify\.weight"),
        (lambda e: {**e, KERNEL: e[KERNEL].reshape(-1)}, r"shape \(1728,\)"),
        (lambda e: {**e, KERNEL: e[KERNEL][:8]}, r"layer1\.0\.conv1\.kernel"),
        (lambda e: {**e, KERNEL: e[KERNEL] * torch.nan}, "not finite"),
        (lambda e: {**e, VARIANCE: -e[VARIANCE]}, "variances below 0"),
        (lambda e: {**e, f"module.{KERNEL}": e[KERNEL]}, "twice, with `module.` and without"),
        (
            lambda e: {**e, "bbox_head.conv_cls.bias": e["head.cls_conv.bias"]},
            "'head.cls_conv.bias' and 'bbox_head.conv_cls.bias' are the same part",
        ),
        (lambda e: {**e, KERNEL: 1.5}, "one 1.5, expected a tensor"),
        (lambda e: {**e, "backbone.conv1.kernel": torch.ones(27, 4, 8)}, "4 numbers for each"),
        (lambda e: {**e, "head.bbox_conv.kernel": torch.ones(8, 7)}, "7 numbers for each box"),
    ],
)
def test_what_is_no_whole_tr3d_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], said: str
) -> None:
    entries = change(dict(as_tr3d(small(3, False))))
    path = save(tmp_path / "tr3d.pth", {"state_dict": entries})
    with pytest.raises(CheckpointError, match=rf"tr3d\.pth: .*{said}"):
        import_tr3d(path, CLASSES, 0.02)


@pytest.mark.parametrize("content", [torch.ones(2), [1], {"state_dict": 5}, {}])
def test_what_is_no_dictionary_of_weights_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match=r"tr3d\.pth: .*expected"):
        import_tr3d(save(tmp_path / "tr3d.pth", content), CLASSES)


def test_weights_in_16_bits_become_single_precision(tmp_path: Path) -> None:
    halves = {
        name: t.half() if t.is_floating_point() else t
        for name, t in as_tr3d(small(3, False)).items()
    }
    network = import_tr3d(save(tmp_path / "tr3d.pth", halves), CLASSES).network
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_hostile_checkpoint_writes_nothing(tmp_path: Path) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out.safetensors"
    content = authors(as_tr3d(small(3, False)))
    content["meta"]["hook"] = Command(os.system, f"touch {victim}")
    path = save(tmp_path / "tr3d.pth", content)
    assert_one_line_error(sr3d("convert", path, "--out", out), "system", "nothing of it was run")
    assert not victim.exists()
    assert not out.exists()


def test_the_command_refuses_what_it_cannot_read_in_one_line(tmp_path: Path) -> None:
    ours = save_untrained(tmp_path)
    out = tmp_path / "out.safetensors"
    assert_one_line_error(sr3d("convert", tmp_path / "no.pth", "--out", out), "no such file")
    assert_one_line_error(sr3d("convert", ours, "--out", out), "untrained.safetensors")
    path = save(tmp_path / "tr3d.pth", authors(as_tr3d(small(3, False))))
    before = path.read_bytes()
    assert_one_line_error(sr3d("convert", path, "--out", path), "is the checkpoint itself")
    assert path.read_bytes() == before
