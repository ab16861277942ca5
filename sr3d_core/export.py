"""Weights as a folder to pass on: the weights, what they are as JSON, and a model card."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sr3d_core.checkpoint import (
    CLASSES_NAME,
    DEFAULT_WEIGHTS,
    MANIFEST_NAME,
    WEIGHTS_NAME,
    CheckpointError,
    Manifest,
    checkpoint_content,
    load_any,
    manifest_text,
    stored_tensors,
    weights_file,
)
from sr3d_core.model_card import model_card
from sr3d_core.whole_files import write_whole

CARD_NAME = "README.md"
SHIPPED_LICENSE = "Apache-2.0, as the package that they ship with."
"""Terms of the weights that ship."""
SHIPPED_LIMIT = (
    "They have never seen a real room: they are trained on synthetic rooms alone, and no figure "
    "here is of a real data set. Expect furniture-sized things in ordinary poses to work best, "
    "and train on your own data where that is not enough."
)
"""What everybody who gets the weights that ship must know."""
_SHIPPED_MORE = (
    "Which classes they find badly, and how badly: "
    "<https://github.com/sr3d/sr3d/blob/main/docs/model_card.md>."
)

_REPORTED = ("map25", "map50", "num_scenes")
_USE = """
## Use it

```python
from sr3d_core import Detector

detector = Detector.from_checkpoint("path/of/this/folder")
```

or `--weights path/of/this/folder` for every command of `sr3d`. `weights.safetensors` is all that
is needed; `manifest.json` and `classes.txt` repeat what it says of itself, for people and other
programs.
"""


def export_folder(
    weights: str | Path, folder: Path, license: str = "", reports: Sequence[Path] = ()
) -> Manifest:
    """Write weights, manifest, classes and model card into a new folder, all or nothing.

    `license` replaces what the weights say of their terms; the figures of `reports`, which
    `sr3d eval --json` wrote of these weights, are added to those that they hold. The tensors stay
    as they are stored: detections from the folder are the same to the last bit. Raises
    FileExistsError where `folder` is there already, CheckpointError for weights or reports that
    cannot be used.
    """
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(
            f"{folder}: is there already and is not overwritten; expected a new folder: choose "
            "another name or move this one away"
        )
    network, manifest = load_any(weights)
    is_shipped = weights_file(weights) == DEFAULT_WEIGHTS
    terms = license or manifest.license or (SHIPPED_LICENSE if is_shipped else "")
    results = dict(manifest.results)
    for report in reports:
        results |= reported_figures(report, manifest.sha256)
    manifest = replace(manifest, license=terms, results=results)
    content, manifest = checkpoint_content(stored_tensors(weights), manifest)
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    limits = [SHIPPED_LIMIT, _SHIPPED_MORE] if is_shipped else []
    texts = {
        MANIFEST_NAME: manifest_text(manifest),
        CLASSES_NAME: "".join(f"{name}\n" for name in manifest.classes),
        CARD_NAME: model_card(manifest, num_parameters, limits=limits) + _USE,
    }
    files = {WEIGHTS_NAME: content, **{name: text.encode() for name, text in texts.items()}}
    _write_folder(folder, files)
    return manifest


def reported_figures(path: Path, sha256: str) -> dict[str, float]:
    """What a report of `sr3d eval --json` measured, by names that say on which scenes.

    Raises CheckpointError where it is none, or not of the weights with this digest.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        scenes = f"{report['data']}, {report['split']}"
        found, figures = report["sha256"], {name: report[name] for name in _REPORTED}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: no report ({type(error).__name__}: {error}), expected what `sr3d eval "
            "--json` writes; score the weights again"
        ) from error
    if found != sha256:
        raise CheckpointError(
            f"{path}: measured on weights with sha256 {str(found)[:12]}..., expected those with "
            f"{sha256[:12]}...; score these"
        )
    if not all(isinstance(value, (int, float)) for value in figures.values()):
        raise CheckpointError(
            f"{path}: {figures}, expected a number each; score scenes that have boxes"
        )
    return {f"{scenes}: {name}": float(value) for name, value in figures.items()}


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """A new folder with these files; it takes its name when all of them are on the disk."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        write_whole({part / name: content for name, content in files.items()})
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
