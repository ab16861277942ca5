"""The probe of a pre-training: what it says, and that it changes nothing of what is learnt."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_harness import assert_one_line_error, sr3d
from labelled_rooms import write_small_rooms
from pretrain_cases import ASYMMETRIC, CLOUDS, SETTINGS
from pretrain_cases import pretrained as pretrained_without

from sr3d_core.checkpoint import stored_tensors
from sr3d_core.data.sources import source_of
from sr3d_core.pretrain.loop import pretrain
from sr3d_core.pretrain.probe import SURFACES, linear_miou
from sr3d_core.pretrain.probing import encoder_of, probe_weights, probed_scenes
from sr3d_core.pretrain.regular_probe import COLUMNS, LINEAR, learns_nothing
from sr3d_core.pretrain.settings import Pretraining, Probe
from sr3d_core.training.errors import TrainingError


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two rooms to ask about, as `--data` says them."""
    return str(write_small_rooms(tmp_path_factory.mktemp("rooms") / "own"))


def asking(settings: Pretraining, data: str) -> Pretraining:
    return replace(settings, probe=Probe(data=data, split="train", num=2, every=2))


def pretrained(path: Path, settings: Pretraining, **options: Any) -> Path:
    return pretrain(settings, CLOUDS, path, sources={"four rooms": "0"}, **options)


def log_of(weights: Path) -> list[dict[str, str]]:
    with weights.with_suffix(".csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same(first: Path, second: Path) -> None:
    for name, tensor in stored_tensors(first).items():
        assert torch.equal(tensor, stored_tensors(second)[name]), name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, rooms: str) -> Path:
    path = tmp_path_factory.mktemp("run") / "asked.safetensors"
    return pretrained(path, asking(SETTINGS, rooms))


def test_weights_are_the_same_with_a_probe_and_without(
    run: Path, tmp_path: Path, rooms: str
) -> None:
    plain = pretrained_without(tmp_path / "plain.safetensors", SETTINGS)
    numbers = torch.random.get_rng_state()
    assert_same(run, plain)
    both = [[row["loss"] for row in log_of(each)] for each in (run, plain)]
    assert both[0] == both[1]
    pretrained(tmp_path / "other.safetensors", asking(SETTINGS, rooms))
    assert torch.equal(torch.random.get_rng_state(), numbers)
    asked = pretrained(tmp_path / "asked.safetensors", asking(ASYMMETRIC, rooms))
    assert_same(asked, pretrained_without(tmp_path / "asymdsd.safetensors", ASYMMETRIC))


def test_the_figures_are_those_of_the_command(run: Path, rooms: str) -> None:
    """But for mIoU, whose linear probe is shorter."""
    last = log_of(run)[-1]
    scenes = source_of(rooms).open("train", num=2)
    rows = probe_weights([str(run)], scenes, 1)
    for kind, row in zip(("probe", "random", "raw"), rows, strict=True):
        assert float(last[f"{kind}_knn"]) == pytest.approx(row.nearest, abs=1e-5)
        assert float(last[f"{kind}_height"]) == pytest.approx(row.height, abs=1e-4)
    assert float(last["raw_height"]) > 0.99
    asked = probed_scenes(encoder_of(run), scenes)
    num_kinds = len(scenes.classes) + len(SURFACES)
    miou = linear_miou(asked, num_kinds, torch.Generator().manual_seed(1), LINEAR)
    assert float(last["probe_miou"]) == pytest.approx(miou, abs=1e-3)


def test_they_stand_beside_the_loss_every_so_many_steps(run: Path) -> None:
    rows = log_of(run)
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert [bool(row["probe_miou"]) for row in rows] == [False, True, False, True]
    assert all(row["loss"] for row in rows)
    assert run.with_suffix(".curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_resumed_run_says_the_same_and_measures_what_is_beside_once(
    run: Path, tmp_path: Path, rooms: str
) -> None:
    path, heard = tmp_path / "halves.safetensors", list[str]()
    often = asking(replace(SETTINGS, steps=replace(SETTINGS.steps, checkpoint_minutes=0.0)), rooms)

    def stop(progress: Any) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrained(path, often, on_step=stop)
    pretrained(
        path,
        asking(SETTINGS, rooms),
        resume=True,
        on_read=lambda what, num_done, num: heard.append(what),
    )
    assert_same(run, path)
    assert log_of(path) == log_of(run)
    assert set(heard) == {"probe: scenes"}


def test_a_run_goes_on_with_other_questions_or_none(tmp_path: Path, rooms: str) -> None:
    """A log that was begun without has the columns, blank where nothing was asked."""
    path = tmp_path / "a.safetensors"
    often = replace(SETTINGS, steps=replace(SETTINGS.steps, checkpoint_minutes=0.0))

    def stop_after(step: int) -> Any:
        def stop(progress: Any) -> None:
            if progress.step == step:
                raise KeyboardInterrupt

        return stop

    with pytest.raises(KeyboardInterrupt):
        pretrained(path, often, on_step=stop_after(2))
    with pytest.raises(KeyboardInterrupt):
        pretrained(path, asking(often, rooms), resume=True, on_step=stop_after(4))
    pretrained(path, SETTINGS, resume=True)
    rows = log_of(path)
    assert [bool(row["probe_miou"]) for row in rows] == [False, True, False, False]
    assert {*COLUMNS} < rows[0].keys()


@pytest.mark.parametrize(
    ("data", "sources", "found"),
    [
        ("auto", ["rooms"], "rooms"),
        ("auto", ["drive.mcap", "rooms:,prerendered=runs/rooms"], "rooms"),
        ("auto", ["drive.mcap", "my/rooms"], None),
        ("auto", [], None),
        ("off", ["rooms"], None),
        ("my_rooms", ["drive.mcap"], "my_rooms"),
    ],
)
def test_rooms_are_asked_about_where_rooms_are_learnt_from(
    data: str, sources: list[str], found: str | None
) -> None:
    assert Probe(data=data).scenes_of(sources) == found


def test_scenes_that_cannot_be_asked_about_are_said_before_the_first_step(
    tmp_path: Path, rooms: str
) -> None:
    path = tmp_path / "a.safetensors"
    one_room = replace(asking(SETTINGS, rooms), probe=Probe(data=rooms, split="train", num=1))
    for settings, found in (
        (one_room, "at least two rooms"),
        (asking(SETTINGS, str(tmp_path / "nowhere")), "nowhere"),
    ):
        with pytest.raises(TrainingError, match=rf"{found}.*--probe off"):
            pretrained(path, settings)
        assert not path.exists()


def test_the_command_takes_scenes_or_off(tmp_path: Path) -> None:
    out = tmp_path / "pre.safetensors"
    done = sr3d("pretrain", "rooms", "--out", out, "--probe", tmp_path / "nowhere")
    assert_one_line_error(done, "nowhere")
    assert not out.exists()


def test_features_that_know_no_more_than_untrained_ones_are_said() -> None:
    known = {"probe_miou": 0.2, "random_miou": 0.1}
    assert learns_nothing(known) == ""
    assert "10.0" in learns_nothing({**known, "probe_miou": 0.1})
    assert learns_nothing({**known, "probe_miou": float("nan")}) == ""
