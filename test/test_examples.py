"""The scripts of examples/, run as a user runs them; 08 needs ROS and is run in test/ros."""

from __future__ import annotations

import json
import runpy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parent.parent / "examples"
IN_TEST_ROS = "08_detections_topic.py"
IN_TEST_EXAMPLE_PLANNERS = "11_objects_for_planners.py"

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a script and returns its names; the files that it makes go to `tmp_path`."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def start(name: str, *arguments: str | Path) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        return runpy.run_path(str(FOLDER / name), run_name="__main__")

    return start


def test_each_example_is_listed_and_tested() -> None:
    readme, tests = (FOLDER / "README.md").read_text(), Path(__file__).read_text()
    scripts = sorted(path.name for path in FOLDER.glob("*.py"))
    assert [name[:2] for name in scripts] == [f"{number:02}" for number in range(1, 12)]
    for name in scripts:
        assert f"]({name})" in readme, name
        assert f'"{name}"' in tests, name


def test_a_cloud_file_gives_named_boxes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("01_cloud_file.py")["found"]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(found) > 3
    assert any(line.startswith("bed ") for line in lines)


def test_numpy_arrays_give_the_points_of_each_object(run: Run) -> None:
    names = run("02_numpy_arrays.py")
    best = names["names"].index("bed")
    assert len(names["points_of"][best]) > 100
    from_center = names["points_of"][best] - names["boxes"][best, :3]
    half_diagonal = np.linalg.norm(names["boxes"][best, 3:6]) / 2
    assert (np.linalg.norm(from_center, axis=1) <= half_diagonal).all()


def test_own_scenes_are_trained_on_and_scored(run: Run) -> None:
    pytest.importorskip("accelerate")
    report = run("03_own_scenes.py")["report"]
    assert report.num_scenes == 1
    known = report.ap25.per_class[:12]  # the weights that ship know these classes
    assert known[~known.isnan()].mean() > 0.7


def test_own_classes_are_learnt(run: Run) -> None:
    pytest.importorskip("accelerate")
    names = run("04_own_classes.py")
    assert names["detector"].classes == ("crate", "pallet")
    assert set(names["found"].labels.tolist()) == {0, 1}


def test_every_cloud_of_a_recording_is_detected_in(run: Run) -> None:
    pytest.importorskip("rosbags")
    found = run("05_recording.py")["found_by_stamp"]
    assert list(found) == [100_000_000, 200_000_000, 300_000_000]
    assert all(len(each) > 3 for each in found.values())


def test_a_hidden_object_keeps_its_identity(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    ids = run("06_tracker.py")["ids_by_frame"]
    assert ids[0] == ("", "")
    assert ids[7] == ids[15] == ("1", "2")
    assert ids[10] == ("1",)
    box = {"class": "chair", "score": 0.9, "center": [0, 0, 0], "size": [1, 1, 1], "yaw": 0}
    frames = [{"stamp_ns": stamp, "detections": [box]} for stamp in (0, 1)]
    (tmp_path / "frames.json").write_text(json.dumps({"frames": frames}))
    assert run("06_tracker.py", tmp_path / "frames.json")["ids_by_frame"] == [("",), ("1",)]


def test_an_own_assigner_works_in_the_criterion(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run("07_own_assigner.py")
    few = names["SmallestBoxAround"](max_per_box=5)(names["predictions"], names["targets"])
    assert 0 < int(few.is_positive.sum()) <= 5 * len(names["targets"])
    assert all(p.grad is not None for p in names["network"].head.parameters())
    assert "positives" in capsys.readouterr().out


def test_a_broken_file_of_a_batch_gets_a_line_like_the_others(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run("09_batch.py")
    broken, good = map(json.loads, capsys.readouterr().out.splitlines())
    assert Path(broken["file"]).name == "letter.ply"
    assert "letter.ply" in broken["error"]
    assert Path(good["file"]).name == "room.npz"
    assert len(good["detections"]) > 3


def test_boxes_are_exported(run: Run) -> None:
    trimesh = pytest.importorskip("trimesh")
    names = run("10_export_boxes.py")
    scene = trimesh.load_scene(names["target"])
    boxes = [each for each in scene.geometry.values() if isinstance(each, trimesh.Trimesh)]
    assert len(boxes) == len(names["found"]) > 3
    volumes = sorted(float(box.volume) for box in boxes)
    expected = sorted(names["found"].boxes.size.prod(dim=1).tolist())
    np.testing.assert_allclose(volumes, expected, rtol=1e-3)
