"""What commands that measure look at: the scenes of `--data`, by the rules of `--config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d_core.choices import alike
from sr3d_core.console import say
from sr3d_core.presets import preset_names, preset_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sr3d_core.config import Config
    from sr3d_core.data.sources import AnySource, Scenes


def labelled_scenes(
    data: str, split: str, num: int, known: tuple[str, ...], *, has_images: bool = False
) -> Scenes:
    """The scenes to measure on, labelled in the classes that the weights know.

    With `has_images` they have color images. Classes that only one of both has are told. Raises
    ValueError where none is left.
    """
    from sr3d_core.data.sources import source_of, with_images

    source = source_of(data)
    if has_images:
        source = with_images(source)
    labelled = tuple(source.classes)
    if not set(known) & set(labelled):
        raise ValueError(
            f"--data {data}: labelled with {', '.join(labelled)}, the weights know "
            f"{', '.join(known)}; expected a class that both have: choose other weights or scenes"
        )
    for text, names, others in (
        ("the weights do not know them", [name for name in labelled if name not in known], known),
        (f"{data} does not label them", [name for name in known if name not in labelled], ()),
    ):
        if names:
            say(f"not scored, {text}: {', '.join(_with_alike(name, others) for name in names)}")
    return opened(source, split, known, num)


def opened(
    source: AnySource, split: str, classes: Sequence[str] | None = None, num: int | None = None
) -> Scenes:
    """Scenes of a source, labelled in `classes`, None = its own; says what they are read as."""
    scenes = source.open(split, source.classes if classes is None else classes, num)
    for note in getattr(scenes, "notes", ()):
        say(f"read as: {note}")
    return scenes


def _with_alike(name: str, others: tuple[str, ...]) -> str:
    """A class with the name that the others may have for it."""
    near = alike(name, others)
    return name if near is None else f"{name} (is it their {near}?)"


def named_config(config: str | None) -> Config | None:
    """The configuration that `--config` names, a file or a preset; None where it is not given."""
    from sr3d_core.config import load_config

    if config is None:
        return None
    return load_config(preset_path(config) if config in preset_names() else config)
