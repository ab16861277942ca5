"""Train on a folder of own labelled scenes for a few steps, and score the result.

    python examples/03_own_scenes.py [my_rooms]

Without a path it writes such a folder first, from three procedural rooms. A real training takes
thousands of steps: `sr3d data init my_rooms`, then `sr3d train my_rooms/my_rooms.yaml`.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from sr3d_core import Detector
from sr3d_core.config import Config, Network, Schedule
from sr3d_core.data.folder import FolderDataset
from sr3d_core.data.rooms import LABELS, Rooms
from sr3d_core.data.sources import FolderSource
from sr3d_core.evaluate import evaluate
from sr3d_core.train import train


def write_folder(folder: Path) -> Path:
    """Scenes as plain files: clouds, labels, the classes, and which scene is for what."""
    rooms = Rooms("train", 3, sensors=("frame",))
    for name in ("clouds", "labels"):
        (folder / name).mkdir(parents=True)
    for index in range(len(rooms)):
        sample = rooms[index]
        np.savez(folder / f"clouds/scene{index}.npz", xyz=sample.cloud.xyz.numpy())
        rows = zip(sample.targets.boxes.array.tolist(), sample.targets.labels, strict=True)
        boxes = [
            {"class": LABELS[label], "center": row[0:3], "size": row[3:6], "yaw": row[6]}
            for row, label in rows
        ]
        (folder / f"labels/scene{index}.json").write_text(json.dumps({"boxes": boxes}))
    (folder / "classes.txt").write_text("\n".join(LABELS))
    (folder / "train.txt").write_text("scene0\nscene1\n")
    (folder / "val.txt").write_text("scene2\n")  # never one that is trained on
    return folder


out = Path(tempfile.mkdtemp(prefix="sr3d-"))
data = Path(sys.argv[1]) if len(sys.argv) > 1 else write_folder(out / "my_rooms")

config = Config(
    network=Network(  # goes on from the weights that ship, so it is built as they are
        preset="lite",
        weights="default",
        changes={"box_coding": "quarter_turns", "quality_exponent": 0.5, "rivalry": 1.0},
    ),
    data=FolderSource(path=data),
    schedule=Schedule(num_steps=2, batch_size=1, learning_rate=1e-4),
)
weights = train(config, out / "run", on_step=lambda at: print("step", at.step, "of", at.num_steps))

detector = Detector.from_checkpoint(weights)
scenes = FolderDataset(data, "val", detector.classes)
report = evaluate(detector, (scenes[index] for index in range(len(scenes))))
print(f"{weights}: AP25 {report.ap25.mean:.2f}, AP50 {report.ap50.mean:.2f}")
