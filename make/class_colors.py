"""Write config/classes.rviz.yaml: our class colors for vision_msgs_rviz_plugins.

    .venv/bin/python make/class_colors.py

The plugin looks class names up in lower case, components are 0..255. A test compares the
committed file with what this makes.
"""

from __future__ import annotations

from pathlib import Path

from sr3d_core.colors import PALETTE

PLACE = Path(__file__).resolve().parent.parent / "config" / "classes.rviz.yaml"
HEAD = """\
# Class colors for the displays of vision_msgs_rviz_plugins (field "ConfigPath"); those of our
# markers are the same. Made by make/class_colors.py.
"""


def text() -> str:
    """The whole file."""
    lines = []
    for name, color in sorted(PALETTE.items()):
        red, green, blue = (round(255 * part) for part in color)
        lines.append(f"{name}:\n  r: {red}\n  g: {green}\n  b: {blue}\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
