"""Which side of a box is the front: what it means, what it learns, and that nothing else moves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_criterion import room as predicted_room
from test_network import TINY, points
from test_ras import matches, tensor
from torch import Tensor, nn
from training_cases import config, room, stand_in, tensors

from sr3d_core.checkpoint import Manifest, load_checkpoint, save_checkpoint
from sr3d_core.config import Config, ConfigError, parse_config
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.detector import Detector
from sr3d_core.evaluate import report
from sr3d_core.evaluate_views import evaluate_in_views
from sr3d_core.geometry.boxes import facing
from sr3d_core.geometry.front import front_direction, side_logits
from sr3d_core.geometry.iou import aligned_iou
from sr3d_core.geometry.turns import turns
from sr3d_core.merged_views import MergedViews
from sr3d_core.model.network import SR3D
from sr3d_core.refinement import NONE, Refinement
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Predictions, Targets
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.supervision.front import front_loss
from sr3d_core.train import TrainingError, train

QUARTER = math.pi / 2
ROOMS = [room(seed) for seed in range(4)]


def random_boxes(num: int, seed: int = 0) -> Boxes3D:
    rows = torch.rand(num, 7, generator=torch.Generator().manual_seed(seed)).double()
    rows[:, 3:6] += 0.2
    rows[:, 6] = (rows[:, 6] - 0.5) * math.pi
    return Boxes3D.from_array(rows)


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Angle between directions, 0..pi."""
    return (a - b + math.pi).remainder(2 * math.pi).sub(math.pi).abs()


def test_sides_along_the_axes_have_the_numbers_of_the_head() -> None:
    axes = tensor([[1.0, 2.0, 3.0, 4.0]])
    torch.testing.assert_close(side_logits(axes, tensor([0.0])), axes)
    turned = side_logits(axes, tensor([QUARTER]))
    torch.testing.assert_close(turned, tensor([[2.0, 3.0, 4.0, 1.0]]))
    between = side_logits(axes, tensor([math.pi / 4]))
    torch.testing.assert_close(between, tensor([[1.5, 2.5, 3.5, 2.5]]))


def test_the_front_does_not_depend_on_how_a_box_is_written() -> None:
    """Also where the yaw jumps by a quarter turn, at 45 degrees."""
    axes = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).double()
    yaw = random_boxes(50).yaw
    yaw[0] = math.pi / 4
    for quarters in range(1, 4):
        other = front_direction(axes, yaw + quarters * QUARTER)
        torch.testing.assert_close(apart(other, front_direction(axes, yaw)), yaw * 0)


def test_a_box_written_towards_a_direction_is_the_same_box() -> None:
    boxes = random_boxes(60)
    direction = torch.linspace(-7, 7, 60, dtype=torch.float64)
    turned = facing(boxes, direction)
    torch.testing.assert_close(aligned_iou(turned, boxes), torch.ones(60).double())
    assert float(apart(turned.yaw, direction).max()) <= math.pi / 4 + 1e-9
    assert bool(((turned.yaw > -math.pi) & (turned.yaw <= math.pi)).all())
    odd = facing(Boxes3D.from_array(tensor([[0, 0, 0, 2, 1, 1, 0.0]])), tensor([QUARTER]))
    assert odd.size.tolist() == [[1, 2, 1]]
    assert facing(odd, tensor([-QUARTER])).yaw.item() == pytest.approx(-QUARTER)
    assert facing(odd, tensor([-math.pi])).yaw.item() == pytest.approx(math.pi)


def seen(yaw: list[float], truth: list[float]) -> Any:
    """Positives 1, 2 ... whose boxes and labels have these yaws."""
    num = len(yaw)
    given = matches(list(range(1, num + 1)), [0] * num, list(range(num)), [0.5] * num, num=num + 1)
    return replace(
        given,
        predicted=replace(given.predicted, yaw=tensor(yaw)),
        truth=replace(given.truth, yaw=tensor(truth)),
    )


