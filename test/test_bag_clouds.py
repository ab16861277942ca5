"""Keyframes of recordings as files of clouds, and learning from them."""

from __future__ import annotations

import errno
import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import Result
from jaxtyping import Float
from numpy import ndarray
from pretrain_cases import SETTINGS
from ray_casting import seen_cloud
from small_bags import CAMERA_TURN, STILL, S, T, Write, cloud, header, tf, write_bag
from test_bag_up import optical_room, wall
from typer.testing import CliRunner

from sr3d_core.checkpoint import read_manifest, stored_tensors
from sr3d_core.cli.main import app
from sr3d_core.data.cloud_file import read_cloud
from sr3d_core.data.keyframes import Keyframe, listed_in, write_keyframes
from sr3d_core.geometry.viewpoint import seen_from
from sr3d_core.structures import PointCloud

OPTICAL_FROM_LEVEL = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
CAMERA = (0.0, 0.0, 1.2)


@pytest.fixture(autouse=True)
def with_entry_point(tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> None:
    """As pip installs it, also where this copy was installed before the entry point came."""
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    value = re.search(r'\n\[project.entry-points."sr3d.clouds"\].*\nbag = "(.+)"', project)
    assert value is not None
    site = tmp_path_factory.mktemp("site")
    info = site / "sr3dclouds-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sr3dclouds\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[sr3d.clouds]\nbag = {value[1]}\n")
    monkeypatch.syspath_prepend(site)


def sr3d(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def about_z(angle: float) -> tuple[float, float, float, float]:
    return (0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2))


Poses = list[tuple[float, float, float]]  # x, y, yaw of the robot in odom


def way() -> Poses:
    """Forward, a turn on the spot, a rest, forward again: steps of all sizes."""
    draw = np.random.default_rng(4)
    x = y = yaw = 0.0
    poses = []
    for tick in range(40):
        if tick < 12 or tick >= 30:
            step = draw.uniform(0.02, 0.16)
            x, y = x + step * math.cos(yaw), y + step * math.sin(yaw)
        elif tick < 24:
            yaw += draw.uniform(0.02, 0.16)
        poses.append((x, y, yaw))
    return poses


def world() -> Float[ndarray, "N 3"]:
    """Points on a floor and a wall, in odom."""
    draw = np.random.default_rng(0)
    floor = np.stack([*draw.uniform((-1, -3), (5, 3), (6000, 2)).T, np.zeros(6000)], axis=1)
    side = np.stack([np.full(3000, 5.0), *draw.uniform((-3, 0), (3, 2.4), (3000, 2)).T], axis=1)
    return np.concatenate([floor, side])


def seen_by(pose: tuple[float, float, float]) -> Float[ndarray, "N 3"]:
    """What a camera on the robot sees of the world, in its optical frame; nothing hides."""
    x, y, yaw = pose
    cos, sin = math.cos(yaw), math.sin(yaw)
    level = (world() - (x, y, CAMERA[2])) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    optical = level @ OPTICAL_FROM_LEVEL.T
    right, down, depth = optical.T
    return optical[(depth > 0.5) & (np.abs(right) < 0.8 * depth) & (np.abs(down) < 0.6 * depth)]


def drive(poses: Poses, period_s: float = 0.2) -> Callable[[Write], None]:
    def fill(write: Write) -> None:
        write("/tf_static", tf("base_link", "camera", 0, CAMERA, CAMERA_TURN), S)
        for tick, (x, y, yaw) in enumerate(poses):
            stamp_ns = S + round(tick * period_s * S)
            points = seen_by((x, y, yaw))
            write("/points", cloud(stamp_ns, "camera", points), stamp_ns + 1000)
            moved = tf("odom", "base_link", stamp_ns, (x, y, 0), about_z(yaw))
            write("/tf", moved, stamp_ns + 2000)

    return fill


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "mcap", drive(way()))


