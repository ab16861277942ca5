"""Several processes: what starts them, what is refused, and that they learn what one would."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import two_processes
from camera_cases import TAUGHT
from torch import Tensor
from training_cases import config, room, stand_in, tensors
from two_processes import CASES, MOMENTS, teach_case, train_case

from sr3d_core.checkpoint import read_manifest
from sr3d_core.config import Config
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.model.network import SR3D
from sr3d_core.sparse.layers import VoxelNorm
from sr3d_core.train import TrainingError, train
from sr3d_core.training.processes import launched_processes, scenes_per_process
from sr3d_core.training.shared_norm import SharedNorms
from sr3d_core.training.state import State, read_state

pytest.importorskip("accelerate")
TEST = Path(__file__).resolve().parent
FOLLOWED = tuple(f"distillation.{name}" for name in ("mean_", "spread_", "reference_m"))


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(TEST.parent), str(TEST)])
    say_where = {"PYTHONFAULTHANDLER": "1"}  # one that crashes
    return {**os.environ, **say_where, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def in_a_process(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=environment(), text=True, capture_output=True
    )


def exact_norm(self: VoxelNorm, features: Tensor) -> Tensor:
    """Batch norm by its formula, in double precision."""
    if len(features) < 2:
        return self.by_running_statistics(features)
    rows = features.double()
    variance, mean = torch.var_mean(rows, dim=0, correction=0)
    assert self.running_mean is not None
    assert self.running_var is not None
    with torch.no_grad():
        self.running_mean.lerp_(mean.float(), 0.1)
        self.running_var.lerp_(rows.var(dim=0).float(), 0.1)
    return ((rows - mean) / (variance + self.eps).sqrt() * self.weight + self.bias).float()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases by two processes, by one, and by one whose batch norms are exact."""
    folder = tmp_path_factory.mktemp("runs")
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = in_a_process(*two, str(TEST / "two_processes.py"), str(folder / "two"))
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_processes, "use_scenes", lambda scenes: use(patch, scenes))
        for name in CASES:
            train_case(name, folder / "one")
        teach_case(folder / "one")
        patch.setattr(VoxelNorm, "forward", exact_norm)
        for name in CASES:
            train_case(name, folder / "exact")
    return folder


def use(patch: pytest.MonkeyPatch, scenes: object) -> None:
    for name, value in stand_in(scenes).items():
        patch.setattr(RoomsSource, name, value)


def learnt(run: Path, config: Config) -> Tensor:
    """How far every weight and statistic moved from where it began."""
    torch.manual_seed(config.schedule.seed)
    first = SR3D(config.network.architecture(2)).state_dict()
    last = tensors(run / "weights.safetensors")
    names = [name for name in last if not name.endswith("num_batches_tracked")]
    return torch.cat([(last[name] - first[name]).flatten() for name in names])


def distance(a: Tensor, b: Tensor) -> float:
    """Relative to the length of `b`."""
    return float((a - b).norm() / b.norm())


@pytest.mark.slow
@pytest.mark.parametrize(("reference", "tolerance"), [("exact", 1e-4), ("one", 2e-2)])
@pytest.mark.parametrize("case", [case for case in CASES if case != "no points anywhere"])
def test_two_processes_learn_what_one_learns(
    runs: Path, case: str, reference: str, tolerance: float
) -> None:
    """Measured: 2e-6 from exact batch norms; those of torch round more, 3e-3 of what is learnt."""
    two, other = (learnt(runs / run / case, config()) for run in ("two", reference))
    assert distance(two, other) < tolerance


def gradients(state: State) -> list[Tensor]:
    """Of the first step, for each parameter: what Adam keeps of it, whatever the factor."""
    return [each["exp_avg"] for each in state.optimizer["state"].values()]


