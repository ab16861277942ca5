"""Switches of a training, all on: the moving average, what does not decay, exact resume."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_cases import config, room, stand_in, tensors

from sr3d_core.config import Config, ConfigError, Schedule, parse_config
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.model.network import SR3D
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.train import Progress, TrainingError, train
from sr3d_core.training.learner import parameter_groups
from sr3d_core.training.state import read_state, state_content

pytest.importorskip("accelerate")
ROOMS = [room(0), room(1)]
DECAY = 0.22  # above (1 + n) / (10 + n) after the first step, below it after the second
NUM_STEPS = 3


CHANGES = {"box_coding": "quarter_turns", "quality_exponent": 0.5}


def switched(num_steps: int, **schedule: Any) -> Config:
    """A training with every switch on."""
    on = config(num_steps, CHANGES, ema_decay=DECAY, decay_norms=False, **schedule)
    return replace(on, criterion=Criterion(consistency=0.5))


@pytest.fixture(scope="module", autouse=True)
def two_rooms() -> Any:
    """The configured data source gives two hand-made rooms."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stand_in(ROOMS).items():
            patch.setattr(RoomsSource, name, value)
        yield


@pytest.fixture(scope="module")
def averaged(two_rooms: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A run with a moving average, and the network's weights after each step."""
    folder = tmp_path_factory.mktemp("averaged") / "run"
    seen: list[Any] = []

    def on_step(progress: Progress) -> None:
        if progress.step > 1:
            seen.append(read_state(folder / "state.pt").network)  # of the step before

    train(switched(NUM_STEPS, checkpoint_minutes=0), folder, on_step=on_step)
    return folder, [*seen, read_state(folder / "state.pt").network]


def test_saved_weights_are_the_average_and_statistics_are_the_last(
    averaged: tuple[Path, list[Any]],
) -> None:
    folder, networks = averaged
    schedule = switched(NUM_STEPS)
    torch.manual_seed(schedule.schedule.seed)
    first = SR3D(schedule.network.architecture(num_classes=2))
    names = [name for name, _ in first.named_parameters()]
    mean = {name: tensor.double() for name, tensor in first.state_dict().items()}
    for step, network in enumerate(networks, start=1):
        kept = min(DECAY, (1 + step) / (10 + step))
        mean = {n: kept * mean[n] + (1 - kept) * network[n].double() for n in names}
    found = tensors(folder / "weights.safetensors")
    for name, tensor in found.items():
        expected = mean[name].float() if name in mean else networks[-1][name]
        torch.testing.assert_close(tensor, expected, msg=name)
    assert not torch.equal(found[names[0]], networks[-1][names[0]])


def test_a_resumed_run_is_the_same_with_every_switch_on(
    averaged: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    train(switched(NUM_STEPS), tmp_path / "parts", on_step=stop)
    assert read_state(tmp_path / "parts" / "state.pt").step == 1
    train(switched(NUM_STEPS), tmp_path / "parts", resume=True)
    a, b = (tensors(run / "weights.safetensors") for run in (averaged[0], tmp_path / "parts"))
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=0, atol=0, msg=name)


def test_norms_and_biases_may_be_left_without_decay() -> None:
    network = SR3D(config().network.architecture(num_classes=2))
    groups = parameter_groups(network, Schedule(weight_decay=0.1, decay_norms=False))
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        is_map = name.endswith(("kernel", "head.classify.weight", "head.regress.weight"))
        assert decay[id(parameter)] == (0.1 if is_map else 0.0), name


def test_balance_of_scenes_that_are_made_when_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"schedule\.balance.*data\.prerendered"):
        train(config(1, balance="classes"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_state_of_an_earlier_release_goes_on_and_gets_no_average(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(config(1), run)
    state = read_state(run / "state.pt")
    new = ("schedule.ema_decay", "schedule.decay_norms", "network.box_coding")
    settings = {key: value for key, value in state.settings.items() if key not in new}
    assert len(settings) == len(state.settings) - len(new)
    (run / "state.pt").write_bytes(state_content(replace(state, settings=settings)))
    with pytest.raises(TrainingError, match=r"schedule\.ema_decay was 0\.0, is 0\.5"):
        train(config(2, ema_decay=0.5), run, resume=True)
    train(config(2), run, resume=True)
    assert read_state(run / "state.pt").step == 2


def steps_of(network: SR3D, schedule: Schedule, gradient: float) -> dict[str, torch.Tensor]:
    """How far one step of AdamW with the same gradient everywhere moves each parameter."""
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(network, schedule))
    for each in network.parameters():
        each.grad = torch.full_like(each, gradient)
    optimizer.step()
    return {name: each.detach() - before[name] for name, each in network.named_parameters()}


@pytest.mark.parametrize("decay_norms", [True, False])
def test_the_backbone_may_have_a_rate_of_its_own(decay_norms: bool) -> None:
    """The first step of AdamW is the rate, whatever the gradient, where nothing decays."""
    network = SR3D(config().network.architecture(num_classes=2))
    asked = {"learning_rate": 1e-3, "weight_decay": 0.0, "decay_norms": decay_norms}
    moved = steps_of(network, Schedule(backbone_rate=0.1, **asked), gradient=2.0)
    for name, step in moved.items():
        rate = 1e-4 if name.startswith("backbone.") else 1e-3
        torch.testing.assert_close(step, torch.full_like(step, -rate), rtol=1e-2, atol=0, msg=name)
    assert {name.partition(".")[0] for name in moved} == {"backbone", "neck", "head"}


def test_a_backbone_rate_of_zero_keeps_its_weights_in_a_training(tmp_path: Path) -> None:
    asked = config(2, backbone_rate=0.0)
    torch.manual_seed(asked.schedule.seed)
    first = SR3D(asked.network.architecture(num_classes=2))
    last = tensors(train(asked, tmp_path / "run"))
    for name, before in first.named_parameters():
        assert torch.equal(last[name], before) is name.startswith("backbone."), name


def test_the_backbones_rate_follows_the_schedule(tmp_path: Path) -> None:
    train(config(2, backbone_rate=0.25, warmup_steps=1), tmp_path / "run")
    groups = read_state(tmp_path / "run" / "state.pt").optimizer["param_groups"]
    rate = config(2, warmup_steps=1).schedule.rate_at(1)
    assert [group["lr"] for group in groups] == pytest.approx([0.25 * rate, rate])


def test_frozen_batch_norms_keep_their_statistics_and_the_rest_learns(tmp_path: Path) -> None:
    first = train(config(2), tmp_path / "first")
    asked = config(2)
    network = replace(asked.network, weights=str(first))
    frozen = replace(asked.schedule, freeze_norms=True)
    second = train(replace(asked, network=network, schedule=frozen), tmp_path / "second")
    before, after = tensors(first), tensors(second)
    statistics = [name for name in before if ".running_" in name or "num_batches" in name]
    assert len(statistics) > 9
    for name in before:
        assert torch.equal(before[name], after[name]) is (name in statistics), name


def test_batch_norms_cannot_be_frozen_without_statistics() -> None:
    with pytest.raises(ConfigError, match=r"schedule\.freeze_norms.*network\.weights"):
        parse_config({"schedule": {"freeze_norms": True}})
