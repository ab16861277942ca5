"""The file of ground truth: forms that are read, mistakes that are refused with their place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from small_bags import CENTER, SIZE, BoundingBox, S, write_bag

from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.run import open_run
from sr3d_ros.bag.score import Scoring, score_run
from sr3d_ros.bag.truth import BagTruth
from sr3d_ros.bag.truth_file import TruthFile, read_truth

CLASSES = ("chair", "sofa")
CHAIR = {"class": "chair", "center": [1.0, 2.0, 0.5], "size": [0.5, 0.6, 1.0], "yaw": 0.25}
SOFA = {"class": "sofa", "center": [4.0, 2.0, 0.5], "size": [2.0, 0.9, 0.8], "yaw": 0.0}
CHAIR_ROW, SOFA_ROW = [1.0, 2.0, 0.5, 0.5, 0.6, 1.0, 0.25], [4.0, 2.0, 0.5, 2.0, 0.9, 0.8, 0.0]


def written(folder: Path, tree: Any) -> Path:
    path = folder / "truth.json"
    path.write_text(json.dumps(tree))
    return path


def read(folder: Path, tree: Any) -> TruthFile:
    return read_truth(written(folder, tree), CLASSES)


def refusal(folder: Path, tree: Any) -> str:
    with pytest.raises(ReplayError) as caught:
        read(folder, tree)
    text = str(caught.value)
    assert text.startswith(str(folder / "truth.json"))
    assert "\n" not in text
    return text


TWO_STAMPS = [{"stamp_ns": S, "boxes": [CHAIR, SOFA]}, {"stamp_ns": 2 * S, "boxes": [CHAIR]}]


@pytest.mark.parametrize(
    "tree",
    [
        {"frame": "map", "frames": TWO_STAMPS},
        {"frame_id": "map", "frames": TWO_STAMPS},
        [{"frame_id": "map", **entry} for entry in TWO_STAMPS],
        {"frames": [{"frame": "map", **entry} for entry in TWO_STAMPS]},
        {"frame": "map", "frames": [{"frame_id": "map", **TWO_STAMPS[0]}, TWO_STAMPS[1]]},
        [
            {
                "header": {"stamp": {"sec": stamp, "nanosec": 0}, "frame_id": "map"},
                "boxes": TWO_STAMPS[stamp - 1]["boxes"],
            }
            for stamp in (1, 2)
        ],
        {
            "frame": "map",
            "frames": [
                {"stamp_ns": S, "boxes": [CHAIR_ROW, SOFA_ROW], "labels": ["chair", "sofa"]},
                {"stamp_ns": 2 * S, "boxes": [CHAIR_ROW], "labels": ["chair"]},
            ],
        },
        {  # one entry for each box, in any order, one stamp in seconds
            "frame": "map",
            "frames": [
                {"stamp_ns": S, "boxes": [CHAIR]},
                {"stamp_ns": 2 * S, "boxes": [CHAIR]},
                {"stamp": 1.0, "boxes": [SOFA]},
            ],
        },
    ],
)
def test_common_forms_say_the_same(tmp_path: Path, tree: Any) -> None:
    truth = read(tmp_path, tree)
    assert truth.frame == "map"
    found = {
        stamp: [(box.class_name, box.center, box.size, box.yaw) for box in boxes]
        for stamp, boxes in truth.by_stamp().items()
    }
    chair = ("chair", (1.0, 2.0, 0.5), (0.5, 0.6, 1.0), 0.25)
    sofa = ("sofa", (4.0, 2.0, 0.5), (2.0, 0.9, 0.8), 0.0)
    assert found == {S: [chair, sofa], 2 * S: [chair]}


def test_static_boxes_may_be_rows(tmp_path: Path) -> None:
    truth = read(tmp_path, {"frame": "map", "static": [CHAIR_ROW], "labels": ["chair"]})
    assert truth.static is not None
    assert (truth.static[0].class_name, truth.static[0].yaw) == ("chair", 0.25)


def test_boxes_with_one_entry_each_are_all_counted(tmp_path: Path) -> None:
    """Half of what is there is found, so the recall is a half: nothing is dropped on the way."""
    bag = write_bag(tmp_path / "drive", "sqlite3")
    there = {"class": "chair", "center": list(CENTER), "size": list(SIZE)}
    elsewhere = {**there, "center": [50.0, 0.0, 0.0]}
    frames = [{"stamp_ns": S, "boxes": [box]} for box in (there, elsewhere)]
    path = written(tmp_path, {"frame": "map", "frames": frames})
    with open_run(bag, BoundingBox()) as run:
        result = score_run(run, Scoring(run, BagTruth.load(path, run.classes))).to_dict()
    assert result["per_class"]["chair"]["boxes"] == 2
    assert result["per_class"]["chair"]["recall50"] == 0.5


def test_stamps_that_no_cloud_has_are_counted(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "drive", "sqlite3")
    box = {"class": "chair", "center": list(CENTER), "size": list(SIZE)}
    frames = [{"stamp_ns": stamp, "boxes": [box]} for stamp in (S, S + S // 10, 77 * S)]
    path = written(tmp_path, {"frame": "map", "frames": frames})
    with open_run(bag, BoundingBox()) as run:
        result = score_run(run, Scoring(run, BagTruth.load(path, run.classes))).to_dict()
    assert (result["num_without_truth"], result["num_truth_unused"]) == (3, 1)


@pytest.mark.parametrize("apart_ns", [1, 999_999, 1_500_000])
def test_stamps_that_nearly_agree_are_refused_with_both(tmp_path: Path, apart_ns: int) -> None:
    frames = [{"stamp_ns": S, "boxes": [CHAIR]}, {"stamp_ns": S + apart_ns, "boxes": [SOFA]}]
    text = refusal(tmp_path, {"frame": "map", "frames": frames})
    assert str(S) in text
    assert str(S + apart_ns) in text


def test_stamps_as_near_as_clouds_come_are_two_frames(tmp_path: Path) -> None:
    frames = [{"stamp_ns": S, "boxes": [CHAIR]}, {"stamp_ns": S + 10_000_000, "boxes": [SOFA]}]
    assert len(read(tmp_path, {"frame": "map", "frames": frames}).by_stamp()) == 2


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ({"frame": "map", "static": [CHAIR, SOFA, CHAIR]}, ["static[2]", "static[0]"]),
        (
            {"frame": "map", "frames": [{"stamp_ns": S, "boxes": [SOFA]}] * 2},
            ["frames[1].boxes[0]", "frames[0].boxes[0]"],
        ),
        ({"frame": "map", "boxes": [CHAIR]}, ["'boxes'", "'static'", '"frames"', "stamp_ns"]),
        ([{"stamp_ns": S, "boxes": [CHAIR]}], ["frame: missing"]),
        (
            [{"stamp_ns": S, "boxes": [], "frame_id": name} for name in ("map", "odom")],
            ["'map'", "'odom'"],
        ),
        ([TWO_STAMPS[0], {**TWO_STAMPS[1], "frame_id": "map"}], ["1 of 2", "frame_id"]),
        ({"frame": "map", "static": [CHAIR_ROW]}, ["'labels'", "1 class"]),
        ({"frame": "map", "static": [CHAIR_ROW], "labels": []}, ["'labels'", "1 class"]),
        ({"frame": "map", "static": [CHAIR_ROW[:6]], "labels": ["chair"]}, ["static[0]", "yaw"]),
        ({"frame": "map", "static": [CHAIR_ROW], "labels": [3]}, ["static[0].class", "3"]),
        (
            {"frame": "map", "static": [SOFA, {**CHAIR, "size": [500, 600, 1000]}]},
            ["static[1].size", "500 x 600 x 1000", "millimetres"],
        ),
        (
            {"frame": "map", "static": [{**CHAIR, "size": [50, 60, 100]}]},
            ["static[0].size", "centimetres"],
        ),
        (
            {"frame": "map", "frames": [{"stamp": 1, "boxes": [{**CHAIR, "yaw": 90}]}]},
            ["frames[0].boxes[0].yaw", "90", "degrees"],
        ),
        ({"frame": "map", "frames": [{"stamp_ns": 10**30, "boxes": []}]}, ["frames[0].stamp_ns"]),
        ({"frame": "map", "frames": [{"stamp": 1e18, "boxes": []}]}, ["frames[0].stamp"]),
        ({"frame": 7, "static": []}, ["frame"]),
        ({"frame": "map", "frames": "all"}, ["frames"]),
        ({"frame": "map", "frames": [7]}, ["frames[0]"]),
        (7, ["top level"]),
    ],
)
def test_what_can_mean_two_things_is_refused_with_its_place(
    tmp_path: Path, tree: Any, named: list[str]
) -> None:
    text = refusal(tmp_path, tree)
    for part in named:
        assert re.search(re.escape(part), text), f"{part} is not in: {text}"
