"""What `sr3d distill --bag` does around a training: frames, boxes of the teacher, agreement."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sr3d_core.cli.stored import calibrate_on, uncalibrated
from sr3d_core.console import progress_in_turn, progress_of, say, write_json

if TYPE_CHECKING:
    from sr3d_core.distill.recordings import RecordedFrames
    from sr3d_core.distill.settings import CameraConfig
    from sr3d_core.evaluate import EvaluationReport

_STEPS, _RATE, _WARMUP = 600, 2e-4, 100
"""Of a student that learns one place: it begins from one that knows many."""
AGREEMENT = "agreement.json"
"""In the folder of the run: how far student and teacher agree on what was held out."""


def going_on_from(asked: CameraConfig, student: str, *, is_shape_free: bool) -> CameraConfig:
    """A configuration whose student begins from weights, in their shape where none is asked for.

    Of a student of other classes than the teacher's the image network is taken, which is said.
    Raises ValueError for weights of clouds.
    """
    from sr3d_core.checkpoint import read_manifest

    manifest = read_manifest(student)
    camera = manifest.camera
    if camera is None:
        raise ValueError(
            f"--student {student}: weights of clouds, expected those of color images, as "
            "`sr3d distill` writes them; they may teach: --teacher"
        )
    if not is_shape_free:
        camera = asked.student.camera
    taken = asked.student.taken
    if taken == "all" and manifest.classes != read_manifest(asked.teacher.weights).classes:
        say(
            f"--student {student}: of other classes than the teacher {asked.teacher.weights}: its "
            "image network is taken, its later stages begin as the teacher's"
        )
        taken = "image"
    begun = replace(asked.student, weights=student, camera=camera, taken=taken)
    return replace(asked, student=begun)


def on_recording(
    asked: CameraConfig, bag: Path, frames: RecordedFrames, *, is_short: bool
) -> CameraConfig:
    """A configuration that learns from a recording; says what of it is used.

    With `is_short` its schedule is that of one place. Raises ValueError where it cannot.
    """
    from sr3d_core.checkpoint import read_manifest
    from sr3d_core.distill.recordings import taught_source

    weights = asked.teacher.weights
    if asked.teacher.kind == "points" and read_manifest(weights).camera is not None:
        raise ValueError(
            f"--teacher {weights}: weights of color images, expected those of clouds, whose boxes "
            "are taken as true; a student to go on from is named with --student"
        )
    if asked.teacher.kind != "points":
        raise ValueError(
            f"teacher.kind is {asked.teacher.kind}, and --bag takes what a teacher of clouds "
            "finds as true; expected points"
        )
    with progress_in_turn() as tell:
        folder, notes = frames.frames_of(bag, tell)
        backend = asked.network.backend
        source, more = taught_source(folder, asked.teacher.weights, backend, tell)
    for note in (*notes, *more):
        say(note)
    schedule = asked.schedule
    if is_short:
        schedule = replace(
            schedule, num_steps=_STEPS, learning_rate=_RATE, warmup_steps=_WARMUP, epochs=None
        )
    distill = replace(asked.distill, trust="score")  # there is no label to be right about
    return replace(asked, data=source, distill=distill, schedule=schedule)


class Agreement:
    """How far a student finds what its teacher found, in what of a recording was held out."""

    def __init__(self, asked: CameraConfig, out: Path) -> None:
        """Measure the student that is begun from, where there is one."""
        from sr3d_core.training.processes import is_main_process

        self._asked, self._out = asked, out
        # One of other classes cannot be asked for these before it has learnt.
        begun_from = asked.student.weights if asked.student.taken == "all" else None
        self._is_main = is_main_process(os.environ)
        is_asked = self._is_main and begun_from is not None
        self._before = self._of(str(begun_from)) if is_asked else None

    def tell(self) -> None:
        """Measure the student that has learnt, say both, and write both beside its weights."""
        from sr3d_core.evaluate import percent

        after = self._of(str(self._out)) if self._is_main else None
        if after is None:
            return
        for name in ("ap25", "ap50"):
            then = "no student" if self._before is None else percent(_mean(self._before, name))
            say(
                f"agreement with the teacher on {after.num_scenes} frames held out, "
                f"{name.upper()}: {then} before, {percent(_mean(after, name))} after (%)"
            )
        before = None if self._before is None else self._before.to_dict()
        write_json(self._out / AGREEMENT, {"before": before, "after": after.to_dict()})
        self._calibrate()

    def _calibrate(self) -> None:
        """Make scores chances that the teacher would find a box, too, on what was held out.

        Without it the thresholds of the node and of commands mean nothing to a new student.
        """
        from sr3d_core.checkpoint import weights_file

        weights = weights_file(self._out)
        detector = uncalibrated(weights, backend=self._asked.network.backend)
        try:
            found = calibrate_on(self._asked.data.open("val"), detector, weights)
        except ValueError as error:
            say(f"{weights}: scores stay the network's own: {error}")
            return
        if found.calibration:
            say(
                f"{weights}: scores are now chances that the teacher would find the box, too, by "
                "the frames held out"
            )

    def _of(self, weights: str) -> EvaluationReport | None:
        """None where nothing is held out."""
        from sr3d_core.detector import Detector
        from sr3d_core.evaluate import detector_rules, evaluate

        scenes = self._asked.data.open("val")
        if not len(scenes):
            return None
        detector = Detector.from_checkpoint(
            weights,
            backend=self._asked.network.backend,
            **detector_rules(self._asked.evaluation),
        )
        detector.calibration = {}  # chances leave out weak boxes, and not all weights have them
        with progress_of("frames held out", len(scenes)) as tell:
            samples = (scenes[index] for index in range(len(scenes)))
            return evaluate(detector, samples, tell)


def _mean(report: EvaluationReport, name: str) -> float:
    return float(getattr(report, name).mean)
