"""The same weights tested several times, with other random points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cli_harness import assert_one_line_error, save_untrained, sr3d
from sample_boxes import found

from sr3d_core.evaluate import evaluate
from sr3d_core.evaluate_tests import InRandomOrder, evaluate_tests
from sr3d_core.geometry.thinning import thinned
from sr3d_core.structures import Boxes3D, Detections, PointCloud, Sample, Targets

CUBE = [0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.0]


class Scenes:
    """Clouds whose points are told apart by x, and colored by it."""

    classes = ("chair",)

    def __init__(self, *sizes: int) -> None:
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> Sample:
        xyz = torch.arange(float(self._sizes[index]))[:, None].expand(-1, 3).contiguous()
        truth = Targets(Boxes3D.from_array(torch.tensor([CUBE])), torch.tensor([0]))
        return Sample(PointCloud.single(xyz, xyz / 1000), truth, f"scene {index}")


def test_the_first_test_sees_points_as_they_come() -> None:
    first = InRandomOrder(Scenes(50), 1)[0]
    assert torch.equal(first.cloud.xyz, Scenes(50)[0].cloud.xyz)


def test_every_further_test_sees_the_same_points_in_an_order_of_its_own() -> None:
    scenes = Scenes(50, 50)
    orders = [InRandomOrder(scenes, test)[index] for test in (2, 3) for index in (0, 1)]
    xs = [sample.cloud.xyz[:, 0].tolist() for sample in orders]
    assert len({tuple(x) for x in xs}) == 4
    assert all(sorted(x) == list(range(50)) for x in xs)
    for sample in orders:
        assert torch.equal(sample.cloud.features, sample.cloud.xyz / 1000)
    again = InRandomOrder(scenes, 2)[0].cloud.xyz[:, 0].tolist()
    assert again == xs[0]


def test_of_a_cloud_that_is_thinned_other_points_remain() -> None:
    """Of 1000 points two tests share about a quarter of their 250: 62.5 of 250, on average."""
    kept = [
        set(thinned(InRandomOrder(Scenes(1000), test)[0].cloud, 250).xyz[:, 0].tolist())
        for test in (2, 3)
    ]
    assert [len(each) for each in kept] == [250, 250]
    assert 30 < len(kept[0] & kept[1]) < 100


def test_a_scene_without_points_stays_one() -> None:
    assert len(InRandomOrder(Scenes(0), 2)[0].cloud) == 0
    with pytest.raises(ValueError, match="test 0"):
        InRandomOrder(Scenes(0), 0)


class ByFirstPoint:
    """Finds the chair where the cloud begins with its own first point, else half a metre off."""

    classes = ("chair",)

    def detect(self, cloud: PointCloud) -> Detections:
        shift = 0.0 if float(cloud.xyz[0, 0]) == 0.0 else 0.5
        return found((0.9, 0, [shift, *CUBE[1:]]))


def test_mean_deviation_and_best_are_those_over_the_tests() -> None:
    """As it comes the chair is found at IoU 1, in any other order at 1/3."""
    done: list[int] = []
    tests = [InRandomOrder(Scenes(50), test) for test in (1, 2, 3, 4)]
    result = evaluate_tests(ByFirstPoint(), tests, done.append)
    assert result.figures(None)[0] == (1.0, 0.0, 1.0)
    assert result.figures(None)[1] == pytest.approx((0.25, 0.5, 1.0))  # of 1 0 0 0, with N - 1
    values = result.to_dict()
    assert (values["map50"], values["map50_std"], values["map50_best"]) == (0.25, 0.5, 1.0)
    assert values["num_tests"] == 4
    assert done == [1, 2, 3, 4]
    assert result.each[0].to_dict() == evaluate(ByFirstPoint(), Scenes(50)).to_dict()


def test_one_test_is_an_evaluation() -> None:
    with pytest.raises(ValueError, match="use evaluate"):
        evaluate_tests(ByFirstPoint(), [Scenes(5)])


def test_the_command_tells_best_and_mean(tmp_path: Path) -> None:
    weights, out = save_untrained(tmp_path), tmp_path / "r.json"
    options = ("--num", "1", "--weights", weights, "--json", out)
    done = sr3d("eval", *options, "--tests", "2")
    assert done.exit_code == 0, done.output
    assert "best (mean" in done.output
    several = json.loads(out.read_text())
    assert several["num_tests"] == 2
    assert {"map25", "map25_std", "map25_best"} <= several.keys()
    assert sr3d("eval", *options).exit_code == 0
    assert "num_tests" not in json.loads(out.read_text())


def test_tests_have_no_page_and_no_views(tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert_one_line_error(sr3d("eval", "--tests", "2", "--report", page), "--tests 2", "--report")
    assert_one_line_error(sr3d("eval", "--tests", "2", "--views", "2"), "--tests 2", "--views 2")
