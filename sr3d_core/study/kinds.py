"""What a study trains: networks of clouds by `sr3d train`, camera students by `sr3d distill`.

And what it scores beside them that nobody trains for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from sr3d_core.config import Config, parse_config
from sr3d_core.distill.settings import parse_camera_config
from sr3d_core.plain_yaml import read_yaml
from sr3d_core.presets import preset_path

Trains = Literal["train", "distill"]
"""The command that trains a variant."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How the trainings of one command are configured."""

    name: Trains
    parse: Callable[[Any, str], Config]
    """Of a tree of plain values and where it is from; raises ConfigError."""
    weights: Mapping[str, str]
    """Words of a variant that name a pre-training, and the setting that its weights are for."""

    def check(self, preset: str | None, config: Path | None, tests: int) -> None:
        """Refuse a study that cannot begin; ValueError."""
        if self.name == "train" and (preset is None) == (config is None):
            raise ValueError("expected either preset or config, from which all variants begin")
        if self.name == "distill" and preset is not None:
            raise ValueError(
                f"preset: {preset}, which trains a network of clouds; expected config, or neither "
                "with trains: distill"
            )
        if self.name == "distill" and tests > 1:
            raise ValueError(
                f"tests: {tests}, but an image has no points to draw others from; expected 1"
            )

    def tree(self, preset: str | None, config: Path | str | None) -> dict[str, Any]:
        """What all begin from, as plain values: a preset, a file, or nothing."""
        if preset is None and config is None:
            return {}
        path = preset_path(preset) if preset is not None else Path(str(config))
        return dict(read_yaml(path, "a configuration in YAML") or {})

    def start_of(self, tree: Mapping[str, Any]) -> str:
        """Digests of the files that a training starts from; empty where there are none."""
        return "\n".join(digest(path) for path in self._starts(tree))

    def starts_in_words(self, tree: Mapping[str, Any]) -> str:
        """The same files by name."""
        return " and ".join(map(str, self._starts(tree)))

    def _starts(self, tree: Mapping[str, Any]) -> list[Path]:
        found = []
        for key in self.weights.values():
            part, name = key.split(".")
            path = Path((tree.get(part) or {}).get(name) or "")
            if path.is_file():
                found.append(path)
        return found


KINDS: dict[Trains, Kind] = {
    "train": Kind("train", parse_config, {"starts_from": "network.weights"}),
    "distill": Kind(
        "distill",
        parse_camera_config,
        {"starts_from": "student.weights", "taught_by": "teacher.weights"},
    ),
}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Something that is scored beside the variants; with neither of both, finding nothing."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    weights: str | None = None
    """Weights of clouds or of images, such as "default"."""
    of: str | None = None
    """Or those of a variant, or of a labelled pre-training, of each seed."""
    true_depth: bool = False
    """Whether cells of images are lifted to their true depth: what better depth would bring."""

    def check(self, name: str, variants: Collection[str], pretrainings: Collection[str]) -> None:
        """Refuse one that cannot be; ValueError."""
        if name in variants:
            raise ValueError(f"references: {name} is a variant, too; expected another name")
        if self.of is not None and self.of not in {*variants, *pretrainings}:
            raise ValueError(f"references: {name}: of: no variant or pre-training {self.of!r}")
        if self.of is not None and self.weights is not None:
            raise ValueError(f"references: {name}: weights and of, expected one of the two")
        if self.true_depth and self.of is None and self.weights is None:
            raise ValueError(f"references: {name}: true_depth of nothing, expected weights or of")


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
