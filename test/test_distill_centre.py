"""A student says how far away the middle of an object is, and how sure it is of that."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from camera_cases import CAMERA, CLASSES, SMALL, Toys, config, save_teacher, scene
from torch import Tensor, nn

from sr3d_core.checkpoint import load_any
from sr3d_core.config import ConfigError
from sr3d_core.distill.centre import CentreDepth
from sr3d_core.distill.learner import CameraLearner
from sr3d_core.distill.objects import Objects, depth_std_of
from sr3d_core.distill.settings import parse_camera_config
from sr3d_core.model.camera_network import CameraOutput, CameraSR3D
from sr3d_core.structures import Batch, Boxes3D, Sample
from sr3d_core.train import train
from sr3d_core.training.processes import Processes

EXAMPLES = json.loads((Path(__file__).parent / "camera_examples.json").read_text())["examples"]
CENTRE: dict[str, Any] = {"uncertainty": {"source": "centre"}}


def looked(sample: Sample, is_training: bool = True) -> tuple[CameraOutput, Objects]:
    """What a student makes of a scene, and its objects."""
    torch.manual_seed(0)
    student = CameraSR3D(SMALL, CAMERA).train(is_training)
    batch = Batch.collate([sample])
    assert batch.images is not None
    output = student.raw(batch.images)
    return output, objects_of_boxes(output, sample.targets.boxes)


def objects_of_boxes(output: CameraOutput, boxes: Boxes3D) -> Objects:
    none = torch.zeros(len(boxes))
    std_m = depth_std_of(output, boxes, none.long())
    return Objects(boxes, none.long(), none.long(), std_m, none)


def centre_depth() -> CentreDepth:
    torch.manual_seed(1)
    return CentreDepth(CAMERA)


class Says(nn.Module):
    """Of every cell the same number, of some others."""

    def __init__(self, cells: dict[tuple[int, int], tuple[float, float]]) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        said = x.new_full((len(x), 2, *x.shape[-2:]), 5.0)
        for (row, column), pair in self.cells.items():
            said[:, :, row, column] = x.new_tensor(pair)
        return said


def test_the_term_and_the_deviations_are_those_of_the_worked_example() -> None:
    """Three boxes whose middles are in the middle of the cells 1, 3 and 5 of the third row."""
    inputs, expected = (EXAMPLES["laplace_depth_loss"][key] for key in ("inputs", "expected"))
    rows, said = [], {}
    scale = 56.0 / CAMERA.depth.canonical_focal_px
    usual_m = scale * math.sqrt(CAMERA.depth.near_m * CAMERA.depth.far_m)
    both = zip(inputs["depth_gt_m"], inputs["depth_pred_m"], inputs["log_std"], strict=True)
    for index, (truth, told, log_std) in enumerate(both):
        u, v = 8 * (2 * index + 1) + 3.5, 19.5
        rows.append([truth, (31.5 - u) / 56 * truth, 1 + (23.5 - v) / 56 * truth, 0.1, 0.1, 0.1])
        said[2, 2 * index + 1] = (math.log(told / usual_m), log_std - math.log(scale))
    output, _ = looked(scene(0))
    own = centre_depth()
    own.branch = Says(said)  # type: ignore[assignment]
    std_m, term = own(output, objects_of_boxes(output, Boxes3D.from_array(torch.tensor(rows))))
    assert float(term) == pytest.approx(expected["mean"], abs=1e-5)
    torch.testing.assert_close(std_m, torch.tensor(expected["std_m"]), rtol=1e-5, atol=0)


def test_it_learns_where_objects_are_and_how_sure_it_can_be() -> None:
    output, objects = looked(scene(0))
    own = centre_depth()
    output = replace(output, cells=output.cells.detach())
    optimizer = torch.optim.Adam(own.parameters(), lr=0.02)
    first, term = own(output, objects)
    before = float(term.detach())
    for _ in range(300):
        optimizer.zero_grad()
        own(output, objects)[1].backward()
        optimizer.step()
    last, term = own(output, objects)
    assert float(term.detach()) < before - 1
    assert bool((last < 0.5 * first).all())


def test_the_image_network_learns_from_the_term_and_not_from_the_deviations() -> None:
    torch.manual_seed(0)
    student = CameraSR3D(SMALL, CAMERA).train()
    images = scene(0).images
    assert images is not None
    output = student.raw(images)
    std_m, term = centre_depth()(output, objects_of_boxes(output, scene(0).targets.boxes))
    assert not std_m.requires_grad
    term.backward()
    assert any(bool((p.grad != 0).any()) for p in student.image.parameters() if p.grad is not None)
    assert all(p.grad is None for p in student.depth.parameters())


def test_what_is_not_in_the_image_has_the_deviation_of_its_pixels() -> None:
    sample = scene(0)
    output, objects = looked(sample)
    own = centre_depth()
    moved = torch.tensor([[0.0, 0.0, 0.0], [0.0, -5.0, 0.0]])
    boxes = sample.targets.boxes
    beside = replace(objects, boxes=Boxes3D(boxes.center + moved, boxes.size, boxes.yaw))
    behind = replace(objects, boxes=Boxes3D(boxes.center * -1, boxes.size, boxes.yaw))
    std_m, _ = own(output, beside)
    assert float(std_m[1]) == float(objects.std_m[1])
    assert float(std_m[0]) != float(objects.std_m[0])
    std_m, term = own(output, behind)
    assert bool((std_m == objects.std_m).all())
    assert float(term.detach()) == 0.0


def test_without_boxes_the_term_is_a_finite_zero() -> None:
    output, objects = looked(scene(0, num_boxes=0))
    own = centre_depth()
    std_m, term = own(output, objects)
    term.backward()
    assert (len(std_m), float(term.detach())) == (0, 0.0)
    assert all(bool(p.grad.isfinite().all()) for p in own.parameters() if p.grad is not None)


def test_where_no_depth_is_known_it_still_says_something() -> None:
    output, objects = looked(scene(0))
    output = replace(output, images=replace(output.images, depth=None))
    unseen = objects_of_boxes(output, objects.boxes)
    assert bool(unseen.std_m.isnan().all())
    std_m, term = centre_depth()(output, unseen)
    assert bool((std_m > 0).all())
    assert bool(term.isfinite())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_teacher(tmp_path_factory.mktemp("teacher") / "weights.safetensors")


def test_what_is_in_need_is_what_its_centre_says(teacher: Path) -> None:
    device = Accelerator().device
    learner = CameraLearner(
        config(teacher, Toys(), distill=CENTRE), CLASSES, Accelerator(), Processes(0, 1, device)
    )
    sure = learner.network.centre.branch[-1]
    nn.init.zeros_(sure.weight)
    needs = {}
    with torch.no_grad():
        learner.network.distillation.reference_m.fill_(0.1)
        for log_std in (-3.0, 3.0):
            sure.bias.copy_(torch.tensor([0.0, log_std]))
            told = learner.objects(Batch.collate([scene(0)]).to(device))
            needs[log_std] = [each.need for each in told]
            for each in told:
                assert each.std_m == pytest.approx(56 / 280 * math.exp(log_std), rel=1e-4)
    assert needs[-3.0] == [0.0, 0.0]
    assert min(needs[3.0]) > 0.9


def test_a_student_that_learnt_with_it_is_like_any_other(teacher: Path, tmp_path: Path) -> None:
    """Its file has the same tensors, and one that was trained without it goes on with it."""
    train(config(teacher, Toys()), tmp_path / "plain", learner=CameraLearner)
    before = str(tmp_path / "plain")
    asked = config(teacher, Toys(), distill=CENTRE, student={"weights": before})
    train(asked, tmp_path / "centre", learner=CameraLearner)
    plain, own = (load_any(tmp_path / name)[0].state_dict() for name in ("plain", "centre"))
    assert {name: each.shape for name, each in plain.items()} == {
        name: each.shape for name, each in own.items()
    }
    heads = [
        (tmp_path / name / "log.csv").read_text().splitlines() for name in ("plain", "centre")
    ]
    assert "centre" not in heads[0][0].split(",")
    assert "centre" in heads[1][0].split(",")
    with pytest.raises(ConfigError, match=r"distill.uncertainty.source"):
        parse_camera_config({"distill": {"uncertainty": {"source": "center"}}})
