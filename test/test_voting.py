"""Box voting against means worked by hand and a plain double loop."""

from __future__ import annotations

import math

import pytest
import torch

from sr3d_core.detector import Postprocess
from sr3d_core.geometry.boxes import short_side_first
from sr3d_core.geometry.iou import pairwise_iou
from sr3d_core.geometry.voting import Voting, mean_boxes, votes
from sr3d_core.structures import Boxes3D, Predictions


def boxes(*rows: list[float]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows, dtype=torch.float64))


def mean(rows: list[list[float]], weights: list[float]) -> list[float]:
    group = torch.zeros(len(rows), dtype=torch.int64)
    return mean_boxes(boxes(*rows), torch.tensor(weights), group, 1).array[0].tolist()


def box(yaw_deg: float, dx: float = 1.0, dy: float = 2.0, x: float = 0.0) -> list[float]:
    return [x, 0.0, 0.5, dx, dy, 1.0, math.radians(yaw_deg)]


def test_the_mean_is_weighted_by_score() -> None:
    found = mean([box(0, 1.0, 2.0, x=0.0), box(0, 1.4, 2.4, x=0.4)], [0.9, 0.3])
    assert found == pytest.approx([0.1, 0, 0.5, 1.1, 2.1, 1.0, 0.0], abs=1e-6)


def test_the_mean_of_one_box_is_the_box() -> None:
    assert mean([box(37.0)], [0.3]) == pytest.approx(box(37.0), abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(10, 20, 15), (85, -85, -90), (80, -80, -90), (-10, 170, -10), (0, -4, -2)],
)
def test_yaws_are_averaged_on_the_circle(first: float, second: float, expected: float) -> None:
    found = mean([box(first), box(second)], [0.5, 0.5])
    off = (math.degrees(found[6]) - expected + 90) % 180 - 90  # -90 and 90 are the same
    assert off == pytest.approx(0, abs=1e-9)
    assert found[3:5] == pytest.approx([1.0, 2.0])


def test_nearly_square_boxes_written_a_quarter_turn_apart_mean_the_same() -> None:
    """x 0.50 by y 0.52 and x 0.52 by y 0.50: the same object within 2 cm, at 0 and 90 degrees."""
    found = mean([box(0, 0.50, 0.52), box(90, 0.50, 0.52)], [0.5, 0.5])
    assert found[3:5] == pytest.approx([0.51, 0.51])
    assert math.degrees(found[6]) % 90 == pytest.approx(0, abs=1e-6)


def test_sides_are_averaged_along_the_mean_yaw() -> None:
    found = mean([box(5, 0.50, 0.60), box(-85, 0.52, 0.56)], [0.75, 0.25])
    # The second read along 5 degrees: dx 0.56, dy 0.52.
    assert found[3:5] == pytest.approx([0.515, 0.58])
    assert math.degrees(found[6]) == pytest.approx(5)


def test_axis_aligned_boxes_keep_yaw_0_whichever_side_is_longer() -> None:
    found = mean([box(0, 2.0, 1.0), box(0, 2.2, 1.0)], [0.5, 0.5])
    assert found == pytest.approx([0, 0, 0.5, 2.1, 1.0, 1.0, 0])
    assert found[6] == 0.0


def test_means_are_written_with_the_short_side_first() -> None:
    found = mean([box(100, 2.0, 1.0), box(80, 2.0, 1.0)], [0.5, 0.5])
    assert found[3:5] == pytest.approx([1.0, 2.0])
    assert found[6] == pytest.approx(0.0, abs=1e-9)


def test_the_short_side_first_is_the_same_box() -> None:
    given = boxes(box(0, 3, 1), box(30, 1, 3), box(200, 2, 1), box(-95, 1, 2))
    same = short_side_first(given)
    assert bool((same.size[:, 0] <= same.size[:, 1]).all())
    assert bool((same.yaw >= -math.pi / 2).all())
    assert bool((same.yaw < math.pi / 2).all())
    torch.testing.assert_close(pairwise_iou(given, same).diag(), torch.ones(4).double())


def test_groups_do_not_mix_and_outsiders_count_nowhere() -> None:
    rows = boxes(box(0, x=0), box(0, x=9), box(0, x=1), box(0, x=100))
    group = torch.tensor([0, 1, 0, -1])
    found = mean_boxes(rows, torch.ones(4), group, 2)
    assert found.center[:, 0].tolist() == [0.5, 9.0]


