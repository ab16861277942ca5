"""What weights are, for the people who get them: a page of Markdown from their manifest.

Nothing is written here that was not measured or said when the weights were made: what is missing
is named as missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sr3d_core.checkpoint import Manifest
from sr3d_core.model.network import Architecture

NO_LICENSE = (
    "Nobody said under which terms these weights may be used. Ask whoever trained them before you "
    "pass them on; the data that they have learnt from may have terms of its own."
)

_FIGURES = {
    "rooms_map25": "mean AP25 in procedural validation rooms, like those of the training",
    "rooms_map50": "mean AP50 there",
    "rooms_scenes": "how many of these scenes",
    "foreign_rooms_map25": "mean AP25 in synthetic rooms with furniture by other makers, over the "
    "classes that docs/rooms.md names",
    "foreign_rooms_map50": "mean AP50 there",
}
"""What the names of results mean."""

_FIGURES_OF_REPORTS = {
    "map25": "mean AP25 on these scenes",
    "map50": "mean AP50 there",
    "num_scenes": "how many of these scenes",
}
"""What the names of results mean that are from a report: `DATA, SPLIT: NAME`."""

_CODINGS = {
    "tr3d": "as TR3D's: the longer side is always dy, yaw is modulo half a turn",
    "own_height": "as TR3D's, with a height of its own: yaw is modulo half a turn",
    "quarter_turns": "yaw within 45 degrees of an axis, either side may be the longer one",
}


def model_card(
    manifest: Manifest, num_parameters: int, license: str = "", limits: Sequence[str] = ()
) -> str:
    """The page, as Markdown; `license` stands in where the manifest has none.

    `limits` are sentences about what the weights do badly, beside those that the manifest tells.
    """
    parts = [
        f"# Model card\n\n{_sentence(manifest.description) or 'Nobody described these weights.'}",
        f"## What it is\n\n{_table(('', ''), _facts(manifest, num_parameters))}",
        f"## Measured\n\n{_results(manifest)}",
        f"## Class by class\n\n{_classes(manifest)}",
        f"## Limits\n\n{_list([*limits, *_limits(manifest)])}",
        f"## Licence\n\n{_sentence(manifest.license or license) or NO_LICENSE}",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(manifest: Manifest, num_parameters: int) -> Iterable[tuple[str, ...]]:
    a = manifest.architecture
    yield "input", _inputs(manifest)
    yield "output", f"boxes of {a.num_classes} classes, {_boxes(a)}"
    yield "voxels", f"{1000 * a.voxel_size_m:g} mm"
    yield "parameters", f"{num_parameters:,}"
    yield "scores", _scores(manifest)
    yield "boxes fitted after the network", _refinement(manifest)
    if manifest.front_classes:
        yield "yaw points out of the front of", ", ".join(manifest.front_classes)
    yield "sha256 of the tensors", f"`{manifest.sha256}`"
    yield "format", f"{manifest.format_version}, safetensors: loading runs no code"


def _inputs(manifest: Manifest) -> str:
    camera = manifest.camera
    if camera is not None:
        width, height = camera.size
        kind = "one color image" if camera.input == "rgb" else "one depth image"
        return (
            f"{kind}, rectified, brought to {width} x {height} pixels, with the camera's "
            "intrinsics and its pose in a frame with z up"
        )
    color = (
        "colors 0..1, grey where unknown"
        if manifest.architecture.color
        else "colors 0..1 if there are any"
    )
    return f"points in metres, z up; {color}"


def _boxes(a: Architecture) -> str:
    return _CODINGS[a.box_coding] if a.rotated else "axis aligned"


def _scores(manifest: Manifest) -> str:
    missing = [name for name in manifest.classes if name not in manifest.calibration]
    if len(missing) == len(manifest.classes):
        return "the network's own, not calibrated: .5 is no chance of one half"
    chances = "calibrated to be chances that a box overlaps a true one by a quarter"
    return f"{chances}; not those of {', '.join(missing)}" if missing else chances


def _refinement(manifest: Manifest) -> str:
    r = manifest.refinement
    ways = {"vote": r.vote, "size": r.size, "floor": r.floor, "yaw": r.yaw}
    said = [f"{way}: {', '.join(names)}" for way, names in ways.items() if names]
    return "; ".join(said) or "none"


def _results(manifest: Manifest) -> str:
    if not manifest.results:
        return "Nothing was measured, or nobody wrote it down: score them with `sr3d eval`."
    rows = [
        (name, f"{value:.4g}", _FIGURES.get(name) or _of_report(name))
        for name, value in manifest.results.items()
    ]
    return _table(("figure", "value", "what it is"), rows)


def _of_report(name: str) -> str:
    return _FIGURES_OF_REPORTS.get(name.rpartition(": ")[2], "")


def _classes(manifest: Manifest) -> str:
    head = ("class", "center off by", "yaw off by", "boxes", "scores measured on")
    text = (
        "How far found boxes lie from the true ones (root mean square; along x, y of the box and "
        "upwards; yaw modulo a quarter turn), on how many boxes; and on how many boxes the scores "
        "were calibrated, of which so many were right. A dash: not measured."
    )
    return f"{text}\n\n{_table(head, (_class_row(manifest, name) for name in manifest.classes))}"


def _class_row(manifest: Manifest, name: str) -> tuple[str, ...]:
    spread, scores = manifest.spread.get(name), manifest.calibration.get(name)
    cells = ("-", "-", "-")
    if spread is not None:
        off = ", ".join(f"{100 * part:.0f}" for part in spread.center_m)
        cells = (f"{off} cm", f"{math.degrees(spread.yaw_rad):.0f} deg", str(spread.num_boxes))
    chances = "-" if scores is None else f"{scores.num_boxes:,}, {scores.num_right:,} right"
    return (name, *cells, chances)


def _limits(manifest: Manifest) -> Iterable[str]:
    yield (
        "It finds the classes above and nothing else: other objects are overlooked, or taken for "
        "one of them."
    )
    if not manifest.spread:
        yield "How far its boxes are off was not measured: covariances of the ROS node are 0."
    unknown = [
        name for name in manifest.classes if manifest.spread and name not in manifest.spread
    ]
    if unknown:
        yield f"How far its boxes are off was not measured for {', '.join(unknown)}."
    if not manifest.architecture.rotated:
        yield "Boxes are never turned: of what stands askew they enclose more than the object."
    if not manifest.architecture.front:
        yield "It does not know which side of an object is the front."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _sentence(text: str) -> str:
    """A text that ends as a sentence does; empty stays empty."""
    text = " ".join(text.split())
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."
