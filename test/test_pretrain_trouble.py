"""What goes wrong in a pre-training: nothing is lost, nothing is wrong without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretrain_cases import ASYMMETRIC, CLOUDS, SETTINGS, Clouds, pretrained, unreadable_after
from safetensors.torch import save_file
from training_cases import room

from sr3d_core.checkpoint import CheckpointError, backbone_content, stored_tensors
from sr3d_core.model.network import SR3D
from sr3d_core.pretrain.clouds import CloudFiles
from sr3d_core.pretrain.learner import DrawViews, Pretrainer
from sr3d_core.pretrain.loop import Progress, pretrain
from sr3d_core.pretrain.masks import different_cells
from sr3d_core.pretrain.settings import Asymmetric, Pretraining, Steps
from sr3d_core.structures import PointCloud, Sample
from sr3d_core.training.errors import NotFiniteError, TrainingError
from sr3d_core.training.processes import Processes
from sr3d_core.training.state import read_sealed
from sr3d_core.training.step_log import logged_figures
from sr3d_core.training.warm_start import take_weights

TEST = Path(__file__).resolve().parent
ALONE = Processes(0, 1, torch.device("cpu"))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("run") / "whole.safetensors", SETTINGS)


def assert_same(first: Path, second: Path) -> None:
    for name, tensor in stored_tensors(first).items():
        assert torch.equal(tensor, stored_tensors(second)[name]), name


def test_a_cloud_that_cannot_be_read_costs_no_step(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    clouds = unreadable_after(6)  # two are counted, two are seen in each step
    with pytest.raises(TrainingError, match=r"step 2: the disk is gone; .* 2 steps, is saved"):
        pretrained(path, SETTINGS, clouds)
    pretrained(path, SETTINGS, resume=True)
    assert_same(run, path)


def test_nothing_is_saved_of_a_run_that_could_not_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for num_good in (0, 2):
        with pytest.raises(TrainingError, match="no step was done"):
            pretrained(path, SETTINGS, unreadable_after(num_good))
    pretrained(path, replace(SETTINGS, steps=replace(SETTINGS.steps, num=1)))


def test_clouds_are_known_by_what_is_in_them_and_by_their_order(tmp_path: Path) -> None:
    path, few = tmp_path / "a.safetensors", replace(SETTINGS, steps=replace(SETTINGS.steps, num=1))
    pretrain(few, CLOUDS, path, sources={"drive": "1", "flat": "2"})
    for others in ({"flat": "2", "drive": "1"}, {"drive": "1", "flat": "3"}):
        with pytest.raises(TrainingError, match=r"other clouds: .*flat"):
            pretrain(few, CLOUDS, path, sources=others, resume=True)
    pretrain(few, CLOUDS, path, sources={"moved/drive": "1", "flat": "2"}, resume=True)


def test_one_cloud_alone_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    few = replace(SETTINGS, steps=replace(SETTINGS.steps, num=1))
    pretrained(tmp_path / "a.safetensors", few, Clouds(CLOUDS[:1]))
    assert "one cloud to learn from" in caplog.text


@pytest.mark.parametrize("settings", [SETTINGS, ASYMMETRIC], ids=["dos", "asymdsd"])
def test_the_log_has_all_losses_and_the_number_of_cells(
    tmp_path: Path, settings: Pretraining
) -> None:
    path = tmp_path / "a.safetensors"
    seen = list[Progress]()
    pretrained(path, replace(settings, steps=replace(settings.steps, num=1)), on_step=seen.append)
    (row,) = logged_figures(path.with_suffix(".csv"))
    losses = seen[0].losses
    for name, value in losses.terms.items():
        assert row[name] == pytest.approx(value, rel=1e-4)
    assert row["num_cells"] == losses.num_cells


def test_all_processes_stop_where_one_cannot_read(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(TEST.parent), str(TEST)])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", str(TEST / "pretrain_cases.py"), str(tmp_path)),
            "unreadable",
        ],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode != 0
    said = "step 2: process 1: the disk is gone; what was learnt before, 2 steps, is saved"
    assert done.stderr.count(f"TrainingError: {said}") == 2, done.stderr
    assert read_sealed(tmp_path / "dos.state")["step"] == 2


@pytest.mark.parametrize("settings", [SETTINGS, ASYMMETRIC], ids=["dos", "asymdsd"])
def test_a_step_that_is_not_finite_leaves_no_trace(settings: Pretraining) -> None:
    learner = Pretrainer(settings, 500, ALONE)
    good = [DrawViews(settings)(room(k), seeded(k)) for k in range(2)]
    learner.learn(good, 0)
    before = {name: each.clone() for name, each in learner.model.state_dict().items()}
    learner.model.student.encoder.register_forward_hook(
        lambda module, given, cells: replace(cells, features=cells.features * float("nan"))
    )
    with pytest.raises(NotFiniteError):
        learner.learn(good, 1)
    for name, tensor in learner.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_network_that_is_not_finite_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    learn = Pretrainer.learn

    def diverging(self: Pretrainer, drawn: Any, step: int) -> Any:
        losses = learn(self, drawn, step)
        if step == 1:
            next(self.model.student.parameters()).data[0] = float("inf")
        return losses

    monkeypatch.setattr(Pretrainer, "learn", diverging)
    often = replace(SETTINGS, steps=replace(SETTINGS.steps, checkpoint_minutes=0.0))
    with pytest.raises(TrainingError, match=r"no longer finite after step 2 .* step 1 is"):
        pretrained(path, often)
    assert read_sealed(path.with_suffix(".state"))["step"] == 1


@pytest.mark.parametrize("settings", [SETTINGS, ASYMMETRIC], ids=["dos", "asymdsd"])
def test_clouds_without_points_teach_nothing(tmp_path: Path, settings: Pretraining) -> None:
    empty = Clouds([replace(CLOUDS[0], cloud=CLOUDS[0].cloud[:0], name="hall")])
    with pytest.raises(TrainingError, match=r"no points \(hall, hall\)"):
        pretrained(tmp_path / "a.safetensors", settings, empty)
    assert not list(tmp_path.iterdir())


def test_a_table_of_the_user_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "rooms.csv").write_text("room,area\nkitchen,12\n")
    with pytest.raises(TrainingError, match=r"rooms.csv: is no log"):
        pretrained(tmp_path / "rooms.safetensors", SETTINGS)
    assert (tmp_path / "rooms.csv").read_text() == "room,area\nkitchen,12\n"


def copied(run: Path, folder: Path) -> Path:
    for suffix in (".safetensors", ".state", ".csv"):
        (folder / f"a{suffix}").write_bytes(run.with_suffix(suffix).read_bytes())
    return folder / "a.safetensors"


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"damaged")])
def test_weights_that_are_gone_are_written_again(
    run: Path, tmp_path: Path, harm: Callable[[Path], Any]
) -> None:
    path = copied(run, tmp_path)
    harm(path)
    pretrained(path, SETTINGS, resume=True)
    assert_same(run, path)


def test_a_damaged_log_does_not_stop_a_resumed_run(run: Path, tmp_path: Path) -> None:
    path = copied(run, tmp_path)
    log = path.with_suffix(".csv")
    whole = log.read_bytes()
    log.write_bytes(whole + b"4,\0\0\0\nfive" + b",1" * whole.split(b"\n")[0].count(b",") + b"\n7")
    pretrained(path, SETTINGS, resume=True)
    assert log.read_bytes() == whole


def test_a_damaged_state_is_not_taken_up(run: Path, tmp_path: Path) -> None:
    path = copied(run, tmp_path)
    state = path.with_suffix(".state")
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    for damaged in (bytes(content), bytes(content)[:1000], b""):
        state.write_bytes(damaged)
        with pytest.raises(TrainingError, match="cannot be read"):
            pretrained(path, SETTINGS, resume=True)
    assert_same(run, path)


def test_a_log_that_cannot_be_written_costs_no_step(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    log = path.with_suffix(".csv")

    def hinder(progress: Any) -> None:
        if progress.step == 2:
            log.unlink()
            log.mkdir()

    with pytest.raises(TrainingError, match=r"a.csv: cannot be written .* 3 steps, is saved"):
        pretrained(path, SETTINGS, on_step=hinder)
    log.rmdir()
    pretrained(path, SETTINGS, resume=True)
    assert_same(run, path)


def test_two_runs_cannot_write_the_same_files(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    hold = (
        "import sys, pathlib; from sr3d_core.training.folder import locked;"
        "lock = locked(pathlib.Path(sys.argv[1]), 'x'); print('held', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(path.with_suffix(".lock"))],
        env={**os.environ, "PYTHONPATH": str(TEST.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    try:
        with pytest.raises(TrainingError, match=r"a.safetensors: another pre-training is writing"):
            pretrained(path, SETTINGS)
    finally:
        other.communicate("\n")
    pretrained(path, replace(SETTINGS, steps=replace(SETTINGS.steps, num=1)))
    assert sorted(each.suffix for each in tmp_path.iterdir()) == [".csv", ".safetensors", ".state"]


def test_where_a_cloud_lies_in_its_map_does_not_matter(tmp_path: Path) -> None:
    def moved(sample: Sample, by: tuple[float, float, float]) -> Sample:
        cloud = sample.cloud
        xyz = cloud.xyz + torch.tensor(by)
        return replace(sample, cloud=PointCloud(xyz, cloud.features, cloud.scene))

    far = Clouds([moved(room(0), (9000.0, -9000.0, 0.0)), moved(room(1), (-9000.0, 9000.0, 8.0))])
    views = [DrawViews(SETTINGS)(sample, seeded()).large[0].cloud.xyz for sample in far]
    assert max(float(xyz.abs().max()) for xyz in views) < 20.0
    steps = replace(SETTINGS.steps, num=1)
    pretrained(tmp_path / "a.safetensors", replace(SETTINGS, steps=steps), far)


@pytest.mark.parametrize("reach", [5, 2_000_000_000])
def test_cells_are_numbered_as_rows_are(reach: int) -> None:
    cells = torch.randint(-reach, reach, (500, 3), generator=seeded())
    rows, row = different_cells(torch.cat([cells, cells]))
    expected, of = torch.unique(torch.cat([cells, cells]), dim=0, return_inverse=True)
    assert torch.equal(rows, expected)
    assert torch.equal(row, of)
    assert [len(each) for each in different_cells(cells[:0])] == [0, 0]


def test_figures_are_of_all_clouds_of_a_step() -> None:
    learner = Pretrainer(SETTINGS, 500, ALONE)
    learner.learn([DrawViews(SETTINGS)(room(0), seeded())], 0)
    assert learner._last is not None
    features = torch.ones(8000, 16)
    features[4000:] = torch.randn(4000, 16, generator=seeded())
    learner._last = replace(learner._last, features=features)
    assert learner.health()["effective_rank"] > 10


def test_prototypes_that_a_step_cannot_feed_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    targets = replace(SETTINGS.targets, prototypes=60)
    steps = replace(SETTINGS.steps, num=1)
    pretrained(tmp_path / "a.safetensors", replace(SETTINGS, targets=targets, steps=steps))
    assert "targets.prototypes is 60" in caplog.text


def test_part_of_a_backbone_is_refused(tmp_path: Path) -> None:
    network = SR3D(SETTINGS.architecture)
    state = network.backbone.state_dict()
    state.popitem()
    path = tmp_path / "a.safetensors"
    path.write_bytes(backbone_content(SETTINGS.architecture, state, {"method": "dos"}))
    with pytest.raises(CheckpointError, match="are not the"):
        take_weights(network, ("cube",), path)


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_a_foreign_file_starts_no_training(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.safetensors"
    if content is None:
        save_file({"weight": torch.zeros(2)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a.safetensors: "):
        take_weights(SR3D(SETTINGS.architecture), ("cube",), path)


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (lambda: Asymmetric(teacher_temperature_of_cells=(0.0, 0.07)), "temperature_of_cells"),
        (lambda: Asymmetric(center_momentum=1.5), "center_momentum"),
        (lambda: Steps(seed=-1), "steps.seed"),
        (lambda: Steps(weight_decay=-1.0), "steps.weight_decay"),
    ],
)
def test_settings_that_cannot_be_are_refused(build: Callable[[], Any], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        build()


def test_few_clouds_are_read_once_and_many_each_time(tmp_path: Path) -> None:
    for seed in range(3):
        np.save(tmp_path / f"{seed}.npy", room(seed).cloud.xyz.numpy())
    paths = sorted(tmp_path.iterdir())
    files = CloudFiles(paths, "z", kept_points=len(room(0).cloud))
    assert files.leave_out_unusable(lambda num_done, num: None) == ([], [])
    first = [files[index].cloud.xyz for index in range(3)]
    for path in paths[1:]:
        np.save(path, np.ones((4, 3), np.float32))
    paths[0].unlink()
    assert torch.equal(files[0].cloud.xyz, first[0])
    assert [len(files[index].cloud) for index in (1, 2)] == [4, 4]
