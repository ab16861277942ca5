"""Two detectors on the same scenes: differences by hand, intervals by what they must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sr3d_core.evaluate import Ranking, report
from sr3d_core.paired import NUM_DRAWS, Side, drawn, paired, widening_of
from sr3d_core.structures import Boxes3D, Detections, Targets

CUBE = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
FAR = [9.0, 0.0, 0.0, 1.0, 1.0, 1.0]


def found(rows: list[list[float]], label: int = 0) -> Detections:
    labels = torch.full((len(rows),), label, dtype=torch.int64)
    boxes = Boxes3D.from_array(torch.tensor(rows).reshape(-1, 6))
    return Detections(boxes, torch.linspace(0.9, 0.8, len(rows)), labels)


def truth(label: int = 0) -> Targets:
    return Targets(Boxes3D.from_array(torch.tensor([CUBE])), torch.tensor([label]))


def side(hits: list[bool], classes: tuple[str, ...] = ("chair",)) -> Side:
    label = classes.index("chair")
    detections = [found([CUBE] if hit else [FAR], label) for hit in hits]
    return Side(detections, [truth(label)] * len(hits), classes)


def test_figures_are_those_of_the_evaluation_and_their_difference() -> None:
    first, second = side([True, False] * 8), side([True] * 16)
    found_ = paired(first, second, np.random.default_rng(0))
    ap25, _ = found_.per_class["chair"]
    expected = report(first.detections, first.targets, ("chair",)).ap25.mean
    assert (ap25.first, ap25.second) == (pytest.approx(expected), 1.0)
    assert ap25.low <= ap25.second - ap25.first <= ap25.high
    assert ap25.is_clear
    assert found_.mean == found_.per_class["chair"]  # of one class
    assert (found_.num_scenes, found_.block) == (16, 4)


def test_a_detector_does_not_differ_from_itself() -> None:
    same = side([True, False, True, True])
    for found_ in paired(same, same, np.random.default_rng(0)).mean:
        assert (found_.low, found_.high) == (0.0, 0.0)
        assert not found_.is_clear


def test_classes_that_both_know_are_compared_whatever_their_labels() -> None:
    second = side([True] * 4, ("lamp", "chair"))
    found_ = paired(side([True] * 4), second, np.random.default_rng(0))
    assert list(found_.per_class) == ["chair"]
    assert found_.per_class["chair"][0].second == 1.0
    with pytest.raises(ValueError, match="lamp"):
        paired(side([True]), Side([found([])], [truth()], ("lamp",)), np.random.default_rng(0))


def test_a_class_that_is_never_there_has_no_difference() -> None:
    classes = ("chair", "lamp")
    found_ = paired(side([True], classes), side([True], classes), np.random.default_rng(0))
    assert math.isnan(found_.per_class["lamp"][0].first)
    assert found_.mean[0].first == 1.0  # over the classes that are
    assert found_.to_dict()["per_class"]["lamp"]["ap25"]["low"] is None  # type: ignore[index]


def test_draws_are_of_as_many_scenes_in_runs_of_neighbours() -> None:
    counts = drawn(10, 5, np.random.default_rng(0))
    assert counts.shape == (NUM_DRAWS, 10)
    assert (counts.sum(axis=1) == 10).all()
    # Two runs of five: a scene and the next one are drawn together but for the ends of the runs.
    assert np.abs(np.diff(counts, axis=1)).sum(axis=1).max() <= 4
    assert counts.mean(axis=0) == pytest.approx(1.0, abs=0.1)  # none is preferred


def test_neighbours_that_resemble_each_other_make_the_interval_wider() -> None:
    """Of 64 scenes the second half is missed: drawn one by one they would seem independent."""
    first, second = side([True] * 64), side([True] * 32 + [False] * 32)
    ap25, _ = paired(first, second, np.random.default_rng(0)).mean
    alone = drawn(64, 1, np.random.default_rng(0))[:, :32].sum(axis=1) / 64 - 1.0
    low, high = np.percentile(alone, (2.5, 97.5))
    assert ap25.high - ap25.low > 1.5 * (high - low)


def test_other_scenes_are_no_pairs() -> None:
    side = Side([], [], ("chair",))
    one = Side(
        [Detections(Boxes3D.empty(), torch.zeros(0), torch.zeros(0, dtype=torch.int64))],
        [Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64))],
        ("chair",),
    )
    with pytest.raises(ValueError, match="0 and 1 scenes"):
        paired(side, one, np.random.default_rng(0))


@pytest.mark.parametrize("num_scenes", [0, 1, 2])
def test_too_few_scenes_to_draw_from_are_never_clear(num_scenes: int) -> None:
    """Every draw would be the scenes themselves, and the interval a point."""
    first, second = side([True] * num_scenes), side([False] * num_scenes)
    mean = paired(first, second, np.random.default_rng(0)).mean[0]
    assert not mean.is_clear
    assert mean.to_dict()["low"] is None


def test_the_widening_is_that_of_the_variance_and_of_students_quantile() -> None:
    """t of 14 degrees of freedom is 2.1448 at 97.5 %; the variance is too small by a tenth."""
    assert widening_of(10) == pytest.approx(2.1448 / 1.96 / math.sqrt(0.9), abs=0.001)
    assert widening_of(10_000) == pytest.approx(1.0, abs=0.001)


@pytest.mark.slow
def test_of_two_equally_good_detectors_one_in_twenty_is_called_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both find half of the objects, by chance: of 200 comparisons 4 to 18 may be called clear.

    Their number is binomial with mean 10; without the widening it was 20.
    """
    monkeypatch.setattr("sr3d_core.paired.NUM_DRAWS", 400)
    num_clear = 0
    for seed in range(200):
        hits = np.random.default_rng(seed).random((2, 64)) < 0.5
        first, second = (side(row.tolist()) for row in hits)
        num_clear += paired(first, second, np.random.default_rng(0)).mean[0].is_clear
    assert 4 <= num_clear <= 18


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_precision_of_draws_is_that_of_each_detection_counted_so_often(share: float) -> None:
    """Every detection written out as often as its scene counts, and the area summed up by hand."""
    random = np.random.default_rng(3)
    scene = random.integers(0, 6, 40)
    ranking = Ranking(
        scores=np.linspace(1, 0, 40),
        scene=scene,
        is_right=random.random(40) < share,
        num_truth=np.bincount(scene, minlength=6) + 1,
    )
    weight = random.integers(0, 3, (7, 6))
    weight[0] = 1
    for often, area in zip(weight, ranking.average_precision(weight), strict=True):
        hits = np.repeat(ranking.is_right, often[scene])
        precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        envelope = [precisions[k:].max() for k in range(len(hits))]
        expected = np.sum(hits * envelope) / (often @ ranking.num_truth)
        assert area == pytest.approx(expected, abs=1e-12)
    assert ranking.average_precision() == ranking.average_precision(weight[:1])
