"""An exported folder is whole, finds what the weights find, and says what it is."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from cli_harness import CLASSES, assert_one_line_error, save_room, save_untrained, sr3d
from safetensors import safe_open
from test_network import points

from sr3d_core.checkpoint import (
    CheckpointError,
    ClassSpread,
    load_checkpoint,
    read_manifest,
    rewrite_manifest,
    save_checkpoint,
)
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.export import SHIPPED_LICENSE, export_folder
from sr3d_core.model.chances import ClassCalibration
from sr3d_core.model_card import NO_LICENSE, model_card
from sr3d_core.refinement import Refinement

EVERYTHING = Postprocess(score_threshold=0.0)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights in 16 bits, with all that a manifest may hold."""
    plain, path = save_untrained(tmp_path), tmp_path / "half.safetensors"
    network, manifest = load_checkpoint(plain)
    manifest = replace(
        manifest,
        description="two rooms | one of them ours",
        results={"rooms_map25": 0.53, "my_figure": 0.125},
        spread={"chair": ClassSpread(center_m=(0.04, 0.05, 0.06), yaw_rad=0.5, num_boxes=112)},
        calibration={
            "table": ClassCalibration(scale=2.0, offset=-1.0, num_boxes=1234, num_right=5)
        },
        refinement=Refinement(vote=("chair",), floor=("all",)),
    )
    save_checkpoint(path, network, manifest, half=True)
    return path


