"""The scores of one training on one source of scenes: measured once, then read from its folder.

What was found and what is there is kept beside the figures, so that two trainings can be compared
scene by scene later (`sr3d_core/paired.py`) without detecting again.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr3d_core.config import Evaluation
from sr3d_core.data.identity import identity_of
from sr3d_core.data.sources import Scenes, source_of
from sr3d_core.detector import Detector
from sr3d_core.evaluate import detector_rules, found_and_true, report
from sr3d_core.evaluate_images import found_in_images, lift_to_true_depth
from sr3d_core.evaluate_tests import InRandomOrder
from sr3d_core.paired import Side
from sr3d_core.structures import Boxes3D, Detections, Targets
from sr3d_core.study.kept_scenes import OpenScenes
from sr3d_core.whole_files import write_whole


@dataclass(frozen=True, slots=True)
class Rules:
    """All that figures depend on."""

    data: str
    split: str
    num: int
    evaluation: Evaluation
    weights_sha256: str
    test: int = 1  # which of several tests of the same weights, see `evaluate_tests`
    true_depth: bool = False  # whether images are lifted to their true depth

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; what is as usual is left out: the first test, own depth."""
        values = asdict(self)
        usual = {"test": 1, "true_depth": False}
        return {key: value for key, value in values.items() if value != usual.get(key, ...)}