def test_knowing_nothing_costs_ln_4_and_classes_without_a_front_cost_nothing() -> None:
    axes = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
    matched = seen([0.0, 0.3, -0.3], [0.1, 3.0, -2.0])
    loss = front_loss(axes, matched, torch.tensor([True, True, False]))
    assert loss.item() == pytest.approx(2 / 3 * math.log(4))
    loss.backward()
    assert axes.grad is not None
    assert axes.grad[[0, 3]].abs().sum() == 0
    nothing = front_loss(axes, matched, torch.zeros(3, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0


@pytest.mark.parametrize("yaw", [0.0, 0.7, -0.7])
@pytest.mark.parametrize("front", [0.1, 2.0, 3.1, -1.2])
def test_what_is_learnt_points_to_the_front_of_the_label(yaw: float, front: float) -> None:
    axes = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    front_loss(axes, seen([yaw], [front]), torch.tensor([True])).backward()
    assert axes.grad is not None
    found = front_direction(-axes.grad[1:], tensor([yaw]))
    assert float(apart(found, tensor([front]))) <= math.pi / 4 + 1e-9


def test_the_criterion_adds_the_term_for_labels_with_a_front() -> None:
    predictions, truth = predicted_room(0)
    without = Criterion()(predictions, [truth])
    told = replace(predictions, front=torch.zeros(len(predictions), 4, dtype=torch.float64))
    every = sorted(set(truth.labels.tolist()))
    once = Criterion()(told, [truth], front_labels=every)
    half = Criterion(front=0.5)(told, [truth], front_labels=every)
    none = Criterion()(told, [truth])
    assert without.front is None
    assert once.front is not None
    assert half.front is not None
    assert none.front is not None
    torch.testing.assert_close(once.front, tensor(4.0).log())
    torch.testing.assert_close(half.front * 2, once.front)
    torch.testing.assert_close(once.total, without.total + once.front)
    assert none.front.item() == 0


class Saying(nn.Module):
    """A network that gives two boxes, each of two classes, whose fronts are known."""

    def forward(self, cloud: PointCloud) -> Predictions:
        boxes = Boxes3D.from_array(torch.tensor([[0, 0, 0, 1, 2, 1, 0.2], [5, 0, 0, 1, 1, 1, 0]]))
        return Predictions(
            anchors=boxes.center,
            boxes=boxes,
            logits=torch.tensor([[2.0, 1.0], [3.0, 0.0]]),
            level=torch.zeros(2, dtype=torch.int64),
            scene=torch.zeros(2, dtype=torch.int64),
            front=torch.tensor([[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0]]),
        )


@pytest.mark.parametrize("refinement", [NONE, Refinement(vote=("all",))])
def test_yaw_points_to_the_front_of_classes_that_have_one_alone(refinement: Refinement) -> None:
    detector = Detector(Saying(), ("chair", "table"))
    detector.refinement = refinement
    cloud = PointCloud.single(torch.zeros(1, 3), None)
    plain = detector.detect(cloud)
    detector.front_classes = ("chair",)
    found = detector.detect(cloud)
    assert found.facing is None
    is_chair = found.labels == 0
    assert torch.equal(found.boxes.array[~is_chair], plain.boxes.array[~is_chair])
    chairs = found.boxes[is_chair]  # by falling score: the square one first
    torch.testing.assert_close(chairs.yaw, torch.tensor([math.pi, 0.2 + QUARTER]))
    torch.testing.assert_close(chairs.size, torch.tensor([[1.0, 1, 1], [2, 1, 1]]))
    torch.testing.assert_close(found.scores, plain.scores)
    torch.testing.assert_close(aligned_iou(found.boxes, plain.boxes), torch.ones(4))


class TurningWithTheWorld:
    """Two boxes whose fronts point from the first two points to the last two."""

    classes = ("chair", "table")

    def detect(self, cloud: PointCloud) -> Detections:
        center, ahead = cloud.xyz.chunk(2)
        yaw = torch.atan2(*(ahead - center)[:, :2].flip(1).unbind(dim=1))
        boxes = Boxes3D(center, torch.tensor([[1.0, 2, 1], [1, 2, 1]]), yaw)
        return Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]))


@pytest.mark.parametrize("num", [2, 4, 8])
def test_merged_views_keep_the_front(num: int) -> None:
    center = torch.tensor([[1.0, 2, 0], [6, 1, 0]])
    yaw = torch.tensor([2.6, -1.0])
    ahead = center + torch.stack([yaw.cos(), yaw.sin(), yaw * 0], dim=1)
    cloud = PointCloud.single(torch.cat([center, ahead]), None)
    merged = MergedViews(TurningWithTheWorld(), num, front_classes=["chair"]).detect(cloud)
    torch.testing.assert_close(merged.boxes.yaw[0], yaw[0])
    torch.testing.assert_close(merged.boxes.size[0], torch.tensor([1.0, 2, 1]))
    assert math.sin(float(merged.boxes.yaw[1] - yaw[1])) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("turn", turns(8))
def test_a_turned_direction_is_that_of_turned_points(turn: Any) -> None:
    angle = torch.tensor([0.3, 2.0, -2.5])
    ahead = torch.stack([angle.cos(), angle.sin(), angle * 0], dim=1)
    x, y, _ = turn.points(ahead).unbind(dim=1)
    torch.testing.assert_close(apart(turn.direction(angle), torch.atan2(y, x)), angle * 0)


def test_the_branch_changes_nothing_else_and_is_in_the_file(tmp_path: Path) -> None:
    networks = []
    for architecture in (TINY, replace(TINY, front=True)):
        torch.manual_seed(0)
        networks.append(SR3D(architecture).eval())
    with torch.no_grad():
        plain, told = (network(points()) for network in networks)
    assert plain.front is None
    assert told.front is not None
    assert torch.equal(plain.logits, told.logits)
    assert torch.equal(plain.boxes.array, told.boxes.array)
    path = tmp_path / "weights.safetensors"
    classes = ("chair", "table", "desk")
    manifest = Manifest(
        architecture=networks[1].architecture, classes=classes, front_classes=("chair",)
    )
    save_checkpoint(path, networks[1], manifest)
    detector = Detector.from_checkpoint(path, device="cpu")
    assert detector.front_classes == ("chair",)
    with torch.no_grad():
        again = detector.network(points())
    assert torch.equal(again.front, told.front)


