"""Trainings that ship, one YAML file each: `sr3d train --preset NAME`, or copied to be changed."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent


def preset_names() -> list[str]:
    """The names of the trainings that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def preset_path(name: str) -> Path:
    """The configuration file of a training that ships; raises ValueError for another name."""
    if name not in preset_names():
        raise ValueError(f"no preset {name!r}, expected one of {', '.join(preset_names())}")
    return FOLDER / f"{name}.yaml"


def own_data(folder: Path) -> str:
    """The text of `own_data` for another folder, comments included."""
    line = "  path: my_rooms\n"
    before, found, after = preset_path("own_data").read_text(encoding="utf-8").partition(line)
    assert found, f"own_data.yaml: no line {line!r}"
    path = json.dumps(str(folder), ensure_ascii=False)  # JSON strings are YAML strings
    return f"{before}  path: {path}\n{after}"
