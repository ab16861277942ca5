"""`sr3d bag map`: a recording as a map of objects, and going on with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray_casting import Box, seen_cloud
from small_bags import CAMERA_TURN, BoundingBox, S, Write, cloud, tf, write_bag
from typer.testing import CliRunner

from sr3d_core.map_picture import Plan, draw_map
from sr3d_core.structures import Detections, PointCloud
from sr3d_ros.bag.commands import app

CHAIR: Box = (3.0, 0.0, 0.45, 0.5, 0.5, 0.9)
LEFT = 4


class FindsChairs(BoundingBox):
    """Finds the box where something stands on the floor in front of the wall; z up."""

    def detect(self, cloud: PointCloud) -> Detections:
        xyz = cloud.xyz
        is_it = (xyz[:, 2] > 0.05) & (xyz[:, 0] < 4.0)
        return super().detect(cloud[is_it]) if bool(is_it.any()) else Detections.empty()


def drive(write: Write) -> None:
    """A robot at rest looks at a chair, which is carried away."""
    write("/tf_static", tf("base_link", "camera", 0, (0, 0, 1.2), CAMERA_TURN), S)
    for tick in range(10):
        stamp_ns = S + tick * S // 2
        world = [CHAIR] if tick < LEFT else []
        x, y, z = (seen_cloud((0.0, 0.0, 1.2), *world).xyz.numpy() - (0.0, 0.0, 1.2)).T
        points = np.stack([-y, -z, x], axis=1)
        write("/points", cloud(stamp_ns, "camera", points), stamp_ns + 1000)
        write("/tf", tf("map", "base_link", stamp_ns, (1.0, 2.0, 0)), stamp_ns + 2000)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "mcap", drive)


@pytest.fixture(autouse=True)
def with_fake_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: FindsChairs()
    )


def run_command(*arguments: Any) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_bag_map_writes_the_map_and_its_plan(bag: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "map.json", tmp_path / "map.png"
    code, text = run_command("map", bag, "--json", out, "--picture", picture)
    assert code == 0, text
    tree = json.loads(out.read_text())
    assert (tree["frame"], tree["stamp_ns"]) == ("map", S + 9 * S // 2)
    (chair,) = tree["objects"]
    assert (chair["state"], chair["class"], chair["times_seen"]) == ("gone", "chair", LEFT)
    assert chair["center"][:2] == pytest.approx((1.0 + 3.0, 2.0), abs=0.3)  # its front is seen
    assert chair["gone_ns"] == S + (LEFT + 2) * S // 2
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_plan_of_nothing_is_drawn_too(tmp_path: Path) -> None:
    path = draw_map([], 0, tmp_path / "map.png", "nothing", Plan())
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_map_that_does_not_fit_ends_bag_map_in_one_line(bag: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.json"
    start.write_text('{"format": "sr3d object map", "version": 99}')
    code, text = run_command("map", bag, "--start", start)
    assert code == 1
    assert "99" in text
