"""Two views of one cloud, that know which places they share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from sr3d_core.data.augment import SceneTransform
from sr3d_core.pretrain.settings import Views
from sr3d_core.structures import PointCloud

_TRIES = 10
"""So often a second crop is drawn until it overlaps enough; then it gets the first one's place."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A part of a cloud as the network sees it, and how it came to be."""

    cloud: PointCloud
    transform: SceneTransform
    seen: Bool[Tensor, " N"] | None = None
    """Which of its points one sensor sees, where the mask is that."""

    def original(self, xyz: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Where places of the view are in the cloud itself."""
        return self.transform.originals(xyz)


def near_origin(cloud: PointCloud) -> PointCloud:
    """The cloud moved by whole metres, so that its middle is at the origin.

    Views are turned and scaled about the origin. A cloud in coordinates of a map would be thrown
    far away by that, in another direction for every view.
    """
    if not len(cloud):
        return cloud
    middle = cloud.xyz.double().mean(dim=0).round()
    return PointCloud((cloud.xyz.double() - middle).float(), cloud.features, cloud.scene)


def two_views(
    cloud: PointCloud,
    views: Views,
    generator: Generator,
    seen: Bool[Tensor, " N"] | None = None,
) -> tuple[View, View]:
    """Two crops with enough in common, each with changes of its own. Works on the CPU.

    Where `seen` says what a sensor sees of the cloud, crops are around a point that it sees.
    """
    first = crop(cloud.xyz, _share(views.fraction, generator), _one(seen, generator), generator)
    second = first
    center = int(first[0]) if len(first) else None
    for attempt in range(_TRIES):
        is_last = attempt == _TRIES - 1
        at = center if is_last else _one(seen, generator)
        second = crop(cloud.xyz, _share(views.fraction, generator), at, generator)
        if overlap(first, second, len(cloud)) >= views.min_overlap:
            break
    one, other = (_view(cloud, rows, views, generator, seen) for rows in (first, second))
    return one, other


def _one(seen: Bool[Tensor, " N"] | None, generator: Generator) -> int | None:
    """One of the points that are seen; None where nothing is said, or none is."""
    rows = torch.zeros(0) if seen is None else torch.nonzero(seen).flatten()
    if not len(rows):
        return None
    return int(rows[torch.randint(len(rows), (), generator=generator)])


def small_views(cloud: PointCloud, views: Views, generator: Generator) -> tuple[View, ...]:
    """The small crops of a cloud, each with changes of its own."""
    rows = [
        crop(cloud.xyz, _share(views.small_fraction, generator), None, generator)
        for _ in range(views.small)
    ]
    return tuple(_view(cloud, each, views, generator) for each in rows)


def crop(
    xyz: Float[Tensor, "N 3"], share: float, center: int | None, generator: Generator
) -> Int[Tensor, " M"]:
    """The rows of a share of the points, around the first of them: a box seen from above.

    Boxes are turned about the vertical and up to twice as long as wide; they reach from floor to
    ceiling, as what hangs and what stands below it belong together. Around a random point where
    `center` is None.
    """
    if not len(xyz):
        return torch.zeros(0, dtype=torch.int64)
    if center is None:
        center = int(torch.randint(len(xyz), (), generator=generator))
    u = torch.rand(2, generator=generator).tolist()
    angle, aspect = math.pi * u[0], 2.0 ** (u[1] - 0.5)
    offset = xyz[:, :2] - xyz[center, :2]
    along = math.cos(angle) * offset[:, 0] + math.sin(angle) * offset[:, 1]
    across = math.cos(angle) * offset[:, 1] - math.sin(angle) * offset[:, 0]
    distance = torch.maximum(along.abs() / aspect, across.abs() * aspect)
    distance[center] = -1.0
    return distance.topk(max(1, round(share * len(xyz))), largest=False, sorted=True).indices


def overlap(first: Int[Tensor, " N"], second: Int[Tensor, " M"], num_points: int) -> float:
    """The share of the smaller set of rows that is in the other one as well."""
    if not len(first) or not len(second):
        return 0.0
    is_in_first = torch.zeros(num_points, dtype=torch.bool)
    is_in_first[first] = True
    return int(is_in_first[second].sum()) / min(len(first), len(second))


def _share(fraction: tuple[float, float], generator: Generator) -> float:
    low, high = fraction
    return low + (high - low) * float(torch.rand((), generator=generator))


def _view(
    cloud: PointCloud,
    rows: Int[Tensor, " M"],
    views: Views,
    generator: Generator,
    seen: Bool[Tensor, " N"] | None = None,
) -> View:
    """A crop, changed at random."""
    rows = rows[views.augment.chosen(len(rows), generator)]
    if len(rows) > views.max_points:
        rows = rows[torch.randperm(len(rows), generator=generator)[: views.max_points]]
    part = cloud[rows]
    transform = views.augment.draw(generator)
    color = views.augment.recolor(part.features, generator)
    shift = torch.randn(part.xyz.shape, generator=generator).clamp(-4.0, 4.0) * views.jitter_m
    xyz = transform.points(part.xyz) + shift
    kept = None if seen is None else seen[rows]
    return View(PointCloud(xyz, color, part.scene), transform, kept)


def as_batch(clouds: list[PointCloud]) -> PointCloud:
    """Clouds of one scene each as the scenes of one batch, in their order."""
    scene = [
        torch.full((len(cloud),), index, dtype=torch.int64) for index, cloud in enumerate(clouds)
    ]
    return PointCloud(
        torch.cat([cloud.xyz for cloud in clouds]),
        torch.cat([cloud.features for cloud in clouds]),
        torch.cat(scene),
    )
