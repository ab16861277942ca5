"""Find objects in every cloud of a folder; one line of JSON for each file, errors included.

    python examples/09_batch.py [FOLDER] > results.jsonl

Without a folder it makes one with a good file and a broken one. A file that cannot be read gets a
line with `error`, and the others are done all the same.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import sr3d_core
from sr3d_core import Detections, Detector
from sr3d_core.data.cloud_file import CloudFileError, open_cloud
from sr3d_core.data.cloud_formats import SUFFIXES
from sr3d_core.detector import Postprocess
from sr3d_core.records import detection_records


def made_folder() -> Path:
    """The sample room, and a file that is no cloud."""
    folder = Path(tempfile.mkdtemp(prefix="sr3d-"))
    shutil.copy(Path(sr3d_core.__file__).parent / "data" / "sample" / "room.npz", folder)
    (folder / "letter.ply").write_text("Dear reader,\n")
    return folder


def detect(path: Path) -> dict[str, object]:
    """What was found in a file, or why nothing could be."""
    try:
        opened = open_cloud(path)
    except CloudFileError as error:
        return {"file": str(path), "error": str(error)}
    found = detector.detect(opened.cloud)
    placed = Detections(opened.restored(found.boxes), found.scores, found.labels)
    return {
        "file": str(path),
        "note": opened.note,  # what was a guess, "" = nothing
        "levelled_from_file": opened.upright_from_file.tolist() if opened.is_turned else None,
        "detections": detection_records(placed, detector.classes),
    }


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else made_folder()
wanted = Postprocess(score_threshold=0.3, one_class=True)
detector = Detector.from_checkpoint("default", postprocess=wanted)
for path in sorted(folder.rglob("*")):
    if path.suffix.lower() in SUFFIXES:
        print(json.dumps(detect(path)), flush=True)
