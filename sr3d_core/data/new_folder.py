"""A folder of labelled scenes to begin with: what `sr3d_core.data.folder` reads, still empty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def make_folder(root: Path, classes: Sequence[str], config: str) -> list[Path]:
    """Make what is missing of a data set's folder, with a training to go with it.

    The training is named after the folder, as its run will be. Nothing that is there is changed.
    Returns the files and folders that were made; an empty train.txt or val.txt is to be filled
    with the names of the scenes.
    """
    made = [folder for folder in (root / "clouds", root / "labels") if not folder.is_dir()]
    for folder in made:
        folder.mkdir(parents=True)
    texts = {
        "classes.txt": "".join(f"{name}\n" for name in classes),
        "train.txt": "",
        "val.txt": "",
        config_path(root).name: config,
    }
    for name, text in texts.items():
        path = root / name
        if not path.exists():
            path.write_text(text, encoding="utf-8")
            made.append(path)
    return made


def config_path(root: Path) -> Path:
    """The training that goes with a data set's folder."""
    return root / f"{root.resolve().name}.yaml"