def identity(scenes: Scenes) -> str:
    """Changes with the number of scenes, their names and order, and with their files.

    The last word is that of the files, which an earlier version did not know.
    """
    found = identity_of(scenes)
    return f"{found.num} {found.names[:16]} {found.files[:16] or 'none'}"


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a training scored on one source of scenes."""

    report: dict[str, Any]  # as `sr3d eval --json` writes it
    read_side: Callable[[], Side]
    """What was found, and what is there: tens of megabytes, which a study reads one by one."""
    is_of_known_files: bool = True
    """Whether it is known that files of scenes are those that were scored."""

    def percent(self, measure: str) -> float:
        """Mean average precision, `ap25` or `ap50`, in percent; NaN where nothing is there."""
        return 100.0 * _number(self.report[f"m{measure}"])

    @property
    def of_images(self) -> dict[str, float] | None:
        """What is known of images alone, by name; None where clouds were looked into.

        In percent but `abs_rel`, NaN where nothing tells: boxes at the true depth, and how right
        the depth is.
        """
        if "depth" not in self.report:
            return None
        depth, placed = self.report["depth"], self.report["at_true_depth"]
        shares = {
            "ap25_at_true_depth": placed["map25"],
            "ap50_at_true_depth": placed["map50"],
            "delta_1_25": depth["delta_1_25"],
            "within_std": depth["within_std"],
        }
        percent = {name: 100.0 * _number(value) for name, value in shares.items()}
        return {**percent, "abs_rel": _number(depth["abs_rel"])}


def _number(value: float | None) -> float:
    """A figure that JSON has; NaN for null."""
    return float("nan") if value is None else float(value)


def score(
    weights: Path | None,
    folder: Path,
    rules: Rules,
    which: str,
    open_scenes: OpenScenes,
    device: str,
) -> Scores:
    """Read the scores from a folder, or detect in all scenes and write them there.

    `which` is the `identity` of the scenes that the rules mean today. Without weights nothing is
    found.
    """
    number = "" if rules.test == 1 else f"-test{rules.test}"
    path = folder / f"scores-{_file_name(rules.data)}{number}.json"
    kept = _kept(path, rules, which)
    if kept is not None:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    figures, side = _measured(weights, rules, open_scenes, device)
    content = {
        "rules": rules.to_dict(),
        "scenes": which,
        "classes": side.classes,
        "report": figures,
    }
    write_whole({_found_at(path): packed(side), path: json.dumps(content, indent=1).encode()})
    return Scores(figures, partial(_read_side, path, side.classes))


def _found_at(path: Path) -> Path:
    """Where what was found lies, beside its figures."""
    return path.with_suffix(".npz")


def _read_side(path: Path, classes: tuple[str, ...]) -> Side:
    return unpacked(_found_at(path).read_bytes(), classes)


def _measured(
    weights: Path | None, rules: Rules, open_scenes: OpenScenes, device: str
) -> tuple[dict[str, Any], Side]:
    """What `sr3d eval` says of these weights, and what was found."""
    if weights is None:
        return _of_nothing(rules, open_scenes)
    detector = Detector.from_checkpoint(
        str(weights),
        device=device,
        **detector_rules(rules.evaluation),
    )
    if rules.true_depth:
        lift_to_true_depth(detector)
    scenes = InRandomOrder(
        open_scenes(rules.data, rules.split, rules.num, detector.classes), rules.test
    )
    samples = (scenes[index] for index in range(len(scenes)))
    classes, fronts = detector.classes, detector.front_classes
    if detector.takes_images:
        found = found_in_images(detector, samples)
        figures = found.report(classes, fronts).to_dict()
        return figures, Side(found.found, found.truth, classes)
    detections, targets = found_and_true(detector, samples)
    return (
        report(detections, targets, classes, fronts).to_dict(),
        Side(detections, targets, classes),
    )


def _of_nothing(rules: Rules, open_scenes: OpenScenes) -> tuple[dict[str, Any], Side]:
    """What a robot has whose sensor is dead."""
    classes = tuple(source_of(rules.data).classes)
    scenes = open_scenes(rules.data, rules.split, rules.num, classes)
    targets = [scenes[index].targets for index in range(len(scenes))]
    none = [Detections.empty() for _ in targets]
    return report(none, targets, classes).to_dict(), Side(none, targets, classes)


def _kept(path: Path, rules: Rules, which: str) -> Scores | None:
    """The scores that were measured by the same rules on these scenes; None where there are none.

    Those of an earlier version do not say which scenes, or which files, they are of; they are
    believed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["rules"] != json.loads(json.dumps(rules.to_dict())):
            return None
        of_before = content.get("scenes", "").split()
        if which.split()[: len(of_before)] != of_before:
            return None
        read_side = partial(_read_side, path, tuple(content["classes"]))
        read_side()  # whether it can be
        return Scores(content["report"], read_side, len(of_before) == len(which.split()))
    except (FileNotFoundError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None  # damaged or of an older version: measured again


def _file_name(data: str) -> str:
    """Data as part of a file's name, different for different data."""
    words = re.sub(r"[^0-9A-Za-z]+", "_", data)[-40:]
    return f"{words}-{hashlib.sha256(data.encode()).hexdigest()[:8]}"


def packed(side: Side) -> bytes:
    """What was found and what is there, as the bytes of an .npz file; `facing` is left out."""
    ignored = [_ignored(target) for target in side.targets]
    arrays = {
        "scores": _rows([each.scores for each in side.detections]),
        **_boxes("found", side.detections),
        **_boxes("true", side.targets),
        **_boxes("ignored", ignored),
        "has_ignored": np.array([each.ignored is not None for each in side.targets], bool),
    }
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def unpacked(content: bytes, classes: tuple[str, ...]) -> Side:
    """The other way round; raises ValueError or KeyError where it is something else."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    scores = torch.split(arrays["scores"], arrays["found_counts"].tolist())
    detections = [
        Detections(boxes, score_, labels)
        for (boxes, labels), score_ in zip(_split(arrays, "found"), scores, strict=True)
    ]
    targets = [
        Targets(boxes, labels, Targets(*ignored) if has_ignored else None)
        for (boxes, labels), ignored, has_ignored in zip(
            _split(arrays, "true"),
            _split(arrays, "ignored"),
            arrays["has_ignored"].tolist(),
            strict=True,
        )
    ]
    return Side(detections, targets, classes)


def _ignored(target: Targets) -> Targets:
    return target[:0] if target.ignored is None else target.ignored


def _boxes(name: str, scenes: Sequence[Detections] | Sequence[Targets]) -> dict[str, Any]:
    return {
        f"{name}_boxes": np.concatenate(
            [np.zeros((0, 7), np.float32), *(each.boxes.array.cpu().numpy() for each in scenes)]
        ),
        f"{name}_labels": _rows([each.labels for each in scenes], np.int64),
        f"{name}_counts": np.array([len(each) for each in scenes], np.int64),
    }


def _rows(parts: Sequence[torch.Tensor], dtype: Any = np.float32) -> Any:
    return np.concatenate([np.zeros(0, dtype), *(part.cpu().numpy() for part in parts)])


def _split(arrays: dict[str, torch.Tensor], name: str) -> list[tuple[Boxes3D, torch.Tensor]]:
    counts = arrays[f"{name}_counts"].tolist()
    rows = torch.split(arrays[f"{name}_boxes"], counts)
    labels = torch.split(arrays[f"{name}_labels"], counts)
    return [(Boxes3D.from_array(box), label) for box, label in zip(rows, labels, strict=True)]
