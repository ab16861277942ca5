"""What the switches after the network gain in rooms that are not ours, class by class.

    python benchmark/foreign_rooms.py --furniture ... --cache runs/foreign --num 240
    python benchmark/switches.py --rooms runs/foreign/seed_0 --num 240 > switches.md

Every scene is looked at in up to eight views once; what the network says is remembered, and one
view, box voting, the three fits to points, what the weights file says and merged views are all
made of it. A switch that is chosen on the rooms that it is then praised for gains by chance alone,
so classes are judged in two halves of the rooms: a gain counts where both halves show it. Rooms of
another seed tell whether what was chosen so gains elsewhere.
"""

from __future__ import annotations

import argparse
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from foreign.world import Scene, scenes
from numpy.typing import NDArray
from torch import nn

from sr3d_core.choices import NUM_VIEWS
from sr3d_core.console import one_line_errors, progress_of
from sr3d_core.data.rooms.dataset import relabelled
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.evaluate import FindsObjects, report
from sr3d_core.evaluate_views import turned_sample
from sr3d_core.geometry.turns import turns
from sr3d_core.merged_views import MergedViews, merge_views
from sr3d_core.refinement import ALL, NONE, Refinement
from sr3d_core.structures import Detections, PointCloud, Predictions, Targets

PLAIN = "one view"
STORED = "as stored"
"""What the weights file says for which classes: the default of all commands and of the node."""

MERGED_VIEWS = 4
WEAKEST = 0.05
"""Boxes that score less are left out of all figures: there are thousands in a scene."""

FEWEST_BOXES = 20
"""A class with fewer in a half of the rooms is not judged."""


Finder = TypeVar("Finder", Detector, MergedViews)


