"""Which scenes a split has: the text files that data sets list them in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sr3d_core.data.file_scenes import DatasetError
from sr3d_core.plain_text import read_text

S3DIS_AREAS = (1, 2, 3, 4, 5, 6)
"""The areas of S3DIS: buildings, or parts of one."""


def existing_folder(path: Path, what: str) -> Path:
    """A folder that must be there. Raises DatasetError."""
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder, expected {what}; check the path")
    return path


def first_file(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The first of the files that is in any of the folders, None where none is."""
    candidates = (folder / name for name in names for folder in folders)
    return next((path for path in candidates if path.is_file()), None)


def needed_file(folders: Sequence[Path], names: Sequence[str], what: str) -> Path:
    """The first of the files that is in any of the folders. Raises DatasetError."""
    path = first_file(folders, names)
    if path is None:
        others = f" (or {', '.join(names[1:])})" if names[1:] else ""
        places = " or ".join(str(folder) for folder in folders)
        raise DatasetError(f"{places}: no {names[0]}{others}, expected {what}; put it there")
    return path


def read_lines(path: Path) -> list[str]:
    """The lines of a text that are not blank, without space around. Raises DatasetError."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read, expected a list of scenes") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def unique(names: Sequence[str], path: Path) -> list[str]:
    """Names of scenes, at least one; raises DatasetError where one comes twice."""
    if not names:
        raise DatasetError(f"{path}: no scene, expected at least one")
    seen = set[str]()
    for name in names:
        if name in seen:
            raise DatasetError(f"{path}: scene {name!r} comes twice; remove one")
        seen.add(name)
    return list(names)


def no_split(where: Path, split: str, expected: Sequence[str]) -> DatasetError:
    """What to say where a data set has no such split."""
    return DatasetError(f"{where}: no split {split!r}, expected one of {', '.join(expected)}")


def s3dis_areas(where: Path, split: str, val_area: int) -> list[int]:
    """The areas of a split of S3DIS: val is `val_area`, train all others. Raises DatasetError."""
    if val_area not in S3DIS_AREAS:
        raise DatasetError(
            f"{where}: val_area={val_area}, expected one of {', '.join(map(str, S3DIS_AREAS))}: "
            "without it no area would be held back"
        )
    return [area for area in S3DIS_AREAS if (area == val_area) == (split != "train")]
