"""Checkpoints of TR3D (arXiv 2302.02858) as weights of SR3D.

Two public programs write them, with other names for the same 262 entries: the authors' and
mmdetection3d 1.x. What the network computes is kept as it was trained: the height of a rotated box
is the sum of two numbers (`box_coding` "tr3d"), colors are 0..1, yaw is counter-clockwise. Every
entry of the file is used or named. Other networks are recognised by their names, and refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sr3d_core.checkpoint import CheckpointError, Manifest, save_checkpoint, tr3d_weights
from sr3d_core.data.readers.class_names import S3DIS, SCANNET, SUNRGBD, our_name
from sr3d_core.model.network import SR3D, Architecture
from sr3d_core.torch_file import Unread, read_torch_file

DATASETS: dict[str, tuple[str, ...]] = {"scannet": SCANNET, "sunrgbd": SUNRGBD, "s3dis": S3DIS}
"""Classes of the data sets that TR3D is published for, in its order, spelled as here."""

DEFAULT_VOXEL_M = 0.01
"""TR3D's voxels, where neither the file nor the caller says otherwise."""

_SHORT = 60  # characters of a value that is repeated in a message
_BLOCK = 1 << 20  # bytes of a file that are read at once
_META_USED: dict[str, tuple[type, ...]] = {
    **{"CLASSES": (list, tuple), "classes": (list, tuple), "dataset_meta": (dict,)},
    **{"config": (str,), "cfg": (str,)},
}
_CONFIGS = ("config", "cfg")
_VOXEL_SIZE = re.compile(r"\bvoxel_size\s*=\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)")
_OTHER_NETWORKS: dict[str, tuple[str, ...]] = {
    "TR3D+FF, which also looks at images": ("img_backbone.", "img_neck.", "img_encoder."),
    "FCAF3D": (
        *("neck_with_head.", "head.scales.", "head.centerness_conv.", "head.out_block_"),
        *("bbox_head.scales.", "bbox_head.conv_center.", "bbox_head.out_block_"),
    ),
    "UniDet3D": ("unet.", "input_conv.", "output_layer."),
    "V-DETR or 3DETR": ("pre_encoder.", "encoder_to_decoder_projection.", "mlp_heads."),
}
"""How names of their weights begin; TR3D has none of these."""


@dataclass(frozen=True)
class Imported:
    """A network with the weights of a checkpoint, and what became of the rest of that file."""

    network: SR3D
    manifest: Manifest
    unused: dict[str, str]
    """What was not used, by its key in the file, and why."""
    notes: tuple[str, ...]
    """What was concluded, from what."""


def import_tr3d(
    path: Path,
    classes: Sequence[str] = (),
    voxel_size_m: float | None = None,
    license: str = "",
) -> Imported:
    """Read a checkpoint of TR3D; nothing that is in the file is run.

    `classes` are names in the order of the network's logits, or one name of `DATASETS`; without,
    those that the file names. Voxels are as large as `voxel_size_m`, else as the configuration
    in the file says, else 0.01 m. Raises ValueError: TorchFileError for files that cannot be
    read, CheckpointError for those that hold no TR3D or do not say enough.
    """
    content = read_torch_file(path)
    entries, unused = _weights_of(path, content)
    _refuse_other_networks(path, entries)
    meta = content.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    voxel_m, voxel_note = _voxel_size(path, meta, voxel_size_m)
    state = _translated(path, {name: _checked(path, name, entries[name]) for name in entries})
    architecture = _architecture(path, state, voxel_m)
    names, class_note = _classes(path, meta, classes, architecture)
    manifest = Manifest(
        architecture=architecture,
        classes=names,
        description=f"TR3D, converted from {path.name} (sha256 {_digest(path)})",
        license=license,
    )
    return Imported(_filled(path, architecture, state), manifest, unused, (class_note, voxel_note))


