"""Recordings at the sensor's pace: the fate of each frame by hand, and ros2_benchmark's keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from small_bags import CAMERA_TURN as TURN
from small_bags import CENTER, SIZE, BoundingBox, S, cloud, optical_points, tf, write_bag
from typer.testing import CliRunner

from sr3d_ros.bag.commands import app
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.pace import SensorClock, Timed, pace_run, paced
from sr3d_ros.bag.replay import Arrival, DroppedFrame
from sr3d_ros.bag.ros2_benchmark import basic_performance
from sr3d_ros.bag.run import open_run
from sr3d_ros.bag.score import Scoring
from sr3d_ros.bag.truth import BagTruth


def fates(
    stamps_s: Sequence[float], took_s: Sequence[float], max_age_s: float = 0.0, speed: float = 1.0
) -> list[Timed]:
    """Frames with these stamps, of which each that is worked on takes its time."""
    arrivals = [Arrival((), 0, round(S * stamp)) for stamp in stamps_s]
    times = dict(zip([arrival.stamp_ns for arrival in arrivals], took_s, strict=True))

    def work(arrival: Arrival) -> tuple[DroppedFrame, float]:
        return DroppedFrame(arrival.stamp_ns, "done", ""), times[arrival.stamp_ns]

    return list(paced(arrivals, work, SensorClock(speed), max_age_s))


def told(timed: Sequence[Timed]) -> list[tuple[float, str, float | None]]:
    return [
        (
            each.frame.stamp_ns / S,
            each.frame.reason if isinstance(each.frame, DroppedFrame) else "",
            None if each.finished_s is None else round(each.finished_s, 6),
        )
        for each in timed
    ]


def test_a_detector_that_is_fast_enough_drops_nothing() -> None:
    found = told(fates([1.0, 1.1, 1.2], [0.05, 0.1, 0.05]))
    assert found == [(1.0, "done", 0.05), (1.1, "done", 0.2), (1.2, "done", 0.25)]


def test_the_newest_waits_and_older_ones_are_dropped() -> None:
    """The first takes 0.25 s: the second waits until the third replaces it."""
    found = told(fates([1.0, 1.1, 1.2, 1.3, 1.4], [0.25, 9, 0.12, 0.01, 0.01]))
    assert found == [
        (1.0, "done", 0.25),
        (1.1, "superseded", None),
        (1.2, "done", 0.37),  # begun when the first was done
        (1.3, "done", 0.38),
        (1.4, "done", 0.41),
    ]


def test_what_waits_in_the_end_is_worked_on() -> None:
    assert told(fates([1.0, 1.1], [0.5, 0.5])) == [(1.0, "done", 0.5), (1.1, "done", 1.0)]


def test_a_frame_whose_turn_comes_too_late_is_dropped() -> None:
    found = told(fates([1.0, 1.1, 2.0], [0.5, 9, 0.1], max_age_s=0.3))
    assert found == [(1.0, "done", 0.5), (1.1, "too_old", None), (2.0, "done", 1.1)]


def test_twice_the_speed_leaves_half_the_time() -> None:
    stamps, took = [1.0, 1.1, 1.2], [0.12] * 3
    once, twice = (told(fates(stamps, took, speed=speed)) for speed in (1.0, 2.0))
    assert [fate for _, fate, _ in once] == ["done", "done", "done"]
    assert [fate for _, fate, _ in twice] == ["done", "superseded", "done"]


def test_stamps_that_go_back_do_not_stop_the_clock() -> None:
    clock = SensorClock()
    at = [clock.arrival_s(round(S * stamp)) for stamp in (5.0, 5.1, 1.0, 1.1)]
    assert at == pytest.approx([0.0, 0.1, 0.1, 0.2])
    assert clock.num_back == 1


def test_names_and_formulas_are_those_of_ros2_benchmark() -> None:
    """Four frames sent at 10 Hz, three received: worked out by its formulas."""
    found = basic_performance([0.0, 0.1, 0.2, 0.3], [(0.0, 0.05), (0.1, 0.17), (0.3, 0.34)])
    assert found == {
        "NUM_FRAMES_SENT": 4,
        "NUM_MISSED_FRAMES": 1,
        "MEAN_PLAYBACK_FRAME_RATE": pytest.approx(4 / 0.3),
        "MEAN_FRAME_RATE": pytest.approx(3 / 0.29),
        "RECEIVED_DURATION": pytest.approx(290.0),
        "FIRST_SENT_RECEIVED_LATENCY": pytest.approx(50.0),
        "LAST_SENT_RECEIVED_LATENCY": pytest.approx(40.0),
        "FIRST_INPUT_LATENCY": pytest.approx(50.0),
        "LAST_INPUT_LATENCY": pytest.approx(40.0),
        "MAX_LATENCY": pytest.approx(70.0),
        "MIN_LATENCY": pytest.approx(40.0),
        "MEAN_LATENCY": pytest.approx(160 / 3),
        "MAX_JITTER": pytest.approx(50.0),
        "MIN_JITTER": pytest.approx(50.0),
        "MEAN_JITTER": pytest.approx(50.0),
        "STD_DEV_JITTER": pytest.approx(0.0, abs=1e-9),
    }


def test_what_one_frame_cannot_say_is_left_out() -> None:
    found = basic_performance([0.0], [(0.0, 0.05)])
    assert {"MEAN_FRAME_RATE", "MEAN_PLAYBACK_FRAME_RATE", "MAX_JITTER"}.isdisjoint(found)


@pytest.fixture(scope="module")
def one_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "sqlite3")


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.json"
    box = {"class": "chair", "center": CENTER, "size": SIZE, "yaw": 0.0}
    path.write_text(json.dumps({"frame": "map", "static": [box]}))
    return path


def test_eval_says_what_the_pace_costs(
    one_bag: Path, truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a millionth of the pace nothing is too slow, at a million times all wait at once."""
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
    )
    out, report = tmp_path / "out.json", tmp_path / "ros2.json"
    shares = {}
    for speed in ("1e-6", "1e6"):
        arguments = ("eval", one_bag, "--gt", truth, "--json", out, "--pace", speed)
        result = CliRunner().invoke(app, [*map(str, arguments), "--ros2-benchmark", str(report)])
        assert result.exit_code == 0, result.output
        pace = json.loads(out.read_text())["pace"]
        shares[speed] = pace["dropped_share"]
        assert pace["num_frames"] == 5
        assert pace["map25"] == 1.0
        assert pace["latency_ms"]["p50"] <= pace["latency_ms"]["max"]
        written = json.loads(report.read_text())
        assert written["BasicPerformanceMetrics.NUM_FRAMES_SENT"] == 5
        missed = written["BasicPerformanceMetrics.NUM_MISSED_FRAMES"]
        assert missed == round(5 * pace["dropped_share"])
    assert shares == {"1e-6": 0.0, "1e6": pytest.approx(3 / 5)}


def test_clouds_of_one_stamp_have_no_pace(tmp_path: Path, truth: Path) -> None:
    def fill(write: object) -> None:
        write("/tf_static", tf("map", "camera", 0, (0, 0, 1), TURN), S)  # type: ignore[operator]
        for tick in range(3):
            write("/points", cloud(S, "camera", optical_points(0.0)), S + tick)  # type: ignore[operator]

    with open_run(write_bag(tmp_path / "bag", "mcap", fill), BoundingBox()) as run:
        expected = BagTruth.load(truth, run.classes)
        with pytest.raises(ReplayError, match="one stamp"):
            pace_run(run, lambda begun: Scoring(begun, expected))