def test_detections_from_the_folder_are_the_same_to_the_last_bit(
    weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out" / "mine"
    export_folder(weights, folder)
    one, other = (
        Detector.from_checkpoint(path, device="cpu", postprocess=EVERYTHING)
        for path in (weights, folder)
    )
    before, after = one.detect(points()), other.detect(points())
    assert len(before) > 3
    assert torch.equal(before.boxes.array, after.boxes.array)
    assert torch.equal(before.scores, after.scores)
    assert (one.calibration, one.refinement) == (other.calibration, other.refinement)
    with safe_open(folder / "weights.safetensors", framework="pt") as file:
        assert file.get_tensor("head.classify.weight").dtype == torch.float16


def test_the_folder_holds_what_the_weights_say_of_themselves(
    weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    written = export_folder(weights, folder, license="CC-BY-4.0")
    assert {path.name for path in folder.iterdir()} == {
        *("weights.safetensors", "manifest.json", "classes.txt", "README.md"),
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(asdict(written)))
    assert manifest["license"] == "CC-BY-4.0"
    assert manifest["calibration"]["table"]["num_boxes"] == 1234
    assert (folder / "classes.txt").read_text().split() == list(CLASSES)
    assert replace(written, license="") == read_manifest(weights)


def test_the_card_has_the_figures_and_names_what_is_missing(weights: Path, tmp_path: Path) -> None:
    export_folder(weights, tmp_path / "mine")
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "| rooms_map25 | 0.53 |" in card
    assert "| my_figure | 0.125 |" in card
    assert "| chair | 4, 5, 6 cm | 29 deg | 112 | - |" in card
    assert "| table | - | - | - | 1,234, 5 right |" in card
    assert "vote: chair; floor: all" in card
    assert "not measured for table, sofa" in card
    assert NO_LICENSE in card
    num_parameters = sum(p.numel() for p in load_checkpoint(weights)[0].parameters())
    assert f"| parameters | {num_parameters:,} |" in card


def test_a_card_of_weights_that_nobody_measured_says_so(tmp_path: Path) -> None:
    manifest = replace(read_manifest(save_untrained(tmp_path)), description="")
    card = model_card(manifest, 1)
    assert "Nobody described these weights." in card
    assert "Nothing was measured" in card
    assert "not calibrated" in card


def test_the_terms_of_the_weights_stay_with_them(weights: Path, tmp_path: Path) -> None:
    rewrite_manifest(weights, license="ours alone")
    assert export_folder(weights, tmp_path / "a").license == "ours alone"
    assert export_folder(tmp_path / "a", tmp_path / "b").license == "ours alone"
    assert export_folder("default", tmp_path / "c").license == SHIPPED_LICENSE
    assert "never seen a real room" in (tmp_path / "c" / "README.md").read_text()
    assert "never seen a real room" not in (tmp_path / "b" / "README.md").read_text()


@pytest.mark.parametrize("is_file", [False, True])
def test_nothing_is_overwritten(weights: Path, tmp_path: Path, is_file: bool) -> None:
    taken = tmp_path / "taken"
    kept = taken if is_file else taken / "kept"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    assert_one_line_error(sr3d("export", weights, taken), "taken", "is not overwritten")
    assert kept.read_text() == "mine"


def test_a_full_disk_leaves_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sr3d_core.whole_files.os.fsync", full)
    before = set(tmp_path.iterdir())
    assert_one_line_error(sr3d("export", weights, tmp_path / "mine"), "the disk is full")
    assert set(tmp_path.iterdir()) == before


def test_weights_that_cannot_be_used_make_no_folder(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not weights")
    assert_one_line_error(sr3d("export", damaged, tmp_path / "mine"), "damaged.safetensors")
    assert_one_line_error(sr3d("export", tmp_path, tmp_path / "mine"), "no such weights file")
    assert not (tmp_path / "mine").exists()


def test_a_manifest_that_was_edited_is_refused_as_it_would_not_act(
    weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    export_folder(weights, folder)
    path = folder / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"table"', '"desk"'))
    with pytest.raises(CheckpointError, match=r"manifest\.json: classes, calibration not as"):
        load_checkpoint(folder)
    path.write_text("{")
    with pytest.raises(CheckpointError, match=r"manifest\.json: its manifest cannot be underst"):
        load_checkpoint(folder)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match=r"manifest\.json: cannot be read"):
        load_checkpoint(folder)
    path.write_text(text)
    load_checkpoint(folder)


def test_classes_that_were_edited_are_refused_as_they_would_not_act(
    weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    export_folder(weights, folder)
    path = folder / "classes.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # as some unpack it
    load_checkpoint(folder)
    path.write_text(path.read_text().replace("table", "desk"))
    with pytest.raises(CheckpointError, match=r"classes\.txt: names not as in weights"):
        load_checkpoint(folder)
    path.unlink()
    load_checkpoint(folder)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_folder_that_was_moved_is_the_same(
    weights: Path, tmp_path: Path, read_only: bool
) -> None:
    export_folder(weights, tmp_path / "mine")
    moved = tmp_path / "a b" / "é"
    moved.parent.mkdir()
    (tmp_path / "mine").rename(moved)
    if read_only:
        for path in (*moved.iterdir(), moved):
            path.chmod(0o555 if path.is_dir() else 0o444)
    assert Detector.from_checkpoint(moved, device="cpu").classes == CLASSES
    moved.chmod(0o755)


def write_report(path: Path, sha256: str, **changes: object) -> Path:
    """What `sr3d eval --json` writes, shortened."""
    head = {"data": "my_rooms", "split": "val", "model": "best.safetensors", "sha256": sha256}
    figures = {"num_scenes": 7, "map25": 0.62513, "map50": 0.5, "per_class": {}}
    path.write_text(json.dumps({**head, **figures, **changes}))
    return path


def test_figures_of_a_report_stand_in_the_card(weights: Path, tmp_path: Path) -> None:
    report = write_report(tmp_path / "report.json", read_manifest(weights).sha256)
    folder = tmp_path / "mine"
    result = sr3d("export", weights, folder, "--report", report)
    assert result.exit_code == 0, result.output
    assert "| my_rooms, val: map25 | 0.6251 | mean AP25 on these scenes |" in (
        (folder / "README.md").read_text()
    )
    results = read_manifest(folder).results
    assert results["my_rooms, val: map25"] == 0.62513
    assert results["rooms_map25"] == 0.53  # what was known before stays


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": "0" * 64}, "measured on weights with sha256 000000000000"),
        ({"map25": None}, "expected a number each"),
        ({"map25": "0.5"}, "expected a number each; score scenes that have boxes"),
    ],
)
def test_a_report_of_something_else_is_refused(
    weights: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    sha256 = read_manifest(weights).sha256
    report = write_report(tmp_path / "report.json", sha256)
    report.write_text(json.dumps({**json.loads(report.read_text()), **changes}))
    assert_one_line_error(sr3d("export", weights, tmp_path / "mine", "--report", report), said)
    report.write_text("[]")
    assert_one_line_error(
        sr3d("export", weights, tmp_path / "mine", "--report", report), "no report"
    )
    assert not (tmp_path / "mine").exists()


def test_an_exported_folder_stays_as_it_is(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    export_folder(weights, folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for path in (folder, folder / "weights.safetensors"):
        with pytest.raises(CheckpointError, match="an exported folder, which stays as it is"):
            rewrite_manifest(path, description="else")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_commands_take_the_folder(weights: Path, tmp_path: Path) -> None:
    folder, room = tmp_path / "mine", save_room(tmp_path)
    done = sr3d("export", weights, folder)
    assert done.exit_code == 0, done.output
    assert "under which terms" in done.stderr
    found = []
    for chosen in (weights, folder):
        out = tmp_path / "found.json"
        assert (
            sr3d("detect", room, "--weights", chosen, "--score", "0", "--json", out).exit_code == 0
        )
        found.append(json.loads(out.read_text())["detections"])
    assert len(found[0]) > 0
    assert found[0] == found[1]
    assert "sound" in sr3d("model", "verify", folder).stdout
