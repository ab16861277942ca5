"""Tiny furniture archives: what the readers of .sh3f files are tested with."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from PIL import Image

from sr3d_core.data.rooms.furniture.classes import LABELS

BOX_OBJ = """\
mtllib wedge.mtl
v -1 0 -1
v 1 0 -1
v 1 0 1
v -1 0 1
v 0 2 1
usemtl red
f 1 2 3 4
usemtl cloth
vt 0 0
vt 1 0
vt 1 1
f 1/1 2/2 5/3
f 2/1 3/2 5/3
f 3/1 4/2 5/3
f 4/1 1/2 5/3
"""
"""A pyramid, y up, whose tip stands over the edge towards +z, its front."""

MTL = """\
newmtl red
Kd 1 0 0
newmtl cloth
Kd 0.2 0.2 0.2
d 0.75
map_Kd cloth.png
"""

ENTRY = {
    "id": "Test#pyramid",
    "name": "Fauteuil \\u00e0 bascule",
    "category": "Living room",
    "tags": "Seat, Chair",
    "model": "/m/wedge.obj",
    "width": "50",
    "depth": "80.0",
    "height": "120",
    "elevation": "12.5",
    "creator": "Jane",
}


def texture() -> bytes:
    """Two pixels: green and blue."""
    image = Image.new("RGB", (2, 1))
    image.putpixel((0, 0), (0, 255, 0))
    image.putpixel((1, 0), (0, 0, 255))
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


FILES = {"m/wedge.obj": BOX_OBJ.encode(), "m/wedge.mtl": MTL.encode(), "m/cloth.png": texture()}


def catalogue(*entries: dict[str, str]) -> str:
    """The text of a catalogue."""
    lines = ["# comment=no", "license=CC-BY, \u00a9 Jane"]
    for number, entry in enumerate(entries, start=1):
        lines += [f"{key}#{number}={value}" for key, value in entry.items()]
    return "\n".join(lines)


def write_archive(
    path: Path, *entries: dict[str, str], files: dict[str, bytes] | None = None
) -> Path:
    """An archive of these entries; without any, of the pyramid."""
    with zipfile.ZipFile(path, "w") as archive:
        text = catalogue(*(entries or (ENTRY,)))
        archive.writestr("PluginFurnitureCatalog.properties", text.encode("latin-1"))
        for name, content in (FILES if files is None else files).items():
            archive.writestr(name, content)
    return path


def one_of_each(folder: Path) -> tuple[Path, Path]:
    """An archive with a pyramid for each class, and a table of them."""
    entries = [{**ENTRY, "id": f"Test#{name}"} for name in LABELS]
    archive = write_archive(folder / "each.sh3f", *entries)
    lines = ["classes:"]
    for name in LABELS:
        lines += [
            f"  {name}:",
            "    published: {}",
            "    range: {depth: [0.5, 0.9], width: [0.4, 0.6], height: [0.7, 1.0]}",
            f"    models: {{any: ['Test#{name}']}}",
        ]
    table = folder / "table.yaml"
    table.write_text("\n".join(lines), encoding="utf-8")
    return archive, table
