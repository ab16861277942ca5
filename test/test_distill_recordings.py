"""`sr3d distill --bag`: frames of a recording, boxes of a teacher that stay, agreement."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from camera_weights import save_student, save_teacher
from cli_harness import CLASSES, assert_one_line_error, save_untrained, sr3d
from small_bags import CAMERA_TURN, STILL, S, T, Write, cloud, header, tf, write_bag

from sr3d_core.checkpoint import read_manifest
from sr3d_core.data.image_frames import (
    FrameSettings,
    depth_of_points,
    frames_in,
    read_frame,
)
from sr3d_core.data.recorded import RecordingSource
from sr3d_core.data.sources import data_argument, source_of
from sr3d_core.distill import recordings
from sr3d_core.distill.recordings import taught_source
from sr3d_core.distill.settings import CameraConfig
from sr3d_core.distill.taught_boxes import FoundInFrame, steady
from sr3d_core.geometry.camera import project
from sr3d_core.structures import Boxes3D, Detections, Images, PointCloud
from sr3d_ros.bag.images import write_image_frames

CENTER, SIZE = (3.0, 0.3, 0.4), (0.6, 0.4, 0.8)  # of the one object, in odom
K = (56.0, 56.0, 31.5, 23.5)
NUM = 12


@pytest.fixture(autouse=True)
def with_entry_point(tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any) -> None:
    """As pip installs it, also where this copy was installed before the entry point came."""
    project_file = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    value = re.search(r'\n\[project.entry-points."sr3d.images"\].*\nbag = "(.+)"', project_file)
    assert value is not None
    site = tmp_path_factory.mktemp("site")
    info = site / "sr3dimages-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sr3dimages\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[sr3d.images]\nbag = {value[1]}\n")
    monkeypatch.syspath_prepend(site)


def points(robot_x: float) -> np.ndarray:
    """A floor and the object, in the optical frame of a camera 1.2 m above the robot."""
    draw = np.random.default_rng(0)
    floor = np.stack([*draw.uniform((0, -3), (6, 3), (4000, 2)).T, np.zeros(4000)], axis=1)
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 9)] * 3), axis=-1).reshape(-1, 3)
    x, y, z = (np.concatenate([floor, grid * SIZE + CENTER]) - (robot_x, 0.0, 1.2)).T
    optical = np.stack([-y, -z, x], axis=1)
    return optical[x > 0.3]


def image(stamp_ns: int) -> Any:
    pixels = np.random.default_rng(stamp_ns % 1000).integers(60, 256, (48, 64, 3), dtype=np.uint8)
    head = header(stamp_ns, "color_optical")
    return T["sensor_msgs/msg/Image"](head, 48, 64, "rgb8", 0, 192, pixels.reshape(-1))


def camera_info(stamp_ns: int) -> Any:
    fx, fy, cx, cy = K
    return T["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_ns, "color_optical"),
        height=48,
        width=64,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0]),
        r=np.eye(3).reshape(-1),
        p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1.0, 0]),
        binning_x=0,
        binning_y=0,
        roi=T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )


LATE_NS = 40_000_000  # of images, after the clouds


def x_at(stamp_ns: int) -> float:
    """Where the robot is: 0.5 m in a second."""
    return 0.5 * (stamp_ns - S) / S


def drive(
    write: Write,
    *,
    has_color: bool = True,
    has_info: bool = True,
    has_odom: bool = True,
    second: bool = False,
    has_base: bool = True,
) -> None:
    if has_base:
        write("/tf_static", tf("base_link", "depth", 0, (0, 0, 1.2), CAMERA_TURN), S)
        # The color camera is 10 cm to the left of the depth sensor.
        write("/tf_static", tf("base_link", "color_optical", 0, (0, 0.1, 1.2), CAMERA_TURN), S)
    if has_info:
        write("/cam/camera_info", camera_info(S), S)
    for tick in range(NUM + 1):
        stamp_ns = S + tick * S // 5
        if has_odom and has_base:
            write(
                "/tf", tf("odom", "base_link", stamp_ns, (x_at(stamp_ns), 0, 0), STILL), stamp_ns
            )
        if tick == NUM:
            break
        write("/points", cloud(stamp_ns, "depth", points(x_at(stamp_ns))), stamp_ns + 1000)
        if has_color and tick != 5:
            at = stamp_ns + LATE_NS
            write("/cam/image_raw", image(at), at)
            if second:
                write("/other/image_raw", image(at), at)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "flat", "mcap", drive)


def frames_of(bag: Path, folder: Path, **asked: Any) -> list[str]:
    settings = asked.pop("settings", FrameSettings(period_s=0.0))
    names: dict[str, Any] = {"topic": None, "color": None, "camera_info": None}
    return write_image_frames(bag, folder, settings, **{**names, **asked}, on_read=lambda *_: None)


@pytest.fixture(scope="module")
def written(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames") / "flat"
    notes = frames_of(bag, folder, settings=FrameSettings(period_s=0.0, camera_height_m=1.2))
    assert "11 frames used of 12 clouds of /points" in notes[0]
    assert any("1 refused, no_color" in note for note in notes)
    return folder


def test_the_camera_of_a_frame_is_where_it_was_at_the_stamp_of_its_image(written: Path) -> None:
    listed = frames_in(written).frames
    assert len(listed) == NUM - 1
    assert frames_in(written).refused == {"no_color": 1}
    for each in listed:
        images, _ = read_frame(written / each.file)
        pose = np.array(each.fixed_from_level) @ images.world_from_camera[0].numpy()
        at = x_at(each.stamp_ns + LATE_NS)
        np.testing.assert_allclose(pose[:3, 3], [at, 0.1, 1.2], atol=1e-5)
        np.testing.assert_allclose(pose[:3, 2], [1, 0, 0], atol=1e-6)
        assert each.fixed_frame == "odom"
        assert images.height is not None
        assert float(images.height) == pytest.approx(1.2)


def test_cloud_and_depth_of_a_frame_show_the_object(written: Path) -> None:
    each = frames_in(written).frames[0]
    images, level = read_frame(written / each.file)
    pose = torch.tensor(each.fixed_from_level).float()
    placed = level.xyz @ pose[:3, :3].T + pose[:3, 3]
    raised = placed[placed[:, 2] > 0.1]
    torch.testing.assert_close(raised.mean(dim=0)[:2], torch.tensor(CENTER)[:2], atol=0.02, rtol=0)
    # Its front face is at x = 2.7, seen by a camera at x = 0.02.
    face = torch.tensor([[2.7, CENTER[1], CENTER[2]]])
    at = (face - pose[:3, 3]) @ pose[:3, :3]
    pixel, _ = project(at[None], images.intrinsics, images.world_from_camera)
    u, v = pixel[0, 0].round().int().tolist()
    assert images.depth is not None
    assert float(images.depth[0, v, u]) == pytest.approx(2.7 - 0.02, abs=0.002)


def test_hidden_points_and_those_beside_the_image_give_no_depth() -> None:
    intrinsics = torch.tensor([[56.0, 0, 31.5], [0, 56, 23.5], [0, 0, 1]])[None]
    seen = Images(torch.zeros(1, 3, 48, 64), intrinsics, torch.eye(4)[None])
    xyz = torch.tensor([[0.0, 0, 3], [0.0, 0, 2], [0, 0, -1], [50.0, 0, 1]])
    depth = depth_of_points(xyz, seen)
    assert depth.shape == (1, 48, 64)
    assert depth.unique().tolist() == [0.0, 2.0]
    assert float(depth_of_points(xyz[:0], seen).sum()) == 0.0


def test_frames_are_as_far_apart_as_asked(bag: Path, tmp_path: Path) -> None:
    frames_of(bag, tmp_path / "few", settings=FrameSettings(period_s=0.5))
    stamps = [each.stamp_ns for each in frames_in(tmp_path / "few").frames]
    assert len(stamps) == 4
    assert min(b - a for a, b in pairwise(stamps)) >= S // 2


@pytest.mark.parametrize(
    ("change", "asked", "text"),
    [
        ({"has_color": False}, {}, "0 topics of color images.*record"),
        ({"second": True}, {}, "2 topics.*/cam/image_raw, /other/image_raw.*--color"),
        ({}, {"color": "/none"}, "--color /none is not among.*cam/image_raw"),
        ({"has_info": False}, {}, "no CameraInfo of /cam/image_raw on /cam/camera_info"),
        ({"has_odom": False}, {}, "none of the frames of /points.*refused, no_transform"),
    ],
)
def test_what_a_recording_lacks_is_said(
    tmp_path: Path, change: dict[str, bool], asked: dict[str, str], text: str
) -> None:
    path = write_bag(tmp_path / "bag", "mcap", lambda write: drive(write, **change))
    with pytest.raises(ValueError, match=text):
        frames_of(path, tmp_path / "frames", **asked)
    assert not (tmp_path / "frames").exists()


def found(*rows: tuple[float, float, int]) -> Detections:
    """Cubes of 1 m at x, with a turn and a label."""
    boxes = torch.tensor([[x, 0, 0, 1, 1, 1, yaw] for x, yaw, _ in rows]).reshape(-1, 7)
    labels = torch.tensor([label for *_, label in rows], dtype=torch.int64)
    return Detections(Boxes3D.from_array(boxes), torch.full((len(rows),), 0.9), labels)


def at(x: float, yaw: float, detections: Detections, frame: str = "odom") -> FoundInFrame:
    """Found by a robot at x that is turned by yaw."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
    pose[0, 3] = x
    return FoundInFrame(detections, frame, pose)


