"""From the node's parameters to the settings of its parts."""

from __future__ import annotations

import math

import pytest

from sr3d_ros.parameters.record import Parameters
from sr3d_ros.parameters.settings import (
    crop,
    frame_settings,
    load_limits,
    postprocess,
    tracking_settings,
)
from sr3d_ros.sensors.crop import Crop


def test_by_default_nothing_is_cropped() -> None:
    assert crop(Parameters()) == Crop()


def test_limits_that_are_set_are_handed_on() -> None:
    given = {
        "filter.min_range_m": 0.5,
        "filter.max_range_m": 6.0,
        "filter.min_height_m": -0.2,
        "filter.max_height_m": 2.2,
        "filter.roi": [0, 0, 0, 1, 2, 3],
    }
    assert crop(Parameters.from_values(given)) == Crop(
        min_range_m=0.5,
        max_range_m=6.0,
        min_height_m=-0.2,
        max_height_m=2.2,
        roi=(0.0, 0.0, 0.0, 1.0, 2.0, 3.0),
    )


def test_one_frame_goes_as_the_parameters_say_within_its_budget() -> None:
    parameters = Parameters.from_values({"frames.up": "floor", "frames.target": "odom"})
    settings = frame_settings(parameters, max_points=5000)
    assert (settings.up, settings.target_frame, settings.max_points) == ("floor", "odom", 5000)
    assert settings.drop_zeros


def test_thresholds_of_classes_are_in_the_order_of_the_model() -> None:
    given = {
        "output.score_threshold": 0.25,
        "classes.chair.score_threshold": 0.5,
        "classes.bed.enabled": False,
        "classes.lamp.enabled": False,
    }
    chosen = postprocess(Parameters.from_values(given), ("bed", "chair", "desk"))
    assert chosen.class_thresholds == (math.inf, 0.5, 0.25)


@pytest.mark.parametrize(("given", "limit"), [(0, None), (7, 7)])
def test_no_limit_of_detections_is_zero(given: int, limit: int | None) -> None:
    parameters = Parameters.from_values({"output.max_detections": given})
    assert postprocess(parameters, ("bed",)).max_detections == limit


def test_the_load_aims_at_the_given_time() -> None:
    limits = load_limits(Parameters.from_values({"load.target_ms": 50.0}))
    assert (limits.target_ms, limits.min_points, limits.max_points) == (50.0, 20_000, 200_000)


def test_tracking_takes_its_own_parameters() -> None:
    given = {"tracking.max_age_s": 3.0, "tracking.min_hits": 2, "tracking.gate_m": 0.5}
    settings = tracking_settings(Parameters.from_values(given))
    assert (settings.max_age_s, settings.min_hits, settings.gate_m) == (3.0, 2, 0.5)
