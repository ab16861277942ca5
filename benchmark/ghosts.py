"""What becomes of points that stand where something was: which of them free space should remove.

    python benchmark/ghosts.py --drives 12

Drives as those of `bench_memory.py`. At the end of each, every ghost point that is still
remembered is looked up in the depth images of all frames that were taken in after it was last
seen, by its pixel alone, with the margins of `SceneMemory`. Prints one JSON object:

    without_free_space  ghost points of a memory that forgets nothing but by time
    left                ... of one with free space; the rest is what becomes of these:
    seen_through        two or more frames measured something behind it: should be gone
    seen_through_once   one frame did: it waits for the second
    hidden              none did, and in one or more something stands before it
    at_surface          none of these: it is as near to a surface as the depth is exact
    hole                none of these, and no depth was measured in its direction
    not_looked_at       it was not in view again

A pixel alone is less careful than the memory, which asks the neighbours of a ray too, so
`seen_through` counts more than could be known for sure.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

import numpy as np
from jaxtyping import Float
from measure import machine
from numpy import ndarray
from remembered import GONE_M, Truth, sampled
from scipy.spatial import cKDTree

from sr3d_core.console import one_line_errors
from sr3d_core.data.rooms.changes import ChangeSettings, changing_sequence
from sr3d_core.data.rooms.dataset import seed_of
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings
from sr3d_core.memory.scene import SceneMemory
from sr3d_core.memory.settings import MemorySettings

MARGIN_M = 0.06  # besides three standard deviations of the depth


def looks(points: Float[ndarray, "P 3"], frame: SequenceFrame) -> dict[str, ndarray]:
    """What a frame says in the direction of each point of the odometry's frame."""
    optical_from_odom = np.linalg.inv(frame.odom_from_base @ frame.base_from_optical)
    seen = points @ optical_from_odom[:3, :3].T + optical_from_odom[:3, 3]
    x, y, z = seen.T
    pinhole, (height, width) = frame.pinhole, frame.depth.shape
    ahead = np.maximum(z, 0.1)
    column = np.floor(x / ahead * pinhole.fx + pinhole.cx + 0.5).astype(int)
    row = np.floor(y / ahead * pinhole.fy + pinhole.cy + 0.5).astype(int)
    is_in = (z > 0.1) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    depth = np.where(is_in, frame.depth[row.clip(0, height - 1), column.clip(0, width - 1)], 0.0)
    margin, is_measured = MARGIN_M + 0.0075 * z * z, depth > 0
    return {
        "through": is_measured & (depth > z + margin),
        "hidden": is_measured & (depth < z - margin),
        "at_surface": is_measured & (np.abs(depth - z) <= margin),
        "hole": is_in & ~is_measured,
    }


def ghosts(
    memory: SceneMemory, frame: SequenceFrame, truth: Truth, seconds: float
) -> Float[ndarray, "P 3"]:
    """Remembered points where something was that is gone, in the odometry's frame."""
    xyz = memory.cloud(frame.odom_from_base).xyz.double().numpy()
    in_map = xyz @ frame.map_from_base[:3, :3].T + frame.map_from_base[:3, 3]
    rows = np.flatnonzero(truth.gone(in_map, seconds))
    tree = cKDTree(sampled(truth.changing.at(seconds), np.random.default_rng(0)))
    away, _ = tree.query(in_map[rows], distance_upper_bound=GONE_M)
    pose, far = frame.odom_from_base, rows[away > GONE_M]
    placed: Float[ndarray, "P 3"] = xyz[far] @ pose[:3, :3].T + pose[:3, 3]
    return placed


def drive(seed: int, recording: SequenceSettings) -> Counter[str]:
    """How many ghost points there are at the end of a drive, by what became of them."""
    truth = Truth.of(seed, recording, ChangeSettings(), MemorySettings().seconds)
    memory, blind = SceneMemory(), SceneMemory(MemorySettings(free_space=False))
    kept = list[tuple[SequenceFrame, ndarray]]()
    for number, frame in enumerate(changing_sequence(seed, recording)):
        seconds = number / recording.rate_hz
        truth.look(frame, seconds)
        pose = frame.odom_from_base @ frame.base_from_optical
        blind.add(frame.cloud, pose, frame.stamp_ns)
        if memory.add(frame.cloud, pose, frame.stamp_ns).is_kept:
            xyz = frame.cloud.xyz.double().numpy()
            kept.append((frame, xyz @ pose[:3, :3].T + pose[:3, 3]))
    points = ghosts(memory, frame, truth, seconds)
    counts = Counter(without_free_space=len(ghosts(blind, frame, truth, seconds)))
    counts["left"] = len(points)
    if not len(points):
        return counts
    # A voxel was seen last by the last frame with a point in it.
    voxel_m, last = MemorySettings().voxel_m, np.full(len(points), -1)
    for number, (_, placed) in enumerate(kept):
        away, _ = cKDTree(placed).query(points, distance_upper_bound=voxel_m)
        last[away < voxel_m] = number
    total = {name: np.zeros(len(points), int) for name in looks(points[:0], frame)}
    for number, (later, _) in enumerate(kept):
        for name, is_so in looks(points, later).items():
            total[name] += is_so & (last < number)
    names = np.select(
        [total["through"] >= 2, total["through"] == 1, *(total[k] > 0 for k in FATES[2:])],
        FATES,
        "not_looked_at",
    )
    return counts + Counter(names.tolist())


FATES = ["seen_through", "seen_through_once", "hidden", "at_surface", "hole"]


def main() -> None:
    """Print the counts over all drives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drives", type=int, default=12)
    parser.add_argument("--first", type=int, default=50_000, help="first room")
    parser.add_argument("--frames", type=int, default=40)
    options = parser.parse_args()
    recording = SequenceSettings(num_frames=options.frames, rate_hz=5.0)
    total = Counter[str]()
    with one_line_errors():
        for number in range(options.drives):
            counts = drive(seed_of("val", options.first + number), recording)
            print(json.dumps(counts), file=sys.stderr, flush=True)
            total += counts
        shares = {name: round(num / max(total["left"], 1), 3) for name, num in total.items()}
        print(json.dumps({"machine": machine(1), "points": dict(total), "of_left": shares}))


if __name__ == "__main__":
    main()
