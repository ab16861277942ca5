from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from sr3d_core.structures import Boxes3D, Predictions, Targets
from sr3d_core.supervision.center_topk import CenterTopK
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.supervision.losses import BoxDiou, Focal
from sr3d_core.supervision.parts import ASSIGNERS, CLASSIFICATIONS
from sr3d_core.supervision.qfl import Qfl
from sr3d_core.supervision.ras import Ras
from sr3d_core.supervision.spota import Spota

NUM_CLASSES = 4
ALL_TERMS = [
    Criterion(),
    Criterion(assigner=CenterTopK(), classification=Focal()),
    Criterion(classification=Ras(reading="literal", blend="channel")),
    Criterion(classification=Ras(reading="literal", blend="row")),
]


def room(seed: int, num: int = 60, num_boxes: int = 3, scene: int = 0) -> tuple[Any, Targets]:
    """A scene of 2 m with random anchors, boxes and logits that take gradients."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    anchors = 2 * uniform(num, 3)
    found = Boxes3D(
        (anchors + 0.1 * uniform(num, 3)).requires_grad_(),
        (0.3 + uniform(num, 3)).requires_grad_(),
        torch.zeros(num, dtype=torch.float64),
    )
    logits = (uniform(num, NUM_CLASSES) - 3).requires_grad_()
    level = torch.randint(0, 2, (num,), generator=generator)
    truth = Boxes3D(
        2 * uniform(num_boxes, 3),
        0.3 + uniform(num_boxes, 3),
        torch.zeros(num_boxes, dtype=torch.float64),
    )
    labels = torch.randint(0, NUM_CLASSES, (num_boxes,), generator=generator)
    predictions = Predictions(anchors, found, logits, level, torch.full((num,), scene))
    return predictions, Targets(truth, labels)


def together(*parts: Predictions) -> Predictions:
    return Predictions(
        torch.cat([part.anchors for part in parts]),
        Boxes3D.cat([part.boxes for part in parts]),
        torch.cat([part.logits for part in parts]),
        torch.cat([part.level for part in parts]),
        torch.cat([part.scene for part in parts]),
    )


def test_a_batch_weighs_its_scenes_by_their_positives() -> None:
    (first, first_truth), (second, second_truth) = room(0), room(1, num_boxes=5, scene=1)
    batch = Criterion()(together(first, second), [first_truth, second_truth])
    alone = Criterion()(first, [first_truth])
    other = Criterion()(second, [Targets(Boxes3D.empty(), second.level[:0]), second_truth])
    assert batch.num_positives == alone.num_positives + other.num_positives
    for term in ("classification", "box"):
        expected = sum(getattr(part, term) * part.num_positives for part in (alone, other))
        torch.testing.assert_close(getattr(batch, term), expected / batch.num_positives)


@pytest.mark.parametrize("criterion", ALL_TERMS)
def test_the_order_of_the_predictions_does_not_matter(criterion: Criterion) -> None:
    (first, first_truth), (second, second_truth) = room(0), room(1, scene=1)
    both = together(first, second)
    order = torch.randperm(len(both), generator=torch.Generator().manual_seed(0))
    truth = [first_truth, second_truth]
    torch.testing.assert_close(criterion(both[order], truth).total, criterion(both, truth).total)


@pytest.mark.parametrize("criterion", ALL_TERMS)
def test_gradients_reach_logits_and_boxes(criterion: Criterion) -> None:
    predictions, truth = room(0)
    criterion(predictions, [truth]).total.backward()
    for leaf in (predictions.logits, predictions.boxes.center, predictions.boxes.size):
        assert leaf.grad.isfinite().all()
        assert leaf.grad.any()


def test_box_gradients_reach_positives_only() -> None:
    predictions, truth = room(0)
    losses = Criterion()(predictions, [truth])
    losses.total.backward()
    has_gradient = predictions.boxes.center.grad.any(dim=1)
    assert has_gradient.tolist() == Spota()(predictions, truth).is_positive.tolist()
    assert losses.num_positives == has_gradient.sum()


@pytest.mark.parametrize("criterion", ALL_TERMS)
def test_a_batch_without_boxes_trains_the_background(criterion: Criterion) -> None:
    predictions, truth = room(0)
    losses = criterion(predictions, [truth[:0]])
    losses.total.backward()
    assert losses.num_positives == 0
    assert losses.box.item() == 0
    assert (predictions.logits.grad > 0).all()


@pytest.mark.parametrize("criterion", ALL_TERMS)
def test_a_batch_without_anchors_costs_nothing(criterion: Criterion) -> None:
    predictions, truth = room(0)
    losses = criterion(predictions[:0], [truth])
    losses.total.backward()
    assert losses.total.item() == 0
    assert losses.num_positives == 0


def test_a_batch_without_scenes_costs_nothing() -> None:
    predictions, _ = room(0)
    assert Criterion()(predictions[:0], []).total.item() == 0


def test_predictions_without_targets_are_explained() -> None:
    predictions, truth = room(0, scene=1)
    with pytest.raises(ValueError, match=r"60 of 60 .*0\.\.0"):
        Criterion()(predictions, [truth])


@pytest.mark.parametrize("label", [NUM_CLASSES, -1])
def test_a_label_that_the_network_does_not_know_is_explained(label: int) -> None:
    predictions, truth = room(0)
    wrong = Targets(truth.boxes, torch.full_like(truth.labels, label))
    with pytest.raises(ValueError, match=rf"labels {label}\.\.{label}, but the network has 4"):
        Criterion()(predictions, [wrong])


@pytest.mark.slow
def test_following_the_gradient_fits_boxes_and_finds_objects() -> None:
    predictions, truth = room(0)
    leaves = (predictions.logits, predictions.boxes.center, predictions.boxes.size)
    optimizer = torch.optim.Adam(leaves, lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        losses = Criterion()(predictions, [truth])
        losses.total.backward()
        optimizer.step()
    is_positive = Spota()(predictions, truth).is_positive
    scores = predictions.logits.detach().sigmoid().amax(dim=1)
    assert losses.box.item() < 0.2
    assert scores[is_positive].min() > scores[~is_positive].max()


def test_a_configuration_describes_the_whole_criterion() -> None:
    tree = {
        "assigner": {"name": "center_topk", "k": 8},
        "classification": {"name": "focal", "alpha": 0.5},
        "box": {"tr3d_compat": True},
    }
    assert TypeAdapter(Criterion).validate_python(tree) == Criterion(
        assigner=CenterTopK(k=8),
        classification=Focal(alpha=0.5),
        box=BoxDiou(tr3d_compat=True),
    )


def test_an_empty_configuration_is_what_measured_best() -> None:
    made = TypeAdapter(Criterion).validate_python({})
    assert made == Criterion(assigner=Spota(), classification=Qfl(), box=BoxDiou())


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"asigner": {"name": "spota"}}, r"asigner\n.*Unexpected keyword argument"),
        ({"assigner": {"name": "hungarian"}}, ", ".join(f"'{name}'" for name in ASSIGNERS)),
        ({"classification": {"name": "ce"}}, ", ".join(f"'{name}'" for name in CLASSIFICATIONS)),
        ({"classification": {"name": "ras", "tau": -1}}, "Ras.tau is -1.0, expected"),
    ],
)
def test_a_wrong_configuration_is_refused(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Criterion).validate_python(tree)
