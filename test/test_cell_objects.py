"""What cells tell of the objects they show, and how they learn it."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from camera_cases import CAMERA, SMALL, Toys, config, save_teacher, scene
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sr3d_core.checkpoint import Manifest, load_any, save_checkpoint
from sr3d_core.distill.cell_objects import CellTruth, cell_objects_term, cell_truth
from sr3d_core.distill.learner import CameraLearner
from sr3d_core.distill.views import mirrored, told_tilted, turned
from sr3d_core.model.camera_network import CameraSR3D, CellOutput, cell_depth, cell_points
from sr3d_core.model.cell_objects import CellObjects, axes, num_told
from sr3d_core.structures import Boxes3D, Images, Sample, Targets
from sr3d_core.train import train

NUM = 2  # classes


def images_of(sample: Sample) -> Images:
    assert sample.images is not None
    return sample.images


def truth_of(sample: Sample) -> CellTruth:
    return cell_truth(images_of(sample), sample.targets, NUM)


def output_of(sample: Sample) -> CellOutput:
    torch.manual_seed(0)
    return CameraSR3D(SMALL, CAMERA).eval().of_cells(images_of(sample))


def test_axes_turn_with_the_camera_and_stay_level_however_far_it_looks_down() -> None:
    images = images_of(scene(0))  # looks along +x
    torch.testing.assert_close(axes(images)[0], torch.eye(3))
    down = told_tilted(images, 0.0, 1.2)  # about y: from ahead to down
    torch.testing.assert_close(axes(down)[0], torch.eye(3), rtol=0, atol=1e-6)
    left = axes(turned(images, math.pi / 2))[0]  # looks along +y: left is -x
    expected = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(left, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(axes(mirrored(images))[0], torch.eye(3))


def test_the_truth_of_cells_is_what_their_pixels_show() -> None:
    """The toy scene paints its first class red and its second green, on a wall of neither."""
    sample = scene(0)
    truth = truth_of(sample)
    middle = images_of(sample).pixels[0, :, 4::8, 4::8].flatten(1)
    painted = torch.where(middle[0] > 0.8, 0, torch.where(middle[1] > 0.8, 1, NUM))
    assert torch.equal(truth.label, painted)
    assert {0, 1, NUM} == set(painted.tolist())
    assert bool(truth.is_known.all())
    assert torch.equal(truth.is_on, painted < NUM)
    for label in (0, 1):  # the camera looks along +x: ahead, left and up are x, y and z
        there = cell_points(images_of(sample)).reshape(-1, 3)[painted == label]
        center, size = sample.targets.boxes.center[label], sample.targets.boxes.size[label]
        found = there.float() + truth.middle_m[painted == label]
        torch.testing.assert_close(found, center.expand_as(found), rtol=0, atol=1e-4)
        longest = torch.stack([size[:2].max(), size[:2].min(), size[2]])
        sizes = truth.log_size[painted == label].exp()
        torch.testing.assert_close(sizes, longest.expand_as(sizes))


def test_the_smallest_of_several_objects_at_one_place_counts() -> None:
    sample = scene(0)
    rows = sample.targets.boxes.array
    around = torch.cat([rows[:1, :3], 1.5 * rows[:1, 3:6], rows[:1, 6:]], dim=1)
    boxes = Boxes3D.from_array(torch.cat([around, rows]))
    labels = torch.tensor([1, *sample.targets.labels.tolist()])
    both = replace(sample, targets=Targets(boxes, labels))
    assert torch.equal(truth_of(both).label, truth_of(sample).label)


def test_what_is_ignored_or_has_no_depth_is_not_known() -> None:
    sample = scene(0)
    known = truth_of(sample)
    partly = replace(sample.targets[1:], ignored=sample.targets[:1])
    found = cell_truth(images_of(sample), partly, NUM)
    assert torch.equal(found.is_known, known.label != 0)
    assert not bool(found.is_on[known.label == 0].any())
    both = replace(sample.targets, ignored=sample.targets[:1])  # a label counts more
    assert bool(cell_truth(images_of(sample), both, NUM).is_known.all())
    blind = replace(images_of(sample), depth=torch.zeros(1, 48, 64))
    found = cell_truth(blind, sample.targets, NUM)
    assert not bool(found.is_known.any() | found.is_on.any())


def test_a_scene_without_objects_shows_none() -> None:
    truth = truth_of(scene(0, num_boxes=0))
    assert set(truth.label.tolist()) == {NUM}
    assert bool(truth.is_known.all())
    assert not bool(truth.is_on.any())
    assert bool(truth.middle_m.isfinite().all() & truth.log_size.isfinite().all())


def told_truly(sample: Sample, output: CellOutput) -> CellOutput:
    """An output that tells the truth."""
    truth, shape = truth_of(sample), cell_depth(output.images).shape
    logits = 100.0 * torch.nn.functional.one_hot(truth.label, NUM + 1).float()
    rows = (logits, truth.middle_m, truth.log_size)
    return replace(output, objects=CellObjects(*(each.reshape(*shape, -1) for each in rows)))


def test_who_tells_the_truth_has_nothing_to_learn() -> None:
    sample = scene(0)
    output = output_of(sample)
    assert float(cell_objects_term(output, [sample.targets]).detach()) > 0.5
    told = told_truly(sample, output)
    assert float(cell_objects_term(told, [sample.targets])) == pytest.approx(0.0, abs=1e-5)
    assert told.objects is not None
    off = replace(told.objects, middle_m=told.objects.middle_m + torch.tensor([0.5, 0.0, -0.25]))
    term = cell_objects_term(replace(told, objects=off), [sample.targets])
    assert float(term) == pytest.approx(0.75, abs=1e-4)  # metres, over cells on objects alone


def test_scenes_that_nobody_labelled_teach_nothing_of_objects() -> None:
    first, second = scene(0), scene(1)
    images = Images.cat([images_of(first), images_of(second)])
    torch.manual_seed(0)
    network = CameraSR3D(SMALL, CAMERA).eval()
    both = network.of_cells(images)
    nothing = Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64))
    found = cell_objects_term(both, [first.targets, nothing], unlabelled=(1,))
    alone = cell_objects_term(network.of_cells(images_of(first)), [first.targets])
    torch.testing.assert_close(found, alone)
    none = cell_objects_term(both, [nothing, nothing], unlabelled=(0, 1))
    assert float(none.detach()) == 0.0
    none.backward()


def test_what_cells_tell_is_learnt_and_reaches_the_voxels() -> None:
    torch.manual_seed(0)
    sample = scene(0)
    network = CameraSR3D(SMALL, CAMERA).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    lacking = list[float]()
    for _ in range(120):
        optimizer.zero_grad()
        term = cell_objects_term(network.of_cells(images_of(sample)), [sample.targets])
        term.backward()
        optimizer.step()
        lacking.append(float(term.detach()))
    assert lacking[-1] < 0.4 * lacking[0]
    network.zero_grad()
    network.raw(images_of(sample)).lifted.features.sum().backward()
    assert network.objects is not None
    assert all(float(each.grad.abs().sum()) > 0 for each in network.objects[-1].parameters())


def test_the_middle_reaches_the_voxels_along_the_axes_of_the_world() -> None:
    images = turned(images_of(scene(0)), math.pi / 2)  # looks along +y
    objects = CellObjects(
        torch.zeros(1, 6, 8, 3), torch.zeros(1, 6, 8, 3), torch.zeros(1, 6, 8, 3)
    )
    ahead = replace(objects, middle_m=torch.tensor([2.0, 0.0, 0.5]).expand(1, 6, 8, 3))
    told = ahead.told(images)
    assert told.shape == (1, num_told(NUM), 6, 8)
    torch.testing.assert_close(told[0, :, 0, 0], Tensor([1 / 3] * 3 + [0, 2, 0.5] + [0] * 3))


def test_the_first_steps_teach_what_cells_show(tmp_path: Path) -> None:
    teacher = save_teacher(tmp_path / "teacher.safetensors")
    asked = config(teacher, Toys(), depth={"first_steps": 2}, distill={"preset": "none"})
    train(asked, tmp_path / "run", learner=CameraLearner)
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    assert all(float(row["cell_objects"]) > 0 for row in rows)


def test_a_student_of_before_tells_no_objects(tmp_path: Path) -> None:
    """Its file says nothing of `by_height` and `cell_objects`, and loads as it was."""
    earlier = replace(CAMERA, by_height=False, cell_objects=False)
    torch.manual_seed(0)
    network = CameraSR3D(SMALL, earlier).eval()
    path = tmp_path / "weights.safetensors"
    manifest = Manifest(architecture=SMALL, classes=("chair", "table"), camera=earlier)
    save_checkpoint(path, network, manifest)
    _without(path, "by_height", "cell_objects")
    loaded, found = load_any(path)
    assert found.camera == earlier
    assert isinstance(loaded, CameraSR3D)
    seen = images_of(scene(0))
    assert loaded.of_cells(seen).objects is None
    torch.testing.assert_close(loaded.raw(seen).lifted.features, network.raw(seen).lifted.features)


def _without(path: Path, *keys: str) -> None:
    """Take keys of `camera` out of a file's manifest."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header: dict[str, Any] = file.metadata()
    ((name, text),) = header.items()
    fields = json.loads(text)
    for key in keys:
        del fields["camera"][key]
    save_file(tensors, path, {name: json.dumps(fields)})
