"""How long detectors take: which clouds they see, how often, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_harness import assert_one_line_error, save_untrained, sr3d
from fixed_network import CLASSES, Fixed, cube
from torch import nn

from sr3d_core.detector import Detector
from sr3d_core.structures import Boxes3D, PointCloud, Predictions, Sample, Targets
from sr3d_core.timing import Times, measure_times

NOTHING = Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64))


class Listed(nn.Module):
    """Writes down when it is shown which cloud."""

    def __init__(self, name: str, seen: list[tuple[str, int]]) -> None:
        super().__init__()
        self.name, self.seen = name, seen
        self.weight = nn.Parameter(torch.zeros(3, 4))
        self.answer = Fixed(((0.9, 0.001), cube(0.0), [0.0, 0.0, 0.5]))

    def forward(self, cloud: PointCloud) -> Predictions:
        self.seen.append((self.name, len(cloud)))
        says: Predictions = self.answer(cloud)
        return says


def samples(*sizes: int) -> list[Sample]:
    return [Sample(PointCloud.single(torch.zeros(n, 3), None), NOTHING, str(n)) for n in sizes]


def test_every_cloud_goes_to_all_in_turn_and_backwards_every_other_time() -> None:
    seen: list[tuple[str, int]] = []
    detectors = {name: Detector(Listed(name, seen), CLASSES, device="cpu") for name in "ab"}
    done: list[int] = []
    times = measure_times(detectors, samples(5, 6, 7), done.append)
    unmeasured, measured = seen[:2], seen[2:]
    assert unmeasured == [("a", 5), ("b", 5)]
    assert measured == [("a", 5), ("b", 5), ("b", 6), ("a", 6), ("a", 7), ("b", 7)]
    assert done == [1, 2, 3]
    for each in times.values():
        assert (each.num_parameters, len(each.total_ms), each.num_boxes) == (12, 3, (1, 1, 1))
        stages = zip(each.total_ms, each.network_ms, each.postprocess_ms, strict=True)
        assert all(total >= network + after > 0 for total, network, after in stages)


def test_medians_and_the_middle_eight_tenths() -> None:
    each = Times(12, tuple(map(float, range(1, 12))), (2.0,), (), (1, 3))
    values = each.to_dict()
    assert values["total_ms"] == {"median": 6.0, "tenth": 2.0, "nine_tenths": 10.0}
    assert values["postprocess_ms"] == {"median": None, "tenth": None, "nine_tenths": None}
    assert values["scenes_per_s"] == pytest.approx(1000 / 6, abs=1e-3)
    assert values["median_boxes"] == 2
    assert each.cells() == ("12", "6.0", "10.0", "2.0", "-", "166.67")


def test_clouds_without_a_point_have_no_stages() -> None:
    times = measure_times({"a": Detector(Listed("a", []), CLASSES, device="cpu")}, samples(0))
    assert times["a"].network_ms == ()
    assert json.loads(json.dumps(times["a"].to_dict()))["network_ms"]["median"] is None


def test_without_a_scene_there_are_no_times() -> None:
    with pytest.raises(ValueError, match="no scene"):
        measure_times({"a": Detector(Listed("a", []), CLASSES, device="cpu")}, [])


def write_scene(folder: Path) -> Path:
    for part in ("clouds", "labels"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    np.save(folder / "clouds" / "a.npy", rng.uniform(0, 1, (200, 3)))
    (folder / "labels" / "a.json").write_text('{"boxes": []}')
    (folder / "classes.txt").write_text("chair\n")
    (folder / "val.txt").write_text("a\n")
    return folder


def test_the_command_tells_parameters_and_times(tmp_path: Path) -> None:
    """Those of the published network, as the paper counts them: 14.7 million."""
    weights, out = save_untrained(tmp_path), tmp_path / "times.json"
    scenes = write_scene(tmp_path / "scenes")
    options = ("--untrained", "scannet", "--data", scenes, "--device", "cpu", "--json", out)
    done = sr3d("model", "times", weights, *options, "--config", "sr3d_paper")
    assert done.exit_code == 0, done.output
    assert "14,661,464" in done.output
    values = json.loads(out.read_text())
    assert values["num_scenes"] == 1
    assert list(values["weights"]) == [weights, "scannet, untrained"]
    assert values["weights"]["scannet, untrained"]["num_parameters"] == 14_661_464
    assert values["weights"][weights]["network_ms"]["median"] > 0
    assert values["machine"]["device"]


def test_an_unknown_architecture_is_told_in_one_line() -> None:
    assert_one_line_error(sr3d("model", "times", "--untrained", "tiny"), "tiny", "scannet")
