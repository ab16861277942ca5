"""Scenes of rare classes are shown more often, the same ones at every resume."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_cases import room

from sr3d_core.config import ConfigError, parse_config
from sr3d_core.data.augment import Augment
from sr3d_core.data.balance import (
    LOOK_ALIKES,
    KnownLabels,
    drawn_in_proportion,
    factors_of,
    repeat_factors,
)
from sr3d_core.data.folder import FolderDataset
from sr3d_core.data.order import TrainingOrder
from sr3d_core.data.rooms import LABELS
from sr3d_core.structures import Sample

COMMON, RARE = [0, 0], [1, 0]


def test_scenes_with_a_rare_class_have_the_factor_of_lvis() -> None:
    """One class is in all of 8 scenes, the other in 2: shares 1 and .25, their mean .625."""
    factors = repeat_factors([*[COMMON] * 6, RARE, RARE], num_classes=3)
    assert factors.tolist() == pytest.approx([1.0] * 6 + [2.5**0.5] * 2)


def test_scenes_that_hold_both_of_a_pair_are_shown_as_if_it_were_a_class() -> None:
    """Classes 0 and 1 are in 6 and 4 of 8 scenes, mean share .625; both are in 2 of them."""
    labels = [*[[0]] * 4, *[[1]] * 2, *[[1, 0]] * 2]
    alone = repeat_factors(labels, 2, [(0, 1)], of_classes=False)
    assert alone.tolist() == pytest.approx([1.0] * 6 + [2.5**0.5] * 2)
    together = repeat_factors(labels, 2, [(0, 1)])
    assert together.tolist() == pytest.approx([1.0] * 4 + [1.25**0.5] * 2 + [2.5**0.5] * 2)


def test_a_pair_that_never_meets_changes_nothing() -> None:
    factors = repeat_factors([[0], [1], []], 2, [(0, 1)], of_classes=False)
    assert factors.tolist() == [1, 1, 1]


def test_look_alikes_are_classes_of_the_rooms() -> None:
    assert {name for pair in LOOK_ALIKES for name in pair} <= {*LABELS}
    assert len({frozenset(pair) for pair in LOOK_ALIKES}) == len(LOOK_ALIKES)


class Labelled:
    """Scenes of which nothing but the labels is known."""

    def __init__(self, classes: tuple[str, ...], labels: list[list[int]]) -> None:
        self.classes, self.labels = classes, labels

    def labels_of(self, index: int) -> list[int]:
        return self.labels[index]

    def __getitem__(self, index: int) -> Sample:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.labels)


def test_pairs_are_named_by_classes_whatever_their_labels_are() -> None:
    scenes = Labelled(("table", "mug", "bowl", "desk"), [[0, 3], [1, 2], [1], [1]])
    both = factors_of(scenes, "pairs")  # shares .25, .75, .25, .25: mean .375
    assert both is not None
    assert both.tolist() == pytest.approx([1.5**0.5, 1, 1, 1])
    own = factors_of(scenes, "pairs", [("bowl", "mug")])
    assert own is not None
    assert own.tolist() == pytest.approx([1, 1.5**0.5, 1, 1])
    assert factors_of(scenes, "none") is None


def test_pairs_that_no_scene_can_hold_are_refused() -> None:
    scenes = Labelled(("mug", "bowl"), [[0], [1]])
    with pytest.raises(ValueError, match=r"schedule\.pairs"):
        factors_of(scenes, "pairs")
    with pytest.raises(ValueError, match=r"schedule\.pairs: bowls .*bowl\?"):
        factors_of(scenes, "classes_and_pairs", [("mug", "bowls")])


@pytest.mark.parametrize(
    "schedule",
    [
        {"pairs": [["mug", "bowl"]]},
        {"balance": "pairs", "pairs": [["mug", "mug"]]},
        {"balance": "pairs", "pairs": []},
        {"balance": "pairs", "pairs": [["mug"]]},
    ],
)
def test_pairs_that_say_nothing_are_refused(schedule: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"schedule\.pairs"):
        parse_config({"schedule": schedule})


def test_scenes_without_objects_are_shown_as_common_ones() -> None:
    assert repeat_factors([[], [], []], num_classes=2).tolist() == [1, 1, 1]
    assert repeat_factors([[0], [], []], num_classes=1).tolist() == [1, 1, 1]


def test_an_epoch_shows_each_scene_as_often_as_expected_but_for_rounding() -> None:
    factors = np.array([1.0] * 30 + [3.0] * 10)
    drawn = drawn_in_proportion(factors, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=40)
    expected = 40 * factors / factors.sum()
    assert counts.sum() == 40
    assert bool((counts >= np.floor(expected)).all())
    assert bool((counts <= np.ceil(expected)).all())
    assert counts[30:].sum() in (19, 20, 21)  # 20 expected


def test_equal_factors_show_every_scene_once() -> None:
    drawn = drawn_in_proportion(np.full(7, 1.7), np.random.default_rng(1))
    assert sorted(drawn) == list(range(7))


def names(steps: range, **processes: int) -> list[str]:
    scenes = [replace(room(0), name=str(index)) for index in range(6)]
    order = TrainingOrder(
        scenes,
        Augment(),
        seed=3,
        batch_size=2,
        steps=steps,
        factors=np.array([1.0, 1.0, 1.0, 1.0, 2.0, 3.0]),
        **processes,
    )
    return [order[index].name for index in range(len(order))]


def test_a_run_taken_up_sees_what_it_would_have_seen() -> None:
    assert names(range(8))[6:] == names(range(3, 8))


def test_processes_share_the_draw() -> None:
    shares = [names(range(3), rank=rank, num_processes=2) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == sorted(names(range(6)))


def test_labels_of_a_folder_are_known_without_its_clouds(tmp_path: Path) -> None:
    (tmp_path / "clouds").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("chair\nbed\n")
    (tmp_path / "train.txt").write_text("a\nb\n")
    for name, classes in (("a", ["bed", "chair", "bed"]), ("b", ["chair"])):
        (tmp_path / "clouds" / f"{name}.npy").touch()  # nothing can be read here
        boxes = [
            {"class": one, "center": [index, 0, 0], "size": [1, 1, 1], "yaw": 0}
            for index, one in enumerate(classes)
        ]
        (tmp_path / "labels" / f"{name}.json").write_text(json.dumps({"boxes": boxes}))
    scenes = FolderDataset(tmp_path, "train")
    assert isinstance(scenes, KnownLabels)
    assert scenes.labels_of(0) == [1, 0, 1]
    factors = factors_of(scenes, "classes")
    assert factors is not None
    assert factors.tolist() == pytest.approx([1.5**0.5, 1.0])  # shares 1 and .5