def test_boxes_that_stay_in_the_room_are_steady() -> None:
    quarter = math.pi / 2
    frames = [
        at(0.0, 0.0, found((5.0, 0.0, 0), (9.0, 0.0, 1))),
        at(1.0, 0.0, found((4.0, 0.0, 0), (4.0, 0.0, 1))),  # a second class in the same place
        at(5.0, quarter, found((0.0, -quarter, 0))),
        at(5.0, 0.0, found()),
        at(0.0, 0.0, found((5.0, 0.0, 0))),
    ]
    assert [each.tolist() for each in steady(frames)] == [
        [True, False],
        [True, False],
        [True],
        [],
        [False],
    ]
    assert steady([]) == []
    assert [each.tolist() for each in steady(frames[:2])] == [[False, False]] * 2
    apart = [at(0.0, 0.0, found((5.0, 0.0, 0)), frame) for frame in ("odom", "map", "odom")]
    assert [each.tolist() for each in steady(apart)] == [[False]] * 3


class Finds:
    """Finds what stands on the floor, and once something that is not there."""

    classes = CLASSES
    front_classes = ()

    def __init__(self) -> None:
        self.num = 0

    @classmethod
    def from_checkpoint(cls, *_: Any, **__: Any) -> Finds:
        return cls()

    def detect(self, cloud: PointCloud) -> Detections:
        self.num += 1
        raised = cloud.xyz[cloud.xyz[:, 2] > -1.1]
        low, high = raised.amin(dim=0), raised.amax(dim=0)
        rows = [torch.cat([(low + high) / 2, high - low, torch.zeros(1)])]
        if self.num == 4:
            rows.append(torch.tensor([1.0, -2, 0, 0.5, 0.5, 0.5, 0]))
        boxes = Boxes3D.from_array(torch.stack(rows))
        labels = torch.zeros(len(rows), dtype=torch.int64)
        return Detections(boxes, torch.full((len(rows),), 0.8), labels)


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "Detector", Finds)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("weights")
    teacher = save_teacher(folder / "teacher.safetensors", CLASSES)
    return teacher, save_student(folder / "student.safetensors", CLASSES)


