"""Recordings without labels as scenes to learn from: frames with images, boxes of the teacher.

    [project.entry-points."sr3d.images"]
    bag = "sr3d_ros.bag.images"        # a module that is a `WritesFrames`

Frames are written beside the run once (`sr3d_core/data/image_frames.py`); they may be deleted,
and are written again where they are missed. What the teacher makes of them lies with them, in a
file for each teacher.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, cast

import torch

from sr3d_core.checkpoint import read_manifest
from sr3d_core.data.image_frames import LIST, FrameSettings, frames_in, read_frame
from sr3d_core.data.recorded import VAL_SHARE, RecordingSource, TaughtBoxes
from sr3d_core.data.recordings import alone_in, is_recording, key_of, reader_of
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.distill.taught_boxes import LEAST_SCORE, NUM_FRAMES, FoundInFrame, steady
from sr3d_core.records import label_records
from sr3d_core.structures import Targets
from sr3d_core.whole_files import write_whole

GROUP = "sr3d.images"
_ENOUGH_HELD_OUT = 25
"""Of 10 frames agreement was seen to fall where it rose on the 120 of a longer drive."""
OnDone = Callable[[str, int, int], None]


class WritesFrames(Protocol):
    """What reads recordings."""

    def write_image_frames(
        self,
        recording: Path,
        folder: Path,
        settings: FrameSettings,
        *,
        topic: str | None,
        color: str | None,
        camera_info: str | None,
        on_read: Callable[[int, int], None],
    ) -> list[str]:
        """Write frames of it into a new folder (`sr3d_core/data/image_frames.py`).

        `topic` of clouds or depth images, `color` of color images, `camera_info` of these, None =
        choose. Returns what is worth knowing; raises ValueError that says what to do, and OSError.
        """


@dataclass(frozen=True, kw_only=True)
class RecordedFrames:
    """How recordings become frames, and where these lie."""

    folder: Path
    settings: FrameSettings = field(default_factory=FrameSettings)
    topic: str | None = None
    color: str | None = None
    camera_info: str | None = None

    def frames_of(self, recording: Path, on_done: OnDone) -> tuple[Path, list[str]]:
        """The folder of a recording's frames, which are written where they are not there yet.

        Raises ValueError that says what to do, and OSError.
        """
        if not recording.exists() or not is_recording(recording):
            raise ValueError(
                f"--bag {recording}: no recording; expected a bag of ROS 1 or 2 (.mcap, .db3, "
                ".bag), or the folder of one"
            )
        made_by = [asdict(self.settings), self.topic, self.color, self.camera_info]
        key = key_of(recording, made_by, partial(on_done, f"{recording}: MB compared"))
        folder = self.folder / f"{recording.name}-{key}"
        with alone_in(folder):
            if (folder / LIST).is_file():
                names = [each.file for each in frames_in(folder).frames]
                if all((folder / name).is_file() for name in names):
                    return folder, [f"{recording}: its frames are in {folder} already"]
                for each in folder.iterdir():  # of a folder that somebody took frames out of
                    each.unlink()
            reader = cast("WritesFrames", reader_of(recording, GROUP))
            notes = reader.write_image_frames(
                recording,
                folder,
                self.settings,
                topic=self.topic,
                color=self.color,
                camera_info=self.camera_info,
                on_read=partial(on_done, f"{recording}: clouds"),
            )
        return folder, [*notes, f"{recording}: its frames are kept in {folder}"]


def taught_source(
    folder: Path, teacher: str, backend: str, on_done: OnDone
) -> tuple[RecordingSource, list[str]]:
    """The frames of a folder with the boxes of a teacher of clouds, and what is worth knowing.

    The teacher looks at frames that it has not looked at before. Raises ValueError where it finds
    nothing steady.
    """
    manifest = read_manifest(teacher)
    name = f"boxes-{manifest.sha256[:12]}.json"
    with alone_in(folder / name):
        if not (folder / name).is_file():
            detector = Detector.from_checkpoint(
                teacher,
                backend=backend,
                postprocess=Postprocess(score_threshold=LEAST_SCORE, one_class=True),
            )
            taught = _taught(folder, detector, manifest.sha256, partial(on_done, "frames taught"))
            content = taught.model_dump(mode="json", by_alias=True)
            write_whole({folder / name: (json.dumps(content, indent=1) + "\n").encode()})
    source = RecordingSource(path=folder, boxes=name)
    return source, _require_boxes(source)


def _taught(
    folder: Path, detector: Detector, sha256: str, on_done: Callable[[int, int], None]
) -> TaughtBoxes:
    """What the teacher finds in all frames of a folder, and whether it stays."""
    listed = sorted(frames_in(folder).frames, key=lambda each: each.stamp_ns)
    frames = list[FoundInFrame]()
    for done, each in enumerate(listed, start=1):
        _, cloud = read_frame(folder / each.file)
        pose = torch.tensor(each.fixed_from_level, dtype=torch.float64)
        frames.append(FoundInFrame(detector.detect(cloud), each.fixed_frame, pose))
        on_done(done, len(listed))
    scenes = {}
    for each, frame, is_steady in zip(listed, frames, steady(frames), strict=True):
        boxes, labels = frame.found.boxes, frame.found.labels
        ignored = Targets(boxes[~is_steady], labels[~is_steady])
        targets = Targets(boxes[is_steady], labels[is_steady], ignored)
        scenes[each.file] = label_records(targets, detector.classes)
    return TaughtBoxes(
        teacher=sha256,
        classes=detector.classes,
        front_classes=detector.front_classes,
        scenes=scenes,
    )


def _require_boxes(source: RecordingSource) -> list[str]:
    """What to say of the frames; raises ValueError where there is nothing to learn from."""
    learnt, held_out = (_boxes_of(source, split) for split in ("train", "val"))
    num_frames = len(learnt) + len(held_out)
    if num_frames < NUM_FRAMES:
        raise ValueError(
            f"{source.path}: {num_frames} frames, expected at least {NUM_FRAMES}: a box counts "
            "where it stays for so many in a row; record longer, or lower --period"
        )
    if not sum(learnt):
        raise ValueError(
            f"{source.path}: the teacher finds no box with a score of at least {LEAST_SCORE:g} "
            f"that stays for {NUM_FRAMES} frames in a row, in {len(learnt)} frames; expected "
            "some: does it find anything in the clouds of this recording (`sr3d bag detect`)?"
        )
    said = [
        f"{len(learnt)} frames to learn from, {sum(learnt)} boxes in "
        f"{sum(num > 0 for num in learnt)} of them; the last {100 * VAL_SHARE:.0f} % of the time "
        f"are held out: {len(held_out)} frames, {sum(held_out)} boxes"
    ]
    if not sum(held_out):
        said.append("no box is in what is held out: agreement cannot be told; record longer")
    elif len(held_out) < _ENOUGH_HELD_OUT:
        said.append(
            f"{len(held_out)} frames held out tell little of agreement, and {len(learnt)} teach "
            "little: some hundred are better; record longer, or lower --period"
        )
    return said


def _boxes_of(source: RecordingSource, split: str) -> Sequence[int]:
    scenes = source.open(split)
    return [len(scenes.labels_of(index)) for index in range(len(scenes))]
