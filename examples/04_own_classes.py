"""Teach a network classes of one's own: crates and pallets instead of chairs and tables.

    python examples/04_own_classes.py [my_rooms]

A path names a folder of labelled scenes (see 03_own_scenes.py), whose classes.txt lists the
classes; without one, two floors with a crate and a pallet are made. The network is small and
starts from nothing, to be quick here; with own rooms, `weights="default"` in `Network` keeps all
that the weights that ship know but the classifier.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from sr3d_core import Detector
from sr3d_core.config import Config, Network, Schedule
from sr3d_core.data.cloud_file import read_cloud
from sr3d_core.data.sources import FolderSource
from sr3d_core.detector import Postprocess
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.supervision.qfl import Qfl
from sr3d_core.train import train

CLASSES = {"crate": (0.6, 0.6, 0.6), "pallet": (1.2, 0.8, 0.15)}  # dx dy dz in metres


def write_warehouses(folder: Path, num_scenes: int) -> Path:
    """Floors, each with a crate and a pallet on it."""
    draw = np.random.default_rng(0)
    for name in ("clouds", "labels"):
        (folder / name).mkdir(parents=True)
    for scene in range(num_scenes):
        parts, boxes = [draw.uniform((0, 0, 0), (4, 4, 0.01), (1000, 3))], []
        for place, (name, size) in enumerate(CLASSES.items()):
            x, y = draw.uniform(0.8, 1.2) + 1.8 * place, draw.uniform(1, 3)
            center = [x, y, size[2] / 2]
            faces = draw.uniform(-0.5, 0.5, (500, 3))
            axis = draw.integers(0, 3, 500)
            faces[np.arange(500), axis] = np.sign(faces[np.arange(500), axis]) / 2
            parts.append(center + faces * size)
            boxes.append({"class": name, "center": center, "size": size})
        np.savez(folder / f"clouds/{scene}.npz", xyz=np.concatenate(parts))
        (folder / f"labels/{scene}.json").write_text(json.dumps({"boxes": boxes}))
    names = "\n".join(map(str, range(num_scenes)))
    for file, text in (("classes", "\n".join(CLASSES)), ("train", names)):
        (folder / f"{file}.txt").write_text(text)
    return folder


out = Path(tempfile.mkdtemp(prefix="sr3d-"))
data = Path(sys.argv[1]) if len(sys.argv) > 1 else write_warehouses(out / "warehouses", 2)
small = {"voxel_size_m": 0.04, "widths": [16, 16, 16, 16], "stem_channels": 8, "neck_channels": 16}
config = Config(
    network=Network(preset="lite", changes=small),
    data=FolderSource(path=data),
    criterion=Criterion(classification=Qfl()),  # as the preset `own_data`
    schedule=Schedule(num_steps=40, batch_size=2, learning_rate=0.01, warmup_steps=5),
)
weights = train(config, out / "run", on_step=lambda at: print("step", at.step, "of", at.num_steps))

detector = Detector.from_checkpoint(weights, postprocess=Postprocess(score_threshold=0.3))
print("classes:", ", ".join(detector.classes))
cloud = read_cloud(next(iter(sorted((data / "clouds").iterdir()))), up="z")
found = detector.detect(cloud)
for row, score, label in zip(found.boxes.array.tolist(), found.scores, found.labels, strict=True):
    print(f"{detector.classes[label]:8} {score:.2f}  at {row[0]:.2f} {row[1]:.2f} {row[2]:.2f}")
