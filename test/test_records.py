"""The JSON of a box: exact numbers out, and every way to write one wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sr3d_core.records import (
    LabelRecord,
    Record,
    RecordError,
    detection_records,
    label_records,
    read_records,
    targets_of,
)
from sr3d_core.structures import Boxes3D, Detections

CHAIR = {"class": "chair", "center": [0, 0, 0.5], "size": [0.5, 0.6, 1.0], "yaw": 0.3}
TABLE = {"class": "table", "center": [1, 2, 0.4], "size": [1.2, 0.8, 0.8]}


class Boxes(Record):
    boxes: list[LabelRecord]


def write(folder: Path, content: Any) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps({"boxes": content}))
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_written_is_read_back_to_the_last_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    rows = torch.rand(20, 7, dtype=dtype, generator=torch.Generator().manual_seed(1)) + 0.01
    scores, labels = torch.linspace(0.9, 0.1, 20), torch.arange(20) % 2
    found = Detections(Boxes3D.from_array(rows), scores, labels)
    path = write(tmp_path, detection_records(found, ("chair", "table")))
    boxes = read_records(path, Boxes).boxes
    read = torch.tensor([[*box.center, *box.size, box.yaw] for box in boxes], dtype=dtype)
    assert torch.equal(read, rows)
    assert [box.score for box in boxes] == scores.tolist()
    assert [box.class_name for box in boxes] == ["chair", "table"] * 10


def test_nothing_found_is_an_empty_list(tmp_path: Path) -> None:
    assert detection_records(Detections.empty(), ()) == []
    assert read_records(write(tmp_path, []), Boxes).boxes == []
    assert len(targets_of([], ("chair",))) == 0


def test_the_share_that_is_seen_is_written_and_read_where_every_box_says_it(
    tmp_path: Path,
) -> None:
    boxes = read_records(write(tmp_path, [CHAIR | {"seen": 0.25}, TABLE | {"seen": 1}]), Boxes)
    targets = targets_of(boxes.boxes, ("chair", "table"))
    assert targets.seen is not None
    assert targets.seen.tolist() == [0.25, 1.0]
    assert [each.seen for each in label_records(targets, ("chair", "table"))] == [0.25, 1.0]
    some = read_records(write(tmp_path, [CHAIR | {"seen": 0.25}, TABLE]), Boxes).boxes
    assert targets_of(some, ("chair", "table")).seen is None
    assert targets_of(some, ("chair",)).seen is not None  # the table is not asked for


def test_targets_index_the_classes_and_other_boxes_are_left_out(tmp_path: Path) -> None:
    boxes = read_records(write(tmp_path, [CHAIR, TABLE]), Boxes).boxes
    targets = targets_of(boxes, ("bed", "table"))
    assert targets.labels.tolist() == [1]
    expected = torch.tensor([[1, 2, 0.4, 1.2, 0.8, 0.8, 0]])
    torch.testing.assert_close(targets.boxes.array, expected)


@pytest.mark.parametrize(
    ("box", "text"),
    [
        ({**CHAIR, "class": 7}, r"\[1\]\.class: found 7,"),
        ({**CHAIR, "class": ""}, r"\[1\]\.class: found '',"),
        ({**CHAIR, "score": 1.5}, r"\[1\]\.score: found 1\.5, .*0\.\.1"),
        ({**CHAIR, "size": [1, 0, 1]}, r"\[1\]\.size\[1\]: found 0, .*above 0"),
        ({**CHAIR, "center": [0, 0, float("nan")]}, r"\[1\]\.center\[2\]: found nan, .*finite"),
        ({**CHAIR, "center": [0, 0]}, r"\[1\]\.center\[2\]: missing, .*\[x, y, z\]"),
        ({**CHAIR, "center": [0, 0, 0, 0]}, r"\[1\]\.center: found \[0, 0, 0, 0\]"),
        ({**CHAIR, "size": "big"}, r"\[1\]\.size: found 'big', .*\[dx, dy, dz\]"),
        ({**CHAIR, "jaw": 0.3}, r"\[1\]\.jaw: unknown key"),
        ({**CHAIR, "heading": 0.3}, r"\[1\]\.heading: unknown key.* yaw"),
        ({**CHAIR, "yaw": "0.3"}, r"\[1\]\.yaw: found '0\.3', .*radians"),
        ({**CHAIR, "seen": 1.5}, r"\[1\]\.seen: found 1\.5, .*0\.\.1"),
        ({**CHAIR, "yaw": False}, r"\[1\]\.yaw: found False"),
        ({**CHAIR, "center": [0, "0", 0]}, r"\[1\]\.center\[1\]: found '0', .*finite"),
        ({"class": "chair"}, r"\[1\]\.center: missing"),
        (7, r"\[1\]: found 7, .*center.*size"),
    ],
)
def test_wrong_box_is_refused_with_its_place(tmp_path: Path, box: Any, text: str) -> None:
    with pytest.raises(RecordError, match=rf"boxes\.json: boxes{text}"):
        read_records(write(tmp_path, [CHAIR, box]), Boxes)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", r"top level: found \[\]"),
        ("{}", "boxes: missing"),
        ('{"boxes": 7}', "boxes: found 7"),
        ('{"boxes": [], "size": 1}', "size: unknown key"),
        ('{"boxes": [], "boxes": []}', "boxes: stands twice"),
        ("[" * 200_000, "not JSON"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=rf"boxes\.json: {complaint}"):
        read_records(path, Boxes)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_mistake(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"boxes": [{**CHAIR, "class": "Stühle"}]}), encoding=encoding)
    assert read_records(path, Boxes).boxes[0].class_name == "Stühle"


def test_reading_needs_no_torch() -> None:
    code = "import sys, sr3d_core.records; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
