"""`sr3d bag detect` on many recordings: who works on them, and what is said of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from sr3d_core.console import progress_of, result_console, say
from sr3d_ros.bag.commands.opening import up_asked, values_asked
from sr3d_ros.bag.commands.options import WayUp

if TYPE_CHECKING:
    from sr3d_ros.bag.many.run import Summary
    from sr3d_ros.bag.many.schedule import Ended, Workers
    from sr3d_ros.bag.outputs import Outputs
    from sr3d_ros.bag.source import Topics


@dataclass(frozen=True, slots=True)
class Many:
    """Which recordings, where to, and who works on them."""

    bags: Sequence[Path]
    out_dir: Path | None
    jobs: int
    ray: str | None


def detect_in_all(
    many: Many,
    outputs: Outputs,
    topics: Topics,
    params_file: Path | None,
    given: Mapping[str, object],
    up: WayUp | None,
    num_views: int,
) -> None:
    """Detect, say how it goes and what became of each; exit status 1 where one failed."""
    import rosbags  # noqa: F401  says now that it is missing

    from sr3d_ros.bag.many.folder import SUMMARY, ResultFolder
    from sr3d_ros.bag.many.job import Job
    from sr3d_ros.bag.many.run import detect_many
    from sr3d_ros.bag.many.schedule import Lost

    if many.out_dir is None:
        raise ValueError(
            f"{len(many.bags)} recordings, --jobs {many.jobs}: where do results go? Say --out-dir"
        )
    _require_alone(outputs)
    if many.ray is not None:
        import ray  # noqa: F401  says now that it is missing

        if many.jobs > 1:
            raise ValueError("--jobs is of this machine, --ray splits the work by itself: say one")
    values = _everywhere(values_asked(params_file, topics.node, given))
    if values.get("load.adaptive"):
        say("load.adaptive: results depend on the speed of machines and on how many work at once")
    values |= _shared_out(many, values)
    like = Job(
        bag="",
        part="",
        topics=asdict(topics),
        values=values,
        up=up_asked(up, params_file),
        num_views=num_views,
    )
    folder = ResultFolder(many.out_dir, many.bags)
    with (
        folder.marker() as marker,
        progress_of("recordings", len(many.bags)) as progress,
    ):
        workers = _workers(many, values, [*folder.bags, marker])

        def told(num_done: int, num_clouds: int, ended: Ended | None) -> None:
            if ended is not None and isinstance(ended.answer, Lost) and not ended.is_final:
                say(f"{folder.bags[ended.number]}: {ended.answer.how}; it is done again")
            progress(num_done, f"{num_clouds} clouds")

        summary = detect_many(folder, like, workers, told)
    result_console().print(_table(summary))
    say(f"what was chosen and what is odd, for each recording: {many.out_dir / SUMMARY}")
    for entry in summary["recordings"]:
        if "error" in entry:
            say(f"error: {entry['bag']}: {entry['error'].removeprefix(entry['bag'] + ': ')}")
    if summary["num_failed"]:
        raise typer.Exit(1)


def _shared_out(many: Many, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that differ from those of one recording alone, none of which moves a box."""
    if many.ray is not None:
        # Boxes of a GPU differ in their last bits: not as it happens, where it is not asked for.
        is_open = values.get("model.device", "auto") == "auto"
        return {
            "model.num_threads": values.get("model.num_threads") or 1,
            **({"model.device": "cpu"} if is_open else {}),
        }
    cores = len(os.sched_getaffinity(0)) // min(many.jobs, len(many.bags))
    return {"model.num_threads": values.get("model.num_threads") or max(1, cores)}


def _workers(many: Many, values: Mapping[str, Any], paths: list[Path]) -> Workers:
    """Who works; `paths` are what all of them must see."""
    from sr3d_ros.bag.many.job import do_job

    if many.ray is None:
        from sr3d_ros.bag.many.processes import Processes

        return Processes(do_job, min(many.jobs, len(many.bags)))
    from sr3d_ros.bag.many.on_ray import RayWorkers

    weights = values.get("model.weights", "default")
    more = [] if weights == "default" else [Path(weights)]
    return RayWorkers(do_job, many.ray, values, len(many.bags), [*paths, *more])


def _require_alone(outputs: Outputs) -> None:
    """Raise ValueError for an output that is of one recording."""
    for each in fields(outputs):
        value = getattr(outputs, each.name)
        if isinstance(value, Path):
            raise ValueError(
                f"{value}: an output of one recording, but --out-dir is for several; name one "
                "recording without --out-dir, or leave this out"
            )


def _everywhere(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters whose path holds in every folder; OSError where there is no such file."""
    weights = values.get("model.weights", "default")
    if weights == "default":
        return dict(values)
    path = Path(weights).absolute()
    path.open("rb").close()
    return {**values, "model.weights": str(path)}


def _table(summary: Summary) -> Table:
    done = summary["num_recordings"] - summary["num_failed"]
    table = Table(title=f"Detections in {done} of {summary['num_recordings']} recordings")
    for heading in ("recording", "clouds", "dropped", "boxes", "result"):
        is_text = heading in ("recording", "result")
        table.add_column(heading, overflow="fold", justify="left" if is_text else "right")
    for entry in summary["recordings"]:
        name = Path(entry["bag"]).name
        if "error" in entry:
            table.add_row(name, "", "", "", "failed")
            continue
        boxes = sum(each["boxes"] for each in entry["found"].values())
        dropped = sum(entry["drops_by_reason"].values())
        numbers = (str(entry["num_frames"]), str(dropped), str(boxes))
        table.add_row(name, *numbers, entry["result"])
    return table
