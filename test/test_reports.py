"""What diagnostics say: levels by recent losses and by sustained lateness, remedies in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sr3d_ros.diagnostics.counters import CloudCounters, Snapshot
from sr3d_ros.diagnostics.reports import PARTS, Level, Report, Situation, reports
from sr3d_ros.errors import DROP_REASONS


class Clock:
    """Time that passes only when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Life:
    """A node's counts, and what is said about the last seconds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.counters = CloudCounters(now_s=self.clock, late_ms=100.0)
        self.before: Snapshot = self.counters.snapshot()

    def frames(
        self,
        count: int,
        latency_ms: float = 50.0,
        drops: Sequence[str] = (),
        age_ms: float = 10.0,
    ) -> Life:
        for _ in range(count):
            self.clock.now_s += 0.1
            self.counters.count_received(age_ms=age_ms)
            self.counters.count_processed(
                processing_ms=20.0, latency_ms=latency_ms, num_detections=1, frame_id="base"
            )
        for reason in drops:
            self.counters.count_received(age_ms=10.0)
            self.counters.count_dropped(reason, "the text")
        return self

    def pass_by(self, seconds: float) -> Life:
        self.before = self.counters.snapshot()
        self.clock.now_s += seconds
        return self

    def report(self, part: str, **situation: Any) -> Report:
        given = Situation(**{"late_ms": 100.0, "error_after_s": 5.0, "topic": "/p", **situation})
        found = reports(self.counters.snapshot(), self.before, given)
        return {each.part: each for each in found}[part]


def test_there_is_one_report_for_each_concern() -> None:
    life = Life()
    found = reports(life.counters.snapshot(), life.before, Situation())
    assert tuple(report.part for report in found) == PARTS


def test_frames_that_come_are_well_with_rate_and_age() -> None:
    report = Life().frames(11).report("input")
    assert report.level == Level.OK
    assert "10.0" in report.message
    assert report.values["age at arrival (ms)"] == "10.0"
    assert report.values["topic"] == "/p"


def test_silence_is_an_error_with_its_advice() -> None:
    report = Life().frames(3).pass_by(6.0).report("input", silence_advice="start the sensor")
    assert (report.level, report.message) == (Level.ERROR, "start the sensor")


def test_clouds_lost_on_the_way_are_a_warning_with_the_remedy() -> None:
    life = Life().frames(10)
    life.counters.count_lost(5)
    report = life.report("input", input_advice="something odd")
    assert report.level == Level.WARN
    assert report.message.startswith("5 of 15 messages on /p were lost on the way")
    assert "config/fastdds_large_data.xml" in report.message
    assert report.values["lost on the way"] == "5"


def test_a_cloud_lost_now_and_then_is_none() -> None:
    life = Life().frames(30)
    life.counters.count_lost(3)
    assert life.report("input").level == Level.OK


def test_losses_of_long_ago_are_counted_but_forgiven() -> None:
    life = Life()
    life.counters.count_lost(50)
    report = life.pass_by(0.0).frames(10).report("input")
    assert (report.level, report.values["lost on the way"]) == (Level.OK, "50")


def test_where_all_is_lost_that_is_the_reason_of_the_silence() -> None:
    life = Life()
    life.counters.count_lost(7)
    life.clock.now_s += 6.0
    report = life.report("input", silence_advice="start the sensor")
    assert report.level == Level.ERROR
    assert report.message.startswith("7 of 7 messages on /p were lost")


def test_silence_is_fine_where_nobody_listens() -> None:
    life = Life().frames(3).pass_by(60.0)
    report = life.report("input", is_listening=False)
    assert report.level == Level.OK
    assert "~/enable" in report.message
    assert life.report("input", is_listening=False, state="inactive").message.endswith("inactive")


def test_silence_may_be_switched_off() -> None:
    assert Life().pass_by(60.0).report("input", silence_warning_s=0.0).level == Level.OK


def test_a_publisher_that_cannot_be_heard_is_an_error_at_once_if_nothing_comes() -> None:
    assert Life().report("input", qos_advice="set best effort").level == Level.ERROR


def test_a_second_publisher_that_cannot_be_heard_is_a_warning() -> None:
    report = Life().frames(5).report("input", qos_advice="set best effort")
    assert (report.level, report.message) == (Level.WARN, "set best effort")


def test_an_odd_cloud_is_a_warning() -> None:
    report = Life().frames(5).report("input", input_advice="is it in millimetres?")
    assert (report.level, report.message) == (Level.WARN, "is it in millimetres?")


def test_some_frames_without_a_transform_are_a_warning_with_the_remedy() -> None:
    report = Life().frames(3, drops=["no_transform"]).report("tf")
    assert report.level == Level.WARN
    assert "robot_state_publisher" in report.message
    assert report.values["no_transform"] == "1"


def test_no_frame_with_a_transform_is_an_error() -> None:
    assert Life().frames(0, drops=["extrapolation"] * 3).report("tf").level == Level.ERROR


def test_wrong_transforms_are_a_warning_also_while_no_frame_is_lost() -> None:
    report = Life().frames(3).report("tf", transform_advice="two parents")
    assert (report.level, report.message) == (Level.WARN, "two parents")
    lost = Life().frames(0, drops=["extrapolation"]).report("tf", transform_advice="two parents")
    assert lost.level == Level.ERROR
    assert "two parents" in lost.message
    assert "extrapolation" in lost.message


def test_what_is_long_ago_is_counted_but_forgiven() -> None:
    report = Life().frames(0, drops=["extrapolation"]).pass_by(5.0).frames(3).report("tf")
    assert report.level == Level.OK
    assert report.values["extrapolation"] == "1"


def test_every_reason_is_listed_with_its_count_and_remedy() -> None:
    report = Life().frames(1, drops=["no_xyz", "no_xyz", "superseded"]).report("frames")
    assert report.values["dropped: no_xyz"] == f"2 ({DROP_REASONS['no_xyz'].remedy})"
    assert report.values["dropped: superseded"].startswith("1 (normal when")
    assert (report.values["received"], report.values["processed"]) == ("4", "1")


def test_frames_that_are_superseded_are_no_trouble() -> None:
    assert Life().frames(1, drops=["superseded"] * 9).report("frames").level == Level.OK


@pytest.mark.parametrize(("num_good", "level"), [(1, Level.WARN), (0, Level.ERROR)])
def test_frames_lost_are_a_warning_all_frames_lost_an_error(num_good: int, level: Level) -> None:
    report = Life().frames(num_good, drops=["truncated"]).report("frames")
    assert report.level == level
    assert report.message.startswith("truncated: the text (")


def test_the_most_frequent_reason_is_told() -> None:
    report = Life().frames(0, drops=["no_xyz"] * 3 + ["truncated"]).report("frames")
    assert "no_xyz: 3" in report.message
    assert DROP_REASONS["no_xyz"].remedy in report.message


def test_times_are_reported_as_percentiles() -> None:
    report = Life().frames(5).report("inference")
    assert report.level == Level.OK
    assert report.values["processing p50 (ms)"] == "20.0"
    assert report.values["stamp to boxes p99 (ms)"] == "50.0"


def test_before_the_first_frame_times_are_unknown() -> None:
    report = Life().report("inference")
    assert report.level == Level.OK
    assert report.values["processing p50 (ms)"] == "unknown"


@pytest.mark.parametrize(("num_frames", "level"), [(20, Level.WARN), (60, Level.ERROR)])
def test_lateness_is_a_warning_at_first_and_an_error_when_it_lasts(
    num_frames: int, level: Level
) -> None:
    """Ten frames a second; late for five seconds is an error."""
    report = Life().frames(num_frames, latency_ms=250.0).report("inference")
    assert report.level == level
    assert report.message.startswith("boxes come 250 ms after the stamp, more than 100 ms")
    assert "load.adaptive" in report.message


@pytest.mark.parametrize(("num_frames", "level"), [(20, Level.WARN), (60, Level.ERROR)])
def test_stamps_in_the_future_are_a_matter_of_clocks(num_frames: int, level: Level) -> None:
    life = Life().frames(num_frames, latency_ms=-4883.0, age_ms=-4900.0)
    inference, input_ = life.report("inference"), life.report("input")
    assert (inference.level, input_.level) == (level, Level.WARN)
    for report in (inference, input_):
        assert "4.9 s ahead" in report.message
        assert "chrony" in report.message
        assert "use_sim_time" in report.message


def test_a_stamp_that_is_ahead_of_a_slow_clock_is_fine() -> None:
    life = Life().frames(20, latency_ms=-150.0, age_ms=-200.0)
    assert life.report("inference").level == life.report("input").level == Level.OK


def test_lateness_is_over_when_nothing_more_is_worked_on() -> None:
    """One late cloud, then silence; or a node that is disabled, or inactive."""
    late = Life().frames(1, latency_ms=250.0)
    assert late.report("inference").level == Level.WARN
    assert late.report("inference", is_listening=False).level == Level.OK
    assert late.pass_by(4.0).report("inference").level == Level.WARN
    assert late.pass_by(2.0).report("inference").level == Level.OK
    always = Life().frames(80, latency_ms=250.0)
    assert always.report("inference").level == Level.ERROR
    assert always.pass_by(6.0).report("inference").level == Level.OK


def test_where_silence_is_never_told_lateness_is_over_all_the_same() -> None:
    late = Life().frames(80, latency_ms=250.0).pass_by(6.0)
    assert late.report("inference", silence_warning_s=0.0).level == Level.OK


def test_a_node_that_listens_again_does_not_tell_of_before() -> None:
    late = Life().frames(80, latency_ms=250.0, age_ms=-4900.0)
    late.counters.start_listening()
    late.before = late.counters.snapshot()
    assert late.report("inference").level == late.report("input").level == Level.OK


def test_lateness_is_over_when_every_further_frame_is_refused() -> None:
    late = Life().frames(80, latency_ms=250.0).pass_by(6.0).frames(0, drops=["truncated"])
    assert late.report("inference").level == Level.OK


def test_a_frame_that_does_not_end_is_an_error() -> None:
    life = Life().frames(3)
    with life.counters.at_work():
        assert life.pass_by(4.0).report("inference").level == Level.OK
        report = life.pass_by(4.0).report("inference")
        assert report.level == Level.ERROR
        assert "8 s" in report.message
    assert life.report("inference").level == Level.OK


def test_a_model_that_could_not_be_loaded_is_an_error_with_the_reason() -> None:
    report = Life().report("model", refusal="cannot configure: no such file")
    assert (report.level, report.message) == (Level.ERROR, "cannot configure: no such file")


def test_a_model_in_use_beside_one_that_could_not_be_loaded_is_a_warning() -> None:
    assert Life().report("model", refusal="no", classes=("bed",)).level == Level.WARN


def test_parameters_of_classes_that_are_not_there_are_a_warning() -> None:
    report = Life().report("model", classes=("bed",), ignored="classes.bad.* is ignored")
    assert (report.level, report.message) == (Level.WARN, "classes.bad.* is ignored")


def test_the_model_in_use_is_named() -> None:
    report = Life().report("model", classes=("bed",), model="default", device="cpu")
    assert report.level == Level.OK
    assert "default" in report.message
    assert report.values["classes"] == "1"


def test_memory_that_ran_out_is_a_warning() -> None:
    report = Life().report("memory", memory={"GPU free (MB)": "3"}, memory_warning="ran out")
    assert (report.level, report.message) == (Level.WARN, "ran out")
    assert report.values == {"GPU free (MB)": "3"}


def test_boxes_of_the_camera_alone_are_a_warning_with_the_reason() -> None:
    said = "depth silent for 1.3 s: camera-only boxes, accuracy reduced"
    life = Life().frames(20)
    report = life.report("input", fallback_advice=said)
    assert (report.level, report.message) == (Level.WARN, said)
    report = life.report("input", fallback_advice=said, qos_advice="a publisher does not offer")
    assert report.message == f"{said}; a publisher does not offer"
    assert life.report("input").level == Level.OK
