"""Training: exact resume, clean stops, refusals, and that the network can learn."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_cases import config, room, stand_in, tensors

from sr3d_core.config import Schedule, load_config
from sr3d_core.data.augment import Augment
from sr3d_core.data.order import TrainingOrder
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.detector import Detector
from sr3d_core.evaluate import average_precision
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.supervision.parts import ASSIGNERS, CLASSIFICATIONS, part
from sr3d_core.train import Progress, TrainingError, train
from sr3d_core.training.interrupt import stop_on_interrupt


@pytest.fixture(autouse=True)
def two_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured data source gives two hand-made rooms."""
    monkeypatch.setattr(RoomsSource, "classes", ("cube", "slab"))
    monkeypatch.setattr(RoomsSource, "open", lambda self, split: [room(0), room(1)])


def stop_after(step: int) -> Any:
    def on_step(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return on_step


@pytest.mark.slow
def test_a_resumed_run_equals_one_that_was_not_interrupted(tmp_path: Path) -> None:
    whole = train(config(), tmp_path / "whole")
    train(config(), tmp_path / "parts", on_step=stop_after(2))
    parts = train(config(), tmp_path / "parts", resume=True)
    a, b = tensors(whole), tensors(parts)
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=0, atol=0, msg=name)
    logs = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("whole", "parts")]
    losses = [[line.split(",")[:3] for line in log] for log in logs]
    assert losses[0] == losses[1]


def test_ctrl_c_saves_and_stops_after_the_step(tmp_path: Path) -> None:
    seen: list[int] = []

    def on_step(progress: Progress) -> None:
        seen.append(progress.step)
        stop_after(2)(progress)

    before = signal.getsignal(signal.SIGINT)
    train(config(), tmp_path / "run", on_step=on_step)
    assert seen == [1, 2]
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    train(config(num_steps=1), tmp_path / "run")
    with pytest.raises(TrainingError, match="holds a training already"):
        train(config(num_steps=1), tmp_path / "run")


def test_epochs_are_counted_in_the_scenes_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stand_in([room(seed) for seed in range(3)]).items():
        monkeypatch.setattr(RoomsSource, name, value)
    seen: list[tuple[int, int]] = []
    for epochs, steps in ((2, 3), (4, 6)):  # of three scenes, two a step
        asked = config(num_steps=999, epochs=epochs)
        train(
            asked,
            tmp_path / "run",
            resume=epochs > 2,
            on_step=lambda at: seen.append((at.step, at.num_steps)),
        )
        assert seen[-1] == (steps, steps)
        saved = load_config(tmp_path / "run" / "config.yaml").schedule
        assert (saved.epochs, saved.num_steps) == (epochs, steps)


@pytest.mark.parametrize("assigner", ASSIGNERS)
@pytest.mark.parametrize("classification", CLASSIFICATIONS)
def test_every_assigner_trains_with_every_classification(
    tmp_path: Path, assigner: str, classification: str
) -> None:
    criterion = Criterion(
        assigner=part(ASSIGNERS, assigner)(),
        classification=part(CLASSIFICATIONS, classification)(),
    )
    seen: list[Progress] = []
    chosen = replace(config(num_steps=1), criterion=criterion)
    train(chosen, tmp_path / "run", on_step=seen.append)
    assert seen[0].losses.num_positives > 0
    assert seen[0].losses.total.isfinite()


def test_resuming_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="start without --resume"):
        train(config(), tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_names_the_scenes_and_keeps_the_sound_state(
    tmp_path: Path,
) -> None:
    diverging = config(num_steps=9, learning_rate=1e30, checkpoint_minutes=0)
    with pytest.raises(TrainingError, match=r"on scenes room \d, room \d; expected finite"):
        train(diverging, tmp_path / "run")
    for file in (tmp_path / "run").glob("state.pt"):
        state = torch.load(file, weights_only=True)
        assert all(torch.isfinite(tensor).all() for tensor in state["network"].values())


def test_no_scenes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RoomsSource, "open", lambda self, split: [])
    with pytest.raises(TrainingError, match="no scenes"):
        train(config(), tmp_path / "run")


def order_of(num_scenes: int, num_steps: int, batch_size: int = 2, **more: Any) -> list[str]:
    scenes = [replace(room(0), name=str(index)) for index in range(num_scenes)]
    order = TrainingOrder(
        scenes, Augment(), seed=0, batch_size=batch_size, steps=range(num_steps), **more
    )
    return [order[index].name for index in range(len(order))]