def test_weights_without_the_branch_are_read_as_before() -> None:
    network, manifest = load_checkpoint()
    assert network.head.face is None
    assert manifest.front_classes == ()


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights, and the same with a front learnt on top."""
    folder = tmp_path_factory.mktemp("taught")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stand_in(ROOMS).items():
            patch.setattr(RoomsSource, name, value)
        base = train(config(2, {"quality_exponent": 0.5}), folder / "base")
        return base, train(on_top(base, num_steps=3, ema_decay=0.5), folder / "front")


def on_top(base: Path, **schedule: Any) -> Config:
    given = config(changes={"quality_exponent": 0.5, "front": True})
    return replace(
        given,
        network=replace(given.network, weights=str(base)),
        schedule=replace(given.schedule, train_only=("front",), **schedule),
    )


def test_fronts_learnt_on_top_leave_every_other_tensor_as_it_was(
    taught: tuple[Path, Path],
) -> None:
    base, front = (tensors(path) for path in taught)
    assert set(front) - set(base) == {"head.face.weight", "head.face.bias"}
    for name, before in base.items():
        assert torch.equal(before, front[name]), name
    assert bool(front["head.face.bias"].any())
    assert load_checkpoint(taught[1])[1].front_classes == ("slab",)


def test_fronts_learnt_on_top_leave_every_other_output_as_it_was(
    taught: tuple[Path, Path],
) -> None:
    cloud = room(7).cloud
    plain, told = (Detector.from_checkpoint(path, device="cpu").detect(cloud) for path in taught)
    assert len(plain) > 0
    assert torch.equal(plain.scores, told.scores)
    assert torch.equal(plain.labels, told.labels)
    is_cube = plain.labels == 0
    assert torch.equal(plain.boxes.array[is_cube], told.boxes.array[is_cube])
    torch.testing.assert_close(aligned_iou(plain.boxes, told.boxes), torch.ones(len(plain)))


def test_what_would_never_learn_is_refused(
    taught: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stand_in(ROOMS, ("cube", "plate")).items():
        monkeypatch.setattr(RoomsSource, name, value)
    with pytest.raises(TrainingError, match=r"train_only.*class plate"):
        train(on_top(taught[0]), tmp_path / "run")


@pytest.mark.parametrize(("named", "found"), [((), "no class"), (("sofa",), "sofa")])
def test_a_front_that_no_label_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: tuple[str, ...], found: str
) -> None:
    for name, value in {**stand_in(ROOMS), "front_classes": named}.items():
        monkeypatch.setattr(RoomsSource, name, value)
    with pytest.raises(TrainingError, match=rf"data\.front_classes: {found}"):
        train(config(1, {"front": True}), tmp_path / "run")


@pytest.mark.parametrize(
    "network", [{"weights": "default"}, {"changes": {"front": True}}, {"changes": {}}]
)
def test_training_a_part_that_is_not_there_is_refused(network: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"schedule\.train_only"):
        parse_config({"network": network, "schedule": {"train_only": ["front"]}})


def test_fronts_are_right_within_45_degrees_of_the_label() -> None:
    """Of three chairs found, two face as they should; the table and the missed chair say nothing.

    The fourth chair is found twice, and the better hit counts."""
    truth = tensor([[4 * k, 0, 0, 1, 1, 1, 0.0] for k in range(5)])
    found = truth.clone()
    found[:, 6] = tensor([0.7, -0.8, 2 * math.pi, 0.0, 0.0])
    found[3, 0] += 2  # hits nothing
    labels = torch.tensor([0, 0, 0, 0, 1])
    twice = torch.cat([found, found[:1]])
    twice[5, 6] = math.pi
    result = report(
        [
            Detections(
                Boxes3D.from_array(twice),
                torch.linspace(0.9, 0.5, 6),
                torch.cat([labels, torch.tensor([0])]),
            )
        ],
        [Targets(Boxes3D.from_array(truth), labels)],
        ("chair", "table"),
        ["chair"],
    )
    assert set(result.fronts) == {"chair"}
    chairs = result.fronts["chair"]
    assert (chairs.num_matched, chairs.num_right) == (3, 2)
    assert result.to_dict()["fronts"] == {"chair": {"matched": 3, "right": 0.666667}}


def test_fronts_in_views_are_those_of_the_view_that_is_not_turned() -> None:
    """Labels of turned views lose which side is the front."""
    sample = room(0)
    truth = Detections(sample.targets.boxes, torch.tensor([0.9, 0.8]), sample.targets.labels)

    class Knowing:
        classes = ("cube", "slab")

        def detect(self, cloud: PointCloud) -> Detections:
            return truth

    result = evaluate_in_views(Knowing(), [sample], 4, front_classes=["slab"])
    assert result.to_dict()["fronts"] == {"slab": {"matched": 1, "right": 1.0}}
