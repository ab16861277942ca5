"""`sr3d bag detect` on many recordings: who works on them, and what is said of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sr3d_core.console import progress_of, result_console, say
from sr3d_ros.bag.commands.opening import values_asked
from sr3d_ros.bag.commands.options import Recording
from sr3d_ros.bag.words import NOTHING_SCORES

if TYPE_CHECKING:
    from sr3d_ros.bag.many.run import Summary
    from sr3d_ros.bag.many.schedule import Ended, Workers
    from sr3d_ros.bag.outputs import Outputs


OutDir = Annotated[
    Path | None,
    typer.Option(
        help="For several recordings: what --json writes, of each, into this folder, and "
        "summary.json."
    ),
]
Jobs = Annotated[int, typer.Option(min=1, help="With --out-dir: how many recordings at once.")]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="With --out-dir: split the recordings over the Ray cluster at HOST:PORT, or "
        '"local"; needs the extra ray, and the same paths on all nodes.',
    ),
]


@dataclass(frozen=True, kw_only=True)
class Several:
    """Where results of several recordings are written, and who works on them."""

    out_dir: OutDir = None
    jobs: Jobs = 1
    ray: RayAddress = None

    @property
    def is_asked(self) -> bool:
        """Whether an option was given that belongs to several recordings."""
        return self.out_dir is not None or self.jobs > 1 or self.ray is not None


def detect_in_all(
    bags: Sequence[Path],
    several: Several,
    outputs: Outputs,
    recording: Recording,
    more: Mapping[str, object],
    num_views: int,
) -> None:
    """Detect, say how it goes and what became of each; exit status 1 where one failed.

    `more` as in `values_asked`.
    """
    import rosbags  # noqa: F401  says now that it is missing

    from sr3d_ros.bag.many.folder import SUMMARY, ResultFolder
    from sr3d_ros.bag.many.job import Job
    from sr3d_ros.bag.many.run import detect_many
    from sr3d_ros.bag.many.schedule import Lost

    if several.out_dir is None:
        raise ValueError(
            f"{len(bags)} recordings, --jobs {several.jobs}: where do results go? Say --out-dir"
        )
    _require_alone(outputs)
    if several.ray is not None:
        import ray  # noqa: F401  says now that it is missing

        if several.jobs > 1:
            raise ValueError("--jobs is of this machine, --ray splits the work by itself: say one")
    values = _everywhere(values_asked(recording, more))
    if values.get("load.adaptive"):
        say("load.adaptive: results depend on the speed of machines and on how many work at once")
    values |= _shared_out(several, len(bags), values)
    like = Job(
        bag="",
        part="",
        topics=asdict(recording.topics),
        values=values,
        up=recording.way_up,
        num_views=num_views,
    )
    folder = ResultFolder(several.out_dir, bags)
    with (
        folder.marker() as marker,
        progress_of("recordings", len(bags)) as progress,
    ):
        workers = _workers(several, len(bags), values, [*folder.bags, marker])

        def told(num_done: int, num_clouds: int, ended: Ended | None) -> None:
            if ended is not None and isinstance(ended.answer, Lost) and not ended.is_final:
                say(f"{folder.bags[ended.number]}: {ended.answer.how}; it is done again")
            progress(num_done, f"{num_clouds} clouds")

        summary = detect_many(folder, like, workers, told)
    result_console().print(_table(summary))
    if _none_scores(summary):
        say(NOTHING_SCORES)
    say(f"what was chosen and what is odd, for each recording: {several.out_dir / SUMMARY}")
    for entry in summary["recordings"]:
        if "error" in entry:
            say(f"error: {entry['bag']}: {entry['error'].removeprefix(entry['bag'] + ': ')}")
    if summary["num_failed"]:
        raise typer.Exit(1)


def _shared_out(several: Several, num_bags: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that differ from those of one recording alone, none of which moves a box."""
    if several.ray is not None:
        # Boxes of a GPU differ in their last bits: not as it happens, where it is not asked for.
        is_open = values.get("model.device", "auto") == "auto"
        return {
            "model.num_threads": values.get("model.num_threads") or 1,
            **({"model.device": "cpu"} if is_open else {}),
        }
    cores = _cores() // min(several.jobs, num_bags)
    return {"model.num_threads": values.get("model.num_threads") or max(1, cores)}


def _cores() -> int:
    """That this process may use; not every system can say that of a process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _workers(
    several: Several, num_bags: int, values: Mapping[str, Any], paths: list[Path]
) -> Workers:
    """Who works; `paths` are what all of them must see."""
    from sr3d_ros.bag.many.job import do_job

    if several.ray is None:
        from sr3d_ros.bag.many.processes import Processes

        return Processes(do_job, min(several.jobs, num_bags))
    from sr3d_core.checkpoint import SHIPPED
    from sr3d_ros.bag.many.on_ray import RayWorkers

    weights = [values.get(name, "default") for name in _weights_names(values)]
    more = [Path(each) for each in weights if each not in SHIPPED]
    return RayWorkers(do_job, several.ray, values, num_bags, [*paths, *more])


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
    from sr3d_core.checkpoint import SHIPPED, weights_file

    found = dict(values)
    for name in _weights_names(values):
        weights = values.get(name)
        if weights is not None and weights not in SHIPPED:
            path = weights_file(weights).absolute()
            path.open("rb").close()
            found[name] = str(path)
    return found


def _weights_names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters that name the weights in use."""
    of_clouds, of_images = "model.weights", "model.camera_weights"
    kinds = {"rgb": (of_images,), "auto": (of_clouds, of_images)}
    return kinds.get(str(values.get("input.kind")), (of_clouds,))


def _none_scores(summary: Summary) -> bool:
    """Whether frames were looked at and no recording has a box."""
    read = [entry for entry in summary["recordings"] if "error" not in entry]
    num_boxes = sum(each["boxes"] for entry in read for each in entry["found"].values())
    return any(entry["num_frames"] for entry in read) and not num_boxes


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
