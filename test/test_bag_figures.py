"""Figures of a recording, per frame and per object, against numbers worked out by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_bags import CENTER, SIZE, BoundingBox, S, write_bag
from typer.testing import CliRunner

from sr3d_core.structures import Boxes3D, Detections, Targets
from sr3d_ros.bag.commands import app
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.figures.objects import ObjectFigures, object_figures
from sr3d_ros.bag.figures.recording import Stability, recall_over_time
from sr3d_ros.bag.figures.sightings import FrameView, viewed
from sr3d_ros.bag.run import open_run
from sr3d_ros.bag.score import Scoring, score_run
from sr3d_ros.bag.truth import BagTruth
from sr3d_ros.parameters.record import Parameters

CLASSES = ("chair", "table")
TABLE = [0.0, 0.0, 0.5, 1.0, 2.0, 1.0, 0.3]
CHAIR = [5.0, 0.0, 0.5, 0.5, 0.5, 1.0, 0.0]


def boxes(rows: Sequence[Sequence[float]]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows, dtype=torch.float64).reshape(-1, 7))


def view(
    tick: int,
    found: Sequence[tuple[Sequence[float], int]],
    truth: Sequence[tuple[str, Sequence[float], int]],
    ids: Sequence[str] = (),
) -> FrameView:
    """One frame at `tick` tenths of a second."""
    scores = torch.linspace(0.9, 0.5, len(found))
    labels = torch.tensor([label for _, label in found], dtype=torch.int64)
    detections = Detections(boxes([row for row, _ in found]), scores, labels)
    targets = Targets(
        boxes([row for _, row, _ in truth]), torch.tensor([label for *_, label in truth])
    )
    names = [name for name, *_ in truth]
    about = (S + tick * S // 10, 12.0, 100)
    return viewed(detections, ids or [""] * len(found), targets, names, about)


def figures_of(
    is_found: str, rows: Sequence[Sequence[float]] = (), ids: Sequence[str] = ()
) -> ObjectFigures:
    """A table over frames: `x` found, `.` in view but not found, a blank out of view."""
    views = []
    for tick, sign in enumerate(is_found):
        truth = [] if sign == " " else [("table 1", TABLE, 1)]
        row = rows[tick] if rows else TABLE
        views.append(view(tick, [(row, 1)] if sign == "x" else [], truth, ids[tick : tick + 1]))
    (found,) = object_figures(views, CLASSES)
    return found


def test_a_frame_says_what_is_right_wrong_and_missed() -> None:
    found = [(TABLE, 1), (TABLE, 0), (TABLE, 1)]  # found, of another class, found twice
    frame = view(0, found, [("a", TABLE, 1), ("b", CHAIR, 0)])
    written = frame.to_dict()
    assert (written["right"], written["wrong"], written["missed"]) == (1, 2, 1)
    assert [each.found is None for each in frame.sightings] == [False, True]


def test_an_object_is_found_in_a_share_of_the_frames_in_view_and_after_a_while() -> None:
    found = figures_of("  ...x.x")
    assert (found.object_, found.class_name) == ("table 1", "table")
    assert (found.num_in_view, found.num_found) == (6, 2)
    assert found.recall == pytest.approx(1 / 3)
    assert found.first_found_after_s == pytest.approx(0.3)
    assert found.median_iou == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("is_found", "flickers", "lost", "between"),
    [
        ("xxxxx", 0, 0, 5),
        ("..xx..", 0, 0, 2),  # begun and ended, not lost in between
        ("x.x..x", 2, 3, 6),
        ("x. .x", 0, 0, 2),  # it left the view in between
        (".....", 0, 0, 0),
    ],
)
def test_flickers_are_found_lost_and_found_again_without_leaving_the_view(
    is_found: str, flickers: int, lost: int, between: int
) -> None:
    found = figures_of(is_found)
    assert (found.num_flickers, found.num_lost, found.num_between) == (flickers, lost, between)


def test_flickers_are_counted_by_the_time_in_view() -> None:
    steady = Stability.of([figures_of("x.x" * 20)], is_tracked=False)  # 59 tenths of a second
    assert steady.num_flickers == 20
    assert steady.flickers_per_minute == pytest.approx(20 / (5.9 / 60))
    assert steady.lost_share == pytest.approx(20 / 60)
    assert steady.num_id_switches is None


def test_an_identity_that_becomes_another_is_a_switch_and_none_is_not() -> None:
    assert figures_of("xxxxxx", ids=["1", "1", "", "1", "2", "1"]).num_id_switches == 2


def test_jitter_is_the_spread_about_the_own_mean() -> None:
    """A constant error is no jitter; 3 cm to and fro along two axes at once is."""
    still = [[0.1, 0.0, 0.5, 1.1, 2.0, 1.0, 0.35]] * 6
    steady = figures_of("x" * 6, still).jitter
    assert steady is not None
    assert (steady.center_cm, steady.log_size) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert steady.yaw_deg == pytest.approx(0.0, abs=1e-6)
    shifts = (0.03, -0.03) * 3
    wild = [[x, x, 0.5, math.exp(x), 2.0, 1.0, 0.3 + x] for x in shifts]
    jitter = figures_of("x" * 6, wild).jitter
    assert jitter is not None
    sigma = math.sqrt(6 * 0.03**2 / 5)
    assert jitter.center_cm == pytest.approx(100 * sigma * math.sqrt(2))
    assert jitter.log_size == pytest.approx(sigma / math.sqrt(3))
    assert jitter.yaw_deg == pytest.approx(math.degrees(sigma))


def test_a_quarter_turn_with_the_sides_exchanged_is_the_same_box() -> None:
    x, y, z, dx, dy, dz, yaw = TABLE
    turned = [x, y, z, dy, dx, dz, yaw + math.pi / 2]
    found = figures_of("x" * 6, [TABLE, turned, TABLE, turned, TABLE, turned])
    assert found.size_error == pytest.approx(0.0, abs=1e-9)
    assert found.jitter is not None
    assert found.jitter.yaw_deg == pytest.approx(0.0, abs=1e-6)


def test_jitter_of_few_boxes_is_not_said() -> None:
    assert figures_of("xxxx").jitter is None


def test_recall_over_time_counts_objects_that_were_seen_and_found_so_far() -> None:
    a, b = ("a", TABLE, 1), ("b", CHAIR, 0)
    views = [view(0, [], [a]), view(1, [(TABLE, 1)], [a, b]), view(2, [], [b])]
    assert recall_over_time(views) == [
        {"s": 0.0, "seen": 1, "found": 0},
        {"s": pytest.approx(0.1), "seen": 2, "found": 1},
    ]


def test_average_precision_wants_weak_boxes_whatever_a_class_asks_for(
    one_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = BoundingBox()
    monkeypatch.setattr("sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: detector)
    truth, robot, out = (tmp_path / name for name in ("truth.json", "robot.yaml", "out.json"))
    truth.write_text(json.dumps({"frame": "map", "static": [BOX]}))
    rules = "{classes.chair.score_threshold: 0.95, classes.sofa.enabled: false}"
    robot.write_text(f"sr3d_detector: {{ros__parameters: {rules}}}")
    arguments = ("eval", one_bag, "--gt", truth, "--params-file", robot, "--json", out)
    result = CliRunner().invoke(app, [*map(str, arguments), "--up", "tf"])
    assert result.exit_code == 0, result.output
    assert detector.postprocess.class_thresholds == (0.01, math.inf)
    written = json.loads(out.read_text())
    assert written["map25"] == 1.0
    assert written["objects"][0]["num_found"] == 0  # .9 is not enough for the robot


@pytest.fixture(scope="module")
def one_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "sqlite3")


BOX = {"class": "chair", "center": list(CENTER), "size": list(SIZE), "yaw": 0.0}


def scored(bag: Path, folder: Path, truth: Any, values: Any = None) -> dict[str, Any]:
    path = folder / "truth.json"
    path.write_text(json.dumps(truth))
    parameters = Parameters.from_values(values or {})
    with open_run(bag, BoundingBox(), parameters=parameters) as run:
        return score_run(run, Scoring(run, BagTruth.load(path, run.classes))).to_dict()


def test_a_recording_has_figures_of_frames_and_of_static_objects(
    one_bag: Path, tmp_path: Path
) -> None:
    result = scored(
        one_bag, tmp_path, {"frame": "map", "static": [BOX]}, {"tracking.enabled": True}
    )
    assert [frame["right"] for frame in result["frames"]] == [1] * 5
    assert all(frame["time_ms"] > 0 and frame["num_points"] == 64 for frame in result["frames"])
    (chair,) = result["objects"]
    assert (chair["object"], chair["num_in_view"], chair["recall"]) == ("chair 0", 5, 1.0)
    # The robot moves, the box stands still in the map: what is left is float32's rounding.
    assert chair["jitter"]["center_cm"] < 0.01
    assert result["stability"]["num_id_switches"] == 0


def test_thresholds_of_the_robot_decide_what_is_found(one_bag: Path, tmp_path: Path) -> None:
    truth = {"frame": "map", "static": [BOX]}
    result = scored(one_bag, tmp_path, truth, {"output.score_threshold": 0.95})
    assert result["objects"][0]["num_found"] == 0
    assert [frame["missed"] for frame in result["frames"]] == [1] * 5


def test_boxes_by_stamp_are_objects_where_they_have_ids(one_bag: Path, tmp_path: Path) -> None:
    frames = [
        {"stamp_ns": S, "boxes": [{**BOX, "id": "armchair"}]},
        {"stamp": 1.1, "boxes": [{**BOX, "id": "armchair"}]},
        {"stamp": 1.2, "boxes": [BOX]},
    ]
    (chair,) = scored(one_bag, tmp_path, {"frame": "map", "frames": frames})["objects"]
    assert (chair["object"], chair["num_in_view"]) == ("armchair", 2)


def test_an_id_that_stands_twice_at_one_moment_is_refused(one_bag: Path, tmp_path: Path) -> None:
    twice = [{**BOX, "id": "a"}, {**BOX, "id": "a", "center": [0, 0, 0]}]
    with pytest.raises(ReplayError, match=r"static\[1\]\.id: 'a'"):
        scored(one_bag, tmp_path, {"frame": "map", "static": twice})