def test_steady_boxes_of_the_teacher_are_true_and_others_ignored(
    written: Path, weights: tuple[Path, Path], finds: None
) -> None:
    source, notes = taught_source(written, str(weights[0]), "auto", lambda *_: None)
    assert "the last 20 % of the time are held out" in notes[0]
    train, val = source.open("train"), source.open("val")
    assert (len(train), len(val)) == (8, 3)
    assert not set(train.names) & set(val.names)
    assert max(train.names) < min(val.names)
    for sample in (train[0], val[2]):
        assert sample.images is not None
        assert sample.targets.labels.tolist() == [0]
    ignored = [train[k].targets.ignored for k in range(8)]
    assert [0 if each is None else len(each) for each in ignored] == [0, 0, 0, 1, 0, 0, 0, 0]
    again = source_of(data_argument(source))
    assert again == source
    assert again.classes == CLASSES
    with pytest.raises(ValueError, match="split 'test', expected train or val"):
        source.open("test")
    bare = RecordingSource(path=written, images=False).open("val")[0]
    assert bare.images is None


def test_a_student_learns_from_a_recording_and_goes_on(
    bag: Path, weights: tuple[Path, Path], finds: None, tmp_path: Path
) -> None:
    teacher, student = weights
    out = tmp_path / "run"
    asked = (
        *("distill", "--bag", bag, "--teacher", teacher, "--student", student),
        *("--period", "0", "--out", out),
    )
    done = sr3d(*asked, "--steps", "2")
    assert done.exit_code == 0, done.output
    assert "11 frames used of 12 clouds" in done.stderr
    assert re.search(r"agreement .* 3 frames held out, AP25: \S+ before, \S+ after", done.stderr)
    tree = json.loads((out / "agreement.json").read_text())
    assert tree["before"]["num_scenes"] == tree["after"]["num_scenes"] == 3
    assert tree["before"]["map25"] is not None
    assert "scores stay the network's own" in done.stderr  # of three frames nothing can be said
    assert not read_manifest(out).calibration
    config = (out / "config.yaml").read_text()
    assert "trust: score" in config
    done = sr3d(*asked, "--steps", "3", "--resume")
    assert done.exit_code == 0, done.output
    assert "its frames are in" in done.stderr
    assert len((out / "log.csv").read_text().splitlines()) == 1 + 3
    assert "at its end already" not in done.stderr
    done = sr3d(*asked, "--steps", "3", "--resume")
    assert done.exit_code == 0, done.output
    assert "at its end already" in done.stderr


