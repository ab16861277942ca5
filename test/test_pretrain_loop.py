"""A pre-training: what the student knows, what the teacher keeps, resuming, and where it leads."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pretrain_cases import CLOUDS, SETTINGS, pretrained
from test_pretrain_prototypes import EXAMPLES
from training_cases import room

from sr3d_core.checkpoint import CheckpointError, load_checkpoint, read_manifest, stored_tensors
from sr3d_core.model.network import SR3D
from sr3d_core.pretrain.branch import rows_among
from sr3d_core.pretrain.dos import Dos, Seen, dos_total
from sr3d_core.pretrain.learner import Drawn, DrawViews, Pretrainer
from sr3d_core.pretrain.masks import hide_blocks
from sr3d_core.pretrain.schedules import cosine, learning_rate, ramp
from sr3d_core.pretrain.settings import Pretraining, Views
from sr3d_core.pretrain.views import View, crop, overlap, two_views
from sr3d_core.structures import PointCloud
from sr3d_core.training.errors import TrainingError
from sr3d_core.training.processes import Processes
from sr3d_core.training.warm_start import take_weights

TEST = Path(__file__).resolve().parent
ALONE = Processes(0, 1, torch.device("cpu"))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(num: int = 2) -> list[Drawn]:
    return [DrawViews(SETTINGS)(room(k), seeded(k)) for k in range(num)]


def seen(settings: Pretraining = SETTINGS) -> Seen:
    views: list[View] = []
    visible = []
    for each in drawn():
        for view in each.views:
            views.append(view)
            mask = settings.mask
            visible.append(hide_blocks(view.cloud.xyz, mask.block_m, mask.ratio, seeded(5)))
    return Seen.of(views, visible)


def dos(num_prototypes: int = 6) -> Dos:
    torch.manual_seed(0)
    return Dos(SETTINGS.architecture, SETTINGS.targets, num_prototypes)


def test_the_schedules_are_the_worked_ones() -> None:
    case = EXAMPLES["ema"]
    for step, kept in case["cosine_decay_0.995_to_1_total_100"].items():
        assert cosine(int(step), 0.995, 1.0, 100) == pytest.approx(kept, abs=1e-8)
    for step, rate in case["lr_peak_5e-4_final_1e-6_start_1e-7_warmup_10_total_100"].items():
        found = learning_rate(int(step), 5e-4, 100, 10, 1e-7, 1e-6)
        assert found == pytest.approx(rate, rel=1e-6)
    for step, temperature in case["teacher_temp_0.04_to_0.07_over_10"].items():
        assert ramp(int(step), 0.04, 0.07, 10) == pytest.approx(temperature)


def test_the_total_is_the_worked_one() -> None:
    case = EXAMPLES["dos_total"]
    same, cross = ([torch.tensor(x) for x in case[key]] for key in ("same_view", "cross_view"))
    assert float(dos_total(same, cross)) == pytest.approx(case["total"])


def test_the_teacher_moves_as_in_the_worked_example() -> None:
    case = EXAMPLES["ema"]
    model = dos()
    teacher = dict(model.teacher.named_parameters())
    name = "project.0.bias"
    with torch.no_grad():
        teacher[name][:2] = torch.tensor(case["teacher0"], dtype=torch.float32)
        dict(model.student.named_parameters())[name][:2] = torch.tensor([2.0, 0.0])
    for kept, expected in zip(case["decays"], case["teacher_after"][1:], strict=True):
        model.follow(kept)
        torch.testing.assert_close(teacher[name][:2], torch.tensor(expected), atol=1e-6, rtol=0)


def test_views_know_where_their_points_are_from() -> None:
    cloud = room(0).cloud
    views = Views(jitter_m=0.0)
    for view in two_views(cloud, views, seeded()):
        back = view.original(view.cloud.xyz)
        nearest = torch.cdist(back[:200].double(), cloud.xyz.double()).amin(dim=1)
        assert float(nearest.max()) < 1e-5


def test_views_overlap_and_hold_their_share() -> None:
    xyz = room(0).cloud.xyz
    rows = crop(xyz, 0.5, None, seeded(1))
    assert len(rows) == round(0.5 * len(xyz))
    assert overlap(rows, rows, len(xyz)) == 1.0
    views = Views(fraction=(0.4, 0.5), min_overlap=0.6, jitter_m=0.0)
    for seed in range(20):
        first, second = two_views(PointCloud.single(xyz, None), views, seeded(seed))
        near = torch.cdist(first.original(first.cloud.xyz), second.original(second.cloud.xyz))
        shared = (near.amin(dim=1) < 1e-4).float().mean()
        assert float(shared) > 0.3  # 0.6 before points were dropped


@pytest.mark.parametrize("num", [0, 1, 2])
def test_clouds_of_next_to_nothing_have_views(num: int) -> None:
    first, second = two_views(room(0).cloud[:num], Views(), seeded())
    assert len(first.cloud) == len(second.cloud) == min(num, 1)


def test_nothing_of_a_hidden_point_reaches_the_student() -> None:
    clean = seen()
    views, visible = [], []
    for view in clean.views:
        mask = SETTINGS.mask
        keep = hide_blocks(view.cloud.xyz, mask.block_m, mask.ratio, seeded(5))
        assert not bool(keep.all())
        xyz, color = view.cloud.xyz.clone(), view.cloud.features.clone()
        xyz[~keep] += 0.03 * torch.randn(int((~keep).sum()), 3, generator=seeded(9))
        color[~keep] = 0.77
        views.append(View(PointCloud(xyz, color, view.cloud.scene), view.transform))
        visible.append(keep)
    poisoned = Seen.of(views, visible)
    model = dos()
    with torch.no_grad():
        ours, theirs = model.student(clean.visible), model.student(poisoned.visible)
        whole, other = model.teacher(clean.whole), model.teacher(poisoned.whole)
    assert torch.equal(ours.coords, theirs.coords)
    assert torch.equal(ours.features, theirs.features)
    assert len(whole) != len(other) or not torch.equal(whole.features, other.features)


def test_the_students_cells_all_hold_a_visible_point() -> None:
    clean, model = seen(), dos()
    with torch.no_grad():
        cells = model.student(clean.visible)
    points = torch.floor(clean.visible.xyz.double() / model.voxel_size_m).long() // cells.stride
    occupied = {
        tuple(row) for row in torch.cat([clean.visible.scene[:, None], points], 1).tolist()
    }
    own = torch.cat([cells.coords[:, :1], cells.coords[:, 1:] // cells.stride], dim=1)
    assert {tuple(row) for row in own.tolist()} == occupied


def test_parents_are_the_cells_around() -> None:
    fine = torch.tensor([[0, 0, 4, -4], [0, 12, 0, 0], [1, 0, 4, -4]])
    cells = torch.tensor([[1, 0, 0, -8], [0, 8, 0, 0], [0, 0, 0, -8]])
    assert rows_among(fine, cells, 8).tolist() == [2, 1, 0]
    assert rows_among(fine[:0], cells, 8).tolist() == []
    with pytest.raises(ValueError, match="outside of the 2 cells"):
        rows_among(fine, cells[:2], 8)


def test_the_teacher_gets_no_gradient_and_everything_else_does() -> None:
    model = dos().train()
    model(seen(), 0.04).total.backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    missing = [n for n, p in model.student.named_parameters() if p.grad is None]
    assert missing == []
    assert model.prototypes.grad is not None


def test_the_order_of_points_changes_nothing() -> None:
    model, clean = dos().eval(), seen()
    turned = [
        View(view.cloud[torch.arange(len(view.cloud)).flip(0)], view.transform)
        for view in clean.views
    ]
    masks = [
        hide_blocks(v.cloud.xyz, SETTINGS.mask.block_m, SETTINGS.mask.ratio, seeded(5))
        for v in clean.views
    ]
    other = Seen.of(turned, [mask.flip(0) for mask in masks])
    first, second = model(clean, 0.04), model(other, 0.04)
    torch.testing.assert_close(first.same, second.same, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(first.cross, second.cross, rtol=1e-4, atol=1e-6)


def test_empty_clouds_have_no_loss() -> None:
    model = dos().train()
    empty = [View(view.cloud[:0], view.transform) for view in seen().views]
    found = model(Seen.of(empty, [torch.zeros(0, dtype=torch.bool)] * 4), 0.04)
    assert float(found.total.detach()) == 0.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("run") / "whole.safetensors", SETTINGS)


def test_a_resumed_run_is_the_run_that_was_not_interrupted(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "halves.safetensors"

    def stop(progress: Any) -> None:
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrained(path, SETTINGS, on_step=stop)
    assert not path.exists()  # an interrupt of that kind saves nothing

    short = replace(SETTINGS, steps=replace(SETTINGS.steps, checkpoint_minutes=0.0))
    with pytest.raises(KeyboardInterrupt):
        pretrained(path, short, on_step=lambda p: stop(p) if p.step == 2 else None)
    assert read_manifest(path).pretraining["steps"] == 1  # type: ignore[index]
    pretrained(path, SETTINGS, resume=True)
    for name, tensor in stored_tensors(run).items():
        assert torch.equal(tensor, stored_tensors(path)[name]), name
    columns = [line.split(",")[1:3] for line in run.with_suffix(".csv").read_text().split()]
    assert [
        line.split(",")[1:3] for line in path.with_suffix(".csv").read_text().split()
    ] == columns


def test_what_is_kept_is_the_teacher(run: Path) -> None:
    entries = torch.load(run.with_suffix(".state"), weights_only=True)["model"]
    for name, tensor in stored_tensors(run).items():
        assert torch.equal(tensor, entries["teacher.network." + name])
    origin = read_manifest(run).pretraining
    assert origin is not None
    assert origin["method"] == "dos"
    assert origin["sources"] == {"four rooms": "0"}
    assert origin["steps"] == SETTINGS.steps.num


def test_statistics_of_the_teacher_are_its_own(run: Path) -> None:
    entries = torch.load(run.with_suffix(".state"), weights_only=True)["model"]
    name = "network.backbone.norm1.bn.running_mean"
    assert not torch.equal(entries[f"teacher.{name}"], entries[f"student.{name}"])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"targets": Targets(alpha=1.0, hidden=16, bottleneck=8)},
            "targets.alpha was 1.3, is 1.0",
        ),
        ({"changes": {**SETTINGS.changes, "color": True}}, "changes.color"),
    ],
)
def test_another_run_is_not_taken_up(run: Path, change: dict[str, Any], found: str) -> None:
    with pytest.raises(TrainingError, match=found):
        pretrained(run, replace(SETTINGS, **change), resume=True)


def test_a_run_is_not_overwritten(run: Path) -> None:
    with pytest.raises(TrainingError, match="there is a pre-training already"):
        pretrained(run, SETTINGS)


def test_a_training_starts_from_the_backbone_alone(run: Path) -> None:
    torch.manual_seed(3)
    network = SR3D(replace(SETTINGS.architecture, num_classes=2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start = take_weights(network, ("cube", "slab"), run)
    given = stored_tensors(run)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, given.get(name, before[name])), name
    assert len(given) == sum(name.startswith("backbone.") for name in before)
    assert {name.partition(".")[0] for name in start.fresh} == {"neck", "head"}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"voxel_size_m": 0.03}, "voxel_size_m is 0.04, here 0.03"),
        ({"widths": (8, 8, 8, 12)}, r"widths is \(8, 8, 8, 8\), here \(8, 8, 8, 12\)"),
    ],
)
def test_another_network_is_refused_in_words(
    run: Path, changes: dict[str, Any], found: str
) -> None:
    network = SR3D(replace(SETTINGS.architecture, **changes))
    with pytest.raises(CheckpointError, match=found):
        take_weights(network, ("cube",), run)


def test_a_backbone_alone_detects_nothing_and_says_so(run: Path) -> None:
    with pytest.raises(CheckpointError, match="sr3d train --init"):
        load_checkpoint(run)


def test_several_processes_learn_what_one_does(run: Path, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(TEST.parent), str(TEST)])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", str(TEST / "pretrain_cases.py"), str(tmp_path / "two")),
        ],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    one = pretrained(tmp_path / "one.safetensors", SETTINGS)
    for name, tensor in stored_tensors(one).items():
        other = stored_tensors(tmp_path / "two.safetensors")[name]
        torch.testing.assert_close(other, tensor, rtol=2e-3, atol=2e-4, msg=name)


def test_figures_show_a_healthy_start_and_a_collapse() -> None:
    learner = Pretrainer(SETTINGS, 500, ALONE)
    learner.learn(drawn(), 0)
    healthy = learner.health()
    assert healthy.effective_rank > 3
    assert healthy.copies < 0.2
    with torch.no_grad():
        for parameter in learner.model.student.parameters():
            parameter.zero_()
        learner.model.prototypes[1:] = learner.model.prototypes[:1]
    learner.learn(drawn(), 0)
    alarms = "; ".join(learner.health().alarms())
    assert "collapse" in alarms
    assert "copies" in alarms


def test_it_learns_and_does_not_collapse() -> None:
    settings = replace(SETTINGS, steps=replace(SETTINGS.steps, num=40, batch_size=4))
    learner = Pretrainer(settings, 500, ALONE)
    losses = []
    for step in range(40):
        each = [DrawViews(settings)(CLOUDS[k], seeded(step * 4 + k)) for k in range(len(CLOUDS))]
        losses.append(learner.learn(each, step).total)
    assert sum(losses[-5:]) < 0.9 * sum(losses[5:10])
    assert learner.health().effective_rank > 3
