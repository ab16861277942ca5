"""What each change of the network and of its training is worth, tried alone.

    sr3d data rooms runs/rooms --num 1100
    python benchmark/variants.py --rooms runs/rooms --cache runs/foreign \
        --furniture runs/sh3d/usr/share/sweethome3d/furniture > variants.md

Trains every variant of benchmark/variants.yaml alike but for its own settings, scores each in the
foreign rooms, and prints a table. One seed first; variants whose AP50 is less than 2 from that of
the first variant get two seeds more, as one training says nothing about so little. What is
trained and scored already is not done again, and a training that was stopped goes on: the
trainings are those of `sr3d study`, this file scores them in the foreign rooms. What a training
prints is in a file beside its folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from sr3d_core.checkpoint import load_checkpoint, save_checkpoint
from sr3d_core.model.network import SR3D
from sr3d_core.study.processes import StudyError
from sr3d_core.study.settings import Study
from sr3d_core.study.training import train_apart

VARIANTS = Path(__file__).with_name("variants.yaml")
SEEDS = (1, 2, 3)
TOO_NEAR_AP = 2.0
FRESH_BOXES = "fresh_boxes"
"""As `network.weights`: those that ship, with a regression that has learnt nothing."""
SIZES = (("bed", "height"), ("bed", "width"), ("desk", "height"), ("sofa", "depth"))
"""Whose slopes the table shows: where mean sizes gave the present weights away."""


def main() -> None:
    """Train and score what is missing, print the table."""
    options = _options()
    try:
        study = Study.read(options.variants).sharing({"data.prerendered": str(options.rooms)})
        names = options.names or list(study.variants)
        for name in names:
            study.chosen([name])
            study.parsed(name).data.open("train")
        print(table(_found(options, study, names)))
    except ValueError as error:  # a file, a variant, a training or the rooms
        sys.exit(f"error: {error}")


def _found(
    options: argparse.Namespace, study: Study, names: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """The figures of all variants, by seed."""
    base = study.first
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for seed in SEEDS[: options.seeds]:
        for name in names:
            if seed == SEEDS[0] or name == base or _is_near(found[name], found.get(base, [])):
                found[name].append(_scored(options, study, name, seed))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=Path, required=True, help="from `sr3d data rooms`")
    parser.add_argument("--furniture", type=Path, nargs="+", required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/foreign"))
    parser.add_argument("--variants", type=Path, default=VARIANTS)
    parser.add_argument("--names", nargs="*", help="some of the variants; default: all")
    parser.add_argument("--out", type=Path, default=Path("runs/variants"))
    parser.add_argument("--seeds", type=int, default=len(SEEDS), choices=(1, 2, 3))
    parser.add_argument("--num", type=int, default=120, help="foreign rooms, two scenes each")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def _is_near(mine: list[dict[str, Any]], bases: list[dict[str, Any]]) -> bool:
    """Whether the first seed leaves open which of two is better."""
    return not bases or abs(_of(mine[0], "ap50") - _of(bases[0], "ap50")) < TOO_NEAR_AP


def _scored(options: argparse.Namespace, study: Study, name: str, seed: int) -> dict[str, Any]:
    """The figures of one training, which is done first where it is missing."""
    folder = options.out / f"{name}-{seed}"
    scores = folder / "foreign.json"
    if not scores.is_file():
        _train(folder, study.tree(name, seed), options.processes)
        _judge(options, folder / "weights.safetensors", scores)
    return dict(json.loads(scores.read_text(encoding="utf-8"))["figures"])


def _train(folder: Path, config: dict[str, Any], processes: int) -> None:
    if config["network"].get("weights") == FRESH_BOXES:
        folder.parent.mkdir(parents=True, exist_ok=True)
        start = _fresh_boxes(folder.parent / f"{FRESH_BOXES}.safetensors")
        config["network"]["weights"] = str(start)
    train_apart(folder, config, num_processes=processes)


def _fresh_boxes(path: Path) -> Path:
    """The weights that ship, with a regression that is as it was initialised."""
    torch.manual_seed(1)
    network, manifest = load_checkpoint()
    network.head.regress.load_state_dict(SR3D(network.architecture).head.regress.state_dict())
    save_checkpoint(path, network, manifest)
    return path


def _judge(options: argparse.Namespace, weights: Path, scores: Path) -> None:
    script = Path(__file__).with_name("foreign_rooms.py")
    rooms = ["--furniture", *map(str, options.furniture), "--cache", str(options.cache)]
    amount = ["--num", str(options.num), "--views", str(options.views), "--workers", "2"]
    text = _run([str(script), *rooms, *amount, "--weights", str(weights)])
    scores.write_text(text.splitlines()[-1], encoding="utf-8")


def _run(arguments: list[str]) -> str:
    """What a program in a process of its own prints; raises StudyError where it fails."""
    print(" ".join(arguments), file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise StudyError(f"{arguments[0]} ended with {done.returncode}: see above")
    return done.stdout


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """One line for each variant: means over its seeds, and what they differ by."""
    slopes = [f"{name} {axis}" for name, axis in SIZES]
    heads = ["variant", "seeds", "AP25", "AP50", "frames AP50", "scans AP50", *slopes]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for name, figures in found.items():
        values = [_many([_of(each, key) for each in figures]) for key in ("ap25", "ap50")]
        values += [
            _many([100 * each[sensor]["ap50"]["mean"] for each in figures])
            for sensor in ("frame", "scan")
        ]
        values += [_slope(figures, *size) for size in SIZES]
        lines.append(f"| {' | '.join([name, str(len(figures)), *values])} |")
    return "\n".join(lines)


def _of(figures: dict[str, Any], measure: str) -> float:
    return 100 * float(figures["all"][measure]["mean"])


def _many(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def _slope(figures: list[dict[str, Any]], name: str, axis: str) -> str:
    rows = [each["slopes"].get(name) for each in figures]
    values = [row[axis]["mean"] for row in rows if row and row.get(axis)]
    return f"{statistics.mean(values):.2f}" if values else ""


if __name__ == "__main__":
    main()
