"""The detector around a network that answers what a test tells it to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sr3d_core.detector import Detector, Postprocess, choose_device
from sr3d_core.structures import Boxes3D, PointCloud, Predictions

CLASSES = ("chair", "table")


def logit(score: float) -> float:
    return float(torch.logit(torch.tensor(score)))


def predictions(rows: list[list[float]], scores: list[list[float]]) -> Predictions:
    boxes = Boxes3D.from_array(torch.tensor(rows, dtype=torch.float32))
    zeros = torch.zeros(len(rows), dtype=torch.int64)
    return Predictions(boxes.center, boxes, torch.tensor(scores).logit(), zeros, zeros)


class OneBoxPerPoint(nn.Module):
    """Predicts a 10 cm chair at every point and remembers the cloud that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: PointCloud | None = None

    def forward(self, cloud: PointCloud) -> Predictions:
        self.seen = cloud
        size = torch.full_like(cloud.xyz, 0.1)
        boxes = Boxes3D(cloud.xyz, size, cloud.xyz.new_zeros(len(cloud)))
        logits = cloud.xyz.new_tensor([logit(0.9), logit(0.001)]).repeat(len(cloud), 1)
        return Predictions(cloud.xyz, boxes, logits, cloud.scene, cloud.scene)


def detector(**knobs: int) -> tuple[Detector, OneBoxPerPoint]:
    network = OneBoxPerPoint()
    return Detector(network, CLASSES, device="cpu", **knobs), network


def apart(num: int) -> Tensor:
    """Points one metre apart."""
    return torch.arange(num)[:, None] * torch.ones(3)


def test_numpy_and_torch_points_give_the_same_detections() -> None:
    detect, _ = detector()
    from_torch = detect(apart(3))
    from_numpy = detect(apart(3).numpy().astype(np.float64))
    torch.testing.assert_close(from_torch.boxes.array, from_numpy.boxes.array)
    assert from_torch.labels.tolist() == [0, 0, 0]


def test_read_only_and_reversed_arrays_are_welcome() -> None:
    detect, _ = detector()
    points = apart(3).numpy()[::-1]
    points.setflags(write=False)
    assert len(detect(points)) == 3


def test_points_that_are_not_finite_or_too_far_are_left_out() -> None:
    detect, network = detector()
    points = apart(5)
    points[1, 0], points[2, 1], points[3, 2] = float("nan"), float("inf"), 1e20
    assert len(detect(points)) == 2
    assert network.seen is not None
    torch.testing.assert_close(network.seen.xyz, apart(5)[[0, 4]])


def test_cloud_in_map_coordinates_is_found_where_it_lies() -> None:
    detect, network = detector()
    origin = np.array([500_000.25, 5_600_000.5, 100.0])
    found = detect(apart(3).numpy() + origin)
    assert network.seen is not None
    assert float(network.seen.xyz[:, :2].abs().max()) < 3
    torch.testing.assert_close(found.boxes.center, apart(3).double() + torch.from_numpy(origin))


def test_far_cloud_in_single_precision_is_moved_too() -> None:
    found = detector()[0](apart(3) + 20_000.0)
    torch.testing.assert_close(found.boxes.center, apart(3).double() + 20_000.0)


def test_near_cloud_is_not_moved() -> None:
    detect, network = detector()
    assert detect(apart(3) + 900.5).boxes.center.dtype == torch.float32
    assert network.seen is not None
    torch.testing.assert_close(network.seen.xyz, apart(3) + 900.5)


def test_stray_point_far_from_the_others_is_left_out() -> None:
    points = apart(5)
    points[2, 1] = 1e6
    assert len(detector()[0](points)) == 4


@pytest.mark.parametrize("rgb", [np.full((2, 3), 51, np.uint8), torch.full((2, 3), 51).byte()])
def test_byte_colors_are_divided_by_255(rgb: np.ndarray | Tensor) -> None:
    detect, network = detector()
    detect(apart(2), rgb=rgb)
    assert network.seen is not None
    torch.testing.assert_close(network.seen.features, torch.full((2, 3), 0.2))


def test_colors_that_are_not_finite_are_unknown() -> None:
    detect, network = detector()
    detect(apart(2), rgb=np.array([[np.inf, 0, 1], [np.nan, 0, 1]]))
    assert network.seen is not None
    assert network.seen.features[:, 0].isnan().all()


