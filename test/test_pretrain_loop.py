"""A pre-training: what the student knows, what the teacher keeps, resuming, and where it leads."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pretrain_cases import ASYMMETRIC, CASES, CLOUDS, SETTINGS, pretrained
from test_pretrain_prototypes import EXAMPLES
from torch import Tensor
from training_cases import room

from sr3d_core.checkpoint import CheckpointError, load_checkpoint, read_manifest, stored_tensors
from sr3d_core.model.network import SR3D
from sr3d_core.pretrain.asymdsd import AsymDsd, asymdsd_total, visible_points
from sr3d_core.pretrain.dos import Dos, dos_total
from sr3d_core.pretrain.encoder import Encoder, cell_stride, rows_among
from sr3d_core.pretrain.learner import DrawViews, Pretrainer, alarms
from sr3d_core.pretrain.masks import hide_blocks
from sr3d_core.pretrain.method import Drawn, Found, Sums
from sr3d_core.pretrain.predictor import Predictor, attend
from sr3d_core.pretrain.schedules import cosine, learning_rate, ramp
from sr3d_core.pretrain.settings import Mask, Pretraining, Views
from sr3d_core.pretrain.views import View, as_batch, crop, overlap, small_views, two_views
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


MASK = SETTINGS.mask


def views() -> list[View]:
    return [view for each in drawn() for view in each.large]


def shown(view: View) -> Tensor:
    return hide_blocks(view.cloud.xyz, MASK.block_m, MASK.ratio, seeded(5))


def visible(each: list[View]) -> PointCloud:
    return as_batch([view.cloud[shown(view)] for view in each])


def whole(each: list[View]) -> PointCloud:
    return as_batch([view.cloud for view in each])


def compared(model: Dos, each: list[View]) -> Found:
    return model.compared(each, whole(each), visible(each), 0.04, Sums())


def dos(num_prototypes: int = 6) -> Dos:
    torch.manual_seed(0)
    return Dos(SETTINGS, num_prototypes)


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
    for view in two_views(cloud, Views(jitter_m=0.0), seeded()):
        back = view.original(view.cloud.xyz)
        nearest = torch.cdist(back[:200].double(), cloud.xyz.double()).amin(dim=1)
        assert float(nearest.max()) < 1e-5


def test_views_overlap_and_hold_their_share() -> None:
    xyz = room(0).cloud.xyz
    rows = crop(xyz, 0.5, None, seeded(1))
    assert len(rows) == round(0.5 * len(xyz))
    assert overlap(rows, rows, len(xyz)) == 1.0
    settings = Views(fraction=(0.4, 0.5), min_overlap=0.6, jitter_m=0.0)
    for seed in range(20):
        first, second = two_views(PointCloud.single(xyz, None), settings, seeded(seed))
        near = torch.cdist(first.original(first.cloud.xyz), second.original(second.cloud.xyz))
        shared = (near.amin(dim=1) < 1e-4).float().mean()
        assert float(shared) > 0.3  # 0.6 before points were dropped


@pytest.mark.parametrize("num", [0, 1, 2])
def test_clouds_of_next_to_nothing_have_views(num: int) -> None:
    cloud = room(0).cloud[:num]
    each = [*two_views(cloud, Views(), seeded()), *small_views(cloud, Views(), seeded())]
    assert [len(view.cloud) for view in each] == [min(num, 1)] * 4


def poisoned(view: View, keep: Tensor) -> View:
    """The view with what is hidden moved a little and of another color."""
    xyz, color = view.cloud.xyz.clone(), view.cloud.features.clone()
    xyz[~keep] += 0.03 * torch.randn(int((~keep).sum()), 3, generator=seeded(9))
    color[~keep] = 0.77
    return View(PointCloud(xyz, color, view.cloud.scene), view.transform)


def test_nothing_of_a_hidden_point_reaches_the_student() -> None:
    model, clean = dos(), views()
    masks = [shown(view) for view in clean]
    assert not any(bool(mask.all()) for mask in masks)
    other = [poisoned(*pair) for pair in zip(clean, masks, strict=True)]
    parts = as_batch([v.cloud[mask] for v, mask in zip(other, masks, strict=True)])
    with torch.no_grad():
        ours, theirs = (model.student.encoder(part, 4) for part in (visible(clean), parts))
        known, changed = (model.teacher.encoder(whole(each), 4) for each in (clean, other))
    assert torch.equal(ours.coords, theirs.coords)
    assert torch.equal(ours.features, theirs.features)
    assert len(known) != len(changed) or not torch.equal(known.features, changed.features)


def grey(view: View) -> View:
    cloud = view.cloud
    color = torch.full_like(cloud.features, 0.5)
    return View(PointCloud(cloud.xyz, color, cloud.scene), view.transform)


def seen_by_the_student(mask: Mask) -> tuple[PointCloud, int]:
    """What a step shows the student of two clouds, and how many points their views have."""
    model, clouds = Dos(replace(SETTINGS, mask=mask), 8), []
    model.student.encoder.register_forward_pre_hook(lambda _, given: clouds.append(given[0]))
    each = [replace(one, large=tuple(map(grey, one.large))) for one in drawn()]
    with torch.no_grad():
        model.found(each, SETTINGS.steps.num, Sums(), torch.device("cpu"))
    return clouds[0], sum(len(view.cloud) for one in each for view in one.large)


def test_the_known_mistake_shows_where_hidden_points_are_but_not_their_color() -> None:
    usual, num = seen_by_the_student(Mask(ratio=0.6))
    leaking, _ = seen_by_the_student(Mask(ratio=0.6, leak=True))
    assert len(usual) < 0.8 * num
    assert len(leaking) == num
    assert int((~leaking.features.isnan().any(dim=1)).sum()) == len(usual)
    with pytest.raises(ValueError, match=r"mask\.leak.*asymdsd"):
        Pretraining(method="asymdsd", mask=Mask(leak=True))


@pytest.mark.parametrize("stage", [0, 1])
def test_cells_all_hold_a_point_that_the_encoder_was_given(stage: int) -> None:
    cloud = visible(views())
    torch.manual_seed(0)
    with torch.no_grad():
        cells = Encoder(SETTINGS.architecture, stage)(cloud, 4)
    assert cells.stride == cell_stride(SETTINGS.architecture, stage)
    voxels = torch.floor(cloud.xyz.double() / SETTINGS.architecture.voxel_size_m).long()
    places = torch.cat([cloud.scene[:, None], voxels // cells.stride], dim=1)
    own = torch.cat([cells.coords[:, :1], cells.coords[:, 1:] // cells.stride], dim=1)
    assert {tuple(row) for row in own.tolist()} == {tuple(row) for row in places.tolist()}


def test_parents_are_the_cells_around() -> None:
    fine = torch.tensor([[0, 0, 4, -4], [0, 12, 0, 0], [1, 0, 4, -4]])
    cells = torch.tensor([[1, 0, 0, -8], [0, 8, 0, 0], [0, 0, 0, -8]])
    assert rows_among(fine, cells, 8).tolist() == [2, 1, 0]
    assert rows_among(fine[:0], cells, 8).tolist() == []
    with pytest.raises(ValueError, match="outside of the 2 cells"):
        rows_among(fine, cells[:2], 8)


def test_the_teacher_gets_no_gradient_and_everything_else_does() -> None:
    for model in (dos().train(), asymmetric().train()):
        model.found(drawn(), 0, Sums(), torch.device("cpu")).total.backward()
        assert all(p.grad is None for p in model.teacher.parameters())
        learning = [n for n, p in model.named_parameters() if p.requires_grad]
        parameters = dict(model.named_parameters())
        assert [name for name in learning if parameters[name].grad is None] == []


def test_the_order_of_points_changes_nothing() -> None:
    model, clean = dos().eval(), views()
    turned = [
        View(view.cloud[torch.arange(len(view.cloud)).flip(0)], view.transform) for view in clean
    ]
    parts = as_batch([v.cloud[shown(c).flip(0)] for v, c in zip(turned, clean, strict=True)])
    first = compared(model, clean).terms
    second = model.compared(turned, whole(turned), parts, 0.04, Sums()).terms
    for name in ("same", "cross"):
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-6)


def test_empty_clouds_have_no_loss() -> None:
    empty = [Drawn(*_without_points(each), each.seed, each.name) for each in drawn()]
    found = dos().train().found(empty, 0, Sums(), torch.device("cpu"))
    assert float(found.total.detach()) == 0.0
    found = asymmetric().train().found(empty, 0, Sums(), torch.device("cpu"))
    assert bool(found.total.isfinite())
    assert found.num_cells == 0


def _without_points(each: Drawn) -> tuple[tuple[View, View], tuple[View, ...]]:
    first, second, *small = (
        View(view.cloud[:0], view.transform) for view in (*each.large, *each.small)
    )
    return (first, second), tuple(small)


def asymmetric() -> AsymDsd:
    torch.manual_seed(0)
    return AsymDsd(ASYMMETRIC, 6)


def test_queries_see_what_is_visible_and_not_each_other() -> None:
    case = EXAMPLES["masked_query_attention"]
    known, asked = (torch.tensor(case[key]) for key in ("visible", "queries"))
    expected = torch.tensor(case["cross_only"]["out"])
    torch.testing.assert_close(attend(asked, known, known), expected, atol=1e-6, rtol=0)
    torch.manual_seed(0)
    predictor = Predictor(8, 16, 2, 4)
    torch.nn.init.normal_(predictor.mask_token)
    places, rows = torch.randn(5, 3, generator=seeded()), torch.randn(7, 8, generator=seeded(1))
    hidden = torch.randn(3, 3, generator=seeded(2))
    with torch.no_grad():
        before = predictor(hidden, places, rows[:5])
        moved = hidden.clone()
        moved[2] = 9.0
        after = predictor(moved, places, rows[:5])
    torch.testing.assert_close(after[:2], before[:2], rtol=0, atol=1e-6)
    assert not torch.allclose(after[2], before[2])
    assert predictor(hidden[:0], places, rows[:5]).shape == (0, 8)
    assert predictor(hidden, places[:0], rows[:0]).shape == (3, 8)


def test_the_total_of_asymdsd_is_the_worked_one() -> None:
    case = EXAMPLES["asymdsd_total"]
    parts = (torch.tensor(case[key]) for key in ("patch", "cls", "koleo"))
    weights = (1.0, 1.0, case["koleo_weight"])
    assert float(asymdsd_total(*parts, weights)) == pytest.approx(case["total"], abs=1e-5)


def test_masks_of_asymdsd_hide_whole_cells() -> None:
    cloud, own = room(0).cloud, ASYMMETRIC.asymmetric
    keep = visible_points(cloud, 0.32, own, seeded())
    cells = torch.floor(cloud.xyz.double() / 0.32)
    _, row = torch.unique(cells, dim=0, return_inverse=True)
    share = torch.bincount(row, keep.double()) / torch.bincount(row)
    assert set(share.tolist()) == {0.0, 1.0}
    assert int((share == 0).sum()) == round(own.ratio * len(share))


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
        assert torch.equal(tensor, entries["teacher.encoder.network." + name])
    origin = read_manifest(run).pretraining
    assert origin is not None
    assert origin["method"] == "dos"
    assert origin["sources"] == {"four rooms": "0"}
    assert origin["steps"] == SETTINGS.steps.num


def test_statistics_of_the_teacher_are_its_own(run: Path) -> None:
    entries = torch.load(run.with_suffix(".state"), weights_only=True)["model"]
    name = "encoder.network.backbone.norm1.bn.running_mean"
    assert not torch.equal(entries[f"teacher.{name}"], entries[f"student.{name}"])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            {"targets": replace(SETTINGS.targets, alpha=1.0)},
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


def test_several_processes_learn_what_one_does(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(TEST.parent), str(TEST)])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", str(TEST / "pretrain_cases.py"), str(tmp_path)),
        ],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    for name, settings in CASES.items():
        one = stored_tensors(pretrained(tmp_path / f"one {name}.safetensors", settings))
        two = stored_tensors(tmp_path / f"{name}.safetensors")
        for key, tensor in one.items():
            torch.testing.assert_close(two[key], tensor, rtol=2e-3, atol=2e-4, msg=f"{name} {key}")


def test_asymdsd_resumes_exactly(tmp_path: Path) -> None:
    whole_run = pretrained(tmp_path / "whole.safetensors", ASYMMETRIC)
    often = replace(ASYMMETRIC, steps=replace(ASYMMETRIC.steps, checkpoint_minutes=0.0))

    def stop(progress: Any) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    path = tmp_path / "halves.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pretrained(path, often, on_step=stop)
    pretrained(path, ASYMMETRIC, resume=True)
    for name, tensor in stored_tensors(whole_run).items():
        assert torch.equal(tensor, stored_tensors(path)[name]), name


def test_figures_show_a_healthy_start_and_a_collapse() -> None:
    learner = Pretrainer(SETTINGS, 500, ALONE)
    learner.learn(drawn(), 0)
    healthy = learner.health()
    assert healthy["effective_rank"] > 3
    assert healthy["copies"] < 0.2
    with torch.no_grad():
        for parameter in learner.model.student.parameters():
            parameter.zero_()
        learner.model.prototypes[1:] = learner.model.prototypes[:1]
    learner.learn(drawn(), 0)
    said = "; ".join(alarms(learner.health()))
    assert "collapse" in said
    assert "copies" in said


@pytest.mark.parametrize("method", ["dos", "asymdsd"])
def test_it_learns_and_does_not_collapse(method: str) -> None:
    few = SETTINGS if method == "dos" else ASYMMETRIC
    settings = replace(few, steps=replace(few.steps, num=40, batch_size=4))
    learner = Pretrainer(settings, 500, ALONE)
    losses = []
    for step in range(40):
        each = [DrawViews(settings)(CLOUDS[k], seeded(step * 4 + k)) for k in range(4)]
        losses.append(learner.learn(each, step).total)
    assert sum(losses[-5:]) < 0.97 * sum(losses[5:10])
    assert learner.health()["effective_rank"] > 3


@pytest.mark.parametrize("name", ["dos", "asymdsd"])
def test_bfloat16_learns_nearly_what_float32_does(name: str) -> None:
    """Losses of a step and the gradient's length within bfloat16's few digits; not the same."""
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    exact, short = (
        Pretrainer(
            replace(CASES[name], steps=replace(SETTINGS.steps, precision=precision)), 60, ALONE
        ).learn([DrawViews(CASES[name])(room(k), seeded(k)) for k in range(2)], 0)
        for precision in precisions
    )
    assert short.total == pytest.approx(exact.total, rel=0.02)
    assert short.gradient_norm == pytest.approx(exact.gradient_norm, rel=0.1)
    assert short.gradient_norm != exact.gradient_norm
