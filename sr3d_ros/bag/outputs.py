"""What becomes of the frames of one recording: files that grow frame by frame.

Nothing of a frame is kept: recordings may be long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sr3d_core.console import require_folder, require_writable
from sr3d_core.growing_json import growing_object
from sr3d_core.whole_files import naming
from sr3d_ros.bag.output_bag import require_new, writing_bag
from sr3d_ros.bag.result import Found, head_of, title_of
from sr3d_ros.bag.run import BagRun, FrameRecord, Tally, TrackRecords, detect_run, frame_record
from sr3d_ros.parameters.file import NODE
from sr3d_ros.pipeline import FrameResult

Show = Callable[[FrameResult], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The files that are wanted; None = not."""

    json: Path | None = None
    pictures: Path | None = None  # a folder
    bag: Path | None = None  # a new recording
    with_scene: bool = False  # with SceneUpdate in it
    node: str = NODE  # whose topics it has
    video: Path | None = None  # .mp4
    rerun: Path | None = None  # .rrd

    def check(self) -> None:
        """Raise ValueError or OSError for what could not be written, before the work starts."""
        require_writable(self.json)
        if self.bag is not None:
            require_new(self.bag)
        if self.video is not None:
            import av  # noqa: F401  before what draws: the extra of films brings that too

            from sr3d_ros.bag.video import require_mp4

            require_mp4(self.video)
        if self.pictures is not None:
            import sr3d_core.picture  # noqa: F401  what draws may be missing

            require_folder(self.pictures)
        if self.rerun is not None:
            from sr3d_ros.bag.rerun_file import require_rrd

            require_rrd(self.rerun)
        if self.with_scene and self.bag is None:
            raise ValueError("--foxglove belongs to a new recording: say --out as well")


def detect_into(
    run: BagRun, outputs: Outputs, progress: Callable[[int], object] | None = None
) -> tuple[Found, Tally]:
    """Detect in a recording and write down what is found.

    `progress` is told how many clouds are done. Raises `ReplayError` where every cloud was dropped
    or an output is there already.
    """
    record = TrackRecords(run) if run.parameters.tracking else frame_record
    found = Found()
    with ExitStack() as stack:
        frames = None
        if outputs.json is not None:
            head = {**head_of(run.bag.path, run), "classes": list(run.classes)}
            frames = stack.enter_context(growing_object(outputs.json, head, "frames"))
        shows = stack.enter_context(_shows(run, outputs))

        def written(result: FrameResult, classes: Sequence[str]) -> FrameRecord:
            frame = record(result, classes)
            found.add(frame)
            if frames is not None:
                frames.add(frame)
            return {}

        def show(result: FrameResult) -> None:
            for each in shows:
                each(result)

        _, tally = detect_run(run, progress, show, written)
        if frames is not None:
            frames.end(tally.to_dict())
    return found, tally


@contextmanager
def _shows(run: BagRun, outputs: Outputs) -> Iterator[list[Show]]:
    """What takes each frame, whole at the end."""
    with ExitStack() as stack:
        shows = list[Show]()
        if outputs.bag is not None:
            new = writing_bag(outputs.bag, run, outputs.node, outputs.with_scene)
            shows.append(stack.enter_context(new).add)
        if outputs.pictures is not None:
            shows.append(_drawing(outputs.pictures, run.classes))
        if outputs.video is not None:
            from sr3d_ros.bag.video import writing_video

            shows.append(stack.enter_context(writing_video(outputs.video, run.classes)))
        if outputs.rerun is not None:
            from sr3d_ros.bag.rerun_file import writing_rrd

            shows.append(stack.enter_context(writing_rrd(outputs.rerun, run)))
        yield shows


def _drawing(folder: Path, classes: tuple[str, ...]) -> Show:
    """What draws a frame into a folder, named after its stamp."""
    from sr3d_core.picture import draw_detections

    def draw(frame: FrameResult) -> None:
        path, title = folder / f"{frame.stamp_ns}.png", title_of(frame.stamp_ns)
        with naming(path):
            draw_detections(frame.cloud, frame.detections, classes, path, title)

    return draw