def test_an_epoch_shows_every_scene_once() -> None:
    names = order_of(num_scenes=5, num_steps=5)
    assert sorted(names[:5]) == sorted(names[5:]) == ["0", "1", "2", "3", "4"]
    assert names[:5] != names[5:]


def test_an_epoch_has_one_of_those_that_are_alike() -> None:
    """Three of the kitchen, one of the hall, two of the cellar; six in a step."""
    places = ["kitchen", "hall", "kitchen", "cellar", "kitchen", "cellar"]
    names = [int(name) for name in order_of(6, 3, batch_size=6, alike=places)]
    epochs = [names[first : first + 3] for first in range(0, 18, 3)]
    for epoch in epochs:
        assert sorted(places[each] for each in epoch) == ["cellar", "hall", "kitchen"]
    shown = [sorted(each for epoch in epochs for each in epoch).count(n) for n in range(6)]
    assert shown == [2, 6, 2, 3, 2, 3]  # each of a place as often as the others of it


def test_scenes_that_are_alike_do_not_meet() -> None:
    """Of five places, two in a step: nor do the last of an epoch and the first of the next."""
    places = [f"place {index // 3}" for index in range(15)]
    names = order_of(15, 60, alike=places)
    steps = [
        {places[int(name)] for name in names[first : first + 2]} for first in range(0, 120, 2)
    ]
    assert [len(step) for step in steps] == [2] * 60
    assert set(names) == {str(index) for index in range(15)}
    shares = [
        order_of(15, 60, batch_size=1, alike=places, rank=rank, num_processes=2)
        for rank in range(2)
    ]
    assert [name for pair in zip(*shares, strict=True) for name in pair] == names


def test_two_processes_share_the_scenes_of_a_step() -> None:
    names = [name for rank in range(2) for name in order_of(8, 2, rank=rank, num_processes=2)]
    assert sorted(names) == [str(index) for index in range(8)]


@pytest.mark.slow
def test_fine_tuning_starts_from_given_weights(tmp_path: Path) -> None:
    first = train(config(num_steps=1), tmp_path / "first")
    tuned = config(num_steps=1, learning_rate=1e-12)
    network = replace(tuned.network, weights=str(first))
    second = train(replace(tuned, network=network), tmp_path / "second")
    a, b = tensors(first), tensors(second)
    for name in ("backbone.layer1.0.conv1.kernel", "head.classify.weight"):
        torch.testing.assert_close(a[name], b[name])


def test_learning_rate_warms_up_then_falls() -> None:
    cosine = Schedule(num_steps=100, warmup_steps=9, learning_rate=1.0)
    assert cosine.rate_at(0) == pytest.approx(0.1)
    assert cosine.rate_at(50) == pytest.approx(0.5)
    assert cosine.rate_at(100) == pytest.approx(0.0)
    step = replace(cosine, decay="step")
    rates = [step.rate_at(n) for n in (20, 66, 67, 91, 92)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


@pytest.mark.slow
def test_two_rooms_are_learnt_by_heart(tmp_path: Path) -> None:
    changes = {"widths": [16, 32, 32, 32], "stem_channels": 16, "neck_channels": 32}
    learnt = config(num_steps=90, changes=changes, learning_rate=4e-3)
    weights = train(replace(learnt, augment=Augment()), tmp_path / "run")
    detector = Detector.from_checkpoint(weights, device="cpu")
    found = [detector.detect(room(seed).cloud) for seed in (0, 1)]
    truth = [room(seed).targets for seed in (0, 1)]
    assert average_precision(found, truth, num_classes=2, iou=0.5).mean == pytest.approx(1.0)


@pytest.mark.parametrize("is_launched", [False, True])
def test_a_second_signal_stops_at_once_unless_a_launcher_passed_it_on(is_launched: bool) -> None:
    with stop_on_interrupt(is_launched) as is_stopped:
        os.kill(os.getpid(), signal.SIGINT)
        assert is_stopped()
        with nullcontext() if is_launched else pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            assert is_stopped()  # the signal is handled before this, at the latest


def test_a_line_of_the_log_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    train(config(num_steps=1), tmp_path / "run")
    log = tmp_path / "run" / "log.csv"
    log.write_text(log.read_text() + "1,0.0")
    train(config(num_steps=2), tmp_path / "run", resume=True)
    steps = [line.split(",")[0] for line in log.read_text().splitlines()]
    assert steps == ["step", "1", "2"]
