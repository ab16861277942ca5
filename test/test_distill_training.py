"""A camera student learns from a teacher: the terms of a step, the loop, exact resume."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from camera_cases import (
    CAMERA,
    SMALL,
    TAUGHT,
    Blind,
    Toys,
    config,
    save_teacher,
    scene,
    taught,
)
from camera_weights import save_student
from torch import Generator, Tensor

from sr3d_core.checkpoint import load_any, rewrite_manifest
from sr3d_core.cli.distill import for_a_new_student
from sr3d_core.config import ConfigError, Schedule
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.distill.crop import cropped
from sr3d_core.distill.learner import CameraLearner
from sr3d_core.distill.objects import Objects, objects_of
from sr3d_core.distill.settings import CameraConfig, parse_camera_config
from sr3d_core.distill.teachers import TeacherNetwork, taught_by_images
from sr3d_core.distill.term_settings import Preset
from sr3d_core.distill.terms import Distillation, depth_term, rows_of
from sr3d_core.distill.views import ChangeImages
from sr3d_core.geometry.camera import project
from sr3d_core.model.camera_network import CameraSR3D, cell_depth, cell_rays, fitted
from sr3d_core.model.chances import ClassCalibration
from sr3d_core.model.network import SR3D, decoded
from sr3d_core.sparse.tensor import SparseTensor, voxelize
from sr3d_core.structures import Batch, Boxes3D, PointCloud, Sample
from sr3d_core.train import train
from sr3d_core.training.errors import TrainingError
from sr3d_core.training.state import read_state, state_content
from sr3d_core.training.step_log import logged_figures


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_teacher(tmp_path_factory.mktemp("teacher") / "weights.safetensors")


def test_the_toy_scene_shows_its_boxes() -> None:
    sample = scene(0)
    assert sample.images is not None
    inside = (sample.cloud.xyz[:, 0] < 2.9).sum()
    assert int(inside) == 2 * 20 * 20


def corners_in_pixels(sample: Sample) -> Tensor:
    """Where the centres of boxes and the cloud's points are in the image."""
    images = sample.images
    assert images is not None
    xyz = torch.cat([sample.targets.boxes.center, sample.cloud.xyz[::97]]).double()
    to_camera = torch.linalg.inv(images.world_from_camera[0].double())
    seen = xyz @ to_camera[:3, :3].T + to_camera[:3, 3]
    pixels = seen @ images.intrinsics[0].double().T
    return pixels[:, :2] / pixels[:, 2:]


def test_changes_keep_image_and_scene_together() -> None:
    sample = scene(1)
    before = corners_in_pixels(sample)
    plain = {"tilt_rad": 0.0, "colors": 0.0, "zoom": 1.0}
    kept = ChangeImages(flip=0.0, **plain)(sample, Generator().manual_seed(0))
    torch.testing.assert_close(corners_in_pixels(kept), before, rtol=0, atol=1e-3)
    assert kept.images is not None
    assert sample.images is not None
    assert kept.images.pixels is sample.images.pixels or bool(
        (kept.images.pixels == sample.images.pixels).all()
    )
    assert not torch.allclose(kept.targets.boxes.center, sample.targets.boxes.center)
    mirrored = ChangeImages(flip=1.0, **plain)(sample, Generator().manual_seed(0))
    after = corners_in_pixels(mirrored)
    torch.testing.assert_close(after[:, 1], before[:, 1], rtol=0, atol=1e-3)
    torch.testing.assert_close(after[:, 0], 63 - before[:, 0], rtol=0, atol=1e-3)
    assert mirrored.images is not None
    assert mirrored.images.depth is not None
    assert sample.images.depth is not None
    turned_back = mirrored.images.depth.flip(-1)
    torch.testing.assert_close(turned_back, sample.images.depth, rtol=0, atol=0)
    assert torch.linalg.det(mirrored.images.world_from_camera[0, :3, :3]) > 0


