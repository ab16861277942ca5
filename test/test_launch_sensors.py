"""The sensors that the launch file offers: a parameter file each, with the topics it sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from test_launch import ROOT, Recorded, declared, description_of, fallbacks, named

from sr3d_ros.parameters.record import Parameters

SENSOR_FILES = sorted((ROOT / "config" / "sensors").glob("*.yaml"))


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """All objects that the detector's launch file makes."""
    return description_of(ROOT / "launch" / "detector.launch.py", monkeypatch)


def test_every_sensor_has_a_parameter_file_and_every_file_a_sensor(
    everything: list[Recorded],
) -> None:
    choices = declared(everything)["sensor"].named["choices"]
    assert sorted(choices) == [path.stem for path in SENSOR_FILES]
    share, folder, sensor, suffix = fallbacks(everything)["params_file"]
    assert share.positional == ("sr3d_ros",)
    assert (folder, sensor.positional, suffix) == ("/config/sensors/", ("sensor",), ".yaml")


@pytest.mark.parametrize("path", SENSOR_FILES, ids=lambda path: path.stem)
def test_a_sensor_file_sets_parameters_and_names_the_topics(
    path: Path, everything: list[Recorded]
) -> None:
    values = flat(yaml.safe_load(path.read_text())["/**"]["ros__parameters"])
    assert Parameters.from_values(values).values != {}
    topics = {
        s.positional[0]: s.positional[1] for s in named(everything, "SetLaunchConfiguration")
    }
    for name in ("points", "depth", "imu") if path.stem != "any" else ("points",):
        assert topics[f"{name}_of_{path.stem}"] in path.read_text()


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested parameters by dotted name."""
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found
