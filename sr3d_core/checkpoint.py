"""Weights on disk: one safetensors file with its manifest in the header; it cannot execute code.

The manifest says what the weights are for: architecture, classes, up axis, format version and a
sha256 over the tensors. Nothing is downloaded; "default" and "camera" are files of the package.
A folder stands for its weights.safetensors: that of a training, or one that `sr3d export` made.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sr3d_core.model.camera_network import CameraArchitecture, CameraSR3D
from sr3d_core.model.chances import ClassCalibration
from sr3d_core.model.network import SR3D, Architecture
from sr3d_core.plain_text import read_text
from sr3d_core.refinement import NONE, Refinement
from sr3d_core.whole_files import write_whole

FORMAT_VERSION = 1
DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / "default.safetensors"
CAMERA_WEIGHTS = DEFAULT_WEIGHTS.with_name("camera.safetensors")
SHIPPED = {"default": DEFAULT_WEIGHTS, "camera": CAMERA_WEIGHTS}
"""The weights of the package, by the name that stands for them: of clouds, of color images."""
WEIGHTS_NAME = "weights.safetensors"
"""The weights file of a folder that stands for weights."""
MANIFEST_NAME = "manifest.json"
"""In an exported folder: what the header of its weights says, for people and other programs."""
CLASSES_NAME = "classes.txt"
"""There as well: the classes, one a line."""
_HEADER_KEY = "sr3d_manifest"


class CheckpointError(ValueError):
    """A weights file that cannot be used; the text says which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class ClassSpread:
    """How far found boxes of one class lie from the true ones: root mean square errors."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    center_m: tuple[float, float, float]
    """Of the centre: along the shorter side of the found box, along the longer one, upwards."""
    yaw_rad: float
    """Of the yaw, modulo a quarter turn: which side is the front is not known."""
    num_boxes: int
    """How many boxes this was measured on."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a weights file holds and what it was made for."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    architecture: Architecture
    classes: tuple[str, ...]
    """Class names in the order of the network's logits."""
    up_axis: Literal["z"] = "z"
    """The axis that points up in the clouds the network was trained on."""
    description: str = ""
    """What the weights were trained on, for people."""
    license: str = ""
    """Under which terms the weights may be used and passed on; empty where nobody said."""
    sha256: str = ""
    """Digest of the tensors; filled in by `save_checkpoint`."""
    format_version: int = FORMAT_VERSION
    results: dict[str, float] = field(default_factory=dict)
    """Measured figures that travel with the weights, such as mean AP."""
    spread: dict[str, ClassSpread] = field(default_factory=dict)
    """Measured spread by class name; a class that is missing is unknown."""
    calibration: dict[str, ClassCalibration] = field(default_factory=dict)
    """Measured calibration by class name; a class that is missing keeps the network's scores."""
    refinement: Refinement = NONE
    """For which classes boxes that are fitted to candidates and points were measured to be better.
    """
    front_classes: tuple[str, ...] = ()
    """Classes whose boxes have a yaw that points out of the front, where `architecture.front`."""
    camera: CameraArchitecture | None = None
    """How the network makes voxels of color images, in place of points; None: it takes clouds."""
    pretraining: dict[str, Any] | None = None
    """What `sr3d pretrain` did, where there is nothing but a backbone: no boxes were learnt, and
    `classes` are not meant."""


AnyNetwork = SR3D | CameraSR3D
"""What a weights file holds: a network of clouds, or one of color images."""


def save_checkpoint(
    path: str | Path, network: AnyNetwork, manifest: Manifest, half: bool = False
) -> Manifest:
    """Write the network's state with its manifest; `half` stores 16-bit floats,
    but for tensors with a number that these cannot hold.

    Returns the manifest as written. The file appears whole or not at all.
    """
    path = Path(path)
    content, written = checkpoint_content(network.state_dict(), manifest, half)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole({path: content})
    return written