def test_a_part_of_an_image_shows_the_same_world_through_a_longer_lens() -> None:
    sample = scene(1)
    part = cropped(sample, 1.5, (1.0, 0.5))  # columns 21 to 63, rows 8 to 39
    images = part.images
    assert images is not None
    assert images.depth is not None
    assert images.pixels.shape == (1, 3, 48, 64)
    pose, xyz = images.world_from_camera.double(), part.cloud.xyz.double()
    pixels, depth = project(xyz[None], images.intrinsics.double(), pose)
    assert len(part.cloud) == 43 * 32
    at = pixels[0].round().long()
    torch.testing.assert_close(images.depth[0, at[:, 1], at[:, 0]], depth[0].float())
    # Of the left box a third is left, of the right one all, which is as green as before
    assert part.targets.labels.tolist() == [1]
    assert part.targets.ignored is not None
    assert part.targets.ignored.labels.tolist() == [0]
    middle, _ = project(
        sample.targets.boxes.center[None, 1:], images.intrinsics, images.world_from_camera
    )
    u, v = middle[0, 0].round().long().tolist()
    torch.testing.assert_close(images.pixels[0, 1, v, u], torch.tensor(0.9))


def test_a_part_that_is_all_is_the_image_itself() -> None:
    sample = scene(0, num_boxes=0)
    assert cropped(sample, 1.0, (0.3, 0.7)) is sample
    part = cropped(sample, 4.0, (0.0, 0.0))
    assert len(part.targets) == 0
    assert part.targets.ignored is None
    nothing = replace(sample, cloud=sample.cloud[:0], targets=scene(0).targets)
    assert cropped(nothing, 1.5, (1.0, 0.5)).targets.labels.tolist() == [1]


def test_colors_and_the_told_gravity_change_and_stay_in_range() -> None:
    sample = scene(1)
    changed = ChangeImages(turn=False, flip=0.0, tilt_rad=0.02, colors=0.5)(
        sample, Generator().manual_seed(3)
    )
    assert changed.images is not None
    assert sample.images is not None
    assert 0 <= float(changed.images.pixels.min()) <= float(changed.images.pixels.max()) <= 1
    assert not torch.equal(changed.images.pixels, sample.images.pixels)
    up = changed.images.world_from_camera[0, :3, :3] @ sample.images.world_from_camera[0, :3, :3].T
    angle = math.acos(float(up[2, 2]))
    assert 0 < angle < 0.1
    place = changed.images.world_from_camera[0, :3, 3]
    torch.testing.assert_close(place, sample.images.world_from_camera[0, :3, 3])


def test_the_height_of_the_camera_is_not_always_told() -> None:
    """Robots seldom know it; a student must have learnt what to do then."""
    always, never, some = (
        [change(scene(0), Generator().manual_seed(seed)).images for seed in range(60)]
        for change in (
            ChangeImages(forget_height=0.0),
            ChangeImages(forget_height=1.0),
            ChangeImages(),
        )
    )
    assert all(each is not None and each.height is not None for each in always)
    assert all(each is not None and each.height is None for each in never)
    assert 5 <= sum(each is not None and each.height is None for each in some) <= 25


def test_an_image_whose_height_or_depth_is_unknown_takes_nothing_from_the_others() -> None:
    known, unknown = scene(0), scene(1)
    assert known.images is not None
    assert unknown.images is not None
    blind = replace(unknown, images=replace(unknown.images, depth=None, height=None))
    images = Batch.collate([blind, known]).images
    assert images is not None
    assert images.height is not None
    assert images.depth is not None
    assert images.height.isnan().tolist() == [True, False]
    assert not images.depth[0].any()
    assert known.images.depth is not None
    torch.testing.assert_close(images.depth[1:], known.images.depth, rtol=0, atol=0)
    alone = Batch.collate([blind]).images
    assert alone is not None
    assert alone.depth is None
    assert alone.height is None


def step(
    teacher: Path, samples: Sequence[Sample], preset: Preset = "monostl", has_adapter: bool = False
) -> tuple[CameraSR3D, TeacherNetwork, Distillation, dict[str, Tensor], Objects]:
    """The terms of one batch, on a student with the teacher's later stages."""
    settings = parse_camera_config(
        {"distill": {"preset": preset}, "teacher": {"weights": str(teacher)}}
    )
    torch.manual_seed(0)
    taught_by = TeacherNetwork(settings.teacher, torch.device("cpu"), "auto")
    student = CameraSR3D(SMALL, CAMERA)
    assert isinstance(taught_by.network, SR3D)
    student.start_from(taught_by.network)
    widths: Any = {"lift": (8, 8), "fine": (8, 8), "coarse": (8, 8)}
    distillation = Distillation(
        settings.distill, widths, SMALL.voxel_size_m, has_adapter=has_adapter
    )
    batch = Batch.collate(samples)
    assert batch.images is not None
    predictions, output = student.train().look(batch.images)
    said = taught_by(batch)
    found = taught_by.detections(said, len(samples))
    objects = objects_of(output, batch.targets, found, "quality")
    terms = distillation(
        taught_by_images(output),
        said,
        taught_by.predictions(said),
        predictions,
        objects,
    )
    depth = depth_term(output, batch.targets, settings.depth)
    return student, taught_by, distillation, {**terms, "depth": depth}, objects