@pytest.fixture(scope="module")
def written(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clouds") / "drive"
    done = sr3d("bag", "clouds", bag, "--out", out)
    assert done.exit_code == 0, done.output
    return out


def keyframes_by_hand(poses: Poses, metres: float, degrees: float) -> list[int]:
    """The first pose, and each that is far from the last one taken."""
    taken: list[int] = []
    for number, (x, y, yaw) in enumerate(poses):
        if taken:
            before = poses[taken[-1]]
            moved = math.hypot(x - before[0], y - before[1])
            turned = math.degrees(abs(yaw - before[2]))
            if moved < metres and turned < degrees:
                continue
        taken.append(number)
    return taken


def stamps_in(folder: Path) -> list[int]:
    listed = listed_in(folder)
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.ply"))
    return [listed[name].stamp_ns for name in sorted(listed)]


def ticks_in(folder: Path, period_s: float = 0.2) -> list[int]:
    return [round((stamp_ns - S) / period_s / S) for stamp_ns in stamps_in(folder)]


@pytest.mark.parametrize(("metres", "degrees"), [(0.3, 15.0), (0.1, 40.0), (9.0, 5.0)])
def test_keyframes_are_those_that_a_ruler_finds(
    bag: Path, tmp_path: Path, metres: float, degrees: float
) -> None:
    out = tmp_path / "clouds"
    done = sr3d(
        *("bag", "clouds", bag, "--out", out),
        *("--distance", metres, "--angle", degrees),
    )
    assert done.exit_code == 0, done.output
    expected = keyframes_by_hand(way(), metres, degrees)
    assert ticks_in(out) == expected
    assert f"{len(expected)} keyframes of 40 clouds" in done.output


def test_their_clouds_are_what_was_seen_within_the_window(written: Path) -> None:
    """In odom, all points of all frames of the last five seconds and nothing else."""
    poses, ticks = way(), ticks_in(written)
    for number, tick in enumerate(ticks):
        x, y, yaw = poses[tick]
        found = read_cloud(written / f"{number:06d}.ply", up="z").xyz.double().numpy()
        window = poses[max(0, tick - 25) : tick + 1]
        optical = np.concatenate([in_odom(pose) for pose in window])
        # The robot's base is the z-up frame: around the camera, turned with it.
        cos, sin = math.cos(yaw), math.sin(yaw)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
        there = found @ turn.T + (x, y, 0.0)
        distance = nearest(there, optical)
        assert distance.max() < 0.01
        assert (there[:, 2] > -0.01).all()
        own = in_odom(poses[tick])
        own = own[np.linalg.norm(own - (x, y, CAMERA[2]), axis=1) < 5.9]
        assert np.quantile(nearest(own, there), 0.99) < 0.03  # 2 cm voxels
        voxels = np.floor(found / 0.02).astype(int)
        assert len(np.unique(voxels, axis=0)) > 0.99 * len(voxels)
    assert len(found) > 1.2 * len(in_odom(poses[ticks[-1]]))  # more than its own frame


def in_odom(pose: tuple[float, float, float]) -> Float[ndarray, "N 3"]:
    x, y, yaw = pose
    cos, sin = math.cos(yaw), math.sin(yaw)
    level = seen_by(pose) @ OPTICAL_FROM_LEVEL
    return level @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]]).T + (x, y, CAMERA[2])


def nearest(points: ndarray, others: ndarray) -> ndarray:
    from scipy.spatial import cKDTree

    return cKDTree(others).query(points)[0]


def test_its_own_frame_is_seen_from_where_the_camera_was(written: Path) -> None:
    """A point of the fused cloud is in the view if and only if the camera's image holds it."""
    listed = listed_in(written)
    for name in sorted(listed)[::3]:
        view = listed[name].viewpoint
        assert view is not None
        assert view.slopes is not None
        left, right, top, bottom = view.slopes  # of what there is to see: the world has an end
        assert -0.801 < left < -0.5 < 0.5 < right < 0.801
        assert -0.601 < top < 0.59 < bottom < 0.601
        xyz = read_cloud(written / name, up="z").xyz
        depth = xyz[:, 0]  # the base looks along x
        inside = (xyz[:, 1].abs() < 0.79 * depth) & ((xyz[:, 2] - 1.2).abs() < 0.59 * depth)
        outside = (xyz[:, 1].abs() > 0.82 * depth) | ((xyz[:, 2] - 1.2).abs() > 0.62 * depth)
        seen = seen_from(xyz, view)
        assert float(seen[inside].float().mean()) > 0.85
        assert not bool(seen[outside].any())


