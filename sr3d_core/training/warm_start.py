"""Start a network from the weights of another: of other classes, or another coding of boxes.

Rows of the head are taken by what they mean: those of the classifier by the names of the classes,
those of the regression by what their number says. Everything else is taken where its shape fits,
and what is not taken starts as it was initialised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sr3d_core.checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_manifest,
    stored_tensors,
)
from sr3d_core.choices import alike
from sr3d_core.model.network import SR3D, Architecture

LEAST_SHARE = 0.5
"""Weights of which less fits a network are of another one."""
_MANY = 3
"""More tensors of one part are not named one by one."""


@dataclass(frozen=True, slots=True)
class WarmStart:
    """What of a network was taken from a weights file, row by row of its head."""

    taken: list[str]
    fresh: list[str]
    """What starts as it was initialised; of a class the name that the file may have for it."""

    @property
    def fresh_in_short(self) -> list[str]:
        """The same, with tensors of one part of the network counted where they are many."""
        parts = Counter(row.partition(".")[0] for row in self.fresh if " " not in row)
        many = {part for part, num in parts.items() if num > _MANY}
        rows = [row for row in self.fresh if row.partition(".")[0] not in many]
        return [*rows, *(f"{part} ({parts[part]} tensors)" for part in sorted(many))]


def take_weights(
    network: SR3D, classes: Sequence[str], path: str | Path, *, fresh_head: bool = False
) -> WarmStart:
    """Fill a network with what fits it of a weights file; `classes` name its own logits.

    With `fresh_head` nothing of the file's head is taken. Raises CheckpointError where less than
    half of the network fits.
    """
    if read_manifest(path).pretraining is not None:
        return _take_backbone(network, path)
    source, manifest = load_checkpoint(path)
    own, given = network.state_dict(), source.state_dict()
    box_rows, known_rows = (each.architecture.regression_rows for each in (network, source))
    known: list[str] = []
    if fresh_head:
        given = {name: t for name, t in given.items() if not name.startswith("head.")}
    else:
        known += _take_rows(own, given, "head.classify", "class ", classes, manifest.classes)
        known += _take_rows(own, given, "head.regress", "box: ", box_rows, known_rows)
    fitting = {name: t for name, t in given.items() if name in own and own[name].shape == t.shape}
    num_fitting = sum(t.numel() for t in fitting.values())
    if num_fitting < LEAST_SHARE * sum(t.numel() for t in own.values()):
        raise CheckpointError(
            f"{path}: {len(fitting)} of {len(own)} tensors fit this architecture, expected most "
            "of them: use the preset and the changes of these weights, or train from scratch"
        )
    network.load_state_dict(fitting, strict=False)
    rows = [f"class {name}" for name in classes] + [f"box: {name}" for name in box_rows]
    fresh = [row + _spelled_otherwise(row, manifest.classes) for row in rows if row not in known]
    num_others = sum(not name.startswith("head.") for name in fitting)
    return WarmStart(
        taken=[*known, f"{num_others} tensors below the head"],
        fresh=[*fresh, *sorted(set(own) - set(fitting))],
    )


_OF_THE_BACKBONE = (
    "voxel_size_m",
    "average",
    "color",
    "stem_channels",
    "stem_kernel",
    "stem_pool",
)
"""What of an architecture has to be the same for its backbone to be, beside widths and depths."""


def backbone_differences(own: Architecture, given: Architecture) -> list[str]:
    """Why one network cannot have the backbone of the other, in words; nothing where it can."""
    return [
        f"{name} is {getattr(given, name)}, here {getattr(own, name)}"
        for name in (*_OF_THE_BACKBONE, "widths", "depths")
        if getattr(given, name) != getattr(own, name)
    ]


def _take_backbone(network: SR3D, path: str | Path) -> WarmStart:
    """Fill the backbone with a pre-trained one; CheckpointError where it is of another kind."""
    differing = backbone_differences(network.architecture, read_manifest(path).architecture)
    if differing:
        raise CheckpointError(
            f"{path}: a backbone of another network: {'; '.join(differing)}; expected the same: "
            "set network.preset and network.changes as it was pre-trained, or pre-train again"
        )
    stored = stored_tensors(path)
    shapes = {name: t.shape for name, t in network.state_dict().items()}
    fresh = sorted(name for name in shapes if not name.startswith("backbone."))
    expected = {name: shape for name, shape in shapes.items() if name not in fresh}
    if {name: t.shape for name, t in stored.items()} != expected:
        raise CheckpointError(
            f"{path}: its {len(stored)} tensors are not the {len(expected)} of this backbone; "
            "expected one that this version of SR3D pre-trained: pre-train again"
        )
    network.load_state_dict(stored, strict=False)
    return WarmStart(taken=["the backbone, pre-trained"], fresh=fresh)


def _take_rows(
    own: dict[str, Tensor],
    given: dict[str, Tensor],
    layer: str,
    kind: str,
    names: Sequence[str],
    known: Sequence[str],
) -> list[str]:
    """Make the given layer the own one with the given rows of the same names in it.

    Returns which these are, `kind` before each; none where the layers are of other widths.
    """
    weight, bias = f"{layer}.weight", f"{layer}.bias"
    is_as_wide = given[weight].shape[1] == own[weight].shape[1]
    common = [name for name in names if name in known] if is_as_wide else []
    to, of = [list(names).index(name) for name in common], [known.index(name) for name in common]
    for part in (weight, bias):
        if common:
            own[part][to] = given[part][of]
        given[part] = own[part]
    return [kind + name for name in common]


def _spelled_otherwise(row: str, known: Sequence[str]) -> str:
    """A remark on a class that the weights may know under another name."""
    near = alike(row.removeprefix("class "), known) if row.startswith("class ") else None
    return "" if near is None else f" (the weights know {near}: name it so to keep that)"
