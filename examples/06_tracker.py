"""Give boxes identities that stay with the objects: the tracker on a plain list of boxes.

    python examples/06_tracker.py [frames.json]

A path names what `sr3d bag detect --json` wrote for a robot that stands still. Without one, two
chairs are made: one stands, one is pushed along and hidden for half a second.
"""

import json
import sys
from pathlib import Path

import torch

from sr3d_core import Boxes3D, Detections
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.tracking.tracker import Tracker


def made_frames() -> list[tuple[int, list[list[float]]]]:
    """Stamps and the rows x y z dx dy dz yaw of the boxes at each."""
    frames = []
    for index in range(20):
        rows = [[0.0, 2.0, 0.45, 0.6, 0.6, 0.9, 0.0]]
        if not 8 <= index < 13:
            rows.append([0.05 * index, 0.0, 0.45, 0.6, 0.6, 0.9, 0.0])
        frames.append((index * 100_000_000, rows))
    return frames


def read_frames(path: Path) -> list[tuple[int, list[list[float]]]]:
    """The same of a recording; of each box, its place alone counts here."""
    frames = json.loads(path.read_text())["frames"]
    return [
        (f["stamp_ns"], [[*b["center"], *b["size"], b["yaw"]] for b in f["detections"]])
        for f in frames
    ]


frames = read_frames(Path(sys.argv[1])) if len(sys.argv) > 1 else made_frames()
tracker = Tracker(Parameters.from_values({"tracking.min_hits": 2, "tracking.max_age_s": 2.0}))
ids_by_frame = []
for stamp_ns, rows in frames:
    boxes = Boxes3D.from_array(torch.tensor(rows).reshape(-1, 7))
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    seen = Detections(boxes, torch.full((len(boxes),), 0.9), labels)
    ids_by_frame.append(tracker.update(seen, stamp_ns))  # "" = seen too seldom yet
    print(f"{stamp_ns / 1e9:.1f} s  detections have the ids {ids_by_frame[-1]}")

known = tracker.tracks()  # also of objects that are occluded just now
for name, row in zip(known.ids, known.boxes.boxes.array.tolist(), strict=True):
    print(f"object {name} is at {row[0]:.2f} {row[1]:.2f}")
