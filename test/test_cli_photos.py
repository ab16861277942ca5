"""`sr3d detect` on photos: the camera's file, how it stood, what is written, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from camera_weights import save_student
from cli_harness import CLASSES, assert_one_line_error, save_room, save_untrained, sr3d
from PIL import Image

from sr3d_core.checkpoint import CAMERA_WEIGHTS, SHIPPED, weights_file
from sr3d_core.data.photo import PhotoError, Stand, photo_of, read_calibration
from sr3d_core.geometry.boxes import corners
from sr3d_core.geometry.camera import project
from sr3d_core.photo_picture import seen_edges
from sr3d_core.structures import Boxes3D

ROS = {
    "image_width": 128,
    "image_height": 96,
    "camera_name": "front",
    "camera_matrix": {"rows": 3, "cols": 3, "data": [110, 0, 63.5, 0, 111, 47.5, 0, 0, 1]},
    "distortion_model": "plumb_bob",
    "distortion_coefficients": {"rows": 1, "cols": 5, "data": [-0.2, 0.02, 0, 0, 0]},
    "rectification_matrix": {"rows": 3, "cols": 3, "data": [1, 0, 0, 0, 1, 0, 0, 0, 1]},
    "projection_matrix": {
        "rows": 3,
        "cols": 4,
        "data": [95, 0, 63, 0, 0, 96, 47, 0, 0, 0, 1, 0],
    },
}
PLAIN = {"fx": 110, "fy": 110, "cx": 63.5, "cy": 47.5}
LEVEL = Stand(pitch_deg=0.0)
CENTIMETRES = {"pitch_deg": 0.0, "height_m": 90.0}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("weights") / "camera.safetensors", CLASSES)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def camera_file(folder: Path, tree: object) -> Path:
    path = folder / "K.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_boxes_of_a_photo_are_printed_written_and_drawn(
    weights: Path, photo: Path, tmp_path: Path
) -> None:
    json_out, picture = tmp_path / "boxes.json", tmp_path / "boxes.png"
    camera = camera_file(tmp_path, PLAIN)
    result = sr3d(
        *("detect", photo, "--weights", weights, "--score", "0.001", "--camera", camera),
        *("--camera-pitch", "-15", "--camera-height", "1.2"),
        *("--json", json_out, "--picture", picture),
    )
    assert result.exit_code == 0, result.output
    assert "128 x 96 pixels" in result.stdout
    assert "focal length 110 px" in result.stderr
    found = json.loads(json_out.read_text())
    assert found["frame"] == "level"
    assert found["camera"]["height_m"] == pytest.approx(1.2)
    assert found["camera"]["k"][0] == [110.0, 0.0, 63.5]
    ahead = np.array(found["camera"]["level_from_camera"])[:3, 2]
    np.testing.assert_allclose(ahead, [0.965926, 0, -0.258819], atol=1e-5)
    assert found["detections"]
    for each in found["detections"]:
        assert set(each) == {"class", "score", "center", "size", "yaw", "depth_std_m"}
        assert each["depth_std_m"] is None or each["depth_std_m"] > 0
    with Image.open(picture) as drawn, Image.open(photo) as before:
        assert drawn.size == (128, 96)
        assert not np.array_equal(np.array(drawn.convert("RGB")), np.array(before))


def test_the_pose_is_that_of_the_angles() -> None:
    down, right = [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]
    pose = Stand(pitch_deg=0.0, roll_deg=90.0, height_m=2.0).level_from_camera
    assert pose[2, 3] == 2.0
    turned = pose[:3, :3] @ torch.tensor([right, down], dtype=torch.float64).T
    # Tilted to its right by a quarter: its right is down, and its lower side points to the left.
    torch.testing.assert_close(
        turned.T, torch.tensor([[0.0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    )
    assert Stand(pitch_deg=-15.0).level_from_camera[2, 3] == 0.0
    low = {"pitch_deg": 0, "height_m": -1}
    for wrong in ({"pitch_deg": 91.0}, {"pitch_deg": math.nan}, low, CENTIMETRES):
        with pytest.raises(PhotoError, match="camera's"):
            Stand(**wrong)


def test_a_photo_of_a_lens_that_bends_is_undistorted(photo: Path, tmp_path: Path) -> None:
    calibration = read_calibration(camera_file(tmp_path, ROS))
    raw = photo_of(photo, LEVEL, read_calibration(camera_file(tmp_path, PLAIN)), None)
    found = photo_of(photo, LEVEL, calibration, None)
    assert "undistorted with its plumb_bob" in found.note
    assert not torch.equal(found.images.pixels, raw.images.pixels)
    assert float(found.images.intrinsics[0, 0, 0]) != 110.0
    assert found.images.height is None
    rectified = photo_of(photo, LEVEL, calibration, None, is_rectified=True)
    torch.testing.assert_close(rectified.images.pixels, raw.images.pixels)
    assert rectified.images.intrinsics[0, :2].tolist() == [[95.0, 0.0, 63.0], [0.0, 96.0, 47.0]]


def test_a_guessed_angle_of_view_is_that_of_the_image(photo: Path) -> None:
    images = photo_of(photo, LEVEL, None, 90.0).images
    assert float(images.intrinsics[0, 0, 0]) == pytest.approx(64.0)
    edge = torch.linalg.inv(images.intrinsics[0]) @ torch.tensor([127.5, 47.5, 1.0])
    assert float(edge[0]) == pytest.approx(1.0)


def test_a_photo_is_turned_as_its_exif_says(photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    with Image.open(photo) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    found = photo_of(path, LEVEL, None, 60.0)
    assert found.images.pixels.shape == (1, 3, 128, 96)
    assert "EXIF" in found.note
    calibration = read_calibration(camera_file(tmp_path, {**PLAIN, "width": 128, "height": 96}))
    with pytest.raises(PhotoError, match=r"96 x 128 pixels.*128 x 96, a quarter turned.*EXIF"):
        photo_of(path, LEVEL, calibration, None)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ((), ("--camera-pitch is missing",)),
        (("--camera-pitch", "0"), ("--camera K.yaml", "--camera-fov 60")),
        (("--camera-pitch", "0", "--camera-fov", "170"), ("170 degrees, expected 1..160",)),
        (("--camera-pitch", "0", "--camera-fov", "60", "--camera", "K.yaml"), ("one of both",)),
        (("--camera-pitch", "0", "--camera-fov", "60", "--rectified"), ("--rectified",)),
        (("--camera-pitch", "0", "--camera-fov", "60", "--up", "y"), ("--up y turns clouds",)),
        (
            ("--camera-pitch", "0", "--camera-fov", "60", "--merge-views", "2"),
            ("--merge-views 2",),
        ),
    ],
)
def test_what_is_missing_or_too_much_is_said(
    weights: Path, photo: Path, options: tuple[str, ...], texts: tuple[str, ...]
) -> None:
    assert_one_line_error(sr3d("detect", photo, "--weights", weights, *options), *texts)


@pytest.mark.parametrize(
    ("tree", "texts"),
    [
        ({**PLAIN, "width": 640, "height": 480}, ("128 x 96", "640 x 480", "one size")),
        ({**PLAIN, "width": 128}, ("one of width and height",)),
        ({**PLAIN, "cx": 320.0}, ("(320, 47.5)", "outside")),
        # Of a photo half as wide and high, twice, and turned by its EXIF.
        ({"fx": 55, "fy": 55, "cx": 31.5, "cy": 23.5}, ("(31.5, 23.5)", "off the middle")),
        ({"fx": 90, "fy": 90, "cx": 90, "cy": 70}, ("off the middle", "width: 128")),
        ({**PLAIN, "cx": 47.5, "cy": 63.5}, ("(47.5, 63.5)", "off the middle")),
        ({**PLAIN, "fx": 4.2, "fy": 4.2}, ("fx 4.2", "172 degrees", "pixels")),
        ({**PLAIN, "fx": 1e9, "fy": 1e9}, ("fx 1e+09", "degrees")),
        ({**PLAIN, "fx": True, "fy": True}, ("fx 1 ",)),
        ({**PLAIN, "fy": 11}, ("fx 110 and fy 11",)),
        (
            {**ROS, "camera_matrix": {"data": [110, 0, 0, 0, 111, 0, 63.5, 47.5, 1]}},
            ("K.yaml", "(0, 0) is outside"),
        ),
        (
            {**ROS, "camera_matrix": {"data": [110, 9, 63.5, 0, 111, 47.5, 0, 0, 1]}},
            ("camera_matrix.data", "fx 0 cx"),
        ),
        ({**PLAIN, "fx": 0}, ("fx",)),
        ({"fx": 1}, ("fy", "expected the YAML of camera_calibration")),
        ({**ROS, "image_width": 1280}, ("1280 x 96",)),
        ({**ROS, "distortion_model": "bent"}, ("'bent'", "plumb_bob")),
        ({**ROS, "camera_matrix": {"data": [1, 2]}}, ("camera_matrix.data", "9 numbers")),
        ([1, 2], ("no keys",)),
    ],
)
def test_a_camera_that_does_not_fit_is_refused(
    weights: Path, photo: Path, tmp_path: Path, tree: object, texts: tuple[str, ...]
) -> None:
    camera = camera_file(tmp_path, tree)
    options = ("--camera", camera, "--camera-pitch", "0")
    result = sr3d("detect", photo, "--weights", weights, *options)
    assert_one_line_error(result, *texts)


def test_a_centre_off_the_middle_is_believed_where_the_file_says_the_size(
    photo: Path, tmp_path: Path
) -> None:
    """As of a photo that was cut."""
    tree = {**PLAIN, "cx": 20.0, "width": 128, "height": 96}
    found = photo_of(photo, LEVEL, read_calibration(camera_file(tmp_path, tree)), None)
    assert float(found.images.intrinsics[0, 0, 2]) == 20.0


def test_a_rectified_photo_is_of_its_own_projection(photo: Path, tmp_path: Path) -> None:
    wrong = {"data": [9000, 0, 63, 0, 0, 9000, 47, 0, 0, 0, 1, 0]}
    calibration = read_calibration(camera_file(tmp_path, {**ROS, "projection_matrix": wrong}))
    with pytest.raises(PhotoError, match="fx 9000"):
        photo_of(photo, LEVEL, calibration, None, is_rectified=True)


@pytest.mark.parametrize(
    ("pixels", "texts"),
    [
        (np.zeros((96, 128, 3), np.uint8), ("brightness of 0.000", "lens covered")),
        (np.full((96, 128), 7, np.uint8), ("brightness of 0.027",)),
        (np.full((1, 1, 3), 200, np.uint8), ("1 x 1 pixels", "at least 32")),
        (np.full((31, 400, 3), 200, np.uint8), ("400 x 31 pixels",)),
    ],
)
def test_a_photo_that_shows_nothing_is_refused(
    weights: Path, tmp_path: Path, pixels: np.ndarray, texts: tuple[str, ...]
) -> None:
    path = tmp_path / "nothing.png"
    Image.fromarray(pixels).save(path)
    done = sr3d(
        *("detect", path, "--weights", weights, "--camera-fov", "60", "--camera-pitch", "0")
    )
    assert_one_line_error(done, "nothing.png", *texts)


def test_a_photo_too_large_to_be_one_is_refused_as_such(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (14_000, 14_000)).convert("L").save(path)
    with pytest.raises(PhotoError, match=r"large.png: too large .*smaller"):
        photo_of(path, LEVEL, None, 60.0)


def test_clouds_and_photos_are_told_apart(weights: Path, photo: Path, tmp_path: Path) -> None:
    room, of_clouds = save_room(tmp_path), save_untrained(tmp_path)
    found = sr3d("detect", room, "--weights", weights, "--camera-pitch", "0")
    assert_one_line_error(found, "room.npz: no photo", "--weights default")
    found = sr3d("detect", photo, "--weights", of_clouds)
    assert_one_line_error(found, "photo.png: a photo", "--weights camera")
    found = sr3d("detect", room, "--weights", of_clouds, "--camera-fov", "60")
    assert_one_line_error(found, "--camera-fov: of photos")


def test_weights_that_do_not_ship_here_are_said_to_be_missing(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights_file("camera") == CAMERA_WEIGHTS
    gone = tmp_path / "camera.safetensors"
    monkeypatch.setattr("sr3d_core.checkpoint.CAMERA_WEIGHTS", gone)
    monkeypatch.setitem(SHIPPED, "camera", gone)
    found = sr3d("detect", photo, "--weights", "camera", "--camera-pitch", "0")
    assert_one_line_error(found, "camera.safetensors", "not part of this installation", "distill")


def test_a_damaged_photo_loses_nothing_of_the_others(
    weights: Path, photo: Path, tmp_path: Path
) -> None:
    bad, json_out = tmp_path / "bad.jpg", tmp_path / "boxes.json"
    bad.write_bytes(photo.read_bytes()[:300])
    options = ("--camera-fov", "60", "--camera-pitch", "0", "--json", json_out)
    result = sr3d("detect", bad, tmp_path / "none.png", photo, "--weights", weights, *options)
    assert result.exit_code == 1
    assert "bad.jpg: damaged" in result.stderr
    assert "none.png: no such file" in result.stderr
    assert [each["file"] for each in json.loads(json_out.read_text())] == [str(photo)]


def test_edges_of_a_box_are_cut_off_behind_the_camera(photo: Path) -> None:
    images = photo_of(photo, LEVEL, None, 60.0).images
    ahead, beside, behind = (
        corners(Boxes3D.from_array(torch.tensor([[x, 0.5, 0.0, 1.0, 0.4, 0.6, 0.3]])))[0]
        for x in (3.0, 0.2, -3.0)
    )
    edges = torch.stack(list(seen_edges(images, ahead)))
    assert edges.shape == (12, 2, 2)
    seen, _ = project(ahead[None], images.intrinsics, images.world_from_camera)
    for end in edges.reshape(-1, 2):
        assert float((seen[0] - end).norm(dim=1).min()) < 1e-3
    cut = list(seen_edges(images, beside))
    assert 0 < len(cut) < 12
    assert all(bool(edge.isfinite().all()) for edge in cut)
    assert list(seen_edges(images, behind)) == []
