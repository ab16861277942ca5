"""The published MonoSTL: two networks of images are compared cell by cell."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from camera_cases import CAMERA, CLASSES, SMALL, Toys, config, save_depth_teacher, scene
from cli_harness import assert_one_line_error, sr3d
from torch import Tensor

from sr3d_core.checkpoint import load_any
from sr3d_core.config import ConfigError
from sr3d_core.distill.cells import CellTerms, cells_in, pooled, shown_of
from sr3d_core.distill.learner import CameraLearner
from sr3d_core.distill.objects import Objects, depth_std_of, objects_of
from sr3d_core.distill.settings import parse_camera_config
from sr3d_core.distill.teachers import taught_by_images
from sr3d_core.model.camera_network import CameraOutput, CameraSR3D
from sr3d_core.model.network import decoded
from sr3d_core.structures import Batch, Boxes3D, Images, Sample
from sr3d_core.train import train
from sr3d_core.training.errors import TrainingError
from sr3d_core.training.processes import ALONE, Processes

LITERAL: dict[str, Any] = {
    "distill": {"preset": "monostl_literal"},
    "teacher": {"kind": "depth_image"},
}


def images_of(samples: Sequence[Sample]) -> Images:
    images = Batch.collate(samples).images
    assert images is not None
    return images


def network(seed: int, looks_at: str = "rgb") -> CameraSR3D:
    torch.manual_seed(seed)
    camera = replace(CAMERA, input=looks_at)  # type: ignore[arg-type]
    return CameraSR3D(SMALL, camera)


def looked(
    samples: Sequence[Sample], student: CameraSR3D, std_m: float | None = None
) -> tuple[CameraOutput, CameraOutput, Objects]:
    """What a student and a teacher of depth make of scenes, and their objects."""
    batch = Batch.collate(samples)
    images = images_of(samples)
    output = student.raw(images)
    with torch.no_grad():
        said = network(7, "depth").eval().raw(images)
    nothing = [each[:0] for each in batch.targets]
    found: Any = [_Found(each) for each in nothing]
    objects = objects_of(output, batch.targets, found, "quality")
    if std_m is not None:
        objects = replace(objects, std_m=torch.full_like(objects.std_m, std_m))
    return output, said, objects


class _Found:
    """Of a teacher that finds nothing."""

    def __init__(self, nothing: Any) -> None:
        self.boxes, self.labels = nothing.boxes, nothing.labels

    def __len__(self) -> int:
        return 0


def terms(student: CameraSR3D, adapter: bool = False, processes: Processes = ALONE) -> CellTerms:
    torch.manual_seed(3)
    widths = student.image.widths
    return CellTerms(widths, widths, adapter, processes)


def test_a_box_fills_the_cells_that_show_it() -> None:
    """The toys' front faces begin and end at whole pixels; back faces are 20 cm farther away."""
    sample = scene(0)
    scenes = torch.zeros(2, dtype=torch.int64)
    shown = shown_of(images_of([sample]), sample.targets.boxes, scenes)
    expected = torch.tensor([[8.0, 16.0, 28.0, 36.0], [36.0, 16.0, 56.0, 36.0]])
    far = sample.targets.boxes.center[:, 0] - 0.1
    nearer_the_middle = far / (far + 0.2)
    expected[0, 2] = 31.5 - 3.5 * nearer_the_middle[0]
    expected[1, 0] = 31.5 + 4.5 * nearer_the_middle[1]
    torch.testing.assert_close(shown.extent.float(), expected, rtol=0, atol=1e-3)
    assert shown.has_centre.tolist() == [True, True]
    assert cells_in(shown.extent, 8, (8, 6)).tolist() == [[1, 2, 4, 5], [4, 2, 8, 5]]
    assert cells_in(shown.extent, 32, (2, 2)).tolist() == [[0, 0, 1, 2], [1, 0, 2, 2]]


def test_boxes_behind_the_camera_or_beside_the_image_are_not_shown() -> None:
    images = images_of([scene(0)])
    rows = [[-2.0, 0, 1, 1, 1, 1], [2.0, 5, 1, 1, 1, 1], [0.5, 0, 1, 3, 1, 1]]
    boxes = Boxes3D.from_array(torch.tensor(rows))
    shown = shown_of(images, boxes, torch.zeros(3, dtype=torch.int64))
    assert shown.has_centre.tolist() == [False, False, True]
    assert shown.extent[2].tolist() == [-0.5, -0.5, 63.5, 47.5]  # the camera stands in it
    none = shown_of(images, boxes[:0], torch.zeros(0, dtype=torch.int64))
    assert cells_in(none.extent, 8, (8, 6)).shape == (0, 4)


