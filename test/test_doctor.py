"""`ros2 run sr3d_ros doctor` where there is no ROS, and what it says about itself."""

from __future__ import annotations

import json
import sys

import pytest

from sr3d_core.machine.findings import Finding, fail
from sr3d_ros.doctor import main as doctor


def test_without_rclpy_the_robots_doctor_says_what_to_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    assert doctor.main(["doctor", "--json", "--ros-args", "-p", "frames.up:=floor"]) == 1
    findings = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert "rclpy does not import" in findings["ros"]["text"]
    assert "source /opt/ros/" in findings["ros"]["remedy"]
    assert findings["python"]["status"] == "ok"
    assert findings["cloud"]["status"] == findings["inference"]["status"] == "skip"


def test_what_cannot_be_examined_is_told_in_one_line_and_recorded_one_by_one() -> None:
    told: list[Finding] = []
    findings = doctor.Findings(told.append)
    findings.add(fail("topic", "nobody publishes /x", "start it"))
    findings.skip_rest(("topic", "qos", "arrival"), "what comes before it failed")
    assert [finding.name for finding in findings.all] == ["topic", "qos", "arrival"]
    assert len(told) == 2
    assert "qos, arrival" in told[1].text


def test_the_help_tells_the_exit_status_and_how_to_choose(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        doctor.main(["doctor", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "0 = " in said  # what the exit status means
    assert "--node NODE" in said
