"""Hand the boxes on: to trimesh as a GLB file for any viewer, and to Open3D for its tools.

    python examples/10_export_boxes.py [room.ply]

writes boxes.glb beside where it is run, and, where Open3D is installed, tells how many points it
crops out for each box. Needs trimesh: pip install trimesh
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import trimesh

import sr3d_core
from sr3d_core import Detector
from sr3d_core.colors import class_color
from sr3d_core.data.cloud_file import open_cloud
from sr3d_core.detector import Postprocess
from sr3d_core.open3d_bridge import boxes_to_open3d, cloud_to_open3d

SAMPLE = Path(sr3d_core.__file__).parent / "data" / "sample" / "room.npz"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE

opened = open_cloud(path)
wanted = Postprocess(score_threshold=0.3, one_class=True)
detector = Detector.from_checkpoint("default", postprocess=wanted)
found = detector.detect(opened.cloud)
names = [detector.classes[label] for label in found.labels]

scene = trimesh.Scene([trimesh.PointCloud(opened.cloud.xyz.numpy())])
for name, row in zip(names, found.boxes.array.tolist(), strict=True):
    placed = trimesh.transformations.rotation_matrix(row[6], (0, 0, 1))
    placed[:3, 3] = row[:3]
    box = trimesh.creation.box(extents=row[3:6], transform=placed)
    box.visual.face_colors = np.append(class_color(name), 0.5)
    scene.add_geometry(box, node_name=name)
target = Path(tempfile.mkdtemp(prefix="sr3d-")) / "boxes.glb"
scene.export(target)
print(f"{target}: {len(found)} boxes")

if find_spec("open3d") is not None:
    points = cloud_to_open3d(opened.cloud)
    for name, box in zip(names, boxes_to_open3d(found.boxes), strict=True):
        print(f"{name:12} {len(points.crop(box).points)} points inside")
