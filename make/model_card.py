"""Write docs/model_card.md, the model card of the weights that ship.

    .venv/bin/python make/model_card.py

What it says is in the manifest of the weights; figures of classes are those of the tables in
docs/rooms.md (foreign rooms) and README.md (held-out rooms of our own).
A test compares the committed page with what this makes.
"""

from __future__ import annotations

import re
from pathlib import Path

from sr3d_core.checkpoint import load_checkpoint
from sr3d_core.export import SHIPPED_LICENSE, SHIPPED_LIMIT
from sr3d_core.model_card import model_card

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "model_card.md"
ROOMS = ROOT / "docs" / "rooms.md"
README = ROOT / "README.md"
BADLY = 40.0
"""AP25, in percent, below which a class is called badly found."""

_FOREIGN_ROW = re.compile(r"^\| (\w+)(?: \*)? \| \d+ \| ([\d.]+) / [\d.]+ \|", re.MULTILINE)
_OWN_ROW = re.compile(r"^\| (\w+) \| \d+ \| ([\d.]+) \| [\d.]+ \|$", re.MULTILINE)
_FOREIGN_MEAN = re.compile(r"AP25\s\*\*([\d.]+)\*\*.*?AP50\s\*\*([\d.]+)\*\*", re.DOTALL)
_OWN_MEAN = re.compile(r"^\| \*\*mean of all .*?\*\*([\d.]+)\*\*.*?\*\*([\d.]+)\*\*", re.MULTILINE)
_NOTE = "Made by `make/model_card.py`; do not edit. `sr3d export` writes such a page.\n\n"


def foreign_figures(page: str) -> dict[str, float]:
    """AP25 in percent, by class, of the weights that ship in foreign rooms."""
    return _figures(page, "### The weights that ship, in it", _FOREIGN_ROW)


def _section(page: str, heading: str) -> str:
    """What stands under a heading of a page."""
    return page.partition(f"{heading}\n")[2].partition("\n#")[0]


def own_figures(page: str) -> dict[str, float]:
    """AP25 in percent, by class, in held-out rooms of our own."""
    return _figures(page, "## The weights that ship", _OWN_ROW)


def _figures(page: str, heading: str, row: re.Pattern[str]) -> dict[str, float]:
    rows = row.findall(_section(page, heading))
    if not rows:
        raise SystemExit(f"no table under {heading!r}")
    return {name: float(ap25) for name, ap25 in rows}


def means(rooms: str, readme: str) -> str:
    """The means as the detector is used; those of the manifest may be of before the fitting."""
    foreign = _FOREIGN_MEAN.search(_section(rooms, "### The weights that ship, in it"))
    own = _OWN_MEAN.search(_section(readme, "## The weights that ship"))
    if foreign is None or own is None:
        raise SystemExit(f"no means in {ROOMS.name} or {README.name}")
    return (
        f"As the detector is used, boxes fitted after the network: AP25 {foreign[1]} and AP50 "
        f"{foreign[2]} percent in rooms with other people's furniture (docs/rooms.md), {own[1]} "
        f"and {own[2]} in held-out rooms of our own. The table under Measured has what the "
        "weights file holds, which was measured without the fitting where it differs."
    )


def limits(
    foreign: dict[str, float], own: dict[str, float], classes: tuple[str, ...]
) -> list[str]:
    """What the weights that ship do badly, as sentences."""
    said = [
        SHIPPED_LIMIT,
        "All figures are of one training: what another one would give is not known.",
    ]
    places = (
        ("In rooms with other people's furniture (docs/rooms.md)", foreign),
        ("In held-out rooms of our own", own),
    )
    for where, figures in places:
        badly = sorted((ap25, name) for name, ap25 in figures.items() if ap25 < BADLY)
        unseen = [name for name in classes if name not in figures]
        if badly:
            listed = ", ".join(f"{name} {ap25:g}" for ap25, name in badly)
            said.append(f"{where} these are found badly, AP25 in percent: {listed}.")
        if unseen:
            said.append(f"{where} there was no {', no '.join(unseen)}: not measured.")
    return said


def page() -> str:
    """The whole page."""
    network, manifest = load_checkpoint("default")
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    rooms, readme = (path.read_text(encoding="utf-8") for path in (ROOMS, README))
    said = limits(foreign_figures(rooms), own_figures(readme), manifest.classes)
    said.insert(1, means(rooms, readme))
    card = model_card(manifest, num_parameters, SHIPPED_LICENSE, said)
    return card.replace("# Model card\n\n", f"# Model card\n\n{_NOTE}", 1)


def files() -> dict[Path, str]:
    """Every file with what it should hold."""
    return {PAGE: page()}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
