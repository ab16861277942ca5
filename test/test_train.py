"""Training: exact resume, clean stops, refusals, and that the network can learn."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sr3d_core.checkpoint import load_checkpoint
from sr3d_core.config import Config, Network, Schedule
from sr3d_core.data.augment import Augment
from sr3d_core.data.order import TrainingOrder
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.detector import Detector
from sr3d_core.evaluate import average_precision
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets
from sr3d_core.train import Progress, TrainingError, train


def room(seed: int) -> Sample:
    """A floor with two boxes on it: a cube (class 0) and a flat slab (class 1)."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(2500, 3, generator=generator) * torch.tensor([3.0, 3.0, 0.0])
    rows = []
    for label, size in enumerate(([0.6, 0.6, 0.6], [0.7, 1.4, 0.3])):
        center = torch.rand(3, generator=generator) + torch.tensor([0.5, 0.4 + label * 1.2, 0.0])
        center[2] = size[2] / 2
        faces = torch.rand(900, 3, generator=generator) - 0.5
        axis = torch.randint(0, 3, (900,), generator=generator)
        faces[torch.arange(900), axis] = faces[torch.arange(900), axis].sign() / 2
        xyz = torch.cat([xyz, center + faces * torch.tensor(size)])
        rows.append([*center.tolist(), *size, 0.0])
    targets = Targets(Boxes3D.from_array(torch.tensor(rows)), torch.tensor([0, 1]))
    return Sample(PointCloud.single(xyz, None), targets, f"room {seed}")


@pytest.fixture(autouse=True)
def two_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured data source gives two hand-made rooms."""
    monkeypatch.setattr(RoomsSource, "classes", ("cube", "slab"))
    monkeypatch.setattr(RoomsSource, "open", lambda self, split: [room(0), room(1)])


def config(num_steps: int = 4, changes: dict[str, Any] | None = None, **schedule: Any) -> Config:
    tiny: dict[str, Any] = {"widths": [8, 8, 8, 8], "stem_channels": 8, "neck_channels": 8}
    return Config(
        network=Network(preset="lite", changes={**tiny, **(changes or {})}),
        augment=Augment(flip_x=0.5, keep_fraction=(0.5, 1.0)),
        schedule=Schedule(num_steps=num_steps, batch_size=2, warmup_steps=2, **schedule),
    )


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


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


def test_resuming_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="start without --resume"):
        train(config(), tmp_path / "run", resume=True)


def test_resuming_with_another_configuration_is_refused(tmp_path: Path) -> None:
    train(config(num_steps=1), tmp_path / "run")
    with pytest.raises(TrainingError, match="another configuration"):
        train(config(num_steps=3), tmp_path / "run", resume=True)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    train(config(num_steps=1), tmp_path / "run")
    (tmp_path / "run" / "state.pt").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="cannot be read"):
        train(config(num_steps=1), tmp_path / "run", resume=True)


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


def order_of(num_scenes: int, num_steps: int, **processes: int) -> list[str]:
    scenes = [replace(room(0), name=str(index)) for index in range(num_scenes)]
    order = TrainingOrder(
        scenes, Augment(), seed=0, batch_size=2, steps=range(num_steps), **processes
    )
    return [order[index].name for index in range(len(order))]


def test_an_epoch_shows_every_scene_once() -> None:
    names = order_of(num_scenes=5, num_steps=5)
    assert sorted(names[:5]) == sorted(names[5:]) == ["0", "1", "2", "3", "4"]
    assert names[:5] != names[5:]


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