def test_what_a_box_looks_like_is_read_where_it_is() -> None:
    """A map whose features are where their cells are."""
    u, v = torch.meshgrid(torch.arange(8) * 8.0 + 3.5, torch.arange(6) * 8.0 + 3.5, indexing="xy")
    other = torch.zeros(2, 6, 8)
    features = torch.stack([other, torch.stack([u, v])])
    extent = torch.tensor([[10.0, 12.0, 24.0, 40.0]])
    found = pooled(features, torch.tensor([1]), extent, 8).reshape(2, 7, 7)
    torch.testing.assert_close(found[0, 3], torch.arange(7.0) * 2 + 11)
    torch.testing.assert_close(found[1, :, 2], torch.arange(7.0) * 4 + 14)
    nothing = pooled(features, torch.zeros(0, dtype=torch.int64), extent[:0], 8)
    assert nothing.shape == (0, 98)


def test_of_two_that_are_alike_there_is_nothing_to_learn() -> None:
    student = network(1, "depth").eval()
    samples = [scene(0), scene(1)]
    output, _, objects = looked(samples, student)
    features, relations = terms(student)(output, output, objects, torch.ones(4))
    assert float(features.detach()) == 0.0
    assert float(relations.detach()) == 0.0
    _, said, _ = looked(samples, student)
    other = terms(student)(output, said, objects, torch.ones(4))
    assert all(float(each.detach()) > 0 for each in other)


def test_the_terms_are_those_of_the_cells_of_every_level() -> None:
    """Written out for one object, whose cells are known."""
    sample = scene(0, num_boxes=1)
    student = network(1).train()
    output, said, objects = looked([sample], student, 2.0)
    weights = torch.tensor([0.5])
    features, relations = terms(student)(output, said, objects, weights)
    expected = torch.zeros(())
    rows = [slice(2, 5), slice(1, 3), slice(0, 2)]
    columns = [slice(1, 4), slice(0, 2), slice(0, 1)]
    for own, other, y, x in zip(output.pyramid, said.pyramid, rows, columns, strict=True):
        difference = own[0, :, y, x] - other[0, :, y, x]
        expected = expected + 0.5 * 0.5 * difference.square().mean()
    torch.testing.assert_close(features, expected)
    std_m = depth_std_of(said, objects.boxes, objects.scene)
    assert float(std_m) > 0.1
    far = float(sample.targets.boxes.center[0, 0]) - 0.1
    extent = torch.tensor([[8.0, 16.0, 31.5 - 3.5 * far / (far + 0.2), 36.0]])
    product = torch.zeros(())
    for own, other, stride in zip(output.pyramid, said.pyramid, (8, 16, 32), strict=True):
        mine, theirs = (
            pooled(each, torch.tensor([0]), extent, stride).square().sum() for each in (own, other)
        )
        product = product + 0.5 * (mine - theirs).abs() / (2 * std_m[0].square())
    torch.testing.assert_close(relations, product, rtol=1e-4, atol=0)


@pytest.mark.parametrize("adapter", [False, True])
def test_the_image_network_learns_from_them(adapter: bool) -> None:
    for term in (0, 1):
        student = network(1).train()
        output, said, objects = looked([scene(0), scene(5, 0)], student)
        own = terms(student, adapter)
        own(output, said, objects, torch.ones(2))[term].backward()
        for stage in student.image.stages.stages:
            gradients = [p.grad for p in stage.parameters() if p.grad is not None]
            assert any(bool((each != 0).any()) for each in gradients)
        assert all(p.grad is None for p in student.depth.parameters())
        assert not adapter or any(p.grad is not None for p in own.parameters())


def test_without_objects_in_sight_they_are_finite_zeros() -> None:
    student = network(1).train()
    own = terms(student, adapter=True)
    unseen = replace(scene(0), images=images_of([scene(0, 0)]))  # boxes of which no cell shows one
    for sample in (scene(0, 0), unseen):
        output, said, objects = looked([sample], student)
        assert bool(objects.std_m.isnan().all())
        both = own(output, said, objects, torch.ones(len(objects.labels)))
        assert [float(each.detach()) for each in both] == [0.0, 0.0]
        sum(both).backward()  # type: ignore[union-attr]
    assert all(bool(p.grad.isfinite().all()) for p in student.parameters() if p.grad is not None)


def test_a_teacher_that_is_sure_of_a_bin_does_not_count_without_end() -> None:
    student = network(1).train()
    output, said, objects = looked([scene(0)], student)
    sure = torch.full_like(said.depth_logits, -1e4)
    sure[..., 30] = 1e4
    said = replace(said, depth_logits=sure)
    assert bool((depth_std_of(said, objects.boxes, objects.scene) == 0).all())
    _, relations = terms(student)(output, said, objects, torch.ones(2))
    assert bool(relations.isfinite())


