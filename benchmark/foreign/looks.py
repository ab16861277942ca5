"""Pages of pictures of the models, to check their class, front and scale by eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from foreign.supply import ForeignModel
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.sheet import contact_sheet
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

_PER_PAGE = 24
_NUM_POINTS = 12_000
_LIGHT = np.array([0.5, 0.3, 0.8])


def draw_models(models: Sequence[ForeignModel], folder: Path) -> list[Path]:
    """Draw all models from above and obliquely, with their boxes and fronts; returns the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for first in range(0, len(models), _PER_PAGE):
        pages.append(folder / f"models_{first // _PER_PAGE}.png")
        contact_sheet([_sample(model) for model in models[first : first + _PER_PAGE]], pages[-1])
    return pages


def _sample(model: ForeignModel) -> Sample:
    """Points all over a model in its box."""
    mesh, rng = model.mesh, np.random.default_rng(0)
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1)
    face = rng.choice(len(area), _NUM_POINTS, p=area / area.sum())
    s, t = np.sqrt(rng.random((_NUM_POINTS, 1))), rng.random((_NUM_POINTS, 1))
    xyz = (1 - s) * a[face] + s * (1 - t) * b[face] + s * t * c[face]
    shade = np.abs(normal[face] @ _LIGHT) / np.maximum(area[face], 1e-12)
    rgb = np.clip(mesh.color[face] * (0.4 + 0.6 * shade[:, None]), 0, 1)
    low, high = mesh.bounds
    box = torch.tensor([[*((low + high) / 2), *(high - low), 0.0]], dtype=torch.float32)
    label = LABELS.index(model.chosen.class_name)
    cloud = PointCloud.single(torch.from_numpy(xyz).float(), torch.from_numpy(rgb).float())
    size = " x ".join(f"{edge:.2f}" for edge in high - low)
    name = f"{model.chosen.identity.partition('#')[2]} {size}"
    return Sample(cloud, Targets(Boxes3D.from_array(box), torch.tensor([label])), name)
