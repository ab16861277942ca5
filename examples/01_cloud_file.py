"""Find objects in a cloud file: open it, whatever its format and axes, and print the boxes.

    python examples/01_cloud_file.py [room.ply]

Without a path it looks at the sample room that ships.
"""

import sys
from pathlib import Path

import sr3d_core
from sr3d_core import Detector
from sr3d_core.data.cloud_file import open_cloud
from sr3d_core.detector import Postprocess

SAMPLE = Path(sr3d_core.__file__).parent / "data" / "sample" / "room.npz"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE

opened = open_cloud(path)  # finds the floor where z is not up; open_cloud(path, up="y") is told
if opened.note:
    print("what was a guess:", opened.note)
if opened.is_turned:
    print("boxes are in the levelled frame; the rotation is", opened.upright_from_file.tolist())

# Boxes above a score, and each object once: what a robot wants.
wanted = Postprocess(score_threshold=0.3, one_class=True)
detector = Detector.from_checkpoint("default", postprocess=wanted)
found = detector.detect(opened.cloud)

boxes = opened.restored(found.boxes)  # in the file's coordinates, also where they are large
for row, score, label in zip(boxes.array.tolist(), found.scores, found.labels, strict=True):
    x, y, z, dx, dy, dz, yaw = row
    name = detector.classes[label]
    print(f"{name:12} {score:.2f}  at {x:.2f} {y:.2f} {z:.2f}  {dx:.2f} x {dy:.2f} x {dz:.2f} m")