def test_places_are_squares_of_the_floor(written: Path) -> None:
    listed, poses = listed_in(written), way()
    for name, tick in zip(sorted(listed), ticks_in(written), strict=True):
        x, y, _ = poses[tick]
        # The camera stands over the base.
        assert listed[name].place == f"odom {math.floor(x / 3)} {math.floor(y / 3)}"


def without_motion(changes: list[int], frame: str = "sensor") -> Callable[[Write], None]:
    """A camera of which no transform tells; at some ticks it is carried towards the wall."""

    def fill(write: Write) -> None:
        draw = np.random.default_rng(0)
        for tick in range(12):
            x = 0.7 * sum(tick >= change for change in changes)
            points = seen_cloud((x, 0.0, 1.2), (4.5, 0.5, 0.4, 0.7, 0.7, 0.8)).xyz.numpy()
            points = points + draw.normal(0, 0.003, points.shape) - (x, 0.0, 0.0)
            write("/points", cloud(tick * S + S, frame, points), tick * S + S)

    return fill


@pytest.mark.parametrize("frame", ["sensor", "map"])
@pytest.mark.parametrize("changes", [[], [4, 9]])
def test_without_motion_a_cloud_that_changed_is_a_keyframe(
    tmp_path: Path, changes: list[int], frame: str
) -> None:
    """Also where clouds come in the map, so that nobody knows where their sensor was."""
    bag = write_bag(tmp_path / "bag", "mcap", without_motion(changes, frame))
    done = sr3d("bag", "clouds", bag, "--up", "none", "--out", tmp_path / "clouds")
    assert done.exit_code == 0, done.output
    assert ticks_in(tmp_path / "clouds", 1.0) == [0, *changes]
    listed = listed_in(tmp_path / "clouds").values()
    assert [each.place for each in listed] == [""] * (1 + len(changes))
    assert [each.viewpoint for each in listed] == [None] * (1 + len(changes))


def test_single_clouds_are_their_own_frames(bag: Path, tmp_path: Path) -> None:
    done = sr3d("bag", "clouds", bag, "--seconds", 0, "--out", tmp_path / "clouds")
    assert done.exit_code == 0, done.output
    assert ticks_in(tmp_path / "clouds") == keyframes_by_hand(way(), 0.3, 15.0)
    last = ticks_in(tmp_path / "clouds")[-1]
    found = read_cloud(sorted((tmp_path / "clouds").glob("*.ply"))[-1], up="z")
    assert len(found) <= len(seen_by(way()[last]))


def depth_drive(write: Write) -> None:
    """Depth images with color, and a second camera's depth images."""
    write("/tf_static", tf("base_link", "camera", 0, CAMERA, CAMERA_TURN), S)
    make, raw = T["sensor_msgs/msg/Image"], T["sensor_msgs/msg/CameraInfo"]
    height, width, focal = 24, 32, 30.0
    k = np.array([focal, 0, width / 2, 0, focal, height / 2, 0, 0, 1])
    p = np.array([focal, 0, width / 2, 0, 0, focal, height / 2, 0, 0, 0, 1, 0])
    depth = np.full((height, width), 2000, "<u2")
    color = np.zeros((height, width, 3), np.uint8)
    color[..., 0] = 200
    roi = T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    for tick in range(3):
        stamp_ns = S + tick * S // 5
        head = header(stamp_ns, "camera")
        write("/tf", tf("odom", "base_link", stamp_ns, (0.4 * tick, 0, 0), STILL), stamp_ns)
        info = raw(
            head, height, width, "plumb_bob", np.zeros(5), k, np.eye(3).ravel(), p, 0, 0, roi
        )
        write("/camera/depth/camera_info", info, stamp_ns)
        data = np.frombuffer(depth.tobytes(), np.uint8)
        image = make(head, height, width, "16UC1", 0, 2 * width, data)
        for topic in ("/camera/depth/image", "/other/depth/image"):
            write(topic, image, stamp_ns)
        rgb = make(head, height, width, "rgb8", 0, 3 * width, color.ravel())
        write("/camera/color/image", rgb, stamp_ns)


