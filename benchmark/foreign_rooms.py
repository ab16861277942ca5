"""How weights do in rooms that are not ours: foreign models, real sizes, other layouts, sensors.

    apt-get download sweethome3d-furniture && dpkg -x sweethome3d-furniture_*.deb runs/sh3d
    python benchmark/foreign_rooms.py --furniture runs/sh3d/usr/share/sweethome3d/furniture \
        --cache runs/foreign --num 240 --workers 2

Renders the rooms into the cache, which can be stopped and goes on where it was; detects in all of
them in up to eight views (quarter turns, mirrored); prints one JSON object, and tables on stderr:
AP25 and AP50 by class, by size, for frames and scans; slopes of predicted over true size; what was
taken for what; the models with author and licence. `--world own` scores the same on our own
validation rooms. `--sheet FOLDER` draws the models instead. What the world is: benchmark/foreign.
`--export FOLDER` writes the scenes instead, for `sr3d eval --data FOLDER` and `sr3d study --data
FOLDER`.

Nobody trains on this world: it would be no yardstick any more.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from foreign.archive import HOW_TO_GET
from foreign.export import export
from foreign.figures import precision, precision_by_size, slopes, spread
from foreign.looks import draw_models
from foreign.page import tables
from foreign.supply import ForeignFurniture, ForeignModel, open_models
from foreign.table import TABLE, FurnitureTable, read_table
from foreign.world import SENSORS, Scene, identity_of, render, scenes
from measure import machine
from rich.console import Console

from sr3d_core.analysis.answers import Answers
from sr3d_core.analysis.confusion import MATCH_IOU, REPORTED, confusion
from sr3d_core.choices import NUM_VIEWS
from sr3d_core.console import one_line_errors, progress_of, say
from sr3d_core.data.rooms.dataset import Rooms, relabelled
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.detector import Detector
from sr3d_core.evaluate import fronts_as_json
from sr3d_core.evaluate_views import turned_sample
from sr3d_core.geometry.turns import turns
from sr3d_core.matches import match_all
from sr3d_core.right_fronts import right_fronts


def main() -> None:
    """Render, detect, score, print."""
    options = _options()
    with one_line_errors():
        table = read_table(options.table, LABELS)
        models = _models(options, table) if options.world == "foreign" else []
        if options.sheet is not None:
            for page in draw_models(models, options.sheet):
                say(str(page))
            return
        if options.export is not None:
            _export(options, models, table)
            return
        study = measure(options, table, models)
    for each in tables(study):
        Console(stderr=True, width=160).print(each)
    print(json.dumps(study))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--furniture", type=Path, nargs="+", help=f".sh3f files or their folder: {HOW_TO_GET}"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/foreign"))
    parser.add_argument("--table", type=Path, default=TABLE, help="which model is which class")
    parser.add_argument("--world", choices=("foreign", "own"), default="foreign")
    parser.add_argument("--num", type=int, default=240, help="rooms, two scenes each")
    parser.add_argument("--seed", type=int, default=0, help="of the rooms")
    parser.add_argument("--workers", type=int, default=0, help="processes that render")
    parser.add_argument("--weights", default="default", help="a weights file")
    parser.add_argument("--views", type=int, default=NUM_VIEWS[-1], choices=NUM_VIEWS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the detector")
    parser.add_argument("--sheet", type=Path, help="folder for pictures of all models")
    parser.add_argument("--export", type=Path, help="folder for the scenes, as --data reads it")
    options = parser.parse_args()
    if options.world == "own" and options.export is not None:
        parser.error("--export is of the foreign world alone")
    if options.world == "foreign" and not options.furniture:
        parser.error(f"--furniture is missing; {HOW_TO_GET}")
    if options.num < 1:
        parser.error(f"--num {options.num}, expected at least 1")
    return options


def _models(options: argparse.Namespace, table: FurnitureTable) -> list[ForeignModel]:
    with progress_of("models", len(table.models)) as tell:
        return open_models(options.furniture, table, options.cache, tell)


def measure(
    options: argparse.Namespace, table: FurnitureTable, models: list[ForeignModel]
) -> dict[str, Any]:
    """The whole study as plain JSON values."""
    started = time.perf_counter()
    rare = _rare(table)
    if rare:  # in our own rooms too, so that both worlds compare
        say(f"few foreign models, left out of means: {', '.join(rare)}")
    if options.world == "foreign":
        _render(options, models, table)
        rooms = list(scenes(_folder(options), options.num))
    else:
        rooms = _own_scenes(options.num)
    rendered_s = time.perf_counter() - started
    detector = Detector.from_checkpoint(options.weights, device=options.device)
    unknown = [name for name in LABELS if name not in detector.classes]
    if unknown:
        say(f"not scored, the weights do not know them: {', '.join(unknown)}")
    hardware = machine(options.threads)
    views = _detect(detector, rooms, options.views)
    return {
        "machine": hardware,
        "weights": str(options.weights),
        "world": options.world,
        "rooms": options.num,
        "seed": options.seed,
        "scenes": len(rooms),
        "views": options.views,
        "left_out": rare,
        "not_scored": unknown,
        "seconds": {
            "rooms": round(rendered_s),
            "detection": round(time.perf_counter() - started - rendered_s),
        },
        **_fronts(views[0], detector.front_classes),
        "figures": spread([_figures(answers, rooms, rare) for answers in views]),
        "models": [
            {
                "id": model.entry.identity,
                "class": model.chosen.class_name,
                "name": model.entry.name,
                "author": model.entry.creator,
                "licence": model.entry.licence,
            }
            for model in models
        ],
    }


def _rare(table: FurnitureTable) -> list[str]:
    """Classes of too few models to take a mean over."""
    return [name for name, is_rare in table.is_rare.items() if is_rare]


def _export(
    options: argparse.Namespace, models: list[ForeignModel], table: FurnitureTable
) -> None:
    rare = _rare(table)
    classes = [name for name in LABELS if name not in rare]
    _render(options, models, table)
    furniture = identity_of(options.furniture, options.table)
    made_of = f"the foreign world, seed {options.seed}, furniture {furniture}"
    with progress_of("scenes", len(SENSORS) * options.num) as tell:
        done = export(
            _folder(options),
            options.export,
            options.num,
            classes,
            made_of,
            lambda num_done, num: tell(num_done),
        )
    if rare:
        say(f"few foreign models, boxes left out: {', '.join(rare)}")
    for text in done.left_out:
        say(f"left out: {text}")
    say(
        f"{options.export}: {done.num_new + done.num_there} scenes; sr3d eval --data "
        f"{options.export}, sr3d study FILE --data rooms --data {options.export}"
    )


def _folder(options: argparse.Namespace) -> Path:
    return options.cache / f"seed_{options.seed}"


def _render(
    options: argparse.Namespace, models: list[ForeignModel], table: FurnitureTable
) -> None:
    with progress_of("rooms", options.num) as tell:
        render(
            ForeignFurniture(models, table),
            _folder(options),
            options.num,
            seed=options.seed,
            workers=options.workers,
            identity=identity_of(options.furniture, options.table),
            tell=tell,
        )


def _own_scenes(num: int) -> list[Scene]:
    """Our own validation rooms, frame and scan of each."""
    rooms = Rooms("val", 2 * num, SENSORS)
    with progress_of("rooms", len(rooms)) as tell:
        found = []
        for index in range(len(rooms)):
            found.append(Scene(rooms[index], SENSORS[index % 2], "room"))
            tell(index + 1)
    return found


def _detect(detector: Detector, rooms: list[Scene], num_views: int) -> list[Answers]:
    """Answers in each view; classes that the weights do not know lose their boxes."""
    answers = []
    with progress_of("views of scenes", num_views * len(rooms)) as tell:
        for view, turn in enumerate(turns(num_views)):
            found, truth = [], []
            for scene in rooms:
                sample = turned_sample(relabelled(scene.sample, detector.classes), turn)
                found.append(detector.detect(sample.cloud).to("cpu"))
                truth.append(sample.targets)
                tell(view * len(rooms) + len(found))
            answers.append(Answers(detector.classes, found, truth))
    return answers


def _fronts(answers: Answers, front_classes: Sequence[str]) -> dict[str, Any]:
    """Right fronts by class in the view that is not turned, where the weights know fronts."""
    if not front_classes:  # matching thousands of boxes a scene takes minutes
        return {}
    matches = match_all(answers.found, answers.truth)
    about = (answers.found, answers.truth, answers.classes, front_classes, MATCH_IOU)
    return fronts_as_json(right_fronts(matches, *about))


def _figures(answers: Answers, rooms: list[Scene], left_out: list[str]) -> dict[str, Any]:
    """All figures of one view."""

    def those(keep: Iterable[bool]) -> Answers:
        return answers.of([index for index, is_kept in enumerate(keep) if is_kept])

    figures: dict[str, Any] = {"all": precision(answers, left_out)}
    for sensor in sorted({scene.sensor for scene in rooms}):
        figures[sensor] = precision(those(s.sensor == sensor for s in rooms), left_out)
    for layout in sorted({scene.layout for scene in rooms}):
        figures[layout] = precision(those(s.layout == layout for s in rooms), left_out)
    figures |= precision_by_size(answers, left_out)
    figures["slopes"] = slopes(answers)
    figures["confusion"] = confusion(answers)
    figures["confusion_reported"] = confusion(answers, REPORTED)
    return figures


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