def test_a_student_of_other_classes_than_the_teachers_gives_what_it_sees(
    bag: Path, weights: tuple[Path, Path], finds: None, tmp_path: Path
) -> None:
    teacher, _ = weights
    other = save_student(tmp_path / "other.safetensors", ("rug", "robot"))
    asked = ("distill", "--bag", bag, "--teacher", teacher, "--student", other, "--period", "0")
    done = sr3d(*asked, "--steps", "1", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "of other classes than the teacher" in done.stderr
    assert read_manifest(tmp_path / "run").classes == CLASSES
    tree = json.loads((tmp_path / "run" / "agreement.json").read_text())
    assert tree["before"] is None
    assert tree["after"]["num_scenes"] == 3


def test_too_few_frames_are_said_to_be_what_is_wrong(
    bag: Path, weights: tuple[Path, Path], finds: None, tmp_path: Path
) -> None:
    asked = ("--teacher", weights[0], "--student", weights[1], "--period", "60")
    done = sr3d("distill", "--bag", bag, *asked, "--out", tmp_path / "run")
    assert done.exit_code == 1
    assert "1 frames, expected at least 3" in done.stderr.splitlines()[-1]
    assert "--period" in done.stderr.splitlines()[-1]


def test_a_folder_that_does_not_fit_is_refused_before_the_work(
    bag: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    asked = ("distill", "--bag", bag, "--teacher", weights[0], "--student", weights[1])
    out = tmp_path / "run"
    done = sr3d(*asked, "--out", out, "--resume")
    assert_one_line_error(done, "state.pt: no such file", "without --resume")
    out.mkdir()
    (out / "state.pt").write_bytes(b"a training")
    assert_one_line_error(sr3d(*asked, "--out", out), "holds a training already", "--resume")
    assert_one_line_error(sr3d(*asked, "--out", weights[0]), "a file; expected a folder")
    assert not list(tmp_path.glob("*.frames"))


def test_data_without_images_is_refused_before_the_work_and_rooms_get_theirs(
    weights: tuple[Path, Path], tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "run", "--teacher", weights[0])
    done = sr3d("distill", "--data", "votenet:.,dataset=sunrgbd", *out)
    assert_one_line_error(done, "votenet", "no color images", "rooms")
    done = sr3d("distill", "--data", "rooms:", *out)
    assert_one_line_error(done, "a teacher of 3 classes, and data of 20")


def test_options_that_do_not_go_together_are_refused(
    bag: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    teacher, student = weights
    of_clouds = save_untrained(tmp_path)
    for options, texts in (
        (("--bag", bag, "--data", "rooms"), ("--data rooms and --bag",)),
        (("--topic", "/points"), ("--topic: of --bag",)),
        (("--bag", tmp_path), ("no recording",)),
        (("--bag", bag, "--student", of_clouds), ("--student", "weights of clouds", "--teacher")),
    ):
        out = ("--out", tmp_path / "run", "--teacher", teacher)
        assert_one_line_error(sr3d("distill", *options, *out), *texts)
    other = save_student(tmp_path / "other.safetensors", CLASSES, neck_channels=4)
    begun = ("--bag", bag, "--student", other, "--period", "0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordings, "Detector", Finds)
        done = sr3d("distill", *begun, *out)
    assert done.exit_code == 1
    assert "built otherwise than those of the teacher" in done.stderr.splitlines()[-1]
    nothing = ("--bag", bag, "--teacher", teacher, "--student", student)
    done = sr3d("distill", *nothing, "--out", tmp_path / "another")
    assert done.exit_code == 1
    assert "finds no box with a score of at least 0.3" in done.stderr.splitlines()[-1]


def test_steps_of_the_command_win_over_epochs_of_the_file(
    weights: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[CameraConfig] = []
    monkeypatch.setattr(
        "sr3d_core.cli.distill.run_and_tell", lambda config, *_, **__: asked.append(config)
    )
    tree = {"teacher": {"weights": str(weights[0])}, "schedule": {"epochs": 40}}
    path = tmp_path / "student.yaml"
    path.write_text(json.dumps(tree))
    for arguments in ((), ("--steps", "7")):
        done = sr3d("distill", path, "--data", "rooms:", "--out", tmp_path / "run", *arguments)
        assert done.exit_code == 0, done.output
    assert [each.schedule.epochs for each in asked] == [40, None]
    assert asked[1].schedule.for_scenes(1000).num_steps == 7


def organized(stamp_ns: int) -> Any:
    """A cloud with a colored point for each pixel of K: floor, and the object before a wall."""
    height, width, (fx, fy, cx, cy) = 48, 64, K
    v, u = np.mgrid[:height, :width]
    right, down = (u - cx) / fx, (v - cy) / fy
    depth = np.minimum(4.0, 1.2 / np.maximum(down, 1e-3))
    is_object = (abs(right * 2.7) < 0.4) & (down * 2.7 > 0.4) & (down * 2.7 < 1.2)
    depth = np.where(is_object, 2.7, depth)
    rows = np.zeros((height, width), [("xyz", "<f4", 3), ("rgb", "<u4")])
    rows["xyz"] = np.stack([right * depth, down * depth, depth], axis=-1)
    rows["rgb"] = 0xFF402010 + 64 * is_object.astype(np.uint32)
    fields = [
        T["sensor_msgs/msg/PointField"](name, 4 * at, 7, 1)
        for at, name in enumerate(("x", "y", "z", "rgb"))
    ]
    data = np.frombuffer(rows.tobytes(), np.uint8)
    return T["sensor_msgs/msg/PointCloud2"](
        header(stamp_ns, "depth"), height, width, fields, False, 16, 16 * width, data, True
    )


def test_colors_of_organized_clouds_are_images_where_there_are_no_others(tmp_path: Path) -> None:
    def without_images(write: Write) -> None:
        write("/tf_static", tf("base_link", "depth", 0, (0, 0, 1.2), CAMERA_TURN), S)
        for tick in range(3):
            stamp_ns = S + tick * S // 5
            write("/tf", tf("odom", "base_link", stamp_ns, (0, 0, 0), STILL), stamp_ns)
            write("/points", organized(stamp_ns), stamp_ns + 1000)
            write("/lidar", cloud(stamp_ns, "depth", points(0.0)), stamp_ns + 2000)

    bag = write_bag(tmp_path / "bag", "mcap", without_images)
    frames_of(bag, tmp_path / "chosen", topic="/points")
    frames_of(bag, tmp_path / "named", topic="/points", color="/points")
    for asked, text in (
        ({"topic": "/points", "camera_info": "/x"}, "--camera-info /x with --color /points"),
        ({"topic": "/lidar"}, "--color /points are clouds, and frames are those of /lidar"),
    ):
        with pytest.raises(ValueError, match=text):
            frames_of(bag, tmp_path / "refused", color="/points", **asked)
    for folder in (tmp_path / "chosen", tmp_path / "named"):
        listed = frames_in(folder)
        assert len(listed.frames) == 3
        images, _ = read_frame(folder / listed.frames[0].file)
        np.testing.assert_allclose(images.intrinsics[0, :2].flatten()[[0, 4, 2, 5]], K, atol=1e-3)
        assert images.pixels[0].unique().mul(255).round().int().tolist() == [16, 32, 64, 80]
        assert images.depth is not None
        assert float(images.depth[0, 36, 32]) == pytest.approx(2.7, abs=0.01)
    student = save_student(tmp_path / "student.safetensors", CLASSES)
    done = sr3d(
        *("bag", "detect", bag, "--input", "rgb", "--weights", student),
        *("--json", tmp_path / "found.json"),
    )
    assert done.exit_code == 0, done.output
    tree = json.loads((tmp_path / "found.json").read_text())
    assert [each["input"] for each in tree["frames"]] == ["rgb"] * 3
    done = sr3d(
        "bag", "detect", bag, "--input", "auto", "--topic", "/points", "--color", "/points"
    )
    assert_one_line_error(done, "gone once depth has died", "--input rgb")
    truth = {"frame": "odom", "static": [{"class": CLASSES[0], "center": CENTER, "size": SIZE}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    scored = ("bag", "eval", bag, "--input", "rgb", "--weights", student)
    scored = (*scored, "--gt", tmp_path / "truth.json")
    done = sr3d(*scored)
    assert done.exit_code == 1
    assert re.search("static boxes .* --min-points 0", done.stderr.splitlines()[-1])
    assert sr3d(*scored, "--min-points", "0").exit_code == 0


def test_images_are_taken_from_a_camera_that_is_called_one_of_depth(tmp_path: Path) -> None:
    def of_one_camera(write: Write) -> None:
        write("/tf_static", tf("base_link", "color_optical", 0, (0, 0.1, 1.2), CAMERA_TURN), S)
        write("/tf_static", tf("base_link", "depth", 0, (0, 0, 1.2), CAMERA_TURN), S)
        write("/depth_camera/camera_info", camera_info(S), S)
        write("/tf", tf("odom", "base_link", S, (0, 0, 0), STILL), S)
        write("/depth_camera/points", organized(S), S + 1000)
        write("/depth_camera/image_raw", image(S), S + 2000)

    bag = write_bag(tmp_path / "bag", "mcap", of_one_camera)
    notes = frames_of(bag, tmp_path / "frames")
    assert "images of /depth_camera/image_raw" in notes[0]