class RememberingNetwork(nn.Module):
    """A network that is asked once about each cloud of a scene, however many switches ask it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.said: dict[bytes, Predictions] = {}

    def forward(self, cloud: PointCloud) -> Predictions:
        """What the network says, or said before."""
        key = cloud.xyz.numpy().tobytes()
        if key not in self.said:
            self.said[key] = self.network(cloud)
        return self.said[key]


@dataclass(frozen=True, slots=True)
class Switch:
    """A way to get boxes, and in which views it answers differently."""

    finder: FindsObjects
    views: tuple[int, ...]


Answered = list[tuple[list[Detections], list[Targets]]]
"""By view: what was found in each scene, and what is there."""


def main() -> None:
    """Detect, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=Path, required=True, help="rendered by foreign_rooms.py")
    parser.add_argument("--num", type=int, default=240, help="rooms, two scenes each")
    parser.add_argument("--weights", default="default", help="a weights file")
    parser.add_argument("--views", type=int, default=NUM_VIEWS[-1], choices=NUM_VIEWS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with one_line_errors():
        detector = Detector.from_checkpoint(
            options.weights, device="cpu", postprocess=Postprocess(score_threshold=WEAKEST)
        )
        rooms = list(scenes(options.rooms, options.num))
        text = page(detect(detector, rooms, options.views), detector.classes, len(rooms))
    print(text)


def switches_of(detector: Detector, num_views: int) -> dict[str, Switch]:
    """All switches, each alone, what the weights say, and refinement of merged views.

    Merged quarter turns are the same in every quarter turn: only the mirrored room differs.
    """
    every = tuple(range(num_views))
    distinct = tuple(view for view in (0, MERGED_VIEWS) if view < num_views)
    merged = merge_views(detector, MERGED_VIEWS)
    merging = f"merge {MERGED_VIEWS}"
    of_points = {way: Refinement(**{way: (ALL,)}) for way in ("size", "floor", "yaw")}
    of_one = {PLAIN: NONE, "vote": Refinement(vote=(ALL,)), **of_points}
    return {
        **{name: Switch(_refining(detector, way), every) for name, way in of_one.items()},
        STORED: Switch(detector, every),
        merging: Switch(merged, distinct),
        **{
            f"{merging}, {name}": Switch(_refining(merged, way), distinct)
            for name, way in of_points.items()
        },
    }


def _refining(finder: Finder, refinement: Refinement) -> Finder:
    changed = copy(finder)
    changed.refinement = refinement
    return changed


def detect(detector: Detector, rooms: list[Scene], num_views: int) -> dict[str, Answered]:
    """Answers of every switch in its views."""
    network = detector.network
    answers: dict[str, Answered] = {}
    with progress_of("scenes", len(rooms)) as tell:
        for done, scene in enumerate(rooms, start=1):
            detector.network = RememberingNetwork(network)
            switches = switches_of(detector, num_views)
            labelled = relabelled(scene.sample, detector.classes)
            for name, switch in switches.items():
                of_switch = answers.setdefault(name, [([], []) for _ in switch.views])
                for (found, truth), view in zip(of_switch, switch.views, strict=True):
                    sample = turned_sample(labelled, turns(num_views)[view])
                    found.append(switch.finder.detect(sample.cloud).to("cpu"))
                    truth.append(sample.targets)
            tell(done)
    return answers


def page(answers: dict[str, Answered], classes: tuple[str, ...], num_scenes: int) -> str:
    """Tables of the means and of the gains by class, in percent."""
    halves = [_figures(answers, classes, half) for half in _halves(num_scenes)]
    whole = _figures(answers, classes, range(num_scenes))
    if np.isnan(whole[PLAIN]).all():
        raise ValueError(
            f"no class has {FEWEST_BOXES} boxes in {num_scenes} scenes; choose a larger --num"
        )
    return "\n".join([*_means(answers, whole), "", *_gains(whole, halves, classes)])


def _halves(num_scenes: int) -> list[list[int]]:
    """Frame and scan of a room stay together, and both halves have as many rooms as suites."""
    return [[k for k in range(num_scenes) if k // 4 % 2 == part] for part in (0, 1)]


def _figures(
    answers: dict[str, Answered], classes: tuple[str, ...], keep: range | list[int]
) -> dict[str, NDArray[np.float64]]:
    """(views, 2, K): AP25 and AP50 by class of each switch, NaN where a class has few boxes."""

    def of(found: list[Detections], truth: list[Targets]) -> NDArray[np.float64]:
        result = report([found[k] for k in keep], [truth[k] for k in keep], classes)
        rows = np.array([result.ap25.per_class.tolist(), result.ap50.per_class.tolist()])
        rows[:, np.asarray(result.ap25.num_truth) < FEWEST_BOXES] = np.nan
        return 100 * rows

    return {name: np.stack([of(*view) for view in views]) for name, views in answers.items()}


def _means(answers: dict[str, Answered], whole: dict[str, NDArray[np.float64]]) -> list[str]:
    lines = ["| | AP25 | AP50 | views |", "|---|---|---|---|"]
    for name, figures in whole.items():
        by_view = figures[:, :, ~np.isnan(figures).any(axis=(0, 1))].mean(axis=2)
        cells = [_with_spread(by_view[:, measure]) for measure in (0, 1)]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {len(answers[name])} |")
    return lines


def _with_spread(values: NDArray[np.float64]) -> str:
    deviation = f" ± {values.std(ddof=1):.1f}" if len(values) > 2 else ""
    return f"{values.mean():.1f}{deviation}"


def _gains(
    whole: dict[str, NDArray[np.float64]],
    halves: list[dict[str, NDArray[np.float64]]],
    classes: tuple[str, ...],
) -> list[str]:
    """Gain of AP50 by class; bold where both halves of the rooms gain."""
    names = [name for name in whole if name != PLAIN]
    lines = [
        f"| class | {PLAIN} | " + " | ".join(names) + " |",
        "|---|---|" + "---|" * len(names),
    ]

    def gain(figures: dict[str, NDArray[np.float64]], name: str, label: int) -> float:
        before = PLAIN if "," not in name else name.split(",")[0]
        after = figures[name][:, 1, label].mean()
        return float(after - figures[before][:, 1, label].mean())

    for label, class_name in enumerate(classes):
        if np.isnan(whole[PLAIN][0, 1, label]):
            continue
        cells = []
        for name in names:
            text = f"{gain(whole, name, label):+.1f}"
            holds = all(gain(half, name, label) > 0 for half in halves)
            cells.append(f"**{text}**" if holds else text)
        base = whole[PLAIN][:, 1, label].mean()
        lines.append(f"| {class_name} | {base:.1f} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
