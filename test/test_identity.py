"""Which scenes a run has seen: what is noticed, what stops it, and how that is overruled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cli_harness import assert_one_line_error, sr3d
from labelled_rooms import write_small_rooms
from pretrain_cases import CLOUDS, SETTINGS
from training_cases import config, room

from sr3d_core.config import Config
from sr3d_core.data.folder import FolderSource
from sr3d_core.data.identity import FILES, changed_scenes, digest_of_files, identity_of
from sr3d_core.data.rooms.dataset import packed
from sr3d_core.data.rooms.prerender import prerender
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.pretrain.clouds import BEFORE_FILES, open_clouds
from sr3d_core.pretrain.loop import pretrain
from sr3d_core.pretrain.recordings import Recordings
from sr3d_core.study.processes import StudyError
from sr3d_core.study.scores import identity
from sr3d_core.study.training import TRAINED, check_same_scenes, scenes_path, train_apart
from sr3d_core.training.errors import TrainingError
from sr3d_core.training.state import State, check_fits, settings_of


def rendered_rooms(root: Path, num: int) -> Path:
    """What `sr3d data rooms` writes, of rooms that are made in no time."""
    prerender(root, "train", 0, num_frames=1, scan=False)
    for number in range(num):
        sample = room(number)
        grey = replace(sample.cloud, features=torch.zeros(len(sample.cloud), 3))
        arrays = packed(replace(sample, cloud=grey), 0)
        np.savez(root / f"room_{number:07d}.npz", **arrays)
    return root


def scenes_of(root: Path) -> Any:
    return FolderSource(path=root).open("train")


def identity_dict(scenes: Any) -> dict[str, Any]:
    return identity_of(scenes).to_dict()


def relabel(root: Path) -> None:
    path = root / "labels" / "b.json"
    path.write_text(path.read_text().replace("cube", "slab"))  # as long as before


def move_a_point(root: Path) -> None:
    path = root / "clouds" / "b.npy"
    content = bytearray(path.read_bytes())
    content[-4:] = np.float32(0.5).tobytes()
    path.write_bytes(bytes(content))


def rename(root: Path) -> None:
    shutil.move(root / "clouds" / "b.npy", root / "clouds" / "c.npy")
    shutil.move(root / "labels" / "b.json", root / "labels" / "c.json")
    (root / "train.txt").write_text("a\nc\n")


def test_a_folder_may_move_and_be_copied(tmp_path: Path) -> None:
    first = write_small_rooms(tmp_path / "here")
    other = Path(shutil.copytree(first, tmp_path / "there"))
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    assert identity_of(scenes_of(first)) == identity_of(scenes_of(other))


@pytest.mark.parametrize("change", [relabel, move_a_point, rename])
def test_scenes_that_are_as_many_as_before_and_others_are_noticed(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    root = write_small_rooms(tmp_path / "own")
    before = identity_dict(scenes_of(root))
    change(root)
    assert changed_scenes(before, identity_dict(scenes_of(root)))
    assert not changed_scenes(before, before)


@pytest.mark.parametrize("place", [0, 500_000, 999_999])
def test_large_files_are_told_apart_by_ends_and_middle(tmp_path: Path, place: int) -> None:
    path = tmp_path / "large.bin"
    content = bytearray(np.random.default_rng(0).bytes(1_000_000))
    path.write_bytes(bytes(content))
    before = digest_of_files([path])
    content[place] ^= 1
    path.write_bytes(bytes(content))
    assert digest_of_files([path]) != before
    path.unlink()
    assert digest_of_files([path]) != before
    assert digest_of_files([]) == digest_of_files([])


def test_rooms_that_a_growing_folder_draws_are_others(tmp_path: Path) -> None:
    """The number stays: without looking at files nothing has changed."""
    folder = rendered_rooms(tmp_path / "rooms", 4)
    source = RoomsSource(prerendered=folder, num_rooms=2, draw=1)
    before = identity_dict(source.open("train"))
    rendered_rooms(folder, 9)
    now = identity_dict(source.open("train"))
    assert {key: before[key] for key in before if key != FILES} == {
        key: now[key] for key in now if key != FILES
    }
    assert "files" in changed_scenes(before, now)


def test_rooms_that_are_rendered_anew_are_others(tmp_path: Path) -> None:
    folder = rendered_rooms(tmp_path / "rooms", 2)
    scenes = RoomsSource(prerendered=folder).open("train")
    before, scored = identity_of(scenes), identity(scenes)
    first, second = sorted(folder.glob("room_*.npz"))
    assert first.stat().st_size == second.stat().st_size  # arrays of the same sizes
    shutil.copy(second, first)
    assert identity_of(scenes) != before
    assert identity(scenes) != scored
    assert len(scored.split()) == 3


def test_rooms_made_when_asked_for_have_no_files() -> None:
    assert identity_of(RoomsSource().open("val", num=2)).files == ""


def settings_in(root: Path) -> dict[str, Any]:
    asked: Config = replace(config(4), data=FolderSource(path=root))
    return settings_of(asked, asked.data.open("train"))


def a_state(settings: dict[str, Any]) -> State:
    return State(2, {}, {}, settings, "")


def test_a_training_does_not_go_on_with_other_scenes_unless_told_to(tmp_path: Path) -> None:
    root = write_small_rooms(tmp_path / "own")
    state, path = a_state(settings_in(root)), tmp_path / "state.pt"
    assert check_fits(path, state, settings_in(root), 4) == []
    relabel(root)
    with pytest.raises(TrainingError, match=rf"{root}.*files.*--accept-data"):
        check_fits(path, state, settings_in(root), 4)
    (said,) = check_fits(path, state, settings_in(root), 4, accept_data=True)
    assert str(root) in said


def test_a_training_of_before_goes_on_and_says_what_it_does_not_know(tmp_path: Path) -> None:
    root = write_small_rooms(tmp_path / "own")
    settings = settings_in(root)
    state = a_state({key: settings[key] for key in settings if key != FILES})
    relabel(root)
    (said,) = check_fits(tmp_path / "state.pt", state, settings_in(root), 4)
    assert "not known" in said
    (root / "train.txt").write_text("a\n")
    with pytest.raises(TrainingError, match="were 2, are 1"):
        check_fits(tmp_path / "state.pt", state, settings_in(root), 4)


def digest_in(root: Path) -> str:
    return open_clouds(f"folder:{root}", "z", Recordings(folder=root / "none"))[1]


def test_a_pre_training_does_not_go_on_with_other_clouds_unless_told_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, out = write_small_rooms(tmp_path / "own"), tmp_path / "pre.safetensors"
    source, before = f"folder:{root}", digest_in(root)
    short = replace(SETTINGS, steps=replace(SETTINGS.steps, num=1))
    of_old = before.partition(BEFORE_FILES)[0]
    pretrain(short, CLOUDS, out, sources={source: of_old})
    pretrain(short, CLOUDS, out, sources={source: before}, resume=True)
    assert "not known" in caplog.text

    other = tmp_path / "other.safetensors"
    pretrain(short, CLOUDS, other, sources={source: before})
    relabel(root)
    now = {source: digest_in(root)}
    with pytest.raises(TrainingError, match=rf"{source}.*--accept-data"):
        pretrain(short, CLOUDS, other, sources=now, resume=True)
    caplog.clear()
    longer = replace(short, steps=replace(short.steps, num=2))
    with pytest.raises(TrainingError, match=r"steps\.num"):
        pretrain(longer, CLOUDS, other, sources=now, resume=True, accept_data=True)
    fewer = type(CLOUDS)([replace(CLOUDS[0], cloud=CLOUDS[0].cloud[::9])] * 2)
    pretrain(short, fewer, other, sources=now, resume=True, accept_data=True)
    assert f"{source} (" in caplog.text
    assert "4 clouds in all, now 2" in caplog.text


def begun(folder: Path, tree: dict[str, Any]) -> None:
    """A training of a study that was stopped after its first save."""

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        (folder / "weights.safetensors").write_bytes(b"1")
        return subprocess.Popen([sys.executable, "-c", ""], **options)

    train_apart(folder, tree, start=start)


def test_a_training_of_a_study_is_not_gone_on_with_on_other_scenes(tmp_path: Path) -> None:
    folder, rooms = tmp_path / "scratch-1", rendered_rooms(tmp_path / "rooms", 4)
    data = {"name": "rooms", "prerendered": str(rooms), "num_rooms": 2, "draw": 1}
    tree = {"data": data, "schedule": {"num_steps": 2}}
    assert check_same_scenes(folder, tree)  # not begun
    begun(folder, tree)
    assert check_same_scenes(folder, tree)
    rendered_rooms(rooms, 9)
    with pytest.raises(StudyError, match=rf"{folder}.*{rooms}.*--accept-data"):
        check_same_scenes(folder, tree)
    scenes_path(folder).unlink()  # of an earlier version
    assert (folder / TRAINED).is_file()
    assert not check_same_scenes(folder, tree)


def test_the_command_stops_in_one_line(tmp_path: Path) -> None:
    """The whole way: train a step, correct a label, go on."""
    root, out = write_small_rooms(tmp_path / "own"), tmp_path / "run"
    tiny = {"widths": [8, 8, 8, 8], "stem_channels": 8, "neck_channels": 8}
    tree: dict[str, Any] = {
        "network": {"preset": "lite", "changes": tiny},
        "data": {"name": "folder", "path": str(root)},
        "augment": {"max_points": 500},
        "schedule": {"num_steps": 1, "batch_size": 1},
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert sr3d("train", path, "--out", out).exit_code == 0
    relabel(root)
    tree["schedule"]["num_steps"] = 2
    path.write_text(yaml.safe_dump(tree))
    assert_one_line_error(sr3d("train", path, "--out", out, "--resume"), "--accept-data")
    done = sr3d("train", path, "--out", out, "--resume", "--accept-data")
    assert done.exit_code == 0, done.stderr
    assert sr3d("train", path, "--out", out, "--resume").exit_code == 0
    unused = sr3d("train", path, "--out", tmp_path / "new", "--accept-data")
    assert_one_line_error(unused, "--resume")
