"""The weights that ship, on real clouds and recordings: nothing crashes, boxes are plausible.

These clouds have no labels; nothing here was trained or tuned on them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sr3d_core.cli.main import app
from sr3d_core.data.cloud_file import read_cloud

CLOUDS = (
    "capture0001.pcd",
    "milk_cartoon_all_small_clorox.pcd",
    "region_growing_rgb_tutorial.pcd",
)
BAGS = ("open3d_redwood_5frames_mcap", "open3d_redwood_5frames_db3")


def run(*arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output


def check_plausible(detections: list[dict[str, Any]], low: float, high: float) -> None:
    for found in detections:
        assert 0.3 <= found["score"] <= 1.0
        assert all(0.05 < edge < 5.0 for edge in found["size"]), found
        assert all(low < coordinate < high for coordinate in found["center"]), found
        assert -3.15 <= found["yaw"] <= 3.15


@pytest.mark.parametrize("name", CLOUDS)
def test_real_clouds_give_plausible_boxes(real_data: Path, tmp_path: Path, name: str) -> None:
    path = real_data / "clouds" / name
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    run("detect", str(path), "--json", str(out), "--picture", str(picture))
    result = json.loads(out.read_text())
    xyz = read_cloud(path, up="auto").xyz
    check_plausible(result["detections"], float(xyz.min()) - 1, float(xyz.max()) + 1)
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize("name", BAGS)
def test_every_frame_of_a_real_bag_is_detected_in(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out.json"
    run("bag", "detect", str(real_data / "bags" / name), "--json", str(out))
    frames = json.loads(out.read_text())["frames"]
    assert len(frames) == 5
    for frame in frames:
        check_plausible(frame["detections"], -10, 10)


def test_both_storages_of_a_recording_give_the_same_boxes(real_data: Path, tmp_path: Path) -> None:
    found = []
    for name in BAGS:
        out = tmp_path / f"{name}.json"
        run("bag", "detect", str(real_data / "bags" / name), "--json", str(out))
        frames = json.loads(out.read_text())["frames"]
        found.append([frame["detections"] for frame in frames])
    assert found[0] == found[1]


def test_a_cloud_of_a_ros_1_bag_is_detected_in(real_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    run(
        "bag",
        "detect",
        str(real_data / "bags" / "watercan.bag"),
        "--up",
        "none",
        "--json",
        str(out),
    )
    assert len(json.loads(out.read_text())["frames"]) == 1
