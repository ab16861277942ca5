"""`sr3d bag detect` and `eval` in color images alone, by the node's own pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from camera_weights import save_student, save_teacher
from cli_harness import CLASSES, assert_one_line_error, save_untrained, sr3d
from small_bags import CAMERA_TURN, S, Write, cloud, dying_depth, tf, write_bag
from test_distill_recordings import (
    CENTER,
    LATE_NS,
    NUM,
    SIZE,
    camera_info,
    drive,
    image,
    points,
    x_at,
)

from sr3d_core.detector import Postprocess
from sr3d_core.structures import Boxes3D, Detections, Images
from sr3d_ros.bag import finder

STAMPS_NS = [S + tick * S // 5 + LATE_NS for tick in range(NUM) if tick != 5]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "flat", "mcap", drive)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("weights") / "camera.safetensors", CLASSES)


def test_boxes_are_found_in_every_image_of_a_recording(
    bag: Path, weights: Path, tmp_path: Path
) -> None:
    json_out = tmp_path / "boxes.json"
    done = sr3d(
        *("bag", "detect", bag, "--input", "rgb", "--color", "/cam/image_raw"),
        *("--weights", weights, "--score", "0.001", "--json", json_out),
    )
    assert done.exit_code == 0, done.output
    assert "no point to detect in" not in done.stderr
    tree = json.loads(json_out.read_text())
    assert (tree["topic"], tree["model"]) == ("/cam/image_raw", str(weights))
    assert [each["stamp_ns"] for each in tree["frames"]] == STAMPS_NS
    assert {each["frame"] for each in tree["frames"]} == {"base_link"}
    boxes = [box for each in tree["frames"] for box in each["detections"]]
    assert boxes
    assert all("depth_std_m" in box for box in boxes)


class Knows:
    """Finds the object where it is, image after image."""

    takes_images = True
    classes = CLASSES
    front_classes = ()

    def __init__(self) -> None:
        self.postprocess, self.num = Postprocess(), 0

    def detect(self, images: Images) -> Detections:
        x = x_at(STAMPS_NS[self.num])
        self.num += 1
        # The world begins below the camera, which is 10 cm to the left of the robot's middle.
        row = torch.tensor([[CENTER[0] - x, CENTER[1] - 0.1, CENTER[2], *SIZE, 0.0]])
        one = torch.ones(1)
        labels = torch.zeros(1, dtype=torch.int64)
        return Detections(Boxes3D.from_array(row), one, labels, depth_std_m=0.1 * one)


def test_boxes_in_images_are_scored_where_they_are(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "load_detector", lambda parameters: Knows())
    pictures = tmp_path / "pictures"
    done = sr3d("bag", "detect", bag, "--input", "rgb", "--pictures", pictures)
    assert done.exit_code == 0, done.output
    assert len(list(pictures.iterdir())) == len(STAMPS_NS)
    box: dict[str, Any] = {"class": "chair", "center": CENTER, "size": SIZE}
    truth = {
        "frame": "odom",
        "frames": [{"stamp_ns": stamp, "boxes": [box]} for stamp in STAMPS_NS],
    }
    path, json_out = tmp_path / "truth.json", tmp_path / "report.json"
    path.write_text(json.dumps(truth))
    done = sr3d("bag", "eval", bag, "--gt", path, "--input", "rgb", "--json", json_out)
    assert done.exit_code == 0, done.output
    tree = json.loads(json_out.read_text())
    assert tree["num_frames"] == len(STAMPS_NS)
    assert tree["map50"] == 1.0


@pytest.mark.parametrize(
    ("options", "change", "texts"),
    [
        (("--topic", "/points"), {}, ("--topic /points", "--color")),
        (("--memory", "2"), {}, ("--memory",)),
        (("--merge-views", "2"), {}, ("--merge-views 2",)),
        (("--color", "/none"), {}, ("--color /none", "/cam/image_raw")),
        ((), {"second": True}, ("2 topics", "/other/image_raw")),
        ((), {"has_info": False}, ("no CameraInfo",)),
        ((), {"has_base": False}, ("which way is up?", "--up imu")),
    ],
)
def test_what_images_lack_is_said(
    weights: Path, tmp_path: Path, options: tuple[str, ...], change: Any, texts: tuple[str, ...]
) -> None:
    path = write_bag(tmp_path / "bag", "mcap", lambda write: drive(write, **change))
    asked = ("bag", "detect", path, "--input", "rgb", "--weights", weights)
    assert_one_line_error(sr3d(*asked, *options), *texts)


def test_weights_of_clouds_are_refused_for_images(bag: Path, tmp_path: Path) -> None:
    of_clouds = save_untrained(tmp_path)
    done = sr3d("bag", "detect", bag, "--input", "rgb", "--weights", of_clouds)
    assert_one_line_error(done, "weights of clouds, expected those of color images")


def falls_back(write: Write) -> None:
    """A robot at rest, whose depth dies and comes back."""
    write("/tf_static", tf("base_link", "depth", 0, (0, 0, 1.2), CAMERA_TURN), S)
    write("/tf_static", tf("base_link", "color_optical", 0, (0, 0.1, 1.2), CAMERA_TURN), S)
    write("/cam/camera_info", camera_info(S), S)
    for at, kind in dying_depth():
        if kind == "image":
            write("/cam/image_raw", image(at), at)
        else:
            seen = points(0.0) if kind == "cloud" else np.zeros((0, 3))
            write("/points", cloud(at, "depth", seen), at)


def test_the_camera_steps_in_where_depth_dies_in_a_recording(
    weights: Path, tmp_path: Path
) -> None:
    """After a second without usable depth, until two steady ones: those after the last hole."""
    path = write_bag(tmp_path / "dies", "mcap", falls_back)
    of_clouds, json_out = save_teacher(tmp_path / "clouds.safetensors", CLASSES), tmp_path / "json"
    asked = ("bag", "detect", path, "--input", "auto", "--weights", of_clouds)
    asked = (*asked, "--camera-weights", weights, "--score", "0.001", "--json", json_out)
    done = sr3d(*asked)
    assert done.exit_code == 0, done.output
    dies_ns, steady_ns = 3 * S, 6 * S + 3 * S // 5
    back_ns = steady_ns + 2 * S
    is_used = {
        "cloud": lambda at: at <= dies_ns or at >= back_ns,
        "holes": lambda at: False,
        "image": lambda at: dies_ns + S <= at < back_ns,
    }
    names = {"cloud": "cloud", "image": "rgb"}
    expected = [(at, names[kind]) for at, kind in dying_depth() if is_used[kind](at)]
    tree = json.loads(json_out.read_text())
    assert [(each["stamp_ns"], each["input"]) for each in tree["frames"]] == expected
    assert (tree["topic"], tree["color"]) == ("/points", "/cam/image_raw")
    assert (tree["model"], tree["camera_model"]) == (str(of_clouds), str(weights))
    kinds = [kind for _, kind in expected]
    counts = {kind: kinds.count(kind) for kind in ("cloud", "rgb")}
    assert tree["frames_by_input"] == counts
    assert f"{counts['cloud']} cloud, {counts['rgb']} rgb" in done.stderr
    assert tree["drops_by_reason"].keys() == {"depth_not_steady"}
    assert all(
        ("depth_std_m" in box) == (each["input"] == "rgb")
        for each in tree["frames"]
        for box in each["detections"]
    )
    several = sr3d(*asked[:-2], "--out-dir", tmp_path / "out")
    assert several.exit_code == 0, several.output
    (result,) = (tmp_path / "out").glob("dies*.json")
    frames = json.loads(result.read_text())["frames"]
    assert [(each["stamp_ns"], each["input"]) for each in frames] == expected


def test_only_what_detects_does_as_a_robot_with_two_inputs(
    bag: Path, weights: Path, tmp_path: Path
) -> None:
    parameters = tmp_path / "robot.yaml"
    parameters.write_text("sr3d_detector:\n  ros__parameters:\n    input.kind: auto\n")
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"frame": "odom", "frames": []}))
    done = sr3d("bag", "eval", bag, "--gt", truth, "--params-file", parameters)
    assert_one_line_error(done, "input.kind is auto", "sr3d bag detect", "--input cloud")
    camera = ("--camera-weights", weights)
    done = sr3d("bag", "detect", bag, "--input", "rgb", *camera)
    assert_one_line_error(done, "--camera-weights", "--input auto", "--weights")
    other = save_untrained(tmp_path, ("bed", "lamp"))
    done = sr3d("bag", "detect", bag, "--input", "auto", "--weights", other, *camera)
    assert_one_line_error(done, "knows bed, lamp", "expected the same classes")