def scattered(num: int) -> tuple[Boxes3D, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    rows = torch.rand(num, 7, generator=generator, dtype=torch.float64)
    rows = rows * torch.tensor([2.0, 2.0, 0.3, 0.5, 0.5, 0.5, 3.0]) + torch.tensor(
        [0, 0, 0, 0.6, 0.6, 0.6, 0]
    )
    scores = torch.rand(num, generator=generator)
    return Boxes3D.from_array(rows), scores, torch.randint(0, 2, (num,), generator=generator)


def test_votes_are_those_of_a_plain_double_loop() -> None:
    given, _, labels = scattered(60)
    kept = torch.tensor([5, 0, 17, 33])
    overlap = pairwise_iou(given, given)
    expected = []
    for row in range(60):
        rivals = [
            (float(overlap[k, row]), -place)
            for place, k in enumerate(kept.tolist())
            if labels[k] == labels[row]
        ]
        best, place = max(rivals)
        expected.append(-place if best >= 0.3 else -1)
    for place, row in enumerate(kept.tolist()):
        expected[row] = place
    assert votes(given, labels, kept, 0.3).tolist() == expected
    assert len(set(expected)) == 5  # all sorts occur


def test_a_kept_box_votes_for_itself_though_a_better_one_overlaps_it() -> None:
    given = boxes(box(0, x=0), box(0, x=0.4), box(0, x=0.38))
    labels = torch.zeros(3, dtype=torch.int64)
    assert votes(given, labels, torch.tensor([0, 1]), 0.3).tolist() == [0, 1, 1]


def test_boxes_that_touch_nothing_do_not_vote_even_at_overlap_0() -> None:
    given = boxes(box(0, x=0), box(0, x=9))
    labels = torch.zeros(2, dtype=torch.int64)
    assert votes(given, labels, torch.tensor([0]), 0.0).tolist() == [0, -1]


def test_boxes_of_other_classes_are_not_compared() -> None:
    given = boxes(box(0, x=0), box(0, x=0.1), box(0, x=0.1))
    labels = torch.tensor([0, 1, 0])
    assert votes(given, labels, torch.tensor([0, 1]), 0.3).tolist() == [0, 1, 0]


def test_no_boxes_have_no_means() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    for voting in (Voting(0.5), Voting(0.5, (True, False))):
        assert len(voting(Boxes3D.empty(), torch.zeros(0), none, none)) == 0


def test_classes_that_have_no_vote_keep_their_boxes_to_the_last_bit() -> None:
    given = boxes(box(0.2, x=0), box(0.3, x=0.1), box(0.2, x=5), box(0.3, x=5.1))
    labels, scores = torch.tensor([0, 0, 1, 1]), torch.tensor([0.9, 0.5, 0.8, 0.4])
    kept = torch.tensor([0, 2])
    every = Voting(0.5)(given, scores, labels, kept)
    of_one = Voting(0.5, (False, True))(given, scores, labels, kept)
    assert torch.equal(of_one.array[0], given.array[0])
    torch.testing.assert_close(of_one.array[1], every.array[1])
    assert not torch.equal(every.array[0], given.array[0])


def predictions(rows: list[list[float]], scores: list[list[float]]) -> Predictions:
    given = Boxes3D.from_array(torch.tensor(rows))
    zeros = torch.zeros(len(rows), dtype=torch.int64)
    return Predictions(given.center, given, torch.tensor(scores).logit(), zeros, zeros)


def test_postprocess_votes_with_the_candidates_that_it_suppresses() -> None:
    near, far = box(0, x=0.0), box(0, x=0.2)
    other = box(0, x=0.1)
    given = predictions([near, far, other], [[0.9, 0.001], [0.3, 0.001], [0.001, 0.8]])
    found = Postprocess()(given, Voting(0.5))
    assert found.labels.tolist() == [0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8]))
    assert found.boxes.center[:, 0].tolist() == pytest.approx([0.05, 0.1], abs=1e-6)


def test_postprocess_counts_no_vote_below_its_overlap() -> None:
    given = predictions([box(0, x=0.0), box(0, x=0.45)], [[0.9], [0.3]])  # IoU .38
    assert Postprocess(iou=0.2)(given, Voting(0.5)).boxes.center[0, 0] == 0.0
    assert Postprocess(iou=0.2)(given, Voting(0.3)).boxes.center[0, 0] > 0.1
