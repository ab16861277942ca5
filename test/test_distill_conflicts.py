"""Whether imitating a teacher goes against the labels: by hand, by autograd, by command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from camera_cases import CLASSES, SMALL, Toys, config, save_teacher, scene
from cli_harness import assert_one_line_error, sr3d
from torch import Tensor

from sr3d_core.data.sources import Scenes
from sr3d_core.distill.conflicts import Conflicts, measure_conflicts
from sr3d_core.distill.learner import CameraLearner, TaughtObject
from sr3d_core.distill.objects import objects_of
from sr3d_core.distill.teachers import taught_by_images
from sr3d_core.distill.terms import rows_of
from sr3d_core.model.network import decoded
from sr3d_core.structures import Batch
from sr3d_core.supervision.distill.conflict import agreement, conflicts_by_need
from sr3d_core.train import train
from sr3d_core.training.processes import Processes


def test_the_agreement_of_two_gradients_by_hand() -> None:
    """Rows 0 and 1 are of the first object: (1, 0, 2, 0) and (1, 5, -1, 0) give -1 / sqrt(135).

    Row 2 is of the second, where both point alike; the third has no row, the fourth one without a
    gradient."""
    first = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    second = torch.tensor([[1.0, 5.0], [-1.0, 0.0], [0.0, 0.5], [1.0, 1.0]])
    is_inside = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]).bool()
    found = agreement(first, second, is_inside)
    expected = torch.tensor([-1 / math.sqrt(5 * 27), 1.0, math.nan, math.nan])
    torch.testing.assert_close(found, expected.double(), equal_nan=True)
    assert agreement(first, second, is_inside[:, :0]).shape == (0,)
    assert bool(agreement(first[:0], second[:0], is_inside[:0]).isnan().all())


def test_shares_of_conflicts_by_need_by_hand() -> None:
    need = np.array([0.0, 0.0, 0.25, 0.3, 0.5, 1.0, 1.0])
    cosine = np.array([-0.5, 0.1, -0.1, -0.2, -0.9, 0.4, math.nan])
    buckets = conflicts_by_need(need, cosine, np.arange(7))
    assert [(each.low, each.high) for each in buckets] == [
        (0.0, 0.0),
        (0.0, 0.25),
        (0.25, 0.5),
        (0.5, 0.75),
        (0.75, 1.0),
    ]
    assert [(each.num, each.num_conflicts) for each in buckets] == [
        (2, 1),
        (1, 1),
        (2, 2),
        (0, 0),
        (1, 0),
    ]
    assert buckets[0].share == 0.5
    assert buckets[0].interval == (0.0, 1.0)
    assert buckets[2].interval == (1.0, 1.0)
    assert math.isnan(buckets[3].share)
    nothing = conflicts_by_need(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    assert [each.num for each in nothing] == [0] * 5


def test_objects_of_one_scene_do_not_make_a_share_sure() -> None:
    """Forty objects of two scenes, all in conflict in one and none in the other."""
    scene_of = np.repeat([3, 9], 20)
    (bucket, *_) = conflicts_by_need(np.zeros(40), np.where(scene_of == 3, -1.0, 1.0), scene_of)
    assert (bucket.share, bucket.interval) == (0.5, (0.0, 1.0))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the toys that was taught for a few steps."""
    folder = tmp_path_factory.mktemp("conflicts")
    teacher = save_teacher(folder / "teacher.safetensors")
    train(config(teacher, Toys()), folder / "run", learner=CameraLearner)
    return folder / "run"


def learner_of(run: Path) -> CameraLearner:
    accelerator = Accelerator()
    asked = config(run.parent / "teacher.safetensors", Toys())
    return CameraLearner(asked, CLASSES, accelerator, Processes(0, 1, accelerator.device))