def _weights_of(path: Path, content: Any) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The entries of the network by name, and what else the file holds."""
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path}: holds one {type(content).__name__}, expected a dictionary of weights: save "
            "the state_dict of the network, not the network"
        )
    unused: dict[str, str] = {}
    inner = next((key for key in ("state_dict", "model") if key in content), None)
    entries: Any = content if inner is None else content[inner]
    if not isinstance(entries, dict):
        raise CheckpointError(
            f"{path}: its {inner} is one {_kind(entries)}, expected a dictionary of tensors"
        )
    if inner is not None:
        for key, value in content.items():
            if key != inner:
                unused |= _not_used(str(key), value)
    weights: dict[str, Tensor] = {}
    for key, value in entries.items():
        name = str(key).removeprefix("module.")
        if name.startswith("ema_"):
            unused[str(key)] = "a moving average of weights; those of the network itself are used"
        elif isinstance(value, Tensor):
            if name in weights:
                raise CheckpointError(
                    f"{path}: entry {name!r} is there twice, with `module.` and without; expected "
                    "one network: remove the other"
                )
            weights[name] = value
        elif inner is None:
            unused |= _not_used(str(key), value)
        else:
            raise CheckpointError(
                f"{path}: entry {key!r} of its {inner} is one {_kind(value)}, expected a tensor"
            )
    if not weights:
        raise CheckpointError(
            f"{path}: no tensors by name, only {sorted(map(str, content))}; expected the weights "
            "of TR3D, in state_dict or at the top"
        )
    return weights, unused


def _checked(path: Path, name: str, tensor: Tensor) -> Tensor:
    """The tensor in single precision; counts stay whole numbers."""
    if tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
        raise CheckpointError(
            f"{path}: entry {name!r} is {tensor.layout} {tensor.dtype}, expected plain "
            "real numbers"
        )
    if name.endswith(".kernel") and tensor.ndim not in (2, 3):
        raise CheckpointError(
            f"{path}: entry {name!r} has shape {tuple(tensor.shape)}, expected (offsets, in, out) "
            "or (in, out), as MinkowskiEngine stores kernels"
        )
    if not bool(tensor.isfinite().all()):
        raise CheckpointError(
            f"{path}: entry {name!r} holds numbers that are not finite: the training diverged, or "
            "the file is damaged; take an earlier checkpoint"
        )
    if name.endswith(".running_var") and bool((tensor < 0).any()):
        raise CheckpointError(
            f"{path}: entry {name!r} holds variances below 0; expected none: the file is damaged, "
            "get it again"
        )
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()


def _not_used(key: str, value: Any) -> dict[str, str]:
    """What to say of an entry beside the weights; of `meta` each of its entries is told."""
    if key == "meta" and isinstance(value, dict):
        return {
            f"meta.{name}": _kind(entry)
            for name, entry in value.items()
            if not isinstance(entry, _META_USED.get(str(name), ()))
        }
    if "optimizer" in key:
        return {key: "the state of a training, which does not go on here"}
    return {key: _kind(value)}


def _kind(value: Any) -> str:
    """A value in a few words, whatever it is."""
    if isinstance(value, Unread):
        return "object of another program, not read"
    if isinstance(value, (str, int, float)) and len(str(value)) <= _SHORT:
        return repr(value)
    sized = f" of {len(value)}" if isinstance(value, (str, dict, list, tuple)) else ""
    return f"{type(value).__name__}{sized}"


def _translated(path: Path, entries: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        return tr3d_weights(entries)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _refuse_other_networks(path: Path, entries: Mapping[str, Tensor]) -> None:
    for network, beginnings in _OTHER_NETWORKS.items():
        name = next((name for name in entries if name.startswith(beginnings)), None)
        if name is not None:
            raise CheckpointError(
                f"{path}: entry {name!r} is one of {network}; expected TR3D, the network that "
                f"SR3D has: weights of {network} cannot be converted"
            )


def _architecture(path: Path, state: Mapping[str, Tensor], voxel_size_m: float) -> Architecture:
    """What the shapes of the translated weights say of the network."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise CheckpointError(
                f"{path}: no entry for {name}; expected the 262 entries of TR3D: is the file "
                "whole, and of this network?"
            )
        return tuple(state[name].shape)

    num_inputs = shape("backbone.conv1.kernel")[-2]
    num_regressed = shape("head.regress.weight")[0]
    if num_inputs != 3:
        raise CheckpointError(
            f"{path}: its network takes {num_inputs} numbers for each voxel, expected 3, the "
            "color: weights that were trained on other inputs cannot be converted"
        )
    if num_regressed not in (6, 8):
        raise CheckpointError(
            f"{path}: {num_regressed} numbers for each box, expected 6 (axis aligned) or 8 "
            "(rotated): is this TR3D?"
        )
    stages = range(1, 5)
    depths = tuple(_depth(state, f"backbone.layer{stage}.") for stage in stages)
    widths = tuple(shape(f"backbone.layer{stage}.0.conv1.kernel")[-1] for stage in stages)
    return Architecture(
        num_classes=shape("head.classify.weight")[0],
        rotated=num_regressed == 8,
        voxel_size_m=voxel_size_m,
        stem_channels=shape("backbone.conv1.kernel")[-1],
        widths=(widths[0], widths[1], widths[2], widths[3]),
        depths=(depths[0], depths[1], depths[2], depths[3]),
        neck_channels=shape("neck.out_fine.conv.kernel")[-1],
    )


