"""Probes of weights files: which features their backbones have, on labelled scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sr3d_core.checkpoint import CheckpointError, read_manifest, stored_tensors
from sr3d_core.data.sources import Scenes
from sr3d_core.data.split import rooms_of
from sr3d_core.model.network import Architecture
from sr3d_core.pretrain.encoder import Encoder
from sr3d_core.pretrain.probe import (
    SURFACES,
    THOROUGH,
    Linear,
    Probed,
    explained,
    joined,
    linear_miou,
    nearest_accuracy,
    probed_scene,
    raw_geometry,
)
from sr3d_core.sparse.engine_list import Backend
from sr3d_core.structures import PointCloud, Sample

STAGE = 0
"""Cells of the second stage, 0.16 m in every preset, with all that is known above them."""
RANDOM, RAW = "random", "raw geometry"
_SCENES_OF_NORMS = 20
_MOST_POINTS = 40_000


@dataclass(frozen=True, slots=True)
class Row:
    """What the probes say of one kind of feature; NaN where they cannot say anything."""

    weights: str
    miou: float
    """Mean IoU of the linear probe, 0..1."""
    nearest: float
    """Accuracy of the k-NN probe, 0..1."""
    height: float
    """How much of a cell's height above the floor linear regression explains, at most 1."""
    border: float
    """The same of its distance to the border of the cloud."""
    num_cells: int
    num_boxes: int


def probe_weights(
    weights: Sequence[str],
    scenes: Scenes,
    seed: int,
    on_done: Callable[[int, int], None] = lambda num_done, num: None,
) -> list[Row]:
    """The rows of weights files, of the same networks with random weights, of raw geometry.

    Weights of one architecture share these two, `on_done` is told how many of how many passes over
    all scenes are done. Raises ValueError where there are not scenes of two rooms,
    CheckpointError for weights that cannot be read.
    """
    if len(scenes) == 0:
        raise ValueError("there are no scenes to probe on; expected at least two rooms")
    encoders = [(name, encoder_of(name)) for name in weights]
    alike = (replace(encoder.architecture, num_classes=1) for _, encoder in encoders)
    architectures = list(dict.fromkeys(alike))  # of the backbone
    several = len(architectures) > 1
    for number, architecture in enumerate(architectures, start=1):
        which = f" {number}" if several else ""
        encoders.append((f"{RANDOM}{which}", random_encoder(architecture, scenes, seed)))
        encoders.append((f"{RAW}{which}", RawGeometry(architecture)))
    rows: list[Row] = []
    for name, encoder in encoders:
        on_done(len(rows), len(encoders))
        rows.append(row_of(name, probed_scenes(encoder, scenes), scenes, seed))
    on_done(len(rows), len(encoders))
    return rows


class Features(nn.Module):
    """Features of the cells of one scene, and where these cells are."""

    def __init__(self, architecture: Architecture, backend: Backend = "auto") -> None:
        super().__init__()
        self.architecture = architecture
        self.encoder = Encoder(architecture, STAGE).eval()
        self.encoder.network.backend = backend

    def forward(self, cloud: PointCloud) -> tuple[Tensor, Tensor]:
        """Both on the CPU, wherever the network is."""
        cells = self.encoder(cloud.to(next(self.parameters()).device), 1)
        return cells.features.cpu(), cells.centers_m(self.architecture.voxel_size_m).cpu()

    def take(self, backbone: Mapping[str, Tensor]) -> None:
        """Be this backbone; raises RuntimeError where it is another network's."""
        self.encoder.network.backbone.load_state_dict(backbone)


class RawGeometry(Features):
    """The same of what is known without a network; the network says only which cells there are."""

    def forward(self, cloud: PointCloud) -> tuple[Tensor, Tensor]:
        """What `raw_geometry` says."""
        voxel_size_m = self.architecture.voxel_size_m
        cells = self.encoder(cloud, 1)
        rows = raw_geometry(cloud, cells.coords, cells.stride, voxel_size_m)
        return rows, cells.centers_m(voxel_size_m)


def encoder_of(weights: str | Path) -> Features:
    """The frozen backbone of a weights file, pre-trained or of a detector."""
    manifest = read_manifest(weights)
    if manifest.camera is not None:
        raise CheckpointError(
            f"{weights}: of a network of color images, which has no backbone of clouds to probe; "
            "expected weights of clouds, of `sr3d train` or `sr3d pretrain`"
        )
    found = Features(manifest.architecture)
    own = {
        name.removeprefix("backbone."): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in stored_tensors(weights).items()
        if name.startswith("backbone.")
    }
    try:
        found.take(own)
    except RuntimeError as error:
        raise CheckpointError(
            f"{weights}: its backbone is not the one that its manifest describes; expected "
            "weights of this version of SR3D"
        ) from error
    return found


def random_encoder(
    architecture: Architecture, scenes: Scenes, seed: int, backend: Backend = "auto"
) -> Features:
    """A backbone that has learnt nothing but the statistics of its norms.

    Without these its values would grow or fade from layer to layer, which no training allows.
    """
    torch.manual_seed(seed)
    found = Features(architecture, backend)
    for norm in found.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.momentum = None  # the plain mean over what it sees
    found.train()
    with torch.no_grad():
        for index in range(0, len(scenes), max(1, len(scenes) // _SCENES_OF_NORMS)):
            found(thinned(scenes[index].cloud))
    return found.eval()


@torch.no_grad()
def probed_scenes(features: Features, scenes: Scenes) -> Probed:
    """What all scenes have to say; views of one room share its number.

    Raises ValueError where there is one room alone.
    """
    samples: Iterable[Sample] = (scenes[index] for index in range(len(scenes)))
    names, parts = list[str](), list[Probed]()
    for number, sample in enumerate(samples):
        names.append(sample.name)
        rows, centers = features(thinned(sample.cloud))
        parts.append(probed_scene(rows, centers, sample.targets, len(scenes.classes), number))
    rooms = rooms_of(names)
    known = {room: number for number, room in enumerate(dict.fromkeys(rooms))}
    if len(known) < 2:
        raise ValueError(
            f"{len(names)} scenes to probe on, all of one room ({rooms[0]}); expected at least "
            "two rooms, as one is learnt from and the other one scored: take more scenes"
        )
    found = joined(parts)
    numbers = torch.tensor([known[room] for room in rooms])
    return replace(found, cell_room=numbers[found.cell_room], box_room=numbers[found.box_room])


def row_of(
    name: str, probed: Probed, scenes: Scenes, seed: int, *, linear: Linear = THOROUGH
) -> Row:
    """All probes of one kind of feature."""
    num_classes = len(scenes.classes)
    generator = torch.Generator().manual_seed(seed)
    return Row(
        weights=name,
        miou=linear_miou(probed, num_classes + len(SURFACES), generator, linear),
        nearest=nearest_accuracy(probed, num_classes),
        height=explained(probed, probed.height_m),
        border=explained(probed, probed.border_m),
        num_cells=len(probed.cells),
        num_boxes=len(probed.labels),
    )


def thinned(cloud: PointCloud) -> PointCloud:
    """Evenly thinned where there are very many points."""
    every = -(-len(cloud) // _MOST_POINTS) if len(cloud) else 1
    return cloud[::every]


def as_json(rows: Sequence[Row], seed: int, num_scenes: int) -> dict[str, object]:
    """As plain JSON values."""
    plain = [
        {key: None if value != value else value for key, value in asdict(row).items()}
        for row in rows
    ]
    return {"seed": seed, "num_scenes": num_scenes, "rows": plain}
