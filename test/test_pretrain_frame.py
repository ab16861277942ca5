"""The mask `frame`: what one sensor sees of a cloud, and nothing else, reaches the student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pretrain_cases import ASYMMETRIC, CLOUDS, SETTINGS, Clouds, pretrained
from torch import Tensor
from training_cases import room

from sr3d_core.checkpoint import stored_tensors
from sr3d_core.geometry.viewpoint import Viewpoint, seen_from
from sr3d_core.pretrain.asymdsd import AsymDsd
from sr3d_core.pretrain.clouds import SeenFrom
from sr3d_core.pretrain.dos import Dos
from sr3d_core.pretrain.encoder import Encoder
from sr3d_core.pretrain.frame_mask import drawn_camera, seen_by_one
from sr3d_core.pretrain.learner import DrawViews
from sr3d_core.pretrain.method import Drawn, Found, Sums
from sr3d_core.pretrain.settings import Mask, Pretraining
from sr3d_core.pretrain.views import View, two_views
from sr3d_core.structures import PointCloud, Sample

FRAME = {
    "dos": replace(SETTINGS, mask=Mask(kind="frame")),
    "asymdsd": replace(ASYMMETRIC, mask=Mask(kind="frame")),
}
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(settings: Pretraining, num: int = 2) -> list[Drawn]:
    return [DrawViews(settings)(room(k), seeded(k)) for k in range(num)]


def model_of(settings: Pretraining) -> Dos | AsymDsd:
    torch.manual_seed(0)
    return Dos(settings, 6) if settings.method == "dos" else AsymDsd(settings, 6)


def poisoned(each: Drawn) -> Drawn:
    """The same with what no sensor sees moved and of another color."""

    def changed(view: View) -> View:
        assert view.seen is not None
        xyz, color, hidden = view.cloud.xyz.clone(), view.cloud.features.clone(), ~view.seen
        xyz[hidden] += 0.05 * torch.randn(int(hidden.sum()), 3, generator=seeded(9))
        color[hidden] = 0.77
        return replace(view, cloud=PointCloud(xyz, color, view.cloud.scene))

    first, second = each.large
    return replace(each, large=(changed(first), changed(second)))


def what_it_saw(model: Dos | AsymDsd, each: list[Drawn], monkeypatch: Any) -> list[PointCloud]:
    """What student and teacher are given in a step, the one after the other."""
    given: dict[int, PointCloud] = {}
    forward = Encoder.forward

    def noted(self: Encoder, cloud: PointCloud, num_scenes: int) -> Any:
        given[id(self)] = cloud
        return forward(self, cloud, num_scenes)

    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(Encoder, "forward", noted)
        model.eval().found(each, 0, Sums(), CPU)
    return [given[id(side.encoder)] for side in (model.student, model.teacher)]


@pytest.mark.parametrize("method", FRAME)
def test_nothing_that_the_sensor_does_not_see_reaches_the_student(
    method: str, monkeypatch: Any
) -> None:
    settings = FRAME[method]
    model, clean = model_of(settings), drawn(settings)
    num = sum(int(view.seen.sum()) for each in clean for view in each.large)  # type: ignore
    total = sum(len(view.cloud) for each in clean for view in each.large)
    assert 0 < num < total
    seen, known = what_it_saw(model, clean, monkeypatch)
    other, changed = what_it_saw(model, [poisoned(each) for each in clean], monkeypatch)
    assert len(known) == total
    assert not torch.equal(known.xyz, changed.xyz)
    if method == "dos":
        assert len(seen) == num
    # The crops of asymdsd, which are to be described, are seen whole as with blocks.
    assert torch.equal(seen.xyz[:num], other.xyz[:num])
    same = torch.equal(seen.features[:num].nan_to_num(-1), other.features[:num].nan_to_num(-1))
    assert same


def test_the_student_says_something_of_cells_that_are_seen_alone() -> None:
    """With dos the loss is over the cells of seen points, counted here by hand."""
    settings = FRAME["dos"]
    each = drawn(settings)
    found: Found = model_of(settings).found(each, 0, Sums(), CPU)
    cells = set()
    for scene, view in enumerate(view for one in each for view in one.large):
        places = torch.floor(view.cloud.xyz[view.seen].double() / 0.04).long() // 8
        cells |= {(scene, *row) for row in places.tolist()}
    assert found.num_cells == len(cells)


def recorded(sample: Sample, slopes: Any = (-0.6, 0.6, -0.5, 0.5)) -> SeenFrom:
    """The room as a recording has it: with where a camera stood that looked along x."""
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    low, high = sample.cloud.xyz.amin(dim=0), sample.cloud.xyz.amax(dim=0)
    matrix[:3, 3] = torch.stack([low[0] - 0.5, (low[1] + high[1]) / 2, low[2] + 1.0]).double()
    viewpoint = Viewpoint(matrix, slopes)
    return SeenFrom(sample.cloud, sample.targets, sample.name, viewpoint=viewpoint)


def test_of_a_recording_it_is_what_its_own_sensor_saw() -> None:
    """Each point of the views is found again in the cloud; far away, as in a map."""
    near = room(0)
    shift = torch.tensor([300.0, -200.0, 0.0])
    far = replace(near, cloud=PointCloud(near.cloud.xyz + shift, *_rest(near.cloud)))
    settings = replace(FRAME["dos"], views=replace(SETTINGS.views, jitter_m=0.0))
    sample = recorded(far)
    truth = seen_from(sample.cloud.xyz, sample.viewpoint)
    assert 0.05 < float(truth.float().mean()) < 0.95
    middle = sample.cloud.xyz.double().mean(dim=0).round().float()
    for view in DrawViews(settings)(sample, seeded()).large:
        assert view.seen is not None
        back = view.original(view.cloud.xyz) + middle
        distance, row = torch.cdist(back.double(), sample.cloud.xyz.double()).min(dim=1)
        assert float(distance.max()) < 0.001
        sure = _alone(sample.cloud.xyz[row], sample.cloud.xyz, truth[row], truth)
        assert torch.equal(view.seen[sure], truth[row][sure])
        assert int(sure.sum()) > 0.9 * len(sure)


def _rest(cloud: PointCloud) -> tuple[Tensor, Tensor]:
    return cloud.features, cloud.scene


def _alone(xyz: Tensor, others: Tensor, is_seen: Tensor, are_seen: Tensor) -> Tensor:
    """Points within a millimetre of which nothing lies that is seen otherwise."""
    differs = is_seen[:, None] != are_seen
    return ~((torch.cdist(xyz.double(), others.double()) < 0.001) & differs).any(dim=1)


def test_a_camera_is_drawn_where_nobody_knows_one() -> None:
    xyz = room(0).cloud.xyz
    shares, floor = [], float(xyz[:, 2].quantile(0.01))
    for seed in range(20):
        camera = drawn_camera(xyz, seeded(seed))
        turn, place = camera.cloud_from_camera[:3, :3], camera.cloud_from_camera[:3, 3]
        torch.testing.assert_close(turn.T @ turn, torch.eye(3).double())
        assert float(torch.linalg.det(turn)) == pytest.approx(1.0)
        assert float(turn[2, 0]) == pytest.approx(0.0)  # level
        assert float(turn[2, 1]) < 0.0  # the image is not upside down
        assert 0.2 < float(place[2]) - floor < 1.75
        seen = seen_by_one(xyz, None, seeded(seed))
        shares.append(float(seen.float().mean()))
        assert torch.equal(seen, seen_by_one(xyz, None, seeded(seed)))
    assert min(shares) > 0.05
    assert max(shares) < 0.9
    assert len(set(shares)) > 15


def test_crops_are_around_what_is_seen() -> None:
    cloud = room(0).cloud
    seen = torch.zeros(len(cloud), dtype=torch.bool)
    seen[:5] = True
    settings = replace(
        SETTINGS.views, augment=replace(SETTINGS.views.augment, keep_fraction=(1, 1))
    )
    for seed in range(5):
        for view in two_views(cloud, replace(settings, fraction=(0.1, 0.2)), seeded(seed), seen):
            assert view.seen is not None
            assert bool(view.seen.any())


@pytest.mark.parametrize("method", FRAME)
@pytest.mark.parametrize("num", [0, 1, 2])
def test_next_to_nothing_is_no_trouble(method: str, num: int) -> None:
    settings = FRAME[method]
    tiny = [replace(room(k), cloud=room(k).cloud[:num]) for k in range(2)]
    each = [DrawViews(settings)(sample, seeded()) for sample in tiny]
    found = model_of(settings).found(each, 0, Sums(), CPU)
    assert bool(torch.isfinite(found.total))


@pytest.mark.parametrize("method", FRAME)
def test_a_cloud_of_which_nothing_is_seen_is_no_trouble(method: str) -> None:
    settings = FRAME[method]
    away = recorded(room(0), (5.0, 6.0, 5.0, 6.0))
    each = [DrawViews(settings)(sample, seeded()) for sample in (away, room(1))]
    assert not each[0].large[0].seen.any()  # type: ignore[union-attr]
    found = model_of(settings).found(each, 0, Sums(), CPU)
    assert bool(torch.isfinite(found.total))


@pytest.mark.parametrize("method", FRAME)
def test_a_run_goes_on_exactly(method: str, tmp_path: Path) -> None:
    settings = FRAME[method]
    clouds = Clouds([recorded(CLOUDS[0]), *CLOUDS[1:]])
    whole = pretrained(tmp_path / "whole.safetensors", settings, clouds)
    parts = tmp_path / "parts.safetensors"

    often = replace(settings, steps=replace(settings.steps, checkpoint_minutes=0.0))

    def stopped(progress: Any) -> None:
        if progress.step == 2:
            raise OSError("the power is gone")

    with pytest.raises(Exception, match="the power is gone"):
        pretrained(parts, often, clouds, on_step=stopped)
    pretrained(parts, settings, clouds, resume=True)
    for name, tensor in stored_tensors(whole).items():
        assert torch.equal(tensor, stored_tensors(parts)[name]), name
