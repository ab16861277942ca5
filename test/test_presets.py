"""Trainings that ship, and folders for scenes of one's own that begin with a copy of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_harness import assert_one_line_error, sr3d

from sr3d_core.checkpoint import read_manifest
from sr3d_core.config import (
    ConfigError,
    Evaluation,
    Schedule,
    dump_config,
    load_config,
    parse_config,
)
from sr3d_core.data.augment import Augment
from sr3d_core.data.augment_presets import AUGMENTATIONS
from sr3d_core.data.sources import FolderSource
from sr3d_core.model.network import PRESETS
from sr3d_core.presets import preset_names, preset_path
from sr3d_core.supervision.losses import BoxDiou
from sr3d_core.supervision.ras import Ras
from sr3d_core.supervision.spota import Spota


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


@pytest.mark.parametrize(
    ("name", "num_scenes", "num_steps"),
    # 13 epochs of 15 or 5 times all scenes, 16 a step: 14637.2 and 21470.3
    [("sr3d_paper", 1201, 14_638), ("sr3d_paper_sunrgbd", 5285, 21_471)],
)
def test_the_papers_trainings_are_as_it_is_printed(
    name: str, num_scenes: int, num_steps: int
) -> None:
    config = load_config(preset_path(name))
    assert config.criterion.assigner == Spota(k=6, mu=1.0, candidates="all")
    assert config.criterion.classification == Ras(
        reading="literal", tau=0.1, beta=1.0, blend="row"
    )
    assert config.criterion.box == BoxDiou()
    assert config.criterion.consistency == 0
    assert config.network.changes == {}
    assert config.augment == Augment(
        flip_x=0.5,
        flip_y=0.5,
        rotate_rad=(-0.0872665, 0.0872665),
        scale=(0.6, 1.4),
        keep_fraction=(0.66, 0.66),
        axis_aligned=not config.network.architecture(num_classes=10).rotated,
    )
    assert config.evaluation == Evaluation(nms="bev", max_points=None)
    schedule = config.schedule.for_scenes(num_scenes)
    assert (schedule.num_steps, schedule.batch_size) == (num_steps, 16)
    assert schedule.weight_decay == 1e-4


def test_the_papers_rate_falls_after_8_11_and_12_of_13_epochs() -> None:
    schedule = load_config(preset_path("sr3d_paper")).schedule.for_scenes(1201)
    assert schedule.num_steps == 13 * 1126
    rates = [schedule.rate_at(step) for step in range(schedule.num_steps)]
    assert rates[0] == pytest.approx(1e-5)
    assert rates[300] == rates[1000] == pytest.approx(1e-3)
    assert rates[150] == pytest.approx((1e-5 + 1e-3) / 2)
    falls = [step for step in range(301, schedule.num_steps) if rates[step] < rates[step - 1]]
    assert falls == pytest.approx([8 * 1126, 11 * 1126, 12 * 1126], abs=1)
    assert rates[-1] == pytest.approx(1e-6)


def test_the_rate_that_the_paper_prints_can_be_had() -> None:
    printed = Schedule(learning_rate=1e-5, warmup_from=1e-5, decay="step", num_steps=1000)
    assert {printed.rate_at(step) for step in range(500)} == {1e-5}


def test_the_papers_presets_say_what_the_paper_prints_beside_what_is_corrected() -> None:
    for name in ("sr3d_paper", "sr3d_paper_sunrgbd"):
        lines = preset_path(name).read_text().splitlines()
        (rate,) = [line for line in lines if "learning_rate:" in line]
        assert "0.001" in rate.partition("#")[0]
        assert "printed: 0.00001" in rate.partition("#")[2]


def test_s3dis_is_trained_for_as_many_steps_as_tr3d_does() -> None:
    """204 rooms 13 times, 16 a step, make 166 steps an epoch (TR3D's count); 12 epochs."""
    config = load_config(preset_path("sr3d_s3dis"))
    schedule = config.schedule.for_scenes(204)
    assert schedule.num_steps == pytest.approx(12 * 166, abs=3)
    rates = [schedule.rate_at(step) for step in range(schedule.num_steps)]
    assert rates[0] == rates[1000] == 1e-3
    falls = [step for step in range(1, schedule.num_steps) if rates[step] < rates[step - 1]]
    assert falls == pytest.approx([8 * 166, 11 * 166], abs=3)
    assert config.network.architecture(num_classes=5) == PRESETS["s3dis"]
    paper = load_config(preset_path("sr3d_paper"))
    assert config.criterion == paper.criterion
    assert config.augment.axis_aligned


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (
            "tr3d",
            {
                "flip_x": 0.5,
                "flip_y": 0.5,
                "rotate_rad": (-0.02, 0.02),
                "scale": (0.9, 1.1),
                "translate_m": 0.1,
                "keep_fraction": (0.33, 1.0),
            },
        ),
        (
            "tr3d_sunrgbd",
            {
                "flip_x": 0.5,
                "rotate_rad": (-0.523599, 0.523599),
                "scale": (0.85, 1.15),
                "translate_m": 0.1,
                "max_points": 100_000,
            },
        ),
        (
            "tr3d_s3dis",
            {
                "flip_x": 0.5,
                "flip_y": 0.5,
                "scale": (0.95, 1.05),
                "translate_m": 0.1,
                "max_points": 100_000,
            },
        ),
        (
            "sr3d_paper",
            {
                "flip_x": 0.5,
                "flip_y": 0.5,
                "rotate_rad": (-0.0872665, 0.0872665),
                "scale": (0.6, 1.4),
                "keep_fraction": (0.66, 0.66),
            },
        ),
    ],
)
def test_a_published_augmentation_is_one_word(word: str, expected: dict[str, Any]) -> None:
    """With something changed about it as well; a run's config.yaml says what it stands for."""
    config = parse_config({"augment": word})
    assert config.augment == Augment(**expected)
    changed = parse_config({"augment": {"preset": word, "max_points": 7, "axis_aligned": True}})
    assert changed.augment == Augment(**{**expected, "max_points": 7, "axis_aligned": True})
    assert yaml.safe_load(dump_config(config))["augment"]["translate_m"] == (
        expected.get("translate_m", 0.0)
    )
    assert parse_config(yaml.safe_load(dump_config(config))) == config


def test_every_published_augmentation_is_documented() -> None:
    page = Path(__file__).resolve().parent.parent / "docs" / "training.md"
    assert {"tr3d", "sr3d_paper"} <= set(AUGMENTATIONS)
    for word in AUGMENTATIONS:
        assert f"| `{word}` |" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ("tr3", "'tr3'.*tr3d, tr3d_sunrgbd"),
        ({"preset": None}, "'None'.*tr3d"),
        ({"preset": "tr3d", "flip": 1}, "augment.flip: unknown key"),
        ({"preset": "tr3d", "flip_x": 2}, "augment.flip_x: 2"),
        (["tr3d"], "augment"),
        (None, "augment"),
    ],
)
def test_what_is_no_augmentation_is_refused_by_name(augment: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config({"augment": augment})


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