def test_a_teacher_scores_its_boxes_as_its_detector_does(tmp_path: Path) -> None:
    """In chances, where it is calibrated: that is what `trust: score` believes."""
    path = save_teacher(tmp_path / "weights.safetensors")
    surer = ClassCalibration(scale=0.5, offset=2.0, num_boxes=9, num_right=1)
    rewrite_manifest(path, calibration={"chair": surer})
    settings = parse_camera_config({"teacher": {"weights": str(path)}}).teacher
    teacher, samples = TeacherNetwork(settings, torch.device("cpu"), "auto"), [scene(1), scene(2)]
    own = teacher.detections(teacher(Batch.collate(samples)), 2)
    rules = Postprocess(score_threshold=0.05)
    detector = Detector.from_checkpoint(path, device="cpu", postprocess=rules)
    for found, sample in zip(own, samples, strict=True):
        expected = detector(sample.cloud.xyz, None)
        assert len(expected) > 0
        assert torch.equal(found.labels, expected.labels)
        torch.testing.assert_close(found.scores, expected.scores)
        torch.testing.assert_close(found.boxes.array, expected.boxes.array, atol=1e-4, rtol=0)


def test_images_of_all_sizes_become_as_large_as_the_student_sees_them(teacher: Path) -> None:
    samples = [scene(1), scene(2)]
    assert samples[1].images is not None
    wide = replace(samples[1], images=fitted(samples[1].images, (96, 80)))
    change = config(teacher, Toys(), view={"zoom": 1.0}).changes
    changed = [change(each, Generator().manual_seed(0)) for each in (samples[0], wide)]
    images = Batch.collate(changed).images
    assert images is not None
    assert images.pixels.shape == (2, 3, 48, 64)
    torch.testing.assert_close(images.intrinsics[0], images.intrinsics[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("has_adapter", [False, True])
@pytest.mark.parametrize("preset", ["plain", "monostl", "monostl_literal", "both"])
def test_the_terms_of_a_step_teach_the_student_alone(
    teacher: Path, preset: Preset, has_adapter: bool
) -> None:
    before = load_any(teacher)[0].state_dict()
    student, taught_by, _, terms, objects = step(
        teacher, [scene(0), scene(5, 0)], preset, has_adapter
    )
    assert len(objects.labels) == 2
    assert bool((objects.std_m > 0.1).all())
    assert all(bool(term.isfinite()) for term in terms.values())
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert any(
        p.grad is not None and bool((p.grad != 0).any()) for p in student.image.parameters()
    )
    after = taught_by.network.state_dict()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=0)
    assert not any(p.requires_grad for p in taught_by.network.parameters())


@pytest.mark.parametrize("has_adapter", [False, True])
def test_features_like_the_teachers_are_perfect_unless_a_map_shows_them(
    teacher: Path, has_adapter: bool
) -> None:
    samples = [scene(0), scene(1)]
    _, _, distillation, _, objects = step(teacher, samples, "plain", has_adapter)
    _, said, predictions, _ = taught_of(teacher, samples)
    terms = distillation(said, said, predictions, predictions, objects)
    for name in ("features", "relations"):
        if has_adapter:
            assert float(terms[name].detach()) > 1e-3
        else:
            assert float(terms[name].detach()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("tree", "has_adapter"),
    [
        ({}, False),
        ({"student": {"from_teacher": False}}, True),
        ({"student": {"from_teacher": False}, "distill": {"feature": {"adapter": False}}}, False),
        ({"distill": {"feature": {"adapter": True}}}, True),
        ({"distill": {"preset": "monostl_literal"}}, False),
        ({"distill": {"preset": "monostl_literal"}, "teacher": {"kind": "depth_image"}}, True),
    ],
)
def test_features_pass_a_map_where_the_networks_do_not_begin_alike(
    tree: dict[str, Any], has_adapter: bool
) -> None:
    assert parse_camera_config(tree).has_adapter is has_adapter


@pytest.mark.parametrize("num_boxes", [0, 1])
def test_scenes_without_objects_have_finite_terms(teacher: Path, num_boxes: int) -> None:
    student, _, _, terms, _ = step(teacher, [scene(0, num_boxes)])
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert float(terms["relations"].detach()) == 0.0
    assert all(bool(term.isfinite()) for term in terms.values())
    grads = [p.grad for p in student.parameters() if p.grad is not None]
    assert all(bool(grad.isfinite().all()) for grad in grads)


def test_a_thin_object_has_the_rows_of_its_points_wherever_it_hangs() -> None:
    """A picture of 2 cm, whose points are on its front, moved by a centimetre at a time."""
    for step in range(40):
        x = 1.0 + 0.01 * step
        y, z = torch.meshgrid(
            torch.linspace(0.1, 0.9, 30), torch.linspace(1.1, 1.9, 30), indexing="ij"
        )
        front = torch.stack([torch.full_like(y, x), y, z], dim=-1).reshape(-1, 3)
        voxels = voxelize(PointCloud.single(front, None), SMALL.voxel_size_m)
        cells, _ = voxels.coarser(SMALL.fine_stride)
        rows = SparseTensor(cells, torch.zeros(len(cells), 1), SMALL.fine_stride)
        box = Boxes3D.from_array(torch.tensor([[x + 0.01, 0.5, 1.5, 0.02, 0.8, 0.8]]))
        none = torch.zeros(1)
        picture = Objects(box, none.long(), none.long(), none, none)
        _, is_inside = rows_of(rows, picture, SMALL.voxel_size_m)
        assert bool(is_inside.all()), step


def test_in_metres_no_feature_of_a_well_known_object_is_learnt(teacher: Path) -> None:
    """The published weight is exactly 0 for a deviation below a metre, as all are indoors."""
    _, _, distillation, _, objects = step(teacher, [scene(0)], "monostl_literal")
    near = replace(objects, std_m=torch.tensor([0.05, 0.9]))
    sees = taught_of(teacher, [scene(0)])
    terms = distillation(*sees, near)
    assert float(terms["features"].detach()) == 0.0
    far = replace(objects, std_m=torch.tensor([0.05, 1.5]))
    assert float(distillation(*sees, far)["features"].detach()) > 0.0


def taught_of(teacher: Path, samples: Sequence[Sample]) -> Any:
    """Student's and teacher's part of a batch."""
    settings = parse_camera_config({"teacher": {"weights": str(teacher)}})
    taught_by = TeacherNetwork(settings.teacher, torch.device("cpu"), "auto")
    torch.manual_seed(1)
    student, batch = CameraSR3D(SMALL, CAMERA).train(), Batch.collate(samples)
    assert batch.images is not None
    student.sees_depth = True  # on the voxels of the cloud
    output = student.raw(batch.images)
    predictions = decoded(output.levels, SMALL, is_training=True)
    said = taught_by(batch)
    own = taught_by_images(output)
    return own, said, taught_by.predictions(said), predictions


def test_depth_is_learnt_from_known_pixels_and_more_on_objects() -> None:
    torch.manual_seed(0)
    sample = scene(0)
    student = CameraSR3D(SMALL, CAMERA).train()
    assert sample.images is not None
    output = student.raw(sample.images)
    settings = parse_camera_config({}).depth
    alike = depth_term(output, [sample.targets], settings)
    more = depth_term(output, [sample.targets], replace(settings, object_factor=3.0))
    assert float(alike.detach()) != float(more.detach())
    depth = cell_depth(output.images)
    error = -output.depth_logits.log_softmax(dim=-1)
    nearest = (output.centers_m[:, None, None] - depth[..., None]).abs().argmin(dim=-1)
    rough = error.gather(-1, nearest[..., None]).mean()
    assert float(alike.detach()) == pytest.approx(float(rough.detach()), rel=0.2)
    for nothing in (0.0, math.nan, math.inf, -math.inf):
        depths = torch.full((1, 48, 64), nothing)
        unknown = replace(output, images=replace(output.images, depth=depths))
        assert float(depth_term(unknown, [sample.targets], settings).detach()) == 0.0
    assert cell_rays(output.images).shape == (1, 6, 8, 3)


@pytest.fixture(scope="module")
def trained(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "whole"
    train(config(teacher, Toys()), folder, learner=CameraLearner)
    return folder


def test_a_training_gives_weights_that_detect_in_images(trained: Path) -> None:
    detector = Detector.from_checkpoint(trained)
    assert detector.takes_images
    sample = scene(9)
    assert sample.images is not None
    detector.detect(sample.images)
    head = (trained / "log.csv").read_text().splitlines()[0]
    assert {"depth", "features", "relations", "response"} <= set(head.split(","))
    network, manifest = load_any(trained)
    assert isinstance(network, CameraSR3D)
    assert manifest.camera == CAMERA
    assert not [name for name in network.state_dict() if name.startswith("distillation")]


def test_a_teacher_of_images_may_have_another_image_network(trained: Path, tmp_path: Path) -> None:
    """Its later stages are taken over, as those of a teacher of clouds."""
    camera = {"size": [64, 48], "channels": 8, "image": "res_lite"}
    asked = config(
        trained,
        Toys(),
        teacher={"kind": "oracle_lift"},
        student={"camera": camera},
        schedule={"num_steps": 1},
    )
    train(asked, tmp_path, learner=CameraLearner)
    assert "features" in (tmp_path / "log.csv").read_text()


def test_the_first_steps_may_teach_depth_alone(teacher: Path, tmp_path: Path) -> None:
    """Nothing else moves meanwhile; then all is learnt, in a log that has its columns by then."""
    asked = config(teacher, Toys(), depth={"first_steps": 2}, schedule={"num_steps": 2})
    train(asked, tmp_path / "depth", learner=CameraLearner)
    student, taught = (
        load_any(tmp_path / "depth")[0].state_dict(),
        load_any(teacher)[0].state_dict(),
    )
    for name in student.keys() & taught.keys():
        torch.testing.assert_close(student[name], taught[name], rtol=0, atol=0)
    longer = config(teacher, Toys(), depth={"first_steps": 2}, schedule={"num_steps": 3})
    train(longer, tmp_path / "both", learner=CameraLearner)
    whole = load_any(tmp_path / "both")[0].state_dict()
    assert any(not torch.equal(whole[name], taught[name]) for name in whole.keys() & taught.keys())
    rows = logged_figures(tmp_path / "both" / "log.csv")
    assert [math.isnan(row["features"]) for row in rows] == [True, True, False]
    assert all(row["depth"] > 0 for row in rows)


def test_first_steps_are_checked_once_the_steps_are_known(teacher: Path, tmp_path: Path) -> None:
    """With epochs the number of scenes says how many there are: of six, two a step, three each."""
    long = {"epochs": 2000, "num_steps": 4}
    parse_camera_config({"schedule": long, "depth": {"first_steps": 5000}})
    asked = config(teacher, Toys(), schedule={**long, "epochs": 1}, depth={"first_steps": 4})
    with pytest.raises(ConfigError, match=r"first_steps is 4, expected from 0 to.* 3$"):
        train(asked, tmp_path / "short", learner=CameraLearner)
    enough = replace(asked, depth=replace(asked.depth, first_steps=3))
    train(enough, tmp_path / "enough", learner=CameraLearner)
    assert load_any(tmp_path / "enough")[1].camera == CAMERA


def forget(path: Path, *keys: str) -> None:
    """As an earlier version wrote it, which did not know these settings."""
    state = read_state(path)
    known = {key: value for key, value in state.settings.items() if key not in keys}
    assert len(known) == len(state.settings) - len(keys)
    path.write_bytes(state_content(replace(state, settings=known)))


def test_a_resumed_training_is_the_one_that_was_not_interrupted(
    teacher: Path, trained: Path, tmp_path: Path
) -> None:
    class Enough(Exception):
        pass

    def stop(progress: Any) -> None:
        if progress.step == 2:
            raise Enough

    with pytest.raises(Enough):
        train(config(teacher, Toys()), tmp_path, learner=CameraLearner, on_step=stop)
    earlier = "unlabelled", "student.camera.lift", "depth.first_steps", "teacher.sha256"
    forget(tmp_path / "state.pt", *earlier)
    train(config(teacher, Toys()), tmp_path, resume=True, learner=CameraLearner)
    for name, tensor in load_any(trained)[0].state_dict().items():
        torch.testing.assert_close(
            load_any(tmp_path)[0].state_dict()[name], tensor, rtol=0, atol=0
        )


def test_a_run_goes_on_with_the_teacher_it_began_with(tmp_path: Path) -> None:
    """And as it began: an earlier version never kept heights from a student."""
    teacher = save_teacher(tmp_path / "teacher.safetensors")
    train(config(teacher, Toys()), tmp_path / "run", learner=CameraLearner)
    longer = config(teacher, Toys(), schedule={"num_steps": 5})
    forget(tmp_path / "run" / "state.pt", "view.forget_height")
    with pytest.raises(TrainingError, match=r"view.forget_height was 0.0, is 0.25"):
        train(longer, tmp_path / "run", resume=True, learner=CameraLearner)
    known = replace(longer, view=replace(longer.view, forget_height=0.0))
    save_teacher(teacher, seed=1)
    with pytest.raises(TrainingError, match=r"teacher.sha256 was \w{64}, is \w{64}"):
        train(known, tmp_path / "run", resume=True, learner=CameraLearner)
    save_teacher(teacher)
    train(known, tmp_path / "run", resume=True, learner=CameraLearner)


def test_a_student_may_go_on_with_another_lift_and_with_nothing_else_changed(
    teacher: Path, trained: Path, tmp_path: Path
) -> None:
    weights, no_step = str(trained / "weights.safetensors"), {"learning_rate": 1e-12}

    def going_on(**camera: Any) -> CameraConfig:
        shape = {"size": [64, 48], "channels": 8, **camera}
        changes = {"weights": weights, "camera": shape}
        return config(teacher, Toys(), student=changes, schedule={"num_steps": 1, **no_step})

    train(going_on(lift="smear"), tmp_path / "run", learner=CameraLearner)
    network, manifest = load_any(tmp_path / "run" / "weights.safetensors")
    assert manifest.camera == replace(CAMERA, lift="smear")
    before = load_any(weights)[0].state_dict()
    for name, tensor in network.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(tensor, before[name], rtol=0, atol=1e-6)
    with pytest.raises(TrainingError, match="but for lift and minimum_probability"):
        train(going_on(by_height=False), tmp_path / "other", learner=CameraLearner)


def test_a_student_of_other_classes_gives_its_image_network(teacher: Path, tmp_path: Path) -> None:
    of_others = save_student(tmp_path / "others.safetensors", ("chair", "robot", "rug"))
    shape = {"weights": str(of_others), "camera": {"size": [64, 48], "channels": 8}}
    no_step = {"num_steps": 1, "learning_rate": 1e-12}

    def begun(**student: Any) -> CameraConfig:
        return config(teacher, Toys(), student={**shape, **student}, schedule=no_step)

    with pytest.raises(TrainingError, match=r"classes chair, robot, rug.*student.taken: image"):
        train(begun(), tmp_path / "refused", learner=CameraLearner)
    train(begun(taken="image"), tmp_path / "run", learner=CameraLearner)
    own, _ = load_any(tmp_path / "run")
    given = (load_any(of_others)[0].state_dict(), load_any(teacher)[0].state_dict())
    for name, tensor in own.state_dict().items():
        if name.endswith((".weight", ".bias")):
            for source, parts in zip(
                given, (("image.", "depth."), ("neck.", "head.")), strict=True
            ):
                if name.startswith(parts):
                    torch.testing.assert_close(tensor, source[name], rtol=0, atol=1e-6)


def test_a_student_may_go_on_with_the_statistics_it_has(
    teacher: Path, trained: Path, tmp_path: Path
) -> None:
    weights = trained / "weights.safetensors"
    shape = {"weights": str(weights), "camera": {"size": [64, 48], "channels": 8}}
    frozen = {"freeze_norms": True, "num_steps": 2}
    train(config(teacher, Toys(), student=shape, schedule=frozen), tmp_path, learner=CameraLearner)
    before, after = (load_any(path)[0].state_dict() for path in (weights, tmp_path))
    statistics = [name for name in before if "running" in name]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["depth.0.weight"], after["depth.0.weight"])


def test_scenes_without_images_and_foreign_teachers_are_refused(
    teacher: Path, trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match="has no color image"):
        train(config(teacher, Blind()), tmp_path / "a", learner=CameraLearner)
    with pytest.raises(ConfigError, match="teacher of 20 classes, and data of 2"):
        train(config(Path("default"), Toys()), tmp_path / "b", learner=CameraLearner)
    with pytest.raises(ValueError, match=r"expected weights of clouds.*teacher.kind is points"):
        train(config(trained, Toys()), tmp_path / "c", learner=CameraLearner)


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"distill": {"preset": "all"}}, "distill.preset"),
        ({"distill": {"reference_depth_std_m": 0}}, "reference_depth_std_m is 0"),
        ({"distill": {"relation": {"grid": 0}}}, "relation.grid is 0"),
        ({"network": {"weights": "default"}}, "network is set"),
        ({"depth": {"first_steps": 5000}}, "depth.first_steps is 5000, expected from 0 to.*4000"),
        ({"depth": {"object_factor": -1}}, "depth.object_factor is -1"),
        ({"distill": {"feature": {"levels": []}}}, "feature.levels is empty.*weight: 0"),
        ({"distill": {"response": {"least_score": 7}}}, "least_score is 7.*expected 0..1"),
        ({"network": {"preset": "scannet"}}, "network.preset set.*would do nothing"),
        ({"augment": {"flip_x": 0.5}}, "augment set.*view changes"),
        ({"criterion": {"consistency": 1}}, "criterion.consistency set"),
        (
            {"schedule": {"backbone_rate": 0.1}},
            "schedule.backbone_rate set",
        ),
        (
            {"schedule": {"freeze_norms": True}},
            "freeze_norms is true, but student.weights is none",
        ),
        ({"student": {"taken": "image"}}, "student.taken is image, but student.weights is none"),
        ({"view": {"flip": 2}}, "view.flip is 2"),
        ({"view": {"forget_height": 2}}, "view.forget_height is 2"),
        ({"view": {"zoom": 0.5}}, "view.zoom is 0.5"),
        ({"student": {"camera": {"channels": 0}}}, "channels is 0"),
        ({"student": {"camera": {"size": [100, 100]}}}, "multiples of 8"),
        ({"students": {}}, "students: unknown key; did you mean student"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(tree: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        parse_camera_config(tree)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAUGHT)
def test_bfloat16_tells_a_student_nearly_what_float32_does(name: str, tmp_path: Path) -> None:
    """The terms of a step; relations ask most of the few digits, and processors that have no
    bfloat16 of their own round them more often: 5.1 % was seen there."""
    rows = []
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    for precision in precisions:
        asked = taught(tmp_path, name)
        asked = replace(asked, schedule=replace(asked.schedule, precision=precision))
        train(asked, tmp_path / precision, learner=CameraLearner)
        log = (tmp_path / precision / "log.csv").read_text().splitlines()
        rows.append({key: float(value) for key, value in next(csv.DictReader(log)).items()})
    exact, short = rows
    assert short["loss"] != exact["loss"]
    for term in set(exact) - {"scenes_per_s"}:
        close = 0.1 if term == "relations" else 0.05
        assert short[term] == pytest.approx(exact[term], rel=close, abs=2e-3), term


@pytest.mark.parametrize("steps", [1, 2, 2000])
def test_a_new_student_learns_depth_first_in_however_many_steps(steps: int) -> None:
    asked = for_a_new_student(parse_camera_config({}), steps)
    assert asked.schedule.num_steps == steps
    assert asked.depth.first_steps == 3 * steps // 4
    assert asked.schedule.ema_decay > 0  # and all else stays


def test_the_learning_rate_begins_anew_with_boxes() -> None:
    schedule = {"num_steps": 16, "learning_rate": 0.5, "warmup_steps": 1}
    config = parse_camera_config({"depth": {"first_steps": 12}, "schedule": schedule})
    rates = [config.rate_at(step) for step in range(16)]
    of_depth = Schedule(**{**schedule, "num_steps": 12})
    of_boxes = Schedule(**{**schedule, "num_steps": 4})
    assert rates[:12] == [of_depth.rate_at(step) for step in range(12)]
    assert rates[12:] == [of_boxes.rate_at(step) for step in range(4)]
    assert rates[13] > 10 * rates[11]
    alone = parse_camera_config({"depth": {"first_steps": 16}, "schedule": schedule})
    assert [alone.rate_at(step) for step in range(16)] == [
        Schedule(**schedule).rate_at(step) for step in range(16)
    ]
