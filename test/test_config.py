"""The configuration tree: YAML in, dataclasses out, mistakes named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sr3d_core.config import (
    Config,
    ConfigError,
    Schedule,
    dump_config,
    load_config,
    parse_config,
)
from sr3d_core.data.folder import FolderSource
from sr3d_core.supervision.center_topk import CenterTopK


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert load_config(path) == Config()


def test_what_is_dumped_is_loaded_again(tmp_path: Path) -> None:
    config = parse_config({"schedule": {"num_steps": 7, "decay_at": [0.5]}})
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert load_config(path) == config


def test_names_choose_the_parts() -> None:
    config = parse_config(
        {
            "data": {"name": "folder", "path": "mine"},
            "criterion": {
                "assigner": {"name": "center_topk"},
                "classification": {"name": "focal"},
            },
        }
    )
    assert isinstance(config.data, FolderSource)
    assert isinstance(config.criterion.assigner, CenterTopK)


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"shedule": {}}, "config: shedule: unknown key; did you mean schedule"),
        (
            {"schedule": {"steps": 1}},
            "config: schedule.steps: unknown key; did you mean num_steps",
        ),
        ({"schedule": {"num_steps": 0}}, "config: schedule.num_steps: 0, expected above 0"),
        ({"schedule": {"epochs": 0}}, "config: schedule.epochs: 0.0, expected above 0"),
        (
            {"schedule": {"warmup_from": 0.1}},
            "config: schedule.warmup_from: 0.1, expected above 0, at most learning_rate",
        ),
        ({"evaluation": {"max_points": 0}}, "config: evaluation.max_points: 0, expected at least"),
        ({"evaluation": {"nms": "2d"}}, "'bev' or '3d'"),
        ({"schedule": {"seed": -1}}, "config: schedule.seed: -1, expected at least 0"),
        ({"data": {"name": "rooms", "num_train": -3}}, "num_train -3"),
        ({"data": {"name": "rooms", "sensors": []}}, "data.sensors: none given"),
        ({"schedule": {"num_steps": "many"}}, "valid integer"),
        ({"schedule": {"decay": "linear"}}, "'cosine' or 'step'"),
        ({"network": {"preset": "huge"}}, "network.preset"),
        ({"criterion": {"assigner": {"name": "sptoa"}}}, "sptoa"),
        ({"augment": {"flip_x": 2.0}}, "augment.flip_x: 2.0, expected 0..1"),
        ([1, 2], "top level"),
    ],
)
def test_mistakes_are_named(tree: Any, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(tree)
    assert text in str(caught.value)


@pytest.mark.parametrize(("epochs", "num_steps"), [(2, 5), (0.1, 1), (None, 20_000)])
def test_epochs_make_steps_of_the_number_of_scenes(epochs: float | None, num_steps: int) -> None:
    schedule = parse_config({"schedule": {"epochs": epochs, "batch_size": 4}}).schedule
    assert schedule.for_scenes(9).num_steps == num_steps


def test_without_its_first_rate_the_warmup_begins_as_before() -> None:
    schedule = Schedule(learning_rate=0.3, warmup_steps=2, decay="step")
    assert [schedule.rate_at(step) for step in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.3])
    alike = replace(schedule, warmup_from=0.1)
    assert [alike.rate_at(step) for step in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.3])


def test_changes_of_the_architecture_are_checked() -> None:
    for changes, text in (({"widht": 3}, "widht: unknown key"), ({"widths": [8]}, "widths.1")):
        config = parse_config({"network": {"preset": "lite", "changes": changes}})
        with pytest.raises(ConfigError, match=text):
            config.network.architecture(num_classes=2)
    config = parse_config({"network": {"changes": {"widths": [8, 8, 8, 8]}}})
    assert config.network.architecture(num_classes=2).widths == (8, 8, 8, 8)


def test_a_missing_file_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_config(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,")
    with pytest.raises(ConfigError, match=r"broken\.yaml: not YAML"):
        load_config(broken)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("schedule: {num_steps: 1}\nschedule: {seed: 2}\n")
    with pytest.raises(ConfigError, match=r"twice\.yaml:.*'schedule'"):
        load_config(path)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "marked.yaml"
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_text("schedule: {num_steps: 7}\n", encoding=encoding)
        assert load_config(path).schedule.num_steps == 7
