"""The doctor's questions about the detector that is meant: does it run, how is it set?

Pure: `doctor/running.py` asks the nodes, these functions judge what they said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sr3d_core.machine.findings import Finding, fail, ok
from sr3d_ros.parameters.record import ClassRule, Parameters
from sr3d_ros.parameters.rules import ParameterError, is_foreign


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """What a detector that runs said about itself."""

    name: str
    state: str  # of its life cycle: "active", "inactive", "unconfigured", ...
    parameters: Mapping[str, Any]

    @property
    def is_on_simulated_time(self) -> bool:
        """Whether it takes the time from /clock."""
        return bool(self.parameters.get("use_sim_time", False))


def not_chosen(running: Sequence[str], wanted: str) -> Finding:
    """Why it is not clear which of the detectors that run is meant."""
    if not wanted:
        return fail(
            "detector",
            f"{len(running)} detectors run: {', '.join(running)}",
            "say which one is meant: " + " or ".join(f"--node {name}" for name in running),
        )
    if not running:
        remedy = "start it, or leave --node away to examine what would run"
        return fail("detector", f"{wanted} does not run, nor does another detector", remedy)
    return fail(
        "detector",
        f"{wanted} is no detector that runs; there is {', '.join(running)}",
        f"--node {running[0]}",
    )


def no_answer(name: str, waited_s: float) -> Finding:
    """A detector that does not say how it is set."""
    return fail(
        "detector",
        f"{name} does not answer within {waited_s:.0f} s: it is still loading its model, or hangs",
        "run the doctor again; if it still does not answer, start the detector again",
    )


def check_running(detector: Running, is_listening: bool) -> Finding:
    """Whether a detector that runs does its work."""
    name, state = detector.name, detector.state
    if state == "active" and is_listening:
        return ok("detector", f"{name} runs, it is active")
    if state == "active":
        return fail(
            "detector",
            f"{name} runs, but was disabled by ~/enable",
            f'ros2 service call {name}/enable std_srvs/srv/SetBool "{{data: true}}"',
        )
    activate = f"ros2 lifecycle set {name} activate"
    if state == "inactive":
        return fail("detector", f"{name} runs, but is not activated", activate)
    if state == "finalized":
        return fail(
            "detector",
            f"{name} runs, but was shut down for good",
            "end its process, start it again",
        )
    is_left_to_others = detector.parameters.get("lifecycle.autostart") is False
    why = "lifecycle.autostart is false" if is_left_to_others else "its log says why"
    return fail(
        "detector",
        f"{name} runs, but is {state}: {why}",
        f"mend what fails below, then: ros2 lifecycle set {name} configure && {activate}",
    )


def parameters_of(values: Mapping[str, Any], whose: str = "") -> tuple[Finding, Parameters]:
    """The detector's parameters, and whether all that was given can be used."""
    ours = {name: value for name, value in values.items() if not is_foreign(name)}
    try:
        parameters = Parameters.from_values(ours)
    except ParameterError as error:
        remedy = "see docs/parameters.md; the defaults are examined"
        return fail("parameters", str(error), remedy), Parameters()
    return ok("parameters", f"{whose}{described(parameters)}"), parameters


def described(parameters: Parameters) -> str:
    """What differs from the defaults, in words."""
    defaults = Parameters().values
    said = [
        f"{name}: {_shown(value)}"
        for name, value in parameters.values.items()
        if value != defaults[name]
    ]
    rules = parameters.class_rules.items()
    classes = [name for name, rule in rules if rule != ClassRule()]
    if classes:
        said.append(f"rules for {', '.join(classes)}")
    return f"{', '.join(said)}; the others at their defaults" if said else "all at their defaults"


def _shown(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value) if isinstance(value, tuple) else value)
