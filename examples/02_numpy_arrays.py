"""Find objects among points that are already NumPy arrays, and cut one of them out.

    python examples/02_numpy_arrays.py [room.npz]

A path names a file with the array `xyz` and perhaps `rgb`; without one, the sample that ships is
read.
"""

import sys
from pathlib import Path

import numpy as np
import torch

import sr3d_core
from sr3d_core import Detector
from sr3d_core.detector import Postprocess
from sr3d_core.geometry.boxes import points_in_boxes

SAMPLE = Path(sr3d_core.__file__).parent / "data" / "sample" / "room.npz"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE

with np.load(path) as arrays:
    xyz = arrays["xyz"]  # (N,3), metres, z up
    rgb = arrays.get("rgb")  # (N,3), bytes or 0..1; None = unknown

wanted = Postprocess(score_threshold=0.3, one_class=True)  # each object once
detector = Detector.from_checkpoint("default", postprocess=wanted)
found = detector(xyz, rgb)

boxes = found.boxes.array.numpy()  # (D,7): x y z dx dy dz yaw
scores = found.scores.numpy()  # (D,), falling
names = [detector.classes[label] for label in found.labels]

is_inside = points_in_boxes(torch.from_numpy(xyz).float(), found.boxes).numpy()  # (N,D)
points_of = [xyz[is_inside[:, row]] for row in range(len(found))]
for name, score, points in zip(names, scores, points_of, strict=True):
    print(f"{name:12} {score:.2f}  {len(points)} points")
