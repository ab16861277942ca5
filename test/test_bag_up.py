"""Recordings that do not say which way is up, or whose transforms have another name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_bags import (
    CAMERA_TURN,
    STILL,
    BoundingBox,
    S,
    Write,
    cloud,
    optical_points,
    tf,
    write_bag,
)
from typer.testing import CliRunner

from sr3d_ros.bag.commands import app
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.run import open_run
from sr3d_ros.bag.source import Topics
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult

LEVEL_FROM_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
CAMERA_HEIGHT_M = 1.25


def optical_room() -> NDArray[np.float64]:
    """A level floor that an optical camera sees, and a block on it, 0.8 m high."""
    draw = np.random.default_rng(0)
    floor = np.stack(
        [
            draw.uniform(-2, 2, 4000),
            np.full(4000, CAMERA_HEIGHT_M),
            draw.uniform(2.5, 6, 4000),
        ],
        axis=1,
    )
    low, high = (-0.3, CAMERA_HEIGHT_M - 0.8, 3.7), (0.3, CAMERA_HEIGHT_M, 4.3)
    return np.concatenate([floor, draw.uniform(low, high, (1500, 3))])


def wall() -> NDArray[np.float64]:
    """The points of a wall that fills the view of an optical camera: no floor."""
    across, down = np.random.default_rng(0).uniform(-1, 1, (2, 2000))
    return np.stack([across, down, np.full(2000, 3.0)], axis=1)


def bag_of(folder: Path, points: NDArray[np.float64], frame: str, *transforms: Any) -> Path:
    """Two clouds, and transforms by topic, received with the first one unless it is said when."""

    def fill(write: Write) -> None:
        for topic, message, *at_ns in transforms:
            write(topic, message, *(at_ns or [S]))
        for tick in (1, 2):
            write("/points", cloud(tick * S, frame, points), tick * S)

    return write_bag(folder / "bag", "mcap", fill)


def opened(path: Path, **options: Any) -> tuple[list[FrameResult], Any]:
    with open_run(path, BoundingBox(), **options) as run:
        frames = list(run.frames())
    assert all(isinstance(frame, FrameResult) for frame in frames)
    return frames, run


CAMERA_ALONE = ("/tf_static", tf("camera", "camera_optical_frame", 0, (0, 0, 0)))


@pytest.mark.parametrize("transforms", [[], [CAMERA_ALONE]])
@pytest.mark.parametrize("frame", ["camera_optical_frame", "sensor"])
def test_an_optical_cloud_is_turned_upon_its_floor(
    tmp_path: Path, transforms: list[Any], frame: str
) -> None:
    frames, run = opened(bag_of(tmp_path, optical_room(), frame, *transforms))
    assert run.parameters.up == "floor"
    (remark,) = run.remarks
    assert f"'{frame}'" in remark
    assert "--up" in remark
    for result in frames:
        assert result.gravity_frame == f"{frame}_level"
        box = result.detections.boxes
        torch.testing.assert_close(box.size[0, 2], torch.tensor(0.8), atol=0.02, rtol=0)
        torch.testing.assert_close(box.center[0, 2], torch.tensor(0.4), atol=0.02, rtol=0)


def test_looking_for_up_leaves_the_transforms_as_of_the_end(tmp_path: Path) -> None:
    """The first cloud was looked at, after which the camera was moved."""
    path = bag_of(
        tmp_path,
        optical_room(),
        "optical",
        ("/tf_static", tf("camera", "optical", 0, (0, 0, 0))),
        ("/tf_static", tf("camera", "optical", 0, (0, 0, 7)), 9 * S),
    )
    with open_run(path, BoundingBox()) as run:
        assert run.parameters.up == "floor"
        assert run.transforms.lookup("camera", "optical", S)[2, 3] == 7


def test_a_cloud_whose_floor_is_level_stays_as_it_is(tmp_path: Path) -> None:
    points = optical_room() @ LEVEL_FROM_OPTICAL.T + (0.0, 0.0, CAMERA_HEIGHT_M)
    path = bag_of(tmp_path, points, "scanner")
    (found, _), run = opened(path)
    (plain, _), _ = opened(path, up="none")
    assert run.parameters.up == "none"
    assert "'scanner'" in run.remarks[0]
    assert torch.equal(found.sensor_cloud.xyz, plain.sensor_cloud.xyz)


def test_limits_of_height_do_not_hide_the_floor_that_is_searched_for(tmp_path: Path) -> None:
    parameters = Parameters(min_height_m=0.1, max_height_m=2.0, detection_frame="")
    (found, _), run = opened(bag_of(tmp_path, optical_room(), "camera"), parameters=parameters)
    assert run.parameters.up == "floor"
    assert 1000 < found.num_points < 1500  # of the block, without the floor


@pytest.mark.parametrize("frame", ["camera_depth_optical_frame", "sensor"])
def test_without_floor_and_transforms_nothing_is_assumed(tmp_path: Path, frame: str) -> None:
    path = bag_of(tmp_path, wall(), frame, CAMERA_ALONE)
    with pytest.raises(ReplayError) as caught, open_run(path, BoundingBox()):
        pass
    text = str(caught.value)
    for part in ("/points", f"'{frame}'", "--up none", "--up floor", "--detection-frame"):
        assert part in text
    assert ("camera's" in text) == frame.endswith("optical_frame")


@pytest.mark.parametrize("frame", ["map", "base_link"])
def test_a_frame_that_is_z_up_by_its_name_needs_no_floor(tmp_path: Path, frame: str) -> None:
    frames, run = opened(bag_of(tmp_path, wall(), frame))
    assert run.parameters.up == "none"
    assert [result.gravity_frame for result in frames] == [frame] * 2


def robot_transforms(namespace: str, height_m: float = 1.0) -> list[tuple[str, Any]]:
    return [
        (f"{namespace}/tf_static", tf("base_link", "camera", 0, (0, 0, height_m), CAMERA_TURN)),
        *(
            (f"{namespace}/tf", tf("odom", "base_link", tick * S, (0, 0, 0), STILL))
            for tick in (1, 2)
        ),
    ]


def test_the_only_namespace_of_transforms_is_taken_and_told(tmp_path: Path) -> None:
    path = bag_of(tmp_path, optical_points(0.0), "camera", *robot_transforms("/robot1"))
    frames, run = opened(path)
    assert [result.gravity_frame for result in frames] == ["base_link"] * 2
    (remark,) = run.remarks
    assert "/robot1/tf_static" in remark
    assert "--tf-namespace" in remark


def test_transforms_of_a_namespace_are_left_out_beside_the_roots_and_named(tmp_path: Path) -> None:
    transforms = [*robot_transforms(""), *robot_transforms("/fleet/robot1", height_m=2.0)]
    path = bag_of(tmp_path, optical_points(0.0), "camera", *transforms)
    heights = []
    for namespace in (None, "/", "/fleet/robot1", "fleet/robot1/"):
        frames, run = opened(path, topics=Topics(tf_namespace=namespace))
        heights.append(float(frames[0].gravity_from_cloud[2, 3]))
        left_out = "/tf" if namespace and "robot1" in namespace else "/fleet/robot1/tf"
        assert f"{left_out}," in run.remarks[0]
        assert f"{left_out}_static" in run.remarks[0]
    assert heights == [1.0, 1.0, 2.0, 2.0]


def test_of_two_namespaces_none_is_taken_and_both_are_named(tmp_path: Path) -> None:
    transforms = [*robot_transforms("/robot1"), *robot_transforms("/robot2")]
    path = bag_of(tmp_path, wall(), "camera", *transforms)
    with pytest.raises(ReplayError) as caught, open_run(path, BoundingBox()):
        pass
    for part in ("/robot1/tf", "--tf-namespace /robot1", "--tf-namespace /robot2"):
        assert part in str(caught.value)
    opened(path, topics=Topics(tf_namespace="/robot2"))


def test_a_namespace_without_transforms_is_answered_with_the_topics_that_have_some(
    tmp_path: Path,
) -> None:
    path = bag_of(tmp_path, optical_points(0.0), "camera", *robot_transforms("/robot1"))
    with (
        pytest.raises(ReplayError, match=r"/robot7.*: /robot1/tf, /robot1/tf_static"),
        open_run(path, BoundingBox(), topics=Topics(tf_namespace="/robot7")),
    ):
        pass


def test_the_commands_say_where_transforms_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
    )
    transforms = [*robot_transforms(""), *robot_transforms("/robot1")]
    path = bag_of(tmp_path, optical_points(0.0), "camera", *transforms)
    out = tmp_path / "out.json"
    for command in (("info", str(path)), ("detect", str(path), "--json", str(out))):
        told = CliRunner().invoke(app, list(command))
        assert told.exit_code == 0, told.output
        assert "/robot1/tf_static" in told.output.replace("\n", "")
        chosen = CliRunner().invoke(app, [*command, "--tf-namespace", "/robot1"])
        assert chosen.exit_code == 0, chosen.output
    assert len(json.loads(out.read_text())["frames"]) == 2
