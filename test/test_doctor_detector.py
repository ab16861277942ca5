"""What the doctor says about the detectors that run and about parameters."""

from __future__ import annotations

import pytest
from doctor_harness import assert_failed

from sr3d_ros.doctor.detector import (
    Running,
    check_running,
    no_answer,
    not_chosen,
    parameters_of,
)
from sr3d_ros.parameters.record import Parameters

NAME = "/front/sr3d_detector"


def test_of_several_detectors_one_must_be_chosen() -> None:
    finding = not_chosen(["/back/d", "/front/d"], "")
    assert_failed(
        finding, "2 detectors run: /back/d, /front/d", "--node /back/d or --node /front/d"
    )


def test_a_detector_that_does_not_run_is_named_with_those_that_do() -> None:
    assert_failed(not_chosen(["/back/d"], "/bak/d"), "there is /back/d", "--node /back/d")
    assert_failed(not_chosen([], "/bak/d"), "/bak/d does not run", "leave --node away")


def test_a_detector_that_is_busy_or_hangs_is_found() -> None:
    assert_failed(no_answer(NAME, 8.0), "does not answer within 8 s", "run the doctor again")


def test_a_detector_that_works_is_fine() -> None:
    finding = check_running(Running(NAME, "active", {}), is_listening=True)
    assert finding.status == "ok"
    assert NAME in finding.text


@pytest.mark.parametrize(
    ("state", "text", "remedy"),
    [
        ("active", "was disabled by ~/enable", f"ros2 service call {NAME}/enable std_srvs"),
        ("inactive", "is not activated", f"ros2 lifecycle set {NAME} activate"),
        ("unconfigured", "its log says why", f"ros2 lifecycle set {NAME} configure && ros2"),
        ("finalized", "was shut down", "start it again"),
    ],
)
def test_a_detector_that_does_not_listen_is_found(state: str, text: str, remedy: str) -> None:
    assert_failed(check_running(Running(NAME, state, {}), is_listening=False), text, remedy)


def test_a_detector_that_waits_for_its_manager_is_told_from_one_that_was_refused() -> None:
    waiting = Running(NAME, "unconfigured", {"lifecycle.autostart": False})
    assert_failed(check_running(waiting, False), "lifecycle.autostart is false", "configure")


def test_parameters_are_told_by_what_differs_from_the_defaults() -> None:
    values = {**Parameters().values, "use_sim_time": True, "qos_overrides./x.depth": 1}
    finding, parameters = parameters_of(values)
    assert ("frames" in finding.text, parameters) == (False, Parameters())
    values |= {"frames.up": "floor", "load.adaptive": True, "classes.chair.enabled": False}
    values |= {"classes.desk.enabled": True}
    finding, parameters = parameters_of(values, f"of {NAME}: ")
    for said in (NAME, "load.adaptive: true", "frames.up: floor", "chair"):
        assert said in finding.text
    assert "desk" not in finding.text
    assert parameters.up == "floor"


def test_parameters_that_cannot_be_used_are_a_failure() -> None:
    finding, parameters = parameters_of({"frames.upp": "tf"})
    assert_failed(finding, "did you mean frames.up", "docs/parameters.md")
    assert parameters == Parameters()