def checkpoint_content(
    state: dict[str, Tensor], manifest: Manifest, half: bool = False
) -> tuple[bytes, Manifest]:
    """What `save_checkpoint` writes for a network of this state, and the manifest in it."""
    stored = {name: _stored(tensor, half) for name, tensor in state.items()}
    written = replace(manifest, sha256=_digest(stored))
    return _content(stored, written), written


def load_checkpoint(path: str | Path = "default") -> tuple[SR3D, Manifest]:
    """The network of clouds, in evaluation mode on the CPU, and its manifest.

    Raises CheckpointError for a missing, damaged, foreign or newer file, or one of color images.
    """
    network, manifest = load_any(path)
    if isinstance(network, SR3D):
        return network, manifest
    raise CheckpointError(
        f"{weights_file(path)}: of a network of color images; expected weights of one of clouds"
    )


def load_any(path: str | Path = "default") -> tuple[AnyNetwork, Manifest]:
    """The network, of clouds or of color images, in evaluation mode on the CPU, and its manifest.

    Raises CheckpointError for a missing, damaged, foreign or newer file.
    """
    path = weights_file(path)
    state, manifest = _read(path)
    if manifest.pretraining is not None:
        raise CheckpointError(
            f"{path}: a backbone of `sr3d pretrain`, which has learnt no boxes; expected weights "
            f"that have: train some from it with `sr3d train --init {path}`"
        )
    try:
        return network_of(state, manifest), manifest
    except RuntimeError as error:
        first = " ".join(str(error).splitlines()[1:2]).strip()
        raise CheckpointError(
            f"{path}: its tensors do not fit its manifest ({first}); "
            "expected the network that the manifest describes: get the file again, or train it "
            "again where it is of an earlier version"
        ) from error


def network_of(state: dict[str, Tensor], manifest: Manifest) -> AnyNetwork:
    """The network with these tensors, which are not copied, in evaluation mode.

    Raises RuntimeError where they do not fit. Draws no random numbers.
    """
    with torch.device("meta"), _Uninitialised():  # shapes alone: all tensors are given
        network = _built(manifest)
    network.load_state_dict({name: _loaded(each) for name, each in state.items()}, assign=True)
    return network.requires_grad_().eval()


def _built(manifest: Manifest) -> AnyNetwork:
    if manifest.camera is None:
        return SR3D(manifest.architecture)
    return CameraSR3D(manifest.architecture, manifest.camera)


