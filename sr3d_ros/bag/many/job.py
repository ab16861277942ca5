"""Detecting in one recording of many: what a worker does, the same for processes and Ray."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
"""`num_frames` and what else is said of a recording, or `error` in one line; plain JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One recording, with paths that hold in every folder and on every machine."""

    bag: str
    """The recording."""
    part: str
    """Where to write its JSON; it gets its name when it is whole."""
    topics: Mapping[str, Any]
    """As `Topics`."""
    values: Mapping[str, Any]
    """Parameters by ROS name."""
    up: str | None
    """As `open_run`."""
    num_views: int = 1
    """How many views of each cloud are merged."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `Job(**...)` is the same job."""
        return asdict(self)


def do_job(message: Mapping[str, Any], progress: Callable[[int], object] | None = None) -> Answer:
    """Detect in the recording of a job that was told as plain JSON values.

    Whatever is wrong with it is the answer: the others go on.
    """
    from sr3d_core.console import explain

    try:
        return _detected(Job(**message), progress)
    except (ValueError, OSError) as error:
        return {"error": explain(error)}
    except Exception as error:  # a fault of ours, of which the others know nothing
        traceback.print_exc(file=sys.stderr)
        return {"error": f"{type(error).__name__}: {error}"}


def _detected(job: Job, progress: Callable[[int], object] | None) -> Answer:
    from sr3d_ros.bag.finder import load_camera_finder, load_finder
    from sr3d_ros.bag.outputs import Outputs, detect_into
    from sr3d_ros.bag.run import open_run
    from sr3d_ros.bag.source import Topics
    from sr3d_ros.parameters.record import Parameters

    parameters = Parameters.from_values(job.values)
    finder = load_finder(parameters, one_class=True, num_views=job.num_views)
    camera = load_camera_finder(parameters, finder, one_class=True)
    asked: dict[str, Any] = {"topics": Topics(**job.topics), "up": job.up, "camera": camera}
    with open_run(job.bag, finder, parameters=parameters, **asked) as run:
        found, tally = detect_into(run, Outputs(json=Path(job.part)), progress)
        left_out = len(run.transform_errors)
        remarks = [*run.remarks]
    if left_out:
        remarks.append(f"{left_out} transforms left out; the first: {run.transform_errors[0]}")
    return {
        "num_frames": found.num_frames,
        "found": found.to_dict(),
        "num_empty": tally.num_empty,
        "drops_by_reason": tally.drops_by_reason,
        "remarks": remarks,
        "notes": tally.notes,
        "damage": tally.damage,
    }
