"""What the doctor concludes from one real cloud: layout, units, transforms, which way is up."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from doctor_harness import assert_failed
from numpy.typing import NDArray
from test_pipeline_images import robot, view

from sr3d_core.machine.findings import Finding
from sr3d_core.structures import PointCloud
from sr3d_ros.doctor import cloud as cloud_checks
from sr3d_ros.doctor.cloud import (
    check_cloud,
    check_filter,
    check_image,
    check_level,
    check_transform,
    check_units,
    check_up,
    read_or_none,
    reader_of,
    way_of,
)
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.sensors.depth_image import DepthSet
from sr3d_ros.tf.buffer import TransformBuffer

OPTICAL = (-0.5, 0.5, -0.5, 0.5)  # z forward, y down, in a level body frame


def message(xyz: NDArray, frame_id: str = "camera") -> Any:
    """An unorganised cloud of float32 x y z."""
    names = ("x", "y", "z")
    return SimpleNamespace(
        header=SimpleNamespace(frame_id=frame_id, stamp=SimpleNamespace(sec=1, nanosec=0)),
        height=1,
        width=len(xyz),
        fields=[
            SimpleNamespace(name=name, offset=4 * axis, datatype=7, count=1)
            for axis, name in enumerate(names)
        ],
        point_step=12,
        row_step=12 * len(xyz),
        is_bigendian=False,
        is_dense=False,
        data=np.ascontiguousarray(xyz, np.float32).tobytes(),
    )


def room() -> NDArray:
    """What a camera sees that looks along +y: a floor 1 m below it, a wall, a box; z up."""
    rng = np.random.default_rng(0)
    floor = rng.uniform((-2, 0, -1.0), (2, 4, -0.99), (4000, 3))
    wall = rng.uniform((-2, 4, -1), (2, 4.01, 1), (2000, 3))
    box = rng.uniform((0, 1, -1), (0.6, 1.6, -0.4), (500, 3))
    xyz = np.concatenate([floor, wall, box])
    is_seen = (np.abs(xyz[:, 0]) < 0.9 * xyz[:, 1]) & (np.abs(xyz[:, 2]) < 0.8 * xyz[:, 1])
    return xyz[is_seen]


def cloud(xyz: NDArray) -> PointCloud:
    return PointCloud.single(torch.from_numpy(np.asarray(xyz, np.float32)), None)


def optical(xyz: NDArray) -> NDArray:
    """The same points as a camera that looks along +y sees them: x right, y down, z forward."""
    return np.stack([xyz[:, 0], -xyz[:, 2], xyz[:, 1]], axis=1)


def tilted(xyz: NDArray, degrees: float) -> NDArray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return xyz @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T


def judged(parameters: Parameters, buffer: TransformBuffer, points: Any) -> list[Finding]:
    """What is found on the way from a message to the cloud that is detected in."""
    way = way_of(parameters, buffer)
    first = check_transform(points, way, parameters)
    if first.status == "fail":
        return [first]
    seen, result = reader_of(points)(), way(points)
    return [first, check_level(seen, result, parameters), check_filter(seen, result)]


def test_missing_transforms_are_found() -> None:
    (finding,) = judged(Parameters(), TransformBuffer(), message(room()))
    assert finding.name == "tf"
    assert_failed(finding, "no transform from 'camera'", "robot_state_publisher")


def test_millimetres_are_found() -> None:
    assert_failed(check_units(cloud(1000 * room()), "camera"), "millimetres", "metres (REP-103)")


def test_an_optical_frame_taken_as_z_up_is_found() -> None:
    _, finding, _ = judged(Parameters(up="none"), TransformBuffer(), message(optical(room())))
    assert finding.name == "up"
    assert_failed(finding, "tilted 90 degrees in 'camera'", "set frames.up to tf")


def test_an_empty_cloud_is_found() -> None:
    empty = message(np.zeros((0, 3)))
    assert_failed(check_cloud(empty, reader_of(empty)), "empty", "is the lens covered")


def test_a_healthy_cloud_has_no_findings() -> None:
    buffer = TransformBuffer()
    buffer.insert("base_link", "camera", 0, (0.1, 0.0, 1.2), OPTICAL, static=True)
    sound = message(optical(room()))
    findings = [
        check_cloud(sound, reader_of(sound)),
        check_units(cloud(room()), "camera"),
        *judged(Parameters(), buffer, sound),
    ]
    assert [finding.status for finding in findings] == ["ok"] * 5
    for said in (f"1 x {len(room())}", "(x y z)", "'camera'", "0%", "no color"):
        assert said in findings[0].text
    assert "base_link <- camera" in findings[2].text
    assert "1.20 m" in findings[2].text
    assert f"{len(room()):,} of {len(room()):,}" in findings[4].text


def test_a_cloud_without_returns_and_one_with_few_are_told_apart() -> None:
    nothing = message(np.full((100, 3), np.nan))
    assert_failed(check_cloud(nothing, reader_of(nothing)), "no point is a return", "lens")
    assert read_or_none(reader_of(nothing)) is None
    points = np.full((100, 3), np.nan)
    points[:5] = 1.0
    few = message(points)
    assert check_cloud(few, reader_of(few)).status == "warn"
    assert "95% invalid" in check_cloud(few, reader_of(few)).text


def test_a_cloud_that_cannot_be_read_is_explained() -> None:
    broken = message(room())
    broken.fields = broken.fields[:2]
    assert_failed(check_cloud(broken, reader_of(broken)), "no field z", "correct the publisher")
    assert read_or_none(reader_of(broken)) is None


def test_a_cloud_without_a_frame_is_found() -> None:
    nameless = message(room(), frame_id="")
    assert_failed(check_cloud(nameless, reader_of(nameless)), "frame ''", "header.frame_id")


def test_a_hall_is_a_warning_and_a_thimble_a_failure() -> None:
    hall = room() * (20, 1, 1)
    assert check_units(cloud(hall), "camera").status == "warn"
    assert_failed(check_units(cloud(0.001 * room()), "camera"), "no room is so small", "metres")


@pytest.mark.parametrize("numpy_type", [np.float32, np.float64])
@pytest.mark.parametrize("away_m", [150.0, 4_000_000.0])
def test_how_far_a_map_reaches_says_nothing_of_its_units(away_m: float, numpy_type: Any) -> None:
    xyz = torch.from_numpy(np.add(room(), (away_m, away_m, 0.0)).astype(numpy_type))
    seen = PointCloud.single(xyz, None)
    assert check_units(seen, "map").status == "ok"
    assert check_units(seen, "survey").status == ("ok" if numpy_type is np.float64 else "fail")
    assert_failed(check_units(cloud(1000 * room()), "map"), "millimetres", "metres (REP-103)")


def test_a_floor_is_level_however_far_the_robot_has_driven() -> None:
    """Single precision would spread it over half a metre."""
    buffer = TransformBuffer()
    far = (4_000_000.3, 9_000_000.7, 1.2)
    buffer.insert("map", "camera", 0, far, OPTICAL, static=True)
    parameters = Parameters(detection_frame="map")
    _, finding, _ = judged(parameters, buffer, message(optical(room())))
    near = TransformBuffer()
    near.insert("map", "camera", 0, (0.0, 0.0, 1.2), OPTICAL, static=True)
    _, expected, _ = judged(parameters, near, message(optical(room())))
    assert (finding.status, finding.text) == ("ok", expected.text)


def test_a_crooked_mount_is_a_warning() -> None:
    finding = check_up(cloud(tilted(room(), 10.0)), "base_link")
    assert finding.status == "warn"
    assert "tilted 10 degrees in 'base_link'" in finding.text


@pytest.mark.parametrize("frame", ["camera_color_optical_frame", "left_optical"])
def test_an_optical_frame_is_known_by_its_name_where_no_floor_is_in_sight(frame: str) -> None:
    wall = np.random.default_rng(0).uniform((-1, -1, 2), (1, 1, 2.01), (2000, 3))
    assert_failed(check_up(cloud(wall), frame), "z points forward", "set frames.up to tf")


def test_a_floor_that_is_hardly_seen_proves_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_checks, "up_rotation", lambda _, **known: (torch.eye(3), 0.05))
    finding = check_up(cloud(room()), "base_link")
    assert finding.status == "warn"
    assert "floor" in finding.remedy


def test_walls_without_a_floor_are_no_proof_against_a_z_up_frame() -> None:
    rng = np.random.default_rng(0)
    walls = [rng.uniform((-3, y, -1), (3, y + 0.01, 2), (9000, 3)) for y in (-3.0, 3.0)]
    walls += [rng.uniform((x, -3, -1), (x + 0.01, 3, 2), (9000, 3)) for x in (-3.0, 3.0)]
    assert check_up(cloud(np.concatenate(walls)), "base_link").status == "warn"


def test_real_clouds_of_a_camera_are_not_called_z_up(real_data: Path) -> None:
    rosbags = pytest.importorskip("rosbags.highlevel")
    with rosbags.AnyReader([real_data / "bags" / "open3d_redwood_5frames_mcap"]) as bag:
        clouds = [c for c in bag.connections if c.msgtype.endswith("/PointCloud2")]
        for connection, _, raw in bag.messages(connections=clouds):
            real = bag.deserialize(raw, connection.msgtype)
            seen = reader_of(real)()
            assert check_cloud(real, reader_of(real)).status == "ok"
            assert check_units(seen, "camera").status == "ok"
            finding = check_up(seen, "some_frame")
            assert_failed(finding, "looks like a camera's optical frame", "frames.up")


def test_without_a_floor_up_is_not_verified() -> None:
    ball = np.random.default_rng(0).normal(size=(2000, 3))
    finding = check_up(cloud(ball), "base_link")
    assert finding.status == "warn"
    assert "not verified" in finding.text
    (fitted,) = judged(Parameters(up="floor"), TransformBuffer(), message(ball))
    assert fitted.name == "up"
    assert_failed(fitted, "no floor", "frames.up")


def test_a_target_frame_that_nobody_publishes_is_found() -> None:
    parameters = Parameters(up="none", target_frame="map")
    (finding,) = judged(parameters, TransformBuffer(), message(room()))
    assert_failed(finding, "map", "robot_state_publisher")


@pytest.mark.parametrize("parameters", [Parameters(up="none"), Parameters(detection_frame="none")])
def test_a_cloud_that_is_z_up_needs_no_transform(parameters: Parameters) -> None:
    findings = judged(parameters, TransformBuffer(), message(room()))
    assert [finding.status for finding in findings] == ["ok"] * 3
    assert "none needed" in findings[0].text


def test_a_fitted_floor_needs_no_transform_and_says_how_high_the_camera_is() -> None:
    parameters = Parameters(up="floor")
    _, finding, _ = judged(parameters, TransformBuffer(), message(optical(room())))
    assert finding.status == "ok"
    assert "fitted floor" in finding.text
    assert "0.99 m beneath the camera" in finding.text or "1.00 m" in finding.text


def test_a_filter_that_leaves_nothing_is_found() -> None:
    parameters = Parameters(up="none", max_range_m=0.2)
    *_, finding = judged(parameters, TransformBuffer(), message(room()))
    assert_failed(finding, f"0 of {len(room()):,} points", "filter.*")


def test_a_depth_image_is_judged_like_a_cloud() -> None:
    header = SimpleNamespace(frame_id="camera", stamp=SimpleNamespace(sec=1, nanosec=0))
    depth = np.full((4, 6), 2.0, np.float32)
    depth[0] = np.nan
    image = SimpleNamespace(
        header=header,
        height=4,
        width=6,
        encoding="32FC1",
        is_bigendian=0,
        step=24,
        data=depth.tobytes(),
    )
    info = SimpleNamespace(
        header=header,
        height=4,
        width=6,
        k=[5.0, 0.0, 3.0, 0.0, 5.0, 2.0, 0.0, 0.0, 1.0],
        p=[5.0, 0.0, 3.0, 0.0, 0.0, 5.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )
    frame = DepthSet(image, info)
    finding = check_cloud(frame, reader_of(frame))
    for said in ("4 x 6", "32FC1", "'camera'", "25%", "no color"):
        assert said in finding.text
    assert len(judged(Parameters(up="none"), TransformBuffer(), frame)) == 3


def test_a_color_image_is_read_and_its_camera_found_or_it_is_told_why_not() -> None:
    def judged_image(this: Any, buffer: TransformBuffer) -> Finding:
        return check_image(this, way_of(Parameters(kind="rgb"), buffer))

    finding = judged_image(view(), robot())
    assert finding.status == "ok"
    assert finding.text == "base_link <- camera, the camera is at z = 1.20 m"
    finding = judged_image(view(about=None), robot())
    assert finding.name == "image"
    assert_failed(finding, "no CameraInfo came", "publish the CameraInfo")
    finding = judged_image(view(), TransformBuffer())
    assert finding.name == "tf"
    assert_failed(finding, "no transform from 'camera'", "publish the camera's transform")