class _Uninitialised(TorchFunctionMode):
    """Layers made inside are not initialised: on shapes alone that would load torch's compiler."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Skip the functions of `torch.nn.init`, which return the tensor they fill."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def rewrite_manifest(path: str | Path, **changes: Any) -> Manifest:
    """Change fields of a weights file's manifest and nothing else; returns the new manifest.

    The tensors stay as they are stored. The file is whole at any moment. Raises CheckpointError as
    `require_own`.
    """
    require_own(path)
    path = weights_file(path)
    state, manifest = _read(path)
    written = replace(manifest, **changes)
    write_whole({path: _content(state, written)})
    return written


def require_own(path: str | Path) -> None:
    """Raise CheckpointError for weights whose manifest is not to be rewritten.

    Those that ship, by their name, and those of an exported folder: its other files would say what
    is no longer true. For who has long work to do before `rewrite_manifest` asks the same.
    """
    if str(path) in SHIPPED:
        raise CheckpointError(
            f"{path}: the weights that ship, which stay as they are; expected a file of your own: "
            f"sr3d model shrink {path} my.safetensors"
        )
    file = weights_file(path)
    if _exported_manifest(file) is not None:
        raise CheckpointError(
            f"{file.parent}: an exported folder, which stays as it is; expected the weights that "
            "it was made of: change those and export them again"
        )


def read_manifest(path: str | Path = "default") -> Manifest:
    """What a weights file says about itself, after checking its digest."""
    return _read(weights_file(path))[1]


def backbone_content(
    architecture: Architecture, backbone: dict[str, Tensor], pretraining: dict[str, Any]
) -> bytes:
    """The file of a backbone alone, to start trainings from; its tensors as the network has them.

    `pretraining` says, for people and programs, how it came to be.
    """
    stored = {f"backbone.{name}": _stored(each, False) for name, each in backbone.items()}
    architecture = replace(architecture, num_classes=1)
    manifest = Manifest(architecture=architecture, classes=("none",), pretraining=pretraining)
    return _content(stored, replace(manifest, sha256=_digest(stored)))


def stored_tensors(path: str | Path = "default") -> dict[str, Tensor]:
    """The tensors of a weights file as they are stored, which may be in 16 bits."""
    return _read(weights_file(path))[0]


def weights_file(path: str | Path) -> Path:
    """The file that is meant by a path, a folder or a name of `SHIPPED`; it need not exist."""
    if str(path) in SHIPPED:
        return SHIPPED[str(path)]
    path = Path(path)
    return path / WEIGHTS_NAME if path.is_dir() else path


def manifest_text(manifest: Manifest) -> str:
    """A manifest as an exported folder has it beside the weights."""
    return json.dumps(asdict(manifest), indent=1) + "\n"


def _exported_manifest(path: Path) -> Path | None:
    """The manifest beside the weights of an exported folder; None for other weights."""
    beside = path.parent / MANIFEST_NAME
    return beside if path.name == WEIGHTS_NAME and beside.is_file() else None


def _check_exported(path: Path, manifest: Manifest) -> None:
    """Refuse an exported folder that was changed: what its other files say would not act."""
    beside = _exported_manifest(path)
    if beside is None:
        return
    found, true = asdict(_parse(beside, _text_beside(beside))), asdict(manifest)
    wrong = [key for key in true if found[key] != true[key]]
    names = beside.with_name(CLASSES_NAME)
    if not wrong and names.is_file():
        is_same = _text_beside(names).splitlines() == list(manifest.classes)
        beside, wrong = names, [] if is_same else ["names"]
    if wrong:
        raise CheckpointError(
            f"{beside}: {', '.join(wrong)} not as in {path.name}, which is what acts; expected "
            "the same in both: change the weights that it was made of and export them again"
        )


def _text_beside(path: Path) -> str:
    """A file of an exported folder. Raises CheckpointError."""
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}), expected a text as `sr3d export` wrote it; get "
            "the folder again"
        ) from error


def _content(state: dict[str, Tensor], manifest: Manifest) -> bytes:
    return save(state, metadata={_HEADER_KEY: json.dumps(asdict(manifest))})


def _read(path: Path) -> tuple[dict[str, Tensor], Manifest]:
    if not path.is_file():
        if path == CAMERA_WEIGHTS:
            has_folder = Path("camera").is_dir()
            own = "; the folder camera that is here is named ./camera" if has_folder else ""
            raise CheckpointError(
                f"{path}: weights of color images are not part of this installation; expected "
                "those of a student of your own: `sr3d distill --out runs/camera`, then name "
                f"runs/camera{own}"
            )
        raise CheckpointError(
            f"{path}: no such weights file; expected a .safetensors file written by `sr3d train` "
            "or `sr3d distill` (or, to start a training from, by `sr3d pretrain`), the folder of "
            'such a run or of `sr3d export`, or "default" for the weights that ship'
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER_KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({error}); expected weights written by "
            "`sr3d train`: it is something else, or damaged or cut short: get it again"
        ) from error
    manifest = _parse(path, header)
    _check_exported(path, manifest)
    if _digest(state) != manifest.sha256:
        raise CheckpointError(
            f"{path}: its tensors have sha256 {_digest(state)[:12]}..., expected "
            f"{manifest.sha256[:12]}...: the file was changed or damaged, get it again"
        )
    return state, manifest


def _parse(path: Path, header: str | None) -> Manifest:
    if header is None:
        raise CheckpointError(
            f"{path}: safetensors without an SR3D manifest; expected weights written by "
            "`sr3d train`, or a backbone of `sr3d pretrain`; TR3D's can be converted with "
            "`sr3d convert`"
        )
    try:
        fields = json.loads(header)
        version = fields["format_version"]
        if isinstance(version, int) and version != FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: format version {version}, expected {FORMAT_VERSION}: "
                "a higher one was written by a newer SR3D, update this one"
            )
        manifest = TypeAdapter(Manifest).validate_python(_with_todays_names(fields))
    except (json.JSONDecodeError, ValidationError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: its manifest cannot be understood ({_first_line(error)}); expected one "
            f"of format version {FORMAT_VERSION}: get the file again, or update SR3D where the "
            "file is newer"
        ) from error
    if len(manifest.classes) != manifest.architecture.num_classes:
        raise CheckpointError(
            f"{path}: {len(manifest.classes)} class names for "
            f"{manifest.architecture.num_classes} classes; expected one each: get the file again"
        )
    try:
        manifest.refinement.check(manifest.classes)
    except ValueError as error:
        raise CheckpointError(f"{path}: its manifest has {error}: get the file again") from error
    return manifest


def _with_todays_names(fields: dict[str, Any]) -> dict[str, Any]:
    """A manifest as it is written today.

    Files of the first release spell color otherwise; networks of images told less of cells once.
    """
    architecture = dict(fields["architecture"])
    if "colour" in architecture:
        architecture["color"] = architecture.pop("colour")
    today = {**fields, "architecture": architecture}
    if isinstance(fields.get("camera"), dict):
        today["camera"] = {"by_height": False, "cell_objects": False, **fields["camera"]}
    return today


def tr3d_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A TR3D state dict (arXiv 2302.02858; 262 entries) as one that SR3D loads strictly.

    Accepts the names of both public code bases: an optional `module.` prefix, `head.` or
    `bbox_head.`, `bbox_conv` or `conv_reg`, `cls_conv` or `conv_cls`, and a wrapping
    `{"state_dict": ...}`. Raises CheckpointError for entries it does not know.
    """
    wrapped = state.get("state_dict")
    entries: dict[str, Tensor] = wrapped if isinstance(wrapped, dict) else state
    translated = dict[str, Tensor]()
    origin = dict[str, str]()
    for name, tensor in entries.items():
        ours, value = _translated(name, tensor)
        if ours in translated:
            raise CheckpointError(
                f"entries {origin[ours]!r} and {name!r} are the same part of TR3D; expected one: "
                "which of the two was trained?"
            )
        translated[ours], origin[ours] = value, name
    return translated