def test_what_is_told_of_objects_is_what_a_step_does(run: Path) -> None:
    """Where the voxels of one object make a small step that the labels ask for, imitation becomes
    worse by as much as the cosine says: measured by moving them."""
    learner = learner_of(run)
    learner.student.sees_depth = True  # so that both have voxels on objects
    batch = Batch.collate([scene(3)])
    told = learner.objects(batch)
    assert [each.label for each in told] == ["chair", "table"]
    assert all(0 <= each.need <= 1 and each.std_m > 0 for each in told)

    student, lifted, moved = learner.student, learner.student._lifted, [torch.zeros(())]

    def with_a_step(*arguments: Any) -> Any:
        found = lifted(*arguments)
        return found.replaced(found.features + moved[0])

    student._lifted = with_a_step  # type: ignore[method-assign]
    said = learner._teacher(batch)

    def look() -> tuple[Tensor, Tensor, Any, Any]:
        assert batch.images is not None
        output = student.raw(batch.images)
        own = decoded(output.levels, SMALL, is_training=True)
        found = learner._teacher.detections(said, 1)
        objects = objects_of(output, batch.targets, found, "quality")
        part = taught_by_images(output)
        imitation = learner.network.distillation.features_of_all(part, said, objects)
        return learner._boxes_of(own, batch, None).total, imitation, output, objects

    boxes, imitation, output, objects = look()
    asked, imitated = (
        torch.autograd.grad(term, output.lifted.features, retain_graph=True)[0]
        for term in (boxes, imitation)
    )
    _, is_inside = rows_of(output.lifted, objects, SMALL.voxel_size_m)
    for index, each in enumerate(told):
        inside = is_inside[:, index : index + 1]
        way = asked * inside / (asked * inside).norm()
        ends = []
        for step in (0.01, -0.01):
            moved[0] = step * way
            with torch.no_grad():
                ends.append(float(look()[1]))
        slope = (ends[0] - ends[1]) / 0.02
        cosine = slope / float((imitated * inside).norm())
        assert cosine == pytest.approx(each.cosine, rel=0.05, abs=0.005)  # sums are float32


def test_measuring_changes_nothing_of_the_student(run: Path) -> None:
    learner = learner_of(run)
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    learner.objects(Batch.collate([scene(0)]))
    for name, tensor in learner.network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert learner.objects(Batch.collate([scene(0, num_boxes=0)])) == []


def test_a_run_is_measured_as_it_learnt_last(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = run.parent / "teacher.safetensors"
    monkeypatch.setattr(
        "sr3d_core.distill.conflicts.load_camera_config", lambda path: config(teacher, Toys())
    )
    scenes: Scenes = Toys()  # type: ignore[assignment]
    found = measure_conflicts(run, scenes)
    assert (found.step, found.preset, found.num_images) == (4, "monostl", 6)
    assert len(found.objects) == 10
    assert found.reference_m > 0
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert sum(each["objects"] for each in content["buckets"]) == sum(
        each["cosine"] is not None for each in content["objects"]
    )
    learner = learner_of(run)
    assert learner.objects(Batch.collate([scene(0)])) != [each for _, each in found.objects[:2]]


def test_what_tells_nothing_is_refused(run: Path, tmp_path: Path) -> None:
    assert_one_line_error(sr3d("model", "conflicts", tmp_path), "config.yaml", "sr3d distill")
    (tmp_path / "state.pt").touch()
    (tmp_path / "config.yaml").write_text("distill: {preset: none}\n")
    assert_one_line_error(sr3d("model", "conflicts", tmp_path), "preset")


def test_the_picture_is_drawn_also_of_no_objects() -> None:
    pytest.importorskip("matplotlib")
    from sr3d_core.plots import conflict_plot

    none = Conflicts(1, "monostl", 0.1, 0, ())
    one = replace(none, objects=((0, TaughtObject("chair", 0.2, 0.4, 1.0, -0.5)),))
    for each in (none, one):
        assert conflict_plot(each.buckets)[:4] == b"\x89PNG"