class Threads(Processes):
    """Processes that are threads of this one, with what they need of each other."""

    def __init__(self, rank: int, shared: list[Any], barrier: threading.Barrier) -> None:
        super().__init__(rank, len(shared), torch.device("cpu"))
        object.__setattr__(self, "_shared", shared)
        object.__setattr__(self, "_barrier", barrier)

    def all_of(self, value: Any) -> list[Any]:
        self._shared[self.rank] = value  # type: ignore[attr-defined]
        self._barrier.wait(60)  # type: ignore[attr-defined]
        found = list(self._shared)  # type: ignore[attr-defined]
        self._barrier.wait(60)  # type: ignore[attr-defined]
        return found

    def total(self, number: int) -> int:
        return sum(self.all_of(number))


def test_the_shares_of_several_processes_are_the_step_of_one() -> None:
    samples = [scene(0), scene(1), scene(2, 1), scene(3, 0)]

    def gradient(student: CameraSR3D) -> Tensor:
        grads = [p.grad for p in student.image.stages.parameters() if p.grad is not None]
        return torch.cat([each.flatten() for each in grads])

    def looking(share: Sequence[Sample]) -> tuple[CameraSR3D, Any]:
        student = network(1).eval()  # batch norms are another test's
        return student, looked(share, student)

    def learnt(
        student: CameraSR3D, seen: tuple[CameraOutput, CameraOutput, Objects], own: Processes
    ) -> tuple[Tensor, Tensor]:
        weights = torch.where(seen[2].labels == 0, 0.3, 0.9)
        both = terms(student, processes=own)(*seen, weights)
        sum(both).backward()  # type: ignore[union-attr]
        return torch.stack([each.detach() for each in both]), gradient(student)

    whole = learnt(*looking(samples), ALONE)
    shares = [looking(samples[:1]), looking(samples[1:])]
    shared, barrier = [None, None], threading.Barrier(2)
    parts: list[Any] = [None, None]

    def run(rank: int) -> None:
        parts[rank] = learnt(*shares[rank], Threads(rank, shared, barrier))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (0, 1)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    for own, all_parts in zip(whole, zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(sum(all_parts), own, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a network of depth that has learnt nothing."""
    return save_depth_teacher(tmp_path_factory.mktemp("depth") / "weights.safetensors")


def test_a_student_learns_from_the_cells_of_a_teacher_of_depth(
    teacher: Path, tmp_path: Path
) -> None:
    asked = config(teacher, Toys(), **LITERAL)
    assert asked.compares_cells
    train(asked, tmp_path, learner=CameraLearner)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    last = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert float(last["relations"]) > 0
    student, manifest = load_any(tmp_path)
    assert manifest.camera == CAMERA
    assert set(student.state_dict()) == set(network(1).state_dict())
    assert_one_line_error(sr3d("model", "conflicts", tmp_path), "cells of images", "preset")


def test_in_metres_no_cell_of_a_well_known_object_is_learnt(teacher: Path) -> None:
    """As on voxels: exactly nothing below a metre, though the teacher says something else."""
    device = Accelerator().device
    learner = CameraLearner(
        config(teacher, Toys(), **LITERAL), CLASSES, Accelerator(), Processes(0, 1, device)
    )
    batch = Batch.collate([scene(0)]).to(device)
    found = {}
    for std_m in (0.05, 0.99, 1.5):
        output, _, objects = looked([scene(0)], learner.student.train(), std_m)
        said = learner._teacher(batch)
        own = decoded(output.levels, SMALL, is_training=True)
        predictions = learner._teacher.predictions(said)
        asked = learner.network.distillation(
            taught_by_images(output), said, predictions, own, objects
        )
        found[std_m] = float(asked["features"].detach())
    assert found[0.05] == 0.0
    assert found[0.99] == 0.0
    assert found[1.5] > 0.0


def test_a_teacher_of_other_pixels_is_refused(teacher: Path, tmp_path: Path) -> None:
    other = {"camera": {"size": [96, 48], "channels": 8}}
    with pytest.raises(TrainingError, match=r"\(64, 48\) pixels.*\(96, 48\)"):
        train(config(teacher, Toys(), student=other, **LITERAL), tmp_path, learner=CameraLearner)


@pytest.mark.parametrize(
    ("distill", "name"),
    [
        ({"feature": {"levels": ["lift"]}}, "feature.levels"),
        ({"feature": {"reduction": "objects"}}, "feature.reduction"),
        ({"relation": {"grid": 3}}, "relation.grid"),
    ],
)
def test_what_is_of_voxels_is_refused(distill: dict[str, Any], name: str) -> None:
    tree = {**LITERAL, "distill": {"preset": "monostl_literal", **distill}}
    with pytest.raises(ConfigError, match=rf"distill.{name} set.*leave it out"):
        parse_camera_config(tree)
    parse_camera_config({"distill": tree["distill"]})
    parse_camera_config({**tree, "distill": {"preset": "both", **distill}})