@pytest.mark.slow
@pytest.mark.parametrize("case", TAUGHT)
def test_two_processes_teach_a_camera_student_as_one_does(runs: Path, case: str) -> None:
    """Terms of the loss, gradients, and what follows a step by itself."""
    folders = [runs / run / f"images {case}" for run in ("two", "one")]
    logs = [(folder / "log.csv").read_text().splitlines() for folder in folders]
    first = [next(csv.DictReader(log)) for log in logs]
    assert set(first[0]) == set(first[1])
    for name in set(first[1]) - {"scenes_per_s"}:
        assert float(first[0][name]) == pytest.approx(float(first[1][name]), rel=1e-4, abs=2e-5)
    states = [read_state(folder / "state.pt") for folder in folders]
    two, one = (gradients(state) for state in states)
    assert len(two) == len(one) > 30
    largest = max(float(each.norm()) for each in one)
    for first_of_two, first_of_one in zip(two, one, strict=True):
        apart = float((first_of_two - first_of_one).norm())
        assert apart < 1e-3 * float(first_of_one.norm()) + 1e-6 * largest
    followed = [state.network for state in states]
    names = [name for name in followed[0] if name.startswith(FOLLOWED)]
    assert len(names) == (1 if "cells" in case else 7)
    for name in names:
        both = [state[name] for state in followed]
        torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_count_the_positives_of_all(runs: Path, case: str) -> None:
    logs = [(runs / run / case / "log.csv").read_text().splitlines() for run in ("two", "one")]
    positives = [[int(row["positives"]) for row in csv.DictReader(log)] for log in logs]
    assert positives[0] == positives[1]
    assert (max(positives[0]) > 0) is (case != "no points anywhere")


@pytest.mark.slow
def test_a_scene_that_one_process_cannot_read_stops_both_and_loses_no_step(runs: Path) -> None:
    told = {(runs / "two" / f"broken scene {rank}.txt").read_text() for rank in (0, 1)}
    assert len(told) == 1
    text = told.pop()
    assert "process 1" in text
    assert "json" in text
    assert read_state(runs / "two" / "broken scene" / "state.pt").step == 2