_NECK = {
    "up_block_2": "up_coarse",
    "lateral_block_1": "lateral_coarse",
    "out_block_1": "out_coarse",
    "up_block_1": "up_fine",
    "lateral_block_0": "lateral_fine",
    "out_block_0": "out_fine",
}
_HEAD = {
    "cls_conv": "classify",
    "conv_cls": "classify",
    "bbox_conv": "regress",
    "conv_reg": "regress",
}


def _translated(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    part, _, rest = name.removeprefix("module.").partition(".")
    block, _, leaf = rest.partition(".")
    if part == "backbone":
        return f"backbone.{rest}", tensor
    if part == "neck" and block in _NECK:
        index, _, leaf = leaf.partition(".")
        return f"neck.{_NECK[block]}.{'conv' if index == '0' else 'norm'}.{leaf}", tensor
    if part in ("head", "bbox_head") and block in _HEAD:
        if leaf == "kernel":
            return f"head.{_HEAD[block]}.weight", tensor.reshape(tensor.shape[-2:]).T.contiguous()
        return f"head.{_HEAD[block]}.bias", tensor.reshape(-1)
    raise CheckpointError(
        f"entry {name!r} is not TR3D's; expected backbone.*, neck.* and head.*: "
        "is this the checkpoint of another network?"
    )


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not (half and tensor.is_floating_point()):
        return tensor
    small = tensor.half()
    is_beyond = bool((small.isinf() & tensor.isfinite()).any())  # 16 bits end at 65504
    return tensor if is_beyond else small


def _loaded(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _digest(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tuple(state[name].shape)} {state[name].dtype}".encode())
        digest.update(state[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}".splitlines()[0]