def _depth(state: Mapping[str, Tensor], stage: str) -> int:
    """How many residual blocks a stage has."""
    return len({name[len(stage) :].partition(".")[0] for name in state if name.startswith(stage)})


def _voxel_size(path: Path, meta: Mapping[Any, Any], given: float | None) -> tuple[float, str]:
    """The edge of the voxels in metres, and where it comes from."""
    texts = [meta[key] for key in _CONFIGS if isinstance(meta.get(key), str)]
    said = {float(number) for text in texts for number in _VOXEL_SIZE.findall(text)}
    if given is not None:
        against = f"; its configuration says {sorted(said)}" if said - {given} else ""
        return given, f"voxels of {given:g} m, as given{against}"
    if len(said) > 1:
        raise CheckpointError(
            f"{path}: its configuration has voxel_size {sorted(said)}, expected one: say which "
            "with --voxel-size"
        )
    if said:
        voxel_m = said.pop()
        return voxel_m, f"voxels of {voxel_m:g} m, by the configuration in the file"
    return DEFAULT_VOXEL_M, f"voxels of {DEFAULT_VOXEL_M:g} m, as published: the file does not say"


def _classes(
    path: Path, meta: Mapping[Any, Any], given: Sequence[str], architecture: Architecture
) -> tuple[tuple[str, ...], str]:
    """Names in the order of the logits, and where they come from."""
    named = _classes_of_meta(meta)
    names, origin = named, "by the file"
    if given:
        is_dataset = len(given) == 1 and given[0] in DATASETS
        names = DATASETS[given[0]] if is_dataset else tuple(map(our_name, given))
        origin = f"those of {given[0]}" if is_dataset else "as given"
        if named and named != names:
            origin += f"; the file itself names {', '.join(named)}"
    num = architecture.num_classes
    if not names:
        fits = [name for name, classes in DATASETS.items() if len(classes) == num]
        hint = f"; {fits[0]} has as many, if that is what it was trained on" if fits else ""
        raise CheckpointError(
            f"{path}: does not name its {num} classes; expected --classes with their names in the "
            f"order of the training, or with one of {', '.join(DATASETS)}{hint}"
        )
    if len(names) != num or len(set(names)) != num:
        raise CheckpointError(
            f"{path}: {len(names)} class names ({', '.join(names)}) for {num} classes, expected "
            "one each, all different: give them with --classes, in the order of the training"
        )
    return names, f"{num} classes {origin}: {', '.join(names)}"


def _classes_of_meta(meta: Mapping[Any, Any]) -> tuple[str, ...]:
    """The names that the training programs put beside the weights; empty where there are none."""
    inner = meta.get("dataset_meta")
    places = (meta, inner) if isinstance(inner, dict) else (meta,)
    for place in places:
        for key in ("CLASSES", "classes"):
            names = place.get(key)
            if isinstance(names, (list, tuple)) and all(isinstance(one, str) for one in names):
                return tuple(map(our_name, names))
    return ()


def _filled(path: Path, architecture: Architecture, state: dict[str, Tensor]) -> SR3D:
    network = SR3D(architecture)
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        first = " ".join(str(error).splitlines()[1:2]).strip()
        raise CheckpointError(
            f"{path}: its entries do not make a TR3D ({first}); expected those of one network, "
            "all of them: is the file whole?"
        ) from error
    return network.eval()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def save_import(imported: Imported, source: Path, out: Path) -> Manifest:
    """Write the converted weights, whole or not at all; returns the manifest as written.

    Raises CheckpointError where that would replace the checkpoint itself.
    """
    if out.exists() and out.samefile(source):
        raise CheckpointError(
            f"{out}: is the checkpoint itself, expected another file: choose another name"
        )
    return save_checkpoint(out, imported.network, imported.manifest)
