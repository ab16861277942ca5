"""Mapping a whole recording: the node's map, frame by frame in recorded order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sr3d_core.map_picture import Plan
from sr3d_core.memory.object_map import MapObject
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.run import BagRun, Tally
from sr3d_ros.errors import TransformError
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.tracking.mapping import Mapped, Mapping


@dataclass(slots=True, eq=False)
class MapRun:
    """What a recording gave."""

    mapping: Mapping
    tally: Tally = field(default_factory=Tally)
    plan: Plan = field(default_factory=Plan)
    remarks: list[str] = field(default_factory=list)  # each once
    objects: list[MapObject] = field(default_factory=list)
    gone: list[MapObject] = field(default_factory=list)
    frame: str = ""
    stamp_ns: int = 0  # of the newest frame

    def say(self, *remarks: str) -> None:
        """Keep what is to be said."""
        self.remarks += [each for each in remarks if each not in self.remarks]


def map_run(
    run: BagRun,
    progress: Callable[[int], object] | None = None,
    start: Path | None = None,
    has_plan: bool = False,
) -> MapRun:
    """Replay and map; `start` is a map to go on with, `has_plan` gathers what is drawn below.

    Raises `ReplayError` where no frame could be mapped, `MapFileError` for a map that does not
    fit.
    """
    done = MapRun(Mapping(run.transforms))
    done.mapping.apply(run.parameters)
    if start is not None:
        done.mapping.load(start, run.classes)
    num_mapped, trouble = 0, ""
    for number, frame in enumerate(run.frames(), start=1):
        done.tally.count(frame)
        if isinstance(frame, FrameResult):
            try:
                mapped = done.mapping.of(frame, run.classes)
            except TransformError as error:
                mapped, trouble = None, trouble or str(error)
            if mapped is not None:
                num_mapped += 1
                done.say(*mapped.remarks)
                if has_plan:
                    _add_to_plan(done.plan, frame, mapped)
        if progress is not None:
            progress(number)
    done.tally.require_any(run)
    if not num_mapped:
        raise ReplayError(f"{run.bag.path}: no frame could be mapped: {trouble}")
    if trouble:
        done.say(f"frames whose place is not known were not mapped; the first: {trouble}")
    done.objects, done.frame, done.stamp_ns = done.mapping.objects()
    done.gone = done.mapping.gone()
    return done


def _add_to_plan(plan: Plan, frame: FrameResult, mapped: Mapped) -> None:
    static_from_gravity = mapped.place.static_from_gravity
    xyz = frame.cloud.xyz.double().numpy()
    plan.add(xyz @ static_from_gravity[:3, :3].T + static_from_gravity[:3, 3])
