"""Trainings that ship, and folders for scenes of one's own that begin with a copy of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_harness import assert_one_line_error, sr3d

from sr3d_core.checkpoint import read_manifest
from sr3d_core.config import load_config
from sr3d_core.data.sources import FolderSource
from sr3d_core.presets import preset_names, preset_path


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_training(name: str) -> None:
    config = load_config(preset_path(name))
    assert config.network.architecture(num_classes=3).num_classes == 3


@pytest.mark.parametrize("name", ["own_data", "rooms"])
def test_trainings_around_the_weights_that_ship_build_their_network(name: str) -> None:
    """Else rows of these weights would start afresh."""
    shipped = read_manifest("default")
    built = load_config(preset_path(name)).network.architecture(len(shipped.classes))
    assert built == shipped.architecture


def test_an_unknown_preset_is_refused_with_the_names_of_all() -> None:
    assert {"own_data", "rooms", "sr3d_paper"} <= set(preset_names())
    assert_one_line_error(sr3d("train", "--preset", "own"), "'own'", *preset_names())


def test_a_training_is_a_file_or_a_preset(tmp_path: Path) -> None:
    assert sr3d("train").exit_code == 2
    assert sr3d("train", tmp_path / "my.yaml", "--preset", "rooms").exit_code == 2


def test_a_preset_is_trained_like_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets as far as the folder that own_data names, which is not there."""
    monkeypatch.chdir(tmp_path)
    assert_one_line_error(sr3d("train", "--preset", "own_data"), "my_rooms", "no such folder")


def test_a_new_folder_holds_what_a_data_set_needs(tmp_path: Path) -> None:
    folder = tmp_path / 'rooms of "ü: #1'
    result = sr3d("data", "init", folder)
    assert result.exit_code == 0, result.output
    names = {"clouds", "labels", "classes.txt", "train.txt", "val.txt", f"{folder.name}.yaml"}
    assert {path.name for path in folder.iterdir()} == names
    config = load_config(folder / f"{folder.name}.yaml")
    assert isinstance(config.data, FolderSource)
    assert config.data.path == folder
    assert config.schedule == load_config(preset_path("own_data")).schedule
    classes = (folder / "classes.txt").read_text().split()
    assert tuple(classes) == read_manifest("default").classes


def test_a_new_folder_takes_classes_and_changes_nothing_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("kitchen\n")
    arguments = ("--class", "pallet", "--class", "fork lift")
    assert sr3d("data", "init", tmp_path, *arguments).exit_code == 0
    assert (tmp_path / "classes.txt").read_text() == "pallet\nfork lift\n"
    assert (tmp_path / "val.txt").read_text() == "kitchen\n"
    assert sr3d("data", "init", tmp_path, "--class", "other").exit_code == 0
    assert (tmp_path / "classes.txt").read_text() == "pallet\nfork lift\n"
