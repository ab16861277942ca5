"""Rooms of foreign furniture: layouts, sensors, the cache, the whole command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import foreign_rooms
import numpy as np
import pytest
import torch
import typer
from foreign.export import export
from foreign.suites import SUITES
from foreign.supply import ForeignFurniture, open_models
from foreign.table import read_table
from foreign.world import MANIFEST, WorldError, render, scenes
from furniture_archives import one_of_each

from sr3d_core.data.folder import DatasetError, FolderSource
from sr3d_core.data.prepare import Prepared
from sr3d_core.data.rooms.furniture.classes import LABELS, ON_FLOOR, OWN_FURNITURE
from sr3d_core.data.rooms.scene.room import build_room

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def furniture(tmp_path_factory: pytest.TempPathFactory) -> ForeignFurniture:
    folder = tmp_path_factory.mktemp("furniture")
    archive, path = one_of_each(folder)
    table = read_table(path, LABELS)
    return ForeignFurniture(open_models([archive], table, folder), table)


def test_suites_hold_10_to_20_pieces_of_many_classes_on_about_seven_metres() -> None:
    counts, classes = [], []
    for seed in range(25):
        room = build_room(np.random.default_rng(seed), OWN_FURNITURE, SUITES)
        assert 6.4 <= room.layout.floor.width <= 7.6
        standing = [placed.label for placed in room.things if LABELS[placed.label] in ON_FLOOR]
        counts.append(len(standing))
        classes.append(len(set(standing)))
    assert np.quantile(counts, 0.1) >= 10
    assert max(counts) <= 23  # the odd ones and bins that every room may get
    assert np.median(classes) >= 6


def test_the_world_is_exported_as_a_folder_that_data_reads(
    furniture: ForeignFurniture, tmp_path: Path
) -> None:
    render(furniture, tmp_path / "cache", 2)
    kept = [name for name in LABELS if name != "chair"]

    def write(num_rooms: int, made_of: str = "this") -> Prepared:
        cache, out = tmp_path / "cache", tmp_path / "folder"
        return export(cache, out, num_rooms, kept, made_of, lambda num_done, num: None)

    assert write(1).num_new == 2
    assert (write(2).num_new, write(2).num_there) == (2, 4)
    with pytest.raises(DatasetError, match="made of this, expected that"):
        write(2, "that")
    read = FolderSource(path=tmp_path / "folder").open("val")
    assert read.classes == tuple(kept)
    assert len(read) == 4
    num_chairs = 0
    for index, scene in enumerate(scenes(tmp_path / "cache", 2)):
        sample, mine = scene.sample, read[index]
        assert mine.name == sample.name
        torch.testing.assert_close(mine.cloud.xyz, sample.cloud.xyz.float())
        torch.testing.assert_close(
            mine.cloud.features, sample.cloud.features, atol=0.5 / 255, rtol=0
        )
        names = [LABELS[label] for label in sample.targets.labels.tolist()]
        is_kept = torch.tensor([name != "chair" for name in names], dtype=torch.bool)
        num_chairs += int((~is_kept).sum())
        torch.testing.assert_close(
            mine.targets.boxes.array, sample.targets.boxes[is_kept].array, atol=1e-5, rtol=0
        )
        assert [kept[label] for label in mine.targets.labels.tolist()] == [
            name for name in names if name != "chair"
        ]
        assert (mine.targets.ignored is None) == (
            sample.targets.ignored is None or len(sample.targets.ignored) == 0
        )
    assert num_chairs > 0


def test_rooms_are_kept_and_not_rendered_again(
    furniture: ForeignFurniture, tmp_path: Path
) -> None:
    told: list[int] = []
    render(furniture, tmp_path, 1, tell=told.append)
    before = (tmp_path / "room_00000.npz").stat().st_mtime_ns
    render(furniture, tmp_path, 2, tell=told.append)
    assert told == [1, 2]
    assert (tmp_path / "room_00000.npz").stat().st_mtime_ns == before
    found = list(scenes(tmp_path, 2))
    assert [(scene.sensor, scene.layout) for scene in found] == [
        *(("frame", "room"), ("scan", "room"), ("frame", "suite"), ("scan", "suite"))
    ]


def test_the_same_seed_gives_the_same_rooms(furniture: ForeignFurniture, tmp_path: Path) -> None:
    for name in ("a", "b"):
        render(furniture, tmp_path / name, 1, seed=3)
    pairs = zip(scenes(tmp_path / "a", 1), scenes(tmp_path / "b", 1), strict=True)
    for one, other in pairs:
        assert torch.equal(one.sample.cloud.xyz, other.sample.cloud.xyz)
        assert torch.equal(one.sample.targets.boxes.array, other.sample.targets.boxes.array)


def test_a_folder_of_other_rooms_is_refused(furniture: ForeignFurniture, tmp_path: Path) -> None:
    render(furniture, tmp_path, 0, seed=1)
    with pytest.raises(WorldError, match=MANIFEST):
        render(furniture, tmp_path, 0, seed=2)
    with pytest.raises(WorldError, match=MANIFEST):
        render(furniture, tmp_path, 0, seed=1, identity="other furniture")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["foreign_rooms.py", *map(str, arguments)])
    foreign_rooms.main()


def test_the_command_prints_figures_and_credits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, table = one_of_each(tmp_path)
    options = ("--furniture", archive, "--table", table, "--cache", tmp_path / "cache")
    run(monkeypatch, *options, "--num", 2, "--views", 1)
    out = capsys.readouterr()
    study = json.loads(out.out)
    assert study["scenes"] == 4
    assert set(study["left_out"]) == set(LABELS)  # one model each
    assert study["figures"]["all"]["ap50"] is None
    assert study["figures"]["frame"]["scenes"]["mean"] == 2
    assert {"small", "large", "suite", "slopes", "confusion"} <= set(study["figures"])
    credit = study["models"][0]
    assert (credit["author"], credit["licence"]) == ("Jane", "CC-BY, © Jane")
    assert "Jane" in out.err


def test_means_over_our_own_rooms_leave_out_the_same_classes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--world", "own", "--num", 1, "--views", 1)
    study = json.loads(capsys.readouterr().out)
    rare = read_table(foreign_rooms.TABLE, LABELS).is_rare
    assert set(study["left_out"]) == {name for name, is_rare in rare.items() if is_rare}
    assert study["scenes"] == 2
    assert study["models"] == []


def test_the_command_draws_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, table = one_of_each(tmp_path)
    run(
        monkeypatch, "--furniture", archive, "--table", table, "--sheet", tmp_path / "pages",
        "--cache", tmp_path / "cache",
    )  # fmt: skip
    assert (tmp_path / "pages" / "models_0.png").stat().st_size > 10_000


def test_the_command_says_in_one_line_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, table = one_of_each(tmp_path)
    with pytest.raises(typer.Exit):
        run(monkeypatch, "--furniture", tmp_path / "none.sh3f", "--table", table)
    message = capsys.readouterr().err.strip()
    assert "none.sh3f" in message
    assert "\n" not in message
