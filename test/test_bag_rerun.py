"""A recording for the rerun viewer, read back with rerun's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_bags import CENTER, SIZE, BoundingBox, S, optical_points, write_bag
from typer.testing import CliRunner

from sr3d_core.colors import class_color
from sr3d_ros.bag.commands import app

pytest.importorskip("rerun")
from rerun.chunk import RrdReader

Rows = dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    """By entity and stamp (-1 = static), the components that the file has."""
    folder = tmp_path_factory.mktemp("rerun")
    bag, out = write_bag(folder / "drive", "mcap"), folder / "a.rrd"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
        )
        result = CliRunner().invoke(app, ["detect", str(bag), "--rrd", str(out)])
    assert result.exit_code == 0, result.output
    entities: dict[str, Rows] = {}
    for chunk in RrdReader(out).stream():
        batch = chunk.to_record_batch()
        columns = {
            name.partition(":")[2] or name: batch.column(name)
            for name in batch.schema.names
            if name == "stamp" or (":" in name or name == "score")
        }
        stamps = columns.pop("stamp", None)
        for row in range(batch.num_rows):
            stamp = -1 if stamps is None else stamps[row].value
            values = {name: column[row].as_py() for name, column in columns.items()}
            entities.setdefault(chunk.entity_path, {}).setdefault(stamp, {}).update(values)
    return entities


STAMPS = [S + tick * S // 10 for tick in range(5)]


def test_every_cloud_and_box_stands_at_its_stamp_in_its_frame(written: dict[str, Rows]) -> None:
    assert sorted(written["/cloud"]) == sorted(written["/boxes"].keys() - {-1}) == STAMPS
    for stamp in STAMPS:
        cloud, boxes = written["/cloud"][stamp], written["/boxes"][stamp]
        assert cloud["frame"] == boxes["frame"] == ["base_link"]
        assert len(cloud["positions"]) == len(optical_points(0.0))
        robot_x = (stamp - S) / S
        assert boxes["centers"][0] == pytest.approx(np.subtract(CENTER, (robot_x, 0, 0)), abs=1e-5)
        assert np.multiply(boxes["half_sizes"][0], 2) == pytest.approx(SIZE, abs=1e-5)
        assert boxes["score"] == pytest.approx([0.9])
        assert boxes["labels"] == ["chair 0.90"]
        red, green, blue = (round(255 * part) for part in class_color("chair"))
        assert boxes["colors"] == [(red << 24) + (green << 16) + (blue << 8) + 255]


def test_transforms_lead_from_the_boxes_to_the_map(written: dict[str, Rows]) -> None:
    moving = written["/tf/base_link"]
    assert sorted(moving) == STAMPS
    for stamp, row in moving.items():
        assert (row["parent_frame"], row["child_frame"]) == (["map"], ["base_link"])
        assert row["translation"][0] == pytest.approx([(stamp - S) / S, 0, 0], abs=1e-6)
    (camera,) = written["/tf/camera"].values()
    assert camera["translation"][0] == pytest.approx([0, 0, 1])
    assert written["/"][-1]["frame"] == ["map"]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["detect", "a", "--rrd", str(tmp_path / "a.mcap")])
    assert result.exit_code == 1
    assert "a.mcap" in result.output
    assert len(result.output.strip().splitlines()) == 1