def test_depth_images_with_color_become_clouds(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "mcap", depth_drive)
    done = sr3d(
        *("bag", "clouds", bag, "--topic", "/camera/depth/image"),
        *("--color", "/camera/color/image", "--out", tmp_path / "clouds"),
    )
    assert done.exit_code == 0, done.output
    found = read_cloud(tmp_path / "clouds" / "000002.ply", up="z")
    assert float((found.features - torch.tensor([200 / 255, 0, 0])).abs().max()) < 1e-6
    assert found.xyz[:, 0].tolist() == pytest.approx([2.0] * len(found), abs=0.81)


def test_ctrl_c_leaves_nothing(bag: Path, tmp_path: Path, monkeypatch: Any) -> None:
    import sr3d_ros.bag.keyframes as keyframes

    real, calls = keyframes._moment, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(keyframes, "_moment", interrupted)
    done = sr3d("bag", "clouds", bag, "--out", tmp_path / "clouds")
    assert (done.exit_code, list(tmp_path.iterdir())) == (130, [])
    assert "Traceback" not in done.output
    calls.clear()
    done = sr3d("pretrain", bag, "--out", tmp_path / "pre.safetensors")
    assert (done.exit_code, list(tmp_path.iterdir())) == (130, [])


def damaged(bag: Path, folder: Path) -> Path:
    """The recording of which the disk lost the end."""
    whole = next(bag.glob("*.mcap")).read_bytes()
    (folder / "cut.mcap").write_bytes(whole[: len(whole) * 2 // 3])
    return folder / "cut.mcap"


def test_what_can_be_read_of_a_damaged_recording_is_used(bag: Path, tmp_path: Path) -> None:
    done = sr3d("bag", "clouds", damaged(bag, tmp_path), "--out", tmp_path / "clouds")
    assert done.exit_code == 0, done.output
    assert "cut.mcap" in done.output
    ticks, whole = ticks_in(tmp_path / "clouds"), keyframes_by_hand(way(), 0.3, 15.0)
    assert 0 < len(ticks) < len(whole)
    assert ticks == whole[: len(ticks)]


# Learning from them.

TINY = {
    "preset": "lite",
    "changes": {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in SETTINGS.changes.items()
    },
    "backend": "torch",
    "views": {"max_points": 2000},
    "targets": {"hidden": 16, "bottleneck": 8, "prototypes": 6},
    "steps": {"num": 3, "batch_size": 2, "log_steps": 1},
}


def tiny(folder: Path, **changes: Any) -> Path:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def learn(*arguments: object) -> Result:
    done = sr3d("pretrain", *arguments)
    assert done.exit_code == 0, done.output
    return done


def assert_same(first: Path, second: Path) -> None:
    for name, tensor in stored_tensors(first).items():
        assert (tensor == stored_tensors(second)[name]).all(), name


@pytest.mark.parametrize("method", ["dos", "asymdsd"])
@pytest.mark.parametrize("kind", ["blocks", "frame"])
def test_a_recording_teaches_what_its_clouds_teach(
    bag: Path, written: Path, tmp_path: Path, method: str, kind: str
) -> None:
    settings = tiny(tmp_path, method=method, mask={"kind": kind})
    first, second = (tmp_path / f"{name}.safetensors" for name in ("bag", "folder"))
    learn(bag, "--settings", settings, "--out", first)
    learn(written, "--settings", settings, "--out", second)
    assert_same(first, second)
    origins = [read_manifest(path).pretraining for path in (first, second)]
    assert all(origins)
    digests = [list(origin["sources"].values()) for origin in origins]  # type: ignore[index]
    assert digests[0] == digests[1]
    assert (tmp_path / "bag.clouds").is_dir()
    assert not (tmp_path / "folder.clouds").exists()


@pytest.mark.parametrize("num_deleted", [1, None])
def test_a_run_goes_on_from_a_recording_whose_clouds_were_deleted(
    bag: Path, written: Path, tmp_path: Path, num_deleted: int | None
) -> None:
    """Some or all; beside another source; to the last bit."""
    settings = tiny(tmp_path)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    sources = (bag, written / "000001.ply")
    learn(*sources, "--settings", settings, "--out", whole)
    stop_after(1, lambda: sr3d("pretrain", *sources, "--settings", settings, "--out", parts))
    assert read_manifest(parts).pretraining["steps"] == 1  # type: ignore[index]
    (kept,) = (tmp_path / "parts.clouds").iterdir()
    for path in sorted(kept.iterdir())[:num_deleted]:
        path.unlink()
    learn(*sources, "--settings", settings, "--out", parts, "--resume")
    assert_same(whole, parts)


def stop_after(step: int, run: Callable[[], Result]) -> None:
    from sr3d_core.pretrain.learner import Pretrainer

    learn_step = Pretrainer.learn

    def stopped(self: Pretrainer, drawn: Any, number: int) -> Any:
        if number == step:
            raise OSError("stopped here")
        return learn_step(self, drawn, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pretrainer, "learn", stopped)
        assert run().exit_code == 1


def test_another_recording_under_the_same_name_is_refused(tmp_path: Path) -> None:
    settings, out = tiny(tmp_path), tmp_path / "pre.safetensors"
    bag = tmp_path / "drive"
    write_bag(bag, "mcap", drive(way()[:9]))
    learn(bag, "--settings", settings, "--out", out)
    for path in bag.iterdir():
        path.unlink()
    bag.rmdir()
    write_bag(bag, "mcap", drive(way()[1:10]))
    done = sr3d("pretrain", bag, "--settings", settings, "--out", out, "--resume")
    assert done.exit_code == 1
    assert "--accept-data" in done.output


def test_the_clouds_are_read_once(bag: Path, tmp_path: Path) -> None:
    settings, out = tiny(tmp_path), tmp_path / "pre.safetensors"
    learn(bag, "--settings", settings, "--out", out)
    done = learn(bag, "--settings", settings, "--out", out, "--resume")
    assert "are in" in done.output
    assert "already" in done.output
    assert [path.name for path in (tmp_path / "pre.clouds").iterdir() if path.is_file()] == []


def test_weights_beside_the_recording_do_not_make_it_another_one(
    bag: Path, tmp_path: Path
) -> None:
    """Its clouds would be written again each time, and those before stay on the disk."""
    drive = tmp_path / "drive"
    shutil.copytree(bag, drive)
    settings, out = tiny(tmp_path), drive / "pre.safetensors"
    learn(drive, "--settings", settings, "--out", out)
    done = learn(drive, "--settings", settings, "--out", out, "--resume")
    assert "already" in done.output
    assert "not used" not in done.output
    assert len(list((drive / "pre.clouds").iterdir())) == 1


def test_clouds_that_a_run_keeps_are_no_source_of_it(
    bag: Path, written: Path, tmp_path: Path
) -> None:
    """Where it writes into a folder that it learns from, they are there when it goes on."""
    (tmp_path / "all").mkdir()
    shutil.copy(written / "000003.ply", tmp_path / "all" / "cloud.ply")
    arguments = (tmp_path / "all", bag, "--up", "z", "--settings", tiny(tmp_path))
    out = tmp_path / "all" / "pre.safetensors"
    stop_after(1, lambda: sr3d("pretrain", *arguments, "--out", out))
    done = learn(*arguments, "--out", out, "--resume")
    assert "left out" not in done.output


def test_what_cannot_go_on_is_refused_before_the_recording_is_read(
    bag: Path, tmp_path: Path
) -> None:
    """With another window, or a name that is taken; nothing is written then."""
    out = tmp_path / "pre.safetensors"
    learn(bag, "--settings", tiny(tmp_path), "--out", out)
    (kept,) = (tmp_path / "pre.clouds").iterdir()
    shutil.rmtree(tmp_path / "pre.clouds")
    again = sr3d("pretrain", bag, "--settings", tiny(tmp_path), "--out", out)
    settings = tiny(tmp_path, data={"window_s": 1.0})
    other = sr3d("pretrain", bag, "--settings", settings, "--out", out, "--resume")
    assert (again.exit_code, other.exit_code) == (1, 1)
    assert "there is a pre-training already" in again.output
    assert "data.window_s was 5.0, is 1.0; expected" in other.output
    assert not (tmp_path / "pre.clouds").exists()
    learn(bag, "--settings", tiny(tmp_path), "--out", out, "--resume")
    assert kept.is_dir()


def test_clouds_beside_a_recording_are_named(bag: Path, written: Path, tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    shutil.copytree(bag, drive)
    shutil.copy(written / "000003.ply", drive / "mine.ply")
    done = learn(drive, "--settings", tiny(tmp_path), "--out", tmp_path / "pre.safetensors")
    assert "1 files of clouds in its folder are not used" in done.output
    assert "mine.ply" in done.output


@pytest.mark.parametrize("name", [".", "link"])
def test_the_folder_may_be_this_one_or_a_link(
    bag: Path, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    if name == ".":
        (tmp_path / "here" / "link").unlink()
    else:
        (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = sr3d("bag", "clouds", bag, "--out", name)
    assert done.exit_code == 0, done.output
    folder = tmp_path / ("here" if name == "." else "there")
    assert {path.name for path in folder.iterdir()} == {path.name for path in written.iterdir()}


_HOLDS = """
import sys, time
from pathlib import Path
from sr3d_core.data.recordings import alone
folder = Path(sys.argv[1])
with alone(folder):
    print("held", flush=True)
    time.sleep(1.0)
    folder.mkdir()
    (folder / "theirs.ply").touch()
"""


def test_two_do_not_write_the_same_folder(bag: Path, tmp_path: Path) -> None:
    """The second one waits, and finds it there; their clouds would be mixed."""
    out = tmp_path / "clouds"
    command = [sys.executable, "-c", _HOLDS, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        done = sr3d("bag", "clouds", bag, "--out", out)
    assert done.exit_code == 1
    assert "new or empty" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["clouds"]
    assert [path.name for path in out.iterdir()] == ["theirs.ply"]


def test_settings_say_when_a_cloud_is_a_keyframe(bag: Path, tmp_path: Path) -> None:
    data = {"keyframe_distance_m": 0.1, "keyframe_angle_rad": math.radians(40), "window_s": 1.0}
    learn(bag, "--settings", tiny(tmp_path, data=data), "--out", tmp_path / "pre.safetensors")
    (folder,) = (tmp_path / "pre.clouds").iterdir()
    assert ticks_in(folder) == keyframes_by_hand(way(), 0.1, 40.0)


# What cannot be meant.


def empty(write: Write) -> None:
    for tick in (1, 2):
        write("/points", cloud(tick * S, "map", np.zeros((0, 3))), tick * S)


def no_clouds(write: Write) -> None:
    write("/tf", tf("odom", "base_link", S, (0, 0, 0)), S)


def two_topics(write: Write) -> None:
    for topic in ("/left/points", "/right/points"):
        write(topic, cloud(S, "map", optical_room()), S)


def no_floor(write: Write) -> None:
    write("/points", cloud(S, "optical", wall()), S)


def no_message(write: Write) -> None:
    """A recording that was stopped before anything came."""


@pytest.mark.parametrize(
    ("fill", "options", "texts"),
    [
        (empty, (), ("none of the 2 clouds of /points has a point",)),
        (no_clouds, (), ("0 point cloud topics",)),
        (no_message, (), ("drive",)),
        (two_topics, (), ("/left/points (1 clouds)", "/right/points", "--topic")),
        (two_topics, ("--topic", "/points"), ("'/points' is not in this bag", "/left/points")),
        (two_topics, ("--color", "/c", "--topic", "/left/points"), ("--color",)),
        (no_floor, (), ("no floor", "--up")),
    ],
)
@pytest.mark.parametrize("command", [("bag", "clouds"), ("pretrain",)])
def test_what_a_recording_lacks_is_said_in_one_line(
    tmp_path: Path,
    command: tuple[str, ...],
    fill: Any,
    options: tuple[str, ...],
    texts: tuple[str, ...],
) -> None:
    bag = write_bag(tmp_path / "drive", "mcap", fill)
    out = tmp_path / ("new" if command[0] == "bag" else "new.safetensors")
    done = sr3d(*command, bag, "--out", out, *options)
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for text in texts:
        assert text in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive"]


def test_what_was_asked_for_is_there_where_it_says_so(tmp_path: Path) -> None:
    """One frame, two topics, no floor that must be found: with the options that were named."""
    bag = write_bag(tmp_path / "drive", "mcap", two_topics)
    settings, out = tiny(tmp_path, mask={"kind": "frame"}), tmp_path / "pre.safetensors"
    learn(bag, "--topic", "/left/points", "--up", "z", "--settings", settings, "--out", out)
    bag = write_bag(tmp_path / "wall", "mcap", no_floor)
    learn(bag, "--up", "z", "--settings", settings, "--out", tmp_path / "wall.safetensors")


def test_clouds_of_a_recording_are_upright_whatever_they_show(tmp_path: Path) -> None:
    """No floor is looked for again, and no axis of other files turns them."""
    bag = write_bag(tmp_path / "wall", "mcap", no_floor)
    done = sr3d("bag", "clouds", bag, "--up", "none", "--out", tmp_path / "clouds")
    assert done.exit_code == 0, done.output
    settings = tiny(tmp_path)
    for up in ("auto", "-y"):
        out = tmp_path / f"{up}.safetensors"
        learn(tmp_path / "clouds", "--up", up, "--settings", settings, "--out", out)
    assert_same(tmp_path / "auto.safetensors", tmp_path / "-y.safetensors")


def test_recordings_in_a_folder_of_clouds_are_named(
    bag: Path, written: Path, tmp_path: Path
) -> None:
    (tmp_path / "all" / "drive").mkdir(parents=True)
    for path in bag.iterdir():
        (tmp_path / "all" / "drive" / path.name).symlink_to(path)
    done = sr3d("pretrain", tmp_path / "all", "--out", tmp_path / "pre.safetensors")
    assert done.exit_code == 1
    assert "1 recordings below" in done.output
    assert "all/drive" in done.output
    (tmp_path / "all" / "cloud.ply").symlink_to(written / "000003.ply")
    settings, out = tiny(tmp_path), tmp_path / "pre.safetensors"
    done = learn(tmp_path / "all", "--up", "z", "--settings", settings, "--out", out)
    assert "left out, 1 recordings below" in done.output


def test_axes_of_files_are_not_for_recordings(bag: Path, tmp_path: Path) -> None:
    done = sr3d("pretrain", bag, "--up", "-y", "--out", tmp_path / "pre.safetensors")
    assert done.exit_code == 1
    assert "--up -y is for files" in done.output


def test_commands_that_are_said_can_be_pasted(bag: Path, tmp_path: Path) -> None:
    """Also where a path has spaces."""
    drive, out = tmp_path / "my drive.mcap", tmp_path / "my weights.safetensors"
    shutil.copy(next(bag.glob("*.mcap")), drive)
    done = sr3d("pretrain", drive, "--up", "-y", "--out", out)
    assert f"sr3d bag clouds '{drive}'" in done.output
    done = learn(drive, "--settings", tiny(tmp_path), "--out", out)
    assert f"--init '{out}'" in done.output


def test_topics_without_a_recording_are_refused(written: Path, tmp_path: Path) -> None:
    out = tmp_path / "pre.safetensors"
    done = sr3d("pretrain", written, "--topic", "/points", "--out", out)
    assert done.exit_code == 1
    assert "--topic" in done.output


def test_a_folder_with_files_in_it_is_not_written_into(bag: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = sr3d("bag", "clouds", bag, "--out", tmp_path)
    assert done.exit_code == 1
    assert "new or empty" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda tree: tree.update(format="other"), "format"),
        (lambda tree: tree["keyframes"][0].pop("place"), "place"),
        (lambda tree: tree["keyframes"][0].update(cloud_from_camera=[[1.0]]), "4 x 4"),
        (lambda tree: tree["keyframes"][0].update(slopes=[1.0]), "slopes"),
        (lambda tree: tree["keyframes"][0].update(slopes=[-1.0, 1.0, math.nan, 1.0]), "slopes"),
    ],
)
def test_a_damaged_list_is_named(
    written: Path, tmp_path: Path, change: Callable[[Any], Any], text: str
) -> None:
    tree = json.loads((written / "keyframes.json").read_text())
    change(tree)
    (tmp_path / "keyframes.json").write_text(json.dumps(tree))
    (tmp_path / "000000.ply").write_bytes((written / "000000.ply").read_bytes())
    done = sr3d("pretrain", tmp_path, "--out", tmp_path / "pre.safetensors")
    assert done.exit_code == 1
    assert "keyframes.json" in done.output
    assert text in done.output


def test_where_nothing_reads_recordings_it_says_so(
    bag: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("sr3d_core.data.recordings.entry_points", lambda group: ())
    done = sr3d("pretrain", bag, "--out", tmp_path / "pre.safetensors")
    assert done.exit_code == 1
    assert "sr3d.clouds" in done.output


class Broken:
    """An entry point whose module does not load."""

    value = "broken.module"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def load(self) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "texts"),
    [
        (ZeroDivisionError("by zero"), ("broken.module", "ZeroDivisionError")),
        (ModuleNotFoundError("No module named 'rosbags'", name="rosbags"), ("rosbags", "[bag]")),
    ],
)
def test_what_reads_recordings_says_why_it_does_not_load(
    bag: Path, tmp_path: Path, monkeypatch: Any, error: Exception, texts: tuple[str, ...]
) -> None:
    entry = Broken(error)
    monkeypatch.setattr("sr3d_core.data.recordings.entry_points", lambda group: (entry,))
    done = sr3d("pretrain", bag, "--out", tmp_path / "pre.safetensors")
    assert done.exit_code == 1
    for text in texts:
        assert text in done.output
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("bag", "clouds"), ("pretrain",)])
def test_a_full_disk_leaves_nothing(
    bag: Path, tmp_path: Path, monkeypatch: Any, command: tuple[str, ...]
) -> None:
    write, count = Path.write_bytes, itertools.count()

    def full(self: Path, data: Any) -> int:
        if self.suffix == ".ply" and next(count) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    done = sr3d(*command, bag, "--out", tmp_path / "new.safetensors")
    assert done.exit_code == 1
    assert "000003.ply" in done.output
    assert "full" in done.output
    assert list(tmp_path.iterdir()) == []


def test_colors_that_some_points_lack_are_grey(tmp_path: Path) -> None:
    rgb = torch.tensor([[1.0, 0.0, 0.5], [math.nan] * 3, [0.2, 0.4, 0.6]])
    xyz = torch.arange(9.0).reshape(3, 3)
    frames = [
        Keyframe(PointCloud.single(xyz, rgb), 5, "", None),
        Keyframe(PointCloud.single(xyz[:0], None), 6, "", None),  # is left out
        Keyframe(PointCloud.single(xyz, None), 7, "", None),
    ]
    assert write_keyframes(tmp_path / "new", "drive", frames) == (2, 6)
    first, second = (read_cloud(tmp_path / "new" / f"00000{k}.ply", "z") for k in range(2))
    assert torch.equal(first.xyz, xyz)
    assert torch.equal((255 * first.features).round()[1], torch.full((3,), 128.0))
    torch.testing.assert_close(first.features[[0, 2]], rgb[[0, 2]], atol=0.002, rtol=0)
    assert bool(second.features.isnan().all())
    assert [each.stamp_ns for each in listed_in(tmp_path / "new").values()] == [5, 7]
