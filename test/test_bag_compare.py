"""Two detectors on one recording: what each finds, and that it is read once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_bags import CENTER, SIZE, BoundingBox, write_bag
from typer.testing import CliRunner

from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.bag.commands import app
from sr3d_ros.bag.replay import Bag

BOX = {"class": "chair", "center": CENTER, "size": SIZE, "yaw": 0.0}


class Sofas(BoundingBox):
    """Takes everything for a sofa, and knows lamps."""

    classes = ("lamp", "sofa", "chair")

    def detect(self, cloud: PointCloud) -> Detections:
        found = super().detect(cloud)
        return Detections(found.boxes, found.scores, torch.ones_like(found.labels))


@pytest.fixture(scope="module")
def one_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "sqlite3")


def compared(
    bag: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, truth: Any, *more: str
) -> dict[str, Any]:
    def load(weights: str, **_: Any) -> BoundingBox:
        return Sofas() if weights == "other" else BoundingBox()

    monkeypatch.setattr("sr3d_core.detector.Detector.from_checkpoint", load)
    path, out = folder / "truth.json", folder / "out.json"
    path.write_text(json.dumps({"frame": "map", "static": truth}))
    arguments = ("eval", bag, "--gt", path, "--compare", "other", "--json", out)
    result = CliRunner().invoke(app, [*map(str, arguments), *more])
    assert result.exit_code == 0, result.output
    written: dict[str, Any] = json.loads(out.read_text())
    return written


def test_the_second_detector_gets_the_same_frames_which_are_read_once(
    one_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clouds: list[int] = []
    messages = Bag.messages

    def counted(self: Bag, *topics: str) -> Any:
        for topic, time_ns, message in messages(self, *topics):
            if topic == "/points":
                clouds.append(time_ns)
            yield topic, time_ns, message

    monkeypatch.setattr(Bag, "messages", counted)
    result = compared(one_bag, tmp_path, monkeypatch, [BOX], "--up", "tf")
    assert len(clouds) == 5
    both = result["compare"]
    assert (result["map25"], both["report"]["map25"]) == (1.0, 0.0)
    assert both["differences"]["per_class"]["chair"]["ap25"] == {
        "first": 1.0,
        "second": 0.0,
        "difference": -1.0,
        "low": -1.0,
        "high": -1.0,
    }
    assert both["only_first"] == [
        {"object": "chair 0", "class": "chair", "num_found": 5, "num_in_view": 5}
    ]
    assert both["only_second"] == []


def test_truth_may_hold_what_one_of_them_alone_knows(
    one_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp = {"class": "lamp", "center": CENTER, "size": SIZE}
    result = compared(one_bag, tmp_path, monkeypatch, [BOX, lamp])
    assert "lamp" not in result["per_class"]
    assert result["compare"]["report"]["per_class"]["lamp"]["boxes"] == 5
    assert set(result["compare"]["differences"]["per_class"]) == {"chair", "sofa"}
