"""`sr3d pretrain` and `sr3d train --init`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import Result
from pretrain_cases import SETTINGS
from training_cases import room
from typer.testing import CliRunner

from sr3d_core.checkpoint import read_manifest, stored_tensors
from sr3d_core.cli.main import app
from sr3d_core.config import Network
from sr3d_core.presets import preset_path
from sr3d_core.pretrain.clouds import open_sources
from sr3d_core.pretrain.next_step import how_to_train
from sr3d_core.pretrain.recordings import Recordings
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.training.warm_start import backbone_differences

TINY = {
    "preset": "lite",
    "changes": {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in SETTINGS.changes.items()
    },
    "targets": {"hidden": 16, "bottleneck": 8, "prototypes": 6},
    "steps": {"num": 2, "batch_size": 2, "log_steps": 1},
}


def sr3d(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings and a folder of clouds, one of them damaged, in a folder further down."""
    folder = tmp_path_factory.mktemp("pretrain")
    (folder / "settings.yaml").write_text(yaml.safe_dump(TINY))
    below = folder / "clouds" / "kitchen"
    below.mkdir(parents=True)
    for seed in range(2):
        np.save(below / f"{seed}.npy", room(seed).cloud.xyz.numpy())
    (below / "damaged.npy").write_bytes(b"nothing")
    (folder / "drive").mkdir()
    (folder / "drive" / "drive.bag").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def weights(folder: Path) -> Path:
    out = folder / "pre.safetensors"
    settings = folder / "settings.yaml"
    done = sr3d("pretrain", folder / "clouds", "--settings", settings, "--out", out)
    assert done.exit_code == 0, done.output
    assert "damaged.npy" in done.output
    return out


def test_a_folder_of_clouds_becomes_weights(folder: Path, weights: Path) -> None:
    origin = read_manifest(weights).pretraining
    assert origin is not None
    assert origin["clouds"] == 2
    assert list(origin["sources"]) == [str(folder / "clouds")]
    assert len(weights.with_suffix(".csv").read_text().splitlines()) == 3


def test_its_manifest_is_shown(weights: Path, tmp_path: Path) -> None:
    done = sr3d("model", "info", weights, "--json", tmp_path / "info.json")
    assert done.exit_code == 0, done.output
    shown = json.loads((tmp_path / "info.json").read_text())
    assert shown["pretraining"] == read_manifest(weights).pretraining
    tensors = stored_tensors(weights).items()
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    num = sum(each.numel() for name, each in tensors if not name.endswith(statistics))
    assert shown["num_parameters"] == num


def test_a_source_that_is_named_twice_is_used_once(folder: Path, tmp_path: Path) -> None:
    recordings = Recordings(folder=tmp_path / "pre.clouds")
    (tmp_path / "link").symlink_to(folder)
    once, digests, _ = open_sources([str(folder)], "z", recordings)
    twice = open_sources([str(folder), str(tmp_path / "link")], "z", recordings)
    assert (len(twice[0]), twice[1]) == (len(once), digests)
    assert any("used once" in line and "link" in line for line in twice[2])


def test_a_cloud_that_changed_is_another_source(folder: Path, weights: Path) -> None:
    cloud = folder / "clouds" / "kitchen" / "0.npy"
    before = cloud.read_bytes()
    cloud.write_bytes(before[:-4] + np.float32(1.0).tobytes())  # as long as before
    settings = folder / "settings.yaml"
    try:
        done = sr3d(
            *("pretrain", folder / "clouds", "--settings", settings, "--out", weights),
            "--resume",
        )
    finally:
        cloud.write_bytes(before)
    assert done.exit_code == 1
    assert f"{folder / 'clouds'} (digest" in done.output
    assert "--accept-data" in done.output


def test_a_training_starts_from_it(tmp_path: Path, weights: Path) -> None:
    config = {
        "network": {"preset": "lite", "changes": TINY["changes"]},
        "data": {"name": "rooms", "num_val": 1},
        "augment": {"max_points": 2000},
        "schedule": {"num_steps": 1, "batch_size": 1},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    done = sr3d("train", tmp_path / "small.yaml", "--init", weights, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert kept["network"]["weights"] == str(weights)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("nowhere",), "nowhere: no such file, folder or reader"),
        (("clouds/kitchen/damaged.npy",), "no cloud to learn from"),
        (("drive",), "drive/drive.bag: the file is empty"),
        (("drive/drive.bag",), "drive/drive.bag: the file is empty"),
        (("clouds", "--method", "mae"), "dos, asymdsd"),
        (("clouds", "--out", "pre.pt"), "expected .safetensors"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], found: str
) -> None:
    monkeypatch.chdir(folder)
    given = arguments if "--out" in arguments else (*arguments, "--out", "new.safetensors")
    done = sr3d("pretrain", *given)
    assert done.exit_code != 0
    assert found in done.output
    assert "Traceback" not in done.output
    assert not (folder / "new.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mask: {ratio: 2}", "mask.ratio"),
        ("targets: {teacher_temperature: [0.2, 0.2]}", "targets.teacher_temperature"),
        ("stepz: {num: 3}", "did you mean steps"),
        ("mask: {ratoi: 0.5}", "mask.ratoi: unknown key; did you mean ratio"),
        ("changes: {widths: [1, 2]}", "widths"),
        ("- a", "settings"),
    ],
)
def test_wrong_settings_name_the_key(tmp_path: Path, folder: Path, text: str, found: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    out = tmp_path / "new.safetensors"
    done = sr3d("pretrain", folder / "clouds", "--settings", path, "--out", out)
    assert done.exit_code == 1
    assert found in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("changes", "sources", "found"),
    [
        ({}, ["rooms"], "sr3d train --preset rooms --init 'my pre.safetensors'"),
        ({}, ["drive.mcap"], "my_rooms.yaml --init 'my pre.safetensors'"),
        ({}, ["infos:data/sunrgbd"], "sr3d train --data infos:data/sunrgbd --init"),
        ({"voxel_size_m": 0.04}, ["rooms"], '"voxel_size_m": 0.04'),
        ({"box_coding": "quarter_turns"}, ["rooms"], "--preset rooms"),
    ],
)
def test_the_hint_names_a_training_that_takes_the_weights(
    changes: dict[str, object], sources: list[str], found: str
) -> None:
    """The network of `--preset rooms` and of own data is `lite`; its head does not matter."""
    hint = how_to_train(Pretraining(changes=changes), sources, Path("my pre.safetensors"))
    assert found in hint
    assert ("CONFIG.yaml" in hint) == ("voxel_size_m" in changes)


def test_the_trainings_that_the_hint_names_have_the_network_of_the_default() -> None:
    for name in ("rooms", "own_data"):
        tree = yaml.safe_load(preset_path(name).read_text())["network"]
        own = Network(preset=tree["preset"], changes=tree["changes"]).architecture(1)
        assert backbone_differences(own, Pretraining().architecture) == []