@pytest.mark.parametrize(
    ("high", "low", "text"),
    [
        (255.0, 0.0, r"rgb spans 0\.\.255, expected 0\.\.1: divide by 255"),
        (1.0, -1.0, r"rgb spans -1\.\.1, expected 0\.\.1: are these colors"),
    ],
)
def test_colors_out_of_range_are_refused(high: float, low: float, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        detector()[0](apart(2), rgb=np.array([[low, 0, 0], [high, 0, 0]]))


def test_colors_stay_with_their_points() -> None:
    detect, network = detector()
    points = apart(3)
    points[0] = float("nan")
    detect(points, rgb=np.array([[0, 0, 0], [0.1, 0.2, 0.3], [1, 1, 1]]))
    assert network.seen is not None
    torch.testing.assert_close(network.seen.features[0], torch.tensor([0.1, 0.2, 0.3]))


def test_missing_colors_are_unknown() -> None:
    detect, network = detector()
    detect(apart(2))
    assert network.seen is not None
    assert network.seen.features.isnan().all()


@pytest.mark.parametrize("points", [torch.zeros(0, 3), torch.full((4, 3), float("nan"))])
def test_no_usable_points_give_no_detections(points: Tensor) -> None:
    detect, network = detector()
    assert len(detect(points)) == 0
    assert network.seen is None


def test_one_point_is_a_cloud() -> None:
    assert len(detector()[0](torch.zeros(1, 3))) == 1


def test_large_clouds_are_thinned_evenly_and_always_the_same() -> None:
    detect, network = detector(max_points=4)
    detect(apart(8))
    assert network.seen is not None
    torch.testing.assert_close(network.seen.xyz, apart(8)[[0, 2, 4, 6]])


def test_time_of_each_stage_is_told() -> None:
    found = detector()[0](apart(2))
    assert set(found.time_ms) == {"network", "postprocess"}
    assert all(time >= 0 for time in found.time_ms.values())


@pytest.mark.parametrize(
    ("xyz", "rgb", "text"),
    [
        (np.zeros((4, 2)), None, r"xyz has shape \(4, 2\), expected \(N, 3\)"),
        (np.zeros(3), None, r"xyz has shape \(3,\), expected \(N, 3\)"),
        (np.zeros((4, 3)), np.zeros((3, 3)), "rgb has 3 rows, xyz has 4 rows"),
        (np.array([["a", "b", "c"]]), None, "xyz holds <U1, expected real numbers"),
    ],
)
def test_wrong_shapes_are_refused(xyz: np.ndarray, rgb: np.ndarray | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        detector()[0](xyz, rgb)


def test_network_is_in_evaluation_mode_and_leaves_no_graph() -> None:
    detect, network = detector()
    assert not network.training
    assert not detect(apart(2)).scores.requires_grad


def test_detections_come_by_falling_score() -> None:
    rows = [[x, 0, 0, 1, 1, 1] for x in (0.0, 5.0, 10.0)]
    found = Postprocess()(predictions(rows, [[0.2, 0.001], [0.9, 0.001], [0.5, 0.001]]))
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.5, 0.2]))


@pytest.mark.parametrize(
    "row",
    [
        [float("nan"), 0, 0, 1, 1, 1, 0],
        [0, 0, 0, float("inf"), 1, 1, 0],
        [0, 0, 0, 1, 0, 1, 0],
        [0, 0, 0, 1, 1, -1, 0],
        [0, 0, 0, 1, 1, 1, float("nan")],
    ],
)
def test_boxes_that_are_not_finite_or_have_no_size_are_left_out(row: list[float]) -> None:
    given = predictions([row, [5, 0, 0, 1, 1, 1, 0]], [[0.9, 0.001], [0.8, 0.001]])
    for knobs in ({}, {"max_candidates": 1}):
        found = Postprocess(score_threshold=0.0, **knobs)(given)
        assert found.boxes.center[:, 0].unique().tolist() == [5.0]


def test_scores_that_are_nan_take_no_candidate() -> None:
    given = predictions([[0, 0, 0, 1, 1, 1], [5, 0, 0, 1, 1, 1]], [[float("nan")], [0.8]])
    assert Postprocess(max_candidates=1)(given).boxes.center[:, 0].tolist() == [5.0]


def test_one_anchor_point_may_yield_several_classes() -> None:
    found = Postprocess()(predictions([[0, 0, 0, 1, 1, 1]], [[0.6, 0.4]]))
    assert found.labels.tolist() == [0, 1]


