"""Ground truth of recordings: what counts, what is scored, mistakes in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_bags import CENTER, SIZE, BoundingBox, S, write_bag

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.run import open_run
from sr3d_ros.bag.score import Scoring, score_run
from sr3d_ros.bag.truth import BagTruth
from sr3d_ros.parameters.record import Parameters


@pytest.fixture(scope="module", params=["sqlite3", "mcap"])
def bag_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", request.param)


@pytest.fixture(scope="module")
def one_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "sqlite3")


BOX = {"class": "chair", "center": list(CENTER), "size": list(SIZE), "yaw": 0.0}
FAR_BOX = {"class": "sofa", "center": [50, 0, 0], "size": [1, 1, 1]}


def truth_file(folder: Path, content_: Any) -> Path:
    path = folder / "truth.json"
    path.write_text(json.dumps(content_))
    return path


def scored(
    bag: Path, folder: Path, content_: Any, min_points: int = 20, frame: str = ""
) -> dict[str, Any]:
    path = truth_file(folder, content_)
    parameters = Parameters(detection_frame=frame)
    with open_run(bag, BoundingBox(), parameters=parameters) as run:
        return score_run(run, Scoring(run, BagTruth.load(path, run.classes, min_points))).to_dict()


@pytest.mark.parametrize("frame", ["", "map"])
def test_static_truth_follows_the_robot_and_unseen_boxes_do_not_count(
    bag_path: Path, tmp_path: Path, frame: str
) -> None:
    truth = {"frame": "map", "static": [BOX, FAR_BOX]}
    result = scored(bag_path, tmp_path, truth, frame=frame)
    assert result["map50"] == 1.0
    assert result["per_class"]["chair"] == {
        "boxes": 5,
        "ap25": 1.0,
        "ap50": 1.0,
        "recall25": 1.0,
        "recall50": 1.0,
    }
    assert result["per_class"]["sofa"]["boxes"] == 0
    assert result["num_never_counted"] == 1
    assert set(result["latency_ms"]) == {"p50", "p90", "p99"}


def test_unseen_static_boxes_count_where_no_points_are_asked_for(
    one_bag: Path, tmp_path: Path
) -> None:
    truth = {"frame": "map", "static": [BOX, FAR_BOX]}
    assert scored(one_bag, tmp_path, truth, min_points=0)["mean_recall25"] == 0.5


@pytest.mark.parametrize("frame", ["", "map"])
def test_a_detection_on_a_box_that_does_not_count_is_not_wrong(
    one_bag: Path, tmp_path: Path, frame: str
) -> None:
    truth = {"frame": "map", "static": [BOX]}
    result = scored(one_bag, tmp_path, truth, min_points=1000, frame=frame)
    assert result["map25"] is None  # nothing to find, and nothing counted against the detector
    assert result["per_class"]["chair"]["boxes"] == 0


@pytest.mark.parametrize("iou", ["map25", "map50"])
def test_a_detection_on_an_ignored_box_is_not_wrong(
    one_bag: Path, tmp_path: Path, iou: str
) -> None:
    seen, ignored = {**BOX, "class": "sofa"}, {**BOX, "ignored": True}
    truth = {"frame": "map", "static": [ignored, seen]}
    result = scored(one_bag, tmp_path, truth)
    assert result["per_class"]["chair"]["boxes"] == 0
    assert result[iou] == 0.0  # of the sofa, which nobody found
    frames = [{"stamp_ns": S, "boxes": [BOX]}, {"stamp": 1.1, "boxes": [ignored]}]
    assert scored(one_bag, tmp_path, {"frame": "map", "frames": frames})[iou] == 1.0


def test_truth_by_stamp_scores_the_stamps_it_has(one_bag: Path, tmp_path: Path) -> None:
    frames = [
        {"stamp_ns": S, "boxes": [BOX]},
        {"stamp": 1.1, "boxes": [BOX, FAR_BOX]},
    ]
    result = scored(one_bag, tmp_path, {"frame": "map", "frames": frames})
    assert (result["num_scenes"], result["num_without_truth"]) == (2, 3)
    assert result["per_class"]["chair"]["recall50"] == 1.0
    assert result["per_class"]["sofa"]["recall25"] == 0.0


def test_truth_whose_stamps_are_elsewhere_is_an_error(one_bag: Path, tmp_path: Path) -> None:
    truth = {"frame": "map", "frames": [{"stamp": 99.0, "boxes": [BOX]}]}
    with pytest.raises(ReplayError, match="none of the 5 clouds of /points has ground truth"):
        scored(one_bag, tmp_path, truth)


def test_detections_of_classes_nobody_annotated_are_left_out(
    one_bag: Path, tmp_path: Path
) -> None:
    truth = {"frame": "map", "classes": ["sofa"], "static": [{**BOX, "class": "sofa"}]}
    result = scored(one_bag, tmp_path, truth)
    assert result["map25"] == 0.0


def test_truth_in_a_tilted_frame_is_an_error(one_bag: Path, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="tilted by 90 degrees"):
        scored(one_bag, tmp_path, {"frame": "camera", "static": [BOX]})


def test_frames_whose_truth_cannot_be_placed_are_dropped(one_bag: Path, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"all 5 clouds .*truth_no_transform"):
        scored(one_bag, tmp_path, {"frame": "mars", "static": [BOX]})


@pytest.mark.parametrize(
    ("content_", "complaint"),
    [
        ({"static": []}, "frame: missing"),
        ({"frame": "map"}, "expected either 'static'"),
        ({"frame": "map", "static": [{**BOX, "color": 1}]}, r"static\[0\]\.color: unknown key"),
        ({"frame": "map", "static": [{**BOX, "size": [1, 0, 1]}]}, r"static\[0\]\.size"),
        ({"frame": "map", "static": [{**BOX, "class": "cat"}]}, "classes cat are not among"),
        ({"frame": "map", "frames": [{"boxes": []}]}, "either stamp_ns or stamp"),
    ],
)
def test_ground_truth_with_mistakes_names_the_place(
    tmp_path: Path, content_: Any, complaint: str
) -> None:
    with pytest.raises(ReplayError, match=complaint):
        BagTruth.load(truth_file(tmp_path, content_), ("chair", "sofa"))


def test_ground_truth_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    with pytest.raises(ReplayError, match="cannot be read"):
        BagTruth.load(path, ("chair",))
    path.write_text("{")
    with pytest.raises(ReplayError, match="not JSON"):
        BagTruth.load(path, ("chair",))