@pytest.mark.slow
def test_the_first_of_two_processes_validates_and_both_learn_the_same(runs: Path) -> None:
    lines = (runs / "two" / "validated" / "validation.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 6, 9, 10]
    assert json.loads(lines[0])["num_scenes"] == 4
    without, with_it = (
        tensors(runs / "two" / name / "weights.safetensors")
        for name in ("uneven positives", "validated")
    )
    for name, tensor in without.items():
        torch.testing.assert_close(with_it[name], tensor, rtol=0, atol=0, msg=name)


@pytest.mark.slow
def test_two_processes_end_together_for_want_of_gain(runs: Path) -> None:
    state = read_state(runs / "two" / "without gain" / "state.pt")
    assert state.step == 6
    assert state.validation is not None
    assert state.validation["best_step"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_process_that_is_killed_loses_no_step(tmp_path: Path, moment: str) -> None:
    """The first one saves what both have learnt, whatever it was about to ask the second."""
    command = [sys.executable, str(TEST / "two_processes.py"), str(tmp_path), moment]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(command, env={**environment(), **_as_process(rank, port)})
        for rank in (0, 1)
    ]
    assert [each.wait() for each in started] == [0, -signal.SIGKILL]
    assert "step 2" in (tmp_path / f"{moment}.txt").read_text()
    state = read_state(tmp_path / moment / "state.pt")
    assert state.step == 2
    assert state.weights_sha256 == (
        read_manifest(tmp_path / moment / "weights.safetensors").sha256
    )


def _as_process(rank: int, port: int) -> dict[str, str]:
    """What a launcher says to each of two processes."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in numbers.items()}}


@pytest.mark.slow
def test_processes_with_different_settings_are_refused(runs: Path) -> None:
    for rank in (0, 1):
        assert "schedule.seed" in (runs / "two" / f"other seed {rank}.txt").read_text()
    assert not (runs / "two" / "other seed").exists()


@pytest.mark.slow
def test_accelerate_launch_which_starts_one_process_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("schedule: {num_steps: 1}\n")
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command = ["-m", "sr3d_core.cli.main", "train", str(tmp_path / "run.yaml")]
    done = in_a_process(*launch, *command, "--out", str(tmp_path / "run"))
    assert done.returncode != 0
    assert "torchrun" in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_environment_says_how_many_processes_there_are() -> None:
    assert launched_processes({}) == 1
    assert launched_processes({"WORLD_SIZE": "4", "RANK": "3"}) == 4
    assert launched_processes({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}) == 2
    assert launched_processes({"MASTER_ADDR": "10.0.0.1"}) == 1


@pytest.mark.parametrize(
    "contradiction",
    [
        {"WORLD_SIZE": "2"},
        {"RANK": "1"},
        {"WORLD_SIZE": "2", "RANK": "2"},
        {"WORLD_SIZE": "0", "RANK": "0"},
        {"WORLD_SIZE": "two", "RANK": "0"},
    ],
)
def test_an_environment_that_contradicts_itself_is_refused(contradiction: dict[str, str]) -> None:
    with pytest.raises(TrainingError, match="WORLD_SIZE"):
        launched_processes(contradiction)


def test_the_command_refuses_a_rank_that_nobody_gave_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "one")  # which torch and accelerate would trip over
    (tmp_path / "run.yaml").write_text("schedule: {num_steps: 1}\n")
    command = ["-m", "sr3d_core.cli.main", "train", str(tmp_path / "run.yaml")]
    done = in_a_process(*command, "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "RANK" in done.stderr


def test_a_world_size_that_nobody_started_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="WORLD_SIZE is 2"):
        train(config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_processes_divide_the_scenes_of_a_step() -> None:
    assert scenes_per_process(6, 2) == 3
    with pytest.raises(TrainingError, match=r"schedule\.batch_size is 3 .* 2 processes"):
        scenes_per_process(3, 2)


def test_both_processes_see_the_scenes_that_one_would_see() -> None:
    from sr3d_core.data.augment import Augment
    from sr3d_core.data.order import TrainingOrder

    scenes = [room(seed) for seed in range(3)]
    order: Callable[..., TrainingOrder] = lambda size, rank, num: TrainingOrder(  # noqa: E731
        scenes, Augment(), seed=0, batch_size=size, steps=range(2), rank=rank, num_processes=num
    )
    whole = [order(4, 0, 1)[index].name for index in range(8)]
    shares = [[order(2, rank, 2)[index].name for index in range(4)] for rank in range(2)]
    assert whole == [*shares[0][:2], *shares[1][:2], *shares[0][2:], *shares[1][2:]]


@pytest.mark.slow
def test_torchrun_starts_the_command_in_two_processes(tmp_path: Path) -> None:
    scenes = tmp_path / "mine"
    for name in ("clouds", "labels"):
        (scenes / name).mkdir(parents=True)
    (scenes / "classes.txt").write_text("cube\n")
    (scenes / "train.txt").write_text("a\nb\n")
    for seed, name in enumerate("ab"):
        np.save(scenes / "clouds" / f"{name}.npy", room(seed).cloud.xyz.numpy())
        box = {"class": "cube", "center": [1, 1, 0.3], "size": [0.6, 0.6, 0.6], "yaw": 0}
        (scenes / "labels" / f"{name}.json").write_text(json.dumps({"boxes": [box]}))
    (tmp_path / "mine.yaml").write_text(
        f"data: {{name: folder, path: {scenes}}}\nschedule: {{num_steps: 1, batch_size: 2}}\n"
    )
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = ["-m", "sr3d_core.cli.main", "train", str(tmp_path / "mine.yaml")]
    done = in_a_process(*two, *command, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\nweights: ") == 1
    assert read_state(tmp_path / "run" / "state.pt").step == 1


class _NormAndActivation(torch.nn.BatchNorm2d):
    """As timm has them: dropout and activation are layers of the norm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = torch.nn.Identity(), torch.nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.act(self.drop(super().forward(features)))
        return found


def test_a_norm_that_has_an_activation_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sr3d_core.training.shared_norm.sum_over_all", lambda own: own)
    torch.manual_seed(0)
    features = torch.randn(2, 3, 5, 4)
    alone, shared = (torch.nn.Sequential(_NormAndActivation(3)) for _ in range(2))
    norms = SharedNorms(shared)
    for mode in (True, False):
        norms.begin(features.device)
        expected, found = alone.train(mode)(features), shared.train(mode)(features)
        assert bool((expected == 0).any())
        torch.testing.assert_close(found, expected)
    assert shared.state_dict().keys() == alone.state_dict().keys()