def test_one_class_reports_an_object_once_under_its_best_class() -> None:
    same = [[0, 0, 0.5, 1, 1, 1, 0], [0.05, 0, 0.5, 1, 1, 1, 0], [3, 0, 0.5, 1, 1, 1, 0]]
    given = predictions(same, [[0.9, 0.6], [0.1, 0.8], [0.2, 0.7]])
    found = Postprocess(one_class=True)(given)
    assert found.labels.tolist() == [0, 1]
    assert found.boxes.center[:, 0].tolist() == [0, 3]


def test_scores_must_exceed_the_threshold() -> None:
    rows = [[x, 0, 0, 1, 1, 1] for x in (0.0, 5.0)]
    given = predictions(rows, [[0.6, 0.1], [0.2, 0.1]])
    assert len(Postprocess(score_threshold=0.5)(given)) == 1


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.3, 0.999, 1.0])
def test_a_box_comes_out_for_every_score_above_the_threshold(threshold: float) -> None:
    rows = [[5.0 * i, 0, 0, 1, 1, 1] for i in range(200)]
    logits = 8 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    logits[3, 0], logits[4], logits[5, 1] = math.nan, math.inf, -math.inf
    given = predictions(rows, [[0.5, 0.5]] * 200)
    given = Predictions(given.anchors, given.boxes, logits, given.level, given.scene)
    found = Postprocess(score_threshold=threshold)(given)
    expected = (logits.sigmoid() > threshold).nonzero().tolist()
    place = (found.boxes.center[:, 0] / 5).long().tolist()
    assert sorted(zip(place, found.labels.tolist(), strict=True)) == list(map(tuple, expected))


def test_nothing_above_the_threshold_gives_no_detections() -> None:
    assert len(Postprocess(score_threshold=0.5)(predictions([[0, 0, 0, 1, 1, 1]], [[0.4]]))) == 0


def test_no_anchor_points_give_no_detections() -> None:
    none = predictions([[0, 0, 0, 1, 1, 1]], [[0.9]])[:0]
    assert len(Postprocess()(none)) == 0


def test_stacked_boxes_survive_in_3d_and_merge_from_above() -> None:
    rows = [[0, 0, 0, 1, 1, 1], [0, 0, 2, 1, 1, 1]]
    stacked = predictions(rows, [[0.9, 0.001], [0.8, 0.001]])
    assert len(Postprocess(nms="3d")(stacked)) == 2
    assert len(Postprocess(nms="bev")(stacked)) == 1


def test_candidates_are_the_best_anchor_points() -> None:
    rows = [[5.0 * i, 0, 0, 1, 1, 1] for i in range(4)]
    given = predictions(rows, [[0.1, 0.1], [0.2, 0.9], [0.8, 0.1], [0.3, 0.1]])
    found = Postprocess(max_candidates=2, score_threshold=0.5)(given)
    assert found.boxes.center[:, 0].tolist() == [5.0, 10.0]


def test_max_detections_keeps_the_best() -> None:
    rows = [[5.0 * i, 0, 0, 1, 1, 1] for i in range(3)]
    given = predictions(rows, [[0.5, 0.001], [0.9, 0.001], [0.7, 0.001]])
    found = Postprocess(max_detections=1)(given)
    assert found.boxes.center[:, 0].tolist() == [5.0]


@pytest.mark.parametrize(
    ("knobs", "text"),
    [
        ({"score_threshold": -0.1}, r"postprocess.score_threshold: -0.1, expected 0\.\.1"),
        ({"iou": 2.0}, r"postprocess.iou: 2.0, expected 0\.\.1"),
        ({"max_candidates": 0}, "postprocess.max_candidates: 0, expected at least 1"),
        ({"nms": "4d"}, "postprocess.nms: '4d', expected 'bev' or '3d'"),
    ],
)
def test_knobs_out_of_range_are_refused(knobs: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Postprocess(**knobs)


@pytest.mark.parametrize("name", ["abacus", "mps", "meta", "cpu:3", "cuda:-1", ""])
def test_unknown_device_is_refused(name: str) -> None:
    text = f"device '{name}' is unknown, expected auto, cpu or cuda"
    with pytest.raises(ValueError, match=text):
        choose_device(name)


def test_gpu_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"'cuda:7'.* 2 GPUs"):
        choose_device("cuda:7")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_told() -> None:
    with pytest.raises(ValueError, match="sees no GPU; choose cpu or auto"):
        choose_device("cuda")
