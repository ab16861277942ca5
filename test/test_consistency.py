"""Two views of a scene: the turned copy, and what the two disagree by."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_cases import room

from sr3d_core.geometry.turns import Turn
from sr3d_core.structures import Batch, Boxes3D, Predictions, Targets
from sr3d_core.supervision.center_topk import CenterTopK
from sr3d_core.supervision.consistency import with_turned_copy
from sr3d_core.supervision.criterion import Criterion

QUARTER = Turn(1)
TRUTH = Boxes3D.from_array(
    torch.tensor([[1.0, 0.2, 0.5, 1.0, 2.0, 1.0, 0.3], [-3.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.0]])
)
CRITERION = Criterion(assigner=CenterTopK(k=1), consistency=1.0)


def two_views(boxes: Boxes3D, of_copy: Boxes3D, scores: list[list[float]]) -> Predictions:
    """A prediction per row, at its own centre, and one far away, which none is assigned to."""
    parts = [boxes, Boxes3D.from_array(torch.full((1, 7), 50.0)), of_copy]
    parts.append(parts[1])
    found = Boxes3D.cat(parts)
    scene = torch.tensor([0] * (len(boxes) + 1) + [1] * (len(of_copy) + 1))
    logits = torch.tensor([*scores[: len(boxes)], [0.1, 0.1], *scores[len(boxes) :], [0.1, 0.1]])
    return Predictions(
        found.center, found, logits.logit().requires_grad_(), torch.zeros_like(scene), scene
    )


def disagreement(predictions: Predictions) -> float:
    labels = torch.tensor([0, 1])
    targets = [Targets(TRUTH, labels), Targets(QUARTER.boxes(TRUTH), labels)]
    losses = CRITERION(predictions, targets, turn=QUARTER)
    assert losses.consistency is not None
    return losses.consistency.item()


def test_the_copy_is_the_first_scene_turned() -> None:
    batch = Batch.collate([room(0), room(1)])
    both = with_turned_copy(batch, QUARTER)
    xyz = both.cloud.xyz[both.cloud.scene == 2]
    before = batch.cloud.xyz[batch.cloud.scene == 0]
    torch.testing.assert_close(xyz[:, 0], -before[:, 1])
    torch.testing.assert_close(xyz[:, 1], before[:, 0])
    assert len(both.targets) == 3
    assert both.targets[2].labels.tolist() == both.targets[0].labels.tolist()
    center = both.targets[2].boxes.center
    torch.testing.assert_close(center[:, 1], both.targets[0].boxes.center[:, 0])
    torch.testing.assert_close(both.cloud.xyz[: len(batch.cloud)], batch.cloud.xyz)


def test_views_that_agree_cost_nothing() -> None:
    moved = replace(TRUTH, center=TRUTH.center + 0.1)
    scores = [[0.6, 0.2], [0.1, 0.7]]
    assert disagreement(two_views(moved, QUARTER.boxes(moved), scores * 2)) == (
        pytest.approx(0, abs=1e-5)
    )


def test_what_scores_and_boxes_differ_by_is_the_mean_over_objects() -> None:
    """The first object's scores differ by .2 and .1; the second's box is half as high there."""
    low = replace(TRUTH, size=TRUTH.size * torch.tensor([[1, 1, 1], [1, 1, 0.5]]))
    scores = [[0.6, 0.2], [0.1, 0.7], [0.4, 0.3], [0.1, 0.7]]
    found = disagreement(two_views(TRUTH, QUARTER.boxes(low), scores))
    assert found == pytest.approx((0.04 + 0.01 + 0.5) / 2, abs=1e-5)


def test_an_object_that_one_view_has_no_positive_for_does_not_count() -> None:
    scores = [[0.6, 0.2], [0.1, 0.7], [0.4, 0.2]]
    found = disagreement(two_views(TRUTH, QUARTER.boxes(TRUTH)[:1], scores))
    assert found == pytest.approx(0.04, abs=1e-5)


def test_both_views_move_towards_each_other() -> None:
    predictions = two_views(TRUTH, QUARTER.boxes(TRUTH), [[0.6, 0.2], [0.1, 0.7]] * 2)
    with torch.no_grad():
        predictions.logits[0, 0] += 1
    labels = torch.tensor([0, 1])
    targets = [Targets(TRUTH, labels), Targets(QUARTER.boxes(TRUTH), labels)]
    losses = CRITERION(predictions, targets, turn=QUARTER)
    assert losses.consistency is not None
    (slope,) = torch.autograd.grad(losses.consistency, predictions.logits)
    assert slope[0, 0] > 0
    assert slope[3, 0] < 0


def test_no_term_unless_asked_for_and_a_zero_where_the_copy_is_not_seen() -> None:
    predictions = two_views(TRUTH, TRUTH, [[0.6, 0.2]] * 4)
    targets = [Targets(TRUTH, torch.tensor([0, 1]))] * 2
    assert Criterion()(predictions, targets).consistency is None
    elsewhere = CRITERION(predictions, targets).consistency
    assert elsewhere is not None
    assert elsewhere.item() == 0


@pytest.mark.parametrize("name", ["quality", "consistency"])
def test_weights_below_zero_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"criterion.{name} is -1"):
        Criterion(**{name: -1.0})
