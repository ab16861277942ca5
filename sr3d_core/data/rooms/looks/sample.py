"""From a seed to color images with true depth, the cloud of the same moment, and boxes.

One frame of axes for all three: z up, levelled up to a few degrees as a robot's clouds are. The
cloud is what a depth camera with the same lens at the same place measures, colored by the image,
so its points lie on the rays of their pixels. Which boxes are targets and which are ignored
follows from the cloud, by the rule of all frames (`sight`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from sr3d_core.data.rooms.camera.habits import SensorHabits
from sr3d_core.data.rooms.camera.kinds import image_habits
from sr3d_core.data.rooms.camera.sampling import Points, thinned
from sr3d_core.data.rooms.camera.sensor import Sighting, View, measured, sighted
from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.classes import OWN_FURNITURE
from sr3d_core.data.rooms.furniture.mesh import Mesh
from sr3d_core.data.rooms.furniture.supply import FurnitureSupply
from sr3d_core.data.rooms.looks.developing import Camera
from sr3d_core.data.rooms.looks.finishes import Finishes
from sr3d_core.data.rooms.looks.shading import Stage, light_of
from sr3d_core.data.rooms.looks.views import image_view
from sr3d_core.data.rooms.sample import OutputFrame, frame_of_view, labelled
from sr3d_core.data.rooms.scene.room import Room, build_room
from sr3d_core.data.rooms.scene.shell import slabs
from sr3d_core.structures import Images, Sample

Rng = np.random.Generator

RANDOM_SHARE = 0.2
"""Share of the images in which every surface has any finish at all."""

_LOOKS_STREAM = 4_000_000  # apart from all other streams of the seed
_IMAGES_STREAM = 5_000_000


def image_samples(seed: int, num: int, supply: FurnitureSupply = OWN_FURNITURE) -> list[Sample]:
    """`num` images of the room that belongs to `seed`; image k does not depend on the others."""
    stage = stage_of(seed, supply)
    return [
        image_of(stage, np.random.default_rng((seed, _IMAGES_STREAM, k)), f"room {seed} image {k}")
        for k in range(num)
    ]


def stage_of(seed: int, supply: FurnitureSupply = OWN_FURNITURE) -> Stage:
    """The room that belongs to `seed`, with a ceiling, painted and lit."""
    room = build_room(np.random.default_rng(seed), supply)
    rng = np.random.default_rng((seed, _LOOKS_STREAM))
    return Stage.of(closed(room, rng), rng)


def closed(room: Room, rng: Rng) -> Room:
    """The room with a ceiling, where it has none: an image would show the void."""
    floor = room.layout.floor
    is_high = room.corners[:, :, 2].min(axis=1) >= floor.height - 1e-6
    if (is_high & (room.build.piece < 0)).any():
        return room
    ceiling = Mesh.cat(slabs(floor, floor.height, palette.white(rng)))
    num = len(ceiling.faces)
    return replace(
        room,
        corners=np.concatenate([room.corners, ceiling.vertices[ceiling.faces]]),
        color=np.concatenate([room.color, ceiling.color]),
        absorbs=np.concatenate([room.absorbs, ceiling.absorbs]),
        owner=np.concatenate([room.owner, np.full(num, -1, dtype=np.int64)]),
        build=room.build.and_then(ceiling),
    )


def image_of(
    stage: Stage,
    rng: Rng,
    name: str,
    view: View | None = None,
    habits: SensorHabits | None = None,
) -> Sample:
    """One image; `view` and `habits` are drawn where none are given."""
    habits = image_habits(rng) if habits is None else habits
    view = image_view(stage.room, habits, rng) if view is None else view
    seen = sighted(stage.room, view)
    pixels = picture(stage, view, seen, rng)
    points = _points(stage.room, view, seen, pixels, rng)
    frame = OutputFrame.levelled(*frame_of_view(view, rng), rng)
    share = seen.visible * seen.in_view.mean(axis=1)
    sample = labelled(stage.room, points, share, frame, name)
    return replace(sample, images=_images(view, seen, pixels, frame))


def picture(stage: Stage, view: View, seen: Sighting, rng: Rng) -> UInt8[ndarray, "H W 3"]:
    """What the color camera makes of a view."""
    finishes = stage.finishes
    if rng.random() < RANDOM_SHARE:
        finishes = Finishes.at_random(stage.parts.groups, rng)
    light = light_of(stage, finishes, view, seen, rng)
    return Camera.random(rng).develop(light, rng)


def _points(
    room: Room, view: View, seen: Sighting, pixels: UInt8[ndarray, "H W 3"], rng: Rng
) -> Points:
    """What the depth camera measures, thinned out as in all frames."""
    depth = measured(room, view, seen, rng)
    kept = depth > 0
    xyz = (seen.rays[kept] * depth[kept, None]) @ view.room_from_optical.T + view.position
    return thinned(Points(xyz, pixels[kept] / 255.0, seen.thing[kept]), rng)


def _images(
    view: View, seen: Sighting, pixels: UInt8[ndarray, "H W 3"], frame: OutputFrame
) -> Images:
    """The image with where it was taken, in the frame of the cloud."""
    lens = view.pinhole
    intrinsics = np.array([[lens.fx, 0, lens.cx], [0, lens.fy, lens.cy], [0, 0, 1]])
    pose: Float[ndarray, "4 4"] = np.eye(4)
    pose[:3, :3] = frame.level @ view.room_from_optical
    pose[:3, 3] = frame.places(view.position)
    return Images(
        torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous().float() / 255,
        torch.from_numpy(intrinsics.astype(np.float32))[None],
        torch.from_numpy(pose.astype(np.float32))[None],
        torch.from_numpy(seen.hits.depth.astype(np.float32))[None],
        torch.tensor([float(view.position[2])]),
    )
