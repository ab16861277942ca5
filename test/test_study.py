"""Studies: what files say, what is trained and scored, what is not done again, the table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cli_harness import assert_one_line_error, sr3d
from study_cases import assert_differs_in_its_own_keys_alone

from sr3d_core.config import Evaluation
from sr3d_core.data.readers.class_names import SCANNET, SUNRGBD
from sr3d_core.evaluate import report
from sr3d_core.paired import Side
from sr3d_core.structures import Boxes3D, Detections, Targets
from sr3d_core.study.processes import StudyError
from sr3d_core.study.run import Outcome
from sr3d_core.study.scores import Rules, Scores, packed, unpacked
from sr3d_core.study.settings import Study
from sr3d_core.study.table import markdown, note, summary
from sr3d_core.study.training import check_same, is_trained, settings_path
from sr3d_core.supervision.center_topk import CenterTopK
from sr3d_core.training.state import read_state

ROOT = Path(__file__).resolve().parent.parent
FILES = [*sorted((ROOT / "config" / "study").glob("*.yaml")), ROOT / "benchmark" / "variants.yaml"]
STUDIES = {path.name: Study.read(path) for path in FILES}
CASES = [(file, name) for file, study in STUDIES.items() for name in study.variants]


def written(folder: Path, **changes: Any) -> Path:
    tree = {"preset": "rooms", "variants": {"plain": {}}, **changes}
    path = folder / "study.yaml"
    path.write_text(
        yaml.safe_dump({key: tree[key] for key in tree if tree[key] is not None}, sort_keys=False)
    )
    return path


@pytest.mark.parametrize(("file", "name"), CASES)
def test_every_variant_is_a_training_that_differs_in_its_own_keys_alone(
    file: str, name: str
) -> None:
    assert_differs_in_its_own_keys_alone(STUDIES[file], name)


def test_the_papers_study_has_three_seeds_where_the_paper_makes_its_claim() -> None:
    study = STUDIES["paper.yaml"]
    trainings = study.trainings(list(study.variants))
    for name in ("baseline", "spota", "ras", "both", "both_literal", "both_neg"):
        assert [seed for each, seed in trainings if each == name] == [1, 2, 3]
    seeds = [seed for _, seed in trainings]
    assert seeds == sorted(seeds)  # all variants once, before any of them twice
    rows = {
        name: (study.parsed(name).criterion.assigner.name, criterion.name)
        for name in ("baseline", "spota", "ras", "both")
        if (criterion := study.parsed(name).criterion.classification)
    }
    assert rows == {
        "baseline": ("center_topk", "focal"),
        "spota": ("spota", "focal"),
        "ras": ("center_topk", "ras"),
        "both": ("spota", "ras"),
    }


def test_a_value_replaces_all_below_its_key_and_seeds_differ(tmp_path: Path) -> None:
    changes = {"criterion.assigner": {"name": "center_topk"}, "network.changes.rivalry": 0.0}
    study = Study.read(written(tmp_path, variants={"plain": {}, "other": changes}))
    tree = study.tree("other", 7)
    assert tree["criterion"]["assigner"] == {"name": "center_topk"}  # no candidates of SPOTA
    assert tree["network"]["changes"]["rivalry"] == 0.0
    assert tree["network"]["changes"]["box_coding"] == "quarter_turns"
    assert tree["schedule"]["seed"] == 7
    assert study.tree("plain", 7)["criterion"]["assigner"]["name"] == "spota"


def test_a_variant_changes_nothing_for_the_others(tmp_path: Path) -> None:
    """Although all share one value that it changes a part of."""
    variants = {"plain": {}, "fast": {"schedule.learning_rate": 0.5}}
    study = Study.read(written(tmp_path, shared={"schedule": {"num_steps": 3}}, variants=variants))
    before = study.tree("plain", 1)
    assert study.tree("fast", 2)["schedule"] == {"num_steps": 3, "learning_rate": 0.5, "seed": 2}
    assert study.tree("plain", 1) == before
    assert before["schedule"] == {"num_steps": 3, "seed": 1}


def test_a_variant_can_begin_from_another_training(tmp_path: Path) -> None:
    study = Study.read(
        written(tmp_path, variants={"plain": {}, "paper": {"preset": "sr3d_paper"}})
    )
    assert study.parsed("paper").evaluation.nms == "bev"
    assert study.parsed("plain").evaluation.nms == "3d"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"against": {"plain": ["plane"]}}, ("against", "plane")),
        ({"against": {"plane": ["plain"]}}, ("against", "plane")),
        ({"against": {"plain": ["plain"]}}, ("against", "other variants")),
        ({"variants": {}}, ("variants",)),
        ({"variants": {"a/b": {}}}, ("a/b",)),
        ({"varints": {}}, ("varints",)),
        ({"preset": None}, ("preset or config",)),
        ({"preset": "room"}, ("'room'", "rooms")),
        ({"seeds": 0}, ("seeds",)),
        ({"seeds_of": {"plane": 2}}, ("seeds_of", "'plane'")),
        ({"variants": {"plain": {"schedul.seed": 1}}}, ("plain", "schedul")),
        ({"variants": {"plain": {"schedule.seed.x": 1}}}, ("plain", "seed")),
        ({"shared": {"data.prerendered": "no_rooms"}}, ("no_rooms", "sr3d data rooms")),
        ({"data": ["no_scenes"]}, ("no_scenes",)),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_before_anything_is_trained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, **changes)
    if "data" in changes:  # so that it gets as far as the scenes to score on
        path = written(tmp_path, shared={"data": {"name": "rooms"}}, **changes)
    assert_one_line_error(sr3d("study", path, "--out", tmp_path / "out"), *words)
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_scenes_that_no_variant_can_be_scored_on_are_told_before_anything_is_trained(
    scenes: Path, tmp_path: Path
) -> None:
    """Else every training would fail after its last step."""
    path = written(tmp_path, shared={"data": {"name": "folder", "path": str(scenes)}})
    for_others = Path(shutil.copytree(scenes, tmp_path / "others"))
    (for_others / "classes.txt").write_text("lorry\n")
    for labels in (for_others / "labels").iterdir():
        labels.write_text('{"boxes": []}')
    out = tmp_path / "out"
    result = sr3d("study", path, "--out", out, "--data", scenes, "--data", for_others)
    assert_one_line_error(result, "others", "lorry", "chair")
    assert not list(out.glob("*"))


def test_broken_files_and_unknown_variants_are_told_in_one_line(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    assert_one_line_error(sr3d("study", tmp_path / "none.yaml", *out), "none.yaml")
    path = tmp_path / "broken.yaml"
    path.write_text("variants: {a: [}")
    assert_one_line_error(sr3d("study", path, *out), "broken.yaml", "not YAML")
    path.write_text("")
    assert_one_line_error(sr3d("study", path, *out), "broken.yaml")
    result = sr3d("study", written(tmp_path), *out, "--names", "plane")
    assert_one_line_error(result, "'plane'", "plain")


def scene(num: int, *, with_ignored: bool) -> tuple[Detections, Targets]:
    rows = torch.arange(7.0 * num).reshape(num, 7) + 1
    labels = torch.zeros(num, dtype=torch.int64)
    ignored = Targets(Boxes3D.from_array(rows), labels) if with_ignored else None
    found = Detections(Boxes3D.from_array(rows), torch.linspace(1, 0.5, num), labels)
    return found, Targets(Boxes3D.from_array(rows), labels, ignored)


@pytest.mark.parametrize("nums", [(), (0,), (2, 0, 3)])
def test_kept_detections_give_the_same_report(nums: tuple[int, ...]) -> None:
    pairs = [scene(num, with_ignored=index % 2 == 0) for index, num in enumerate(nums)]
    side = Side([found for found, _ in pairs], [true for _, true in pairs], ("chair",))
    again = unpacked(packed(side), ("chair",))
    assert [each.ignored is None for each in again.targets] == [
        each.ignored is None for each in side.targets
    ]
    for one, other in zip(side.detections, again.detections, strict=True):
        assert torch.equal(one.boxes.array, other.boxes.array)
        assert torch.equal(one.scores, other.scores)
    assert (
        report(side.detections, side.targets, ("chair",)).to_dict()
        == report(again.detections, again.targets, ("chair",)).to_dict()
    )


def test_a_note_counts_the_seeds_that_differ_clearly() -> None:
    def seed(difference: float | None, is_clear: bool) -> dict[str, Any]:
        return {"difference": difference, "is_clear": is_clear}

    seeds = {"1": seed(0.03, True), "2": seed(-0.02, True), "3": seed(0.02, False)}
    assert note(seeds) == "+1.0 (of 3: clearly 1 better and 1 worse, seeds -5.6 to +7.6)"
    assert note({"1": seed(0.01, False)}) == "+1.0 (of 1: none clear)"
    assert note({}) == note({"1": seed(None, False)}) == ""


def test_a_variant_that_failed_has_an_empty_line() -> None:
    one = {"mean": 50.0, "deviation": 7.07, "best": 55.04, "each": [45.0, 55.0]}
    row = {"seeds": [1, 2], "data": {"rooms": {"ap25": one, "ap50": {**one, "against": {}}}}}
    row["data"]["rooms"]["ap25"]["against"] = {}  # type: ignore[index]
    failed = {"seeds": [], "data": {"rooms": {}}}
    found = {"first": "plain", "tests": 1, "variants": {"plain": row, "bad": failed}}
    lines = markdown(found).splitlines()
    assert lines[2].split("|")[1:5] == [" plain ", " 2 ", " 50.0 ± 7.1 ", " 50.0 ± 7.1 "]
    assert lines[3].split("|")[1:3] == [" bad ", " 0 "]
    assert lines[2].split("|")[6] == " 55.0 / 55.0 "
    assert len({line.count("|") for line in lines}) == 1


def test_one_figure_has_no_best() -> None:
    one = {"mean": 50.0, "deviation": None, "best": 50.0, "against": {}}
    row = {"seeds": [1], "data": {"rooms": {"ap25": one, "ap50": one}}}
    assert "best" not in markdown({"first": "a", "tests": 1, "variants": {"a": row}})
    assert "best" in markdown({"first": "a", "tests": 2, "variants": {"a": row}})


def scored(*shifts: float) -> Scores:
    """Of a scene with so many chairs, found these shares of a metre aside with falling scores."""
    truth = torch.zeros(len(shifts), 7)
    truth[:, 3:6] = 1.0
    truth[:, 0] = 10.0 * torch.arange(len(shifts))
    found = truth.clone()
    found[:, 0] += torch.tensor(shifts)
    labels = torch.zeros(len(shifts), dtype=torch.int64)
    scores = torch.linspace(1, 0.5, len(shifts))
    side = Side(
        [Detections(Boxes3D.from_array(found), scores, labels)],
        [Targets(Boxes3D.from_array(truth), labels)],
        ("chair",),
    )
    return Scores(report(side.detections, side.targets, side.classes).to_dict(), lambda: side)


def test_best_is_of_all_tests_and_the_mean_of_the_means_of_seeds(tmp_path: Path) -> None:
    """AP50 of chairs 0.1 m and 0.5 m aside: both found, one of two, none: 100, 50 and 0 %."""
    study = Study.read(written(tmp_path, seeds=2, tests=2))
    both, one, none = scored(0.1, 0.1), scored(0.1, 0.5), scored(0.5, 0.5)
    tests = {"plain": {1: {"rooms": (both, one)}, 2: {"rooms": (one, none)}}}
    found = summary(Outcome(study, tests, ()))
    figures = found["variants"]["plain"]["data"]["rooms"]["ap50"]
    assert figures["each_test"] == [[100.0, 50.0], [50.0, 0.0]]
    assert figures["each"] == [75.0, 25.0]
    assert (figures["best"], figures["mean"]) == (100.0, 50.0)
    assert figures["deviation"] == pytest.approx(50 / 2**0.5, abs=1e-6)
    assert "| best AP25 / AP50 |" in markdown(found)
    assert "| 100.0 / 100.0 |" in markdown(found)


def test_a_seed_is_compared_by_its_first_test(tmp_path: Path) -> None:
    study = Study.read(written(tmp_path, tests=2, variants={"plain": {}, "other": {}}))
    good, bad = scored(0.1, 0.1), scored(0.5, 0.5)
    tests = {"plain": {1: {"rooms": (bad, good)}}, "other": {1: {"rooms": (good, bad)}}}
    rows = summary(Outcome(study, tests, ()))["variants"]["other"]["data"]["rooms"]
    assert rows["ap50"]["against"]["plain"]["1"]["difference"] == 1.0


def test_the_first_test_is_kept_as_where_there_is_no_other() -> None:
    """So that scores of before do not have to be measured again."""
    rules = Rules("rooms", "val", 5, Evaluation(), "0" * 64)
    assert set(rules.to_dict()) == {"data", "split", "num", "evaluation", "weights_sha256"}
    assert replace(rules, test=2).to_dict() == {**rules.to_dict(), "test": 2}


@pytest.mark.parametrize(
    ("file", "classes", "coarse"),
    [
        (
            "paper_scannet.yaml",
            SCANNET,
            {"bed", "sofa", "table", "window", "bookshelf", "counter", "desk", "curtain"}
            | {"bathtub"},
        ),
        ("paper_sunrgbd.yaml", SUNRGBD, {"bed", "table", "sofa", "desk", "bookshelf"}),
    ],
)
def test_the_baseline_of_the_protocol_has_the_levels_of_tr3d(
    file: str, classes: tuple[str, ...], coarse: set[str]
) -> None:
    """Coarse are the classes that TR3D's published configurations name so."""
    study = STUDIES[file]
    assigner = study.parsed("baseline").criterion.assigner
    assert isinstance(assigner, CenterTopK)
    assert assigner.level_filter is not None
    levels = zip(classes, assigner.level_filter, strict=True)
    assert {name for name, level in levels if level == 1} == coarse
    assert len(study.trainings(["both"])) * study.tests == 25
    assert study.parsed("both").evaluation.nms == "bev"


def test_a_variant_is_compared_with_those_that_it_names_beside_the_first(tmp_path: Path) -> None:
    """`worse` finds nothing, the others all: the truth of every difference is known."""
    pairs = [scene(2, with_ignored=False) for _ in range(9)]
    all_found = [found for found, _ in pairs]
    nothing = [found[found.scores > 9] for found in all_found]
    truth = [true for _, true in pairs]
    variants: dict[str, Any] = {"plain": {}, "worse": {}, "third": {}}
    study = Study.read(written(tmp_path, variants=variants, against={"third": ["worse"]}))

    def scores(found: list[Detections]) -> dict[int, dict[str, tuple[Scores, ...]]]:
        figures = report(found, truth, ("chair",)).to_dict()
        side = Side(found, truth, ("chair",))
        return {1: {"rooms": (Scores(figures, lambda: side),)}}

    found = {"plain": scores(all_found), "worse": scores(nothing), "third": scores(all_found)}
    figures = summary(Outcome(study, found, ()))
    rows = [row.split("|")[-2].strip() for row in markdown(figures).splitlines()[2:]]
    assert rows == [
        "",
        "-100.0 (of 1: clearly 1 worse)",
        "+0.0 (of 1: none clear); +100.0 (of 1: clearly 1 better) against worse",
    ]
    assert set(figures["variants"]["third"]["data"]["rooms"]["ap25"]["against"]) == {
        "plain",
        "worse",
    }
    assert study.chosen(["third"]) == ["plain", "worse", "third"]
    assert study.chosen(["worse"]) == ["plain", "worse"]
    alone = summary(Outcome(study, {**found, "worse": {}}, ()))
    assert "against" not in markdown(alone).splitlines()[-1]


def test_steps_of_a_study_are_those_of_trainings_that_count_epochs(tmp_path: Path) -> None:
    path = written(tmp_path, preset="sr3d_paper", shared={"schedule.num_steps": 70})
    schedule = Study.read(path).parsed("plain").schedule.for_scenes(1201)
    assert schedule.num_steps == 70
    path = written(tmp_path, preset="sr3d_paper", shared={"schedule.epochs": 16})
    assert Study.read(path).parsed("plain").schedule.for_scenes(1201).num_steps == 1201


@pytest.mark.parametrize("left", ["state.pt", "trained.txt"])
def test_another_configuration_does_not_pass_for_the_one_that_was_trained(
    tmp_path: Path, left: str
) -> None:
    """Whether it was begun or is done: the state may be removed then, to save room."""
    study, folder = Study.read(written(tmp_path)), tmp_path / "plain-1"
    check_same(folder, study.tree("plain", 1))  # nothing is there
    folder.mkdir()
    (folder / left).touch()
    settings_path(folder).write_text(yaml.safe_dump(study.tree("plain", 1)))
    check_same(folder, study.tree("plain", 1))
    check_same(folder, study.sharing({"schedule.num_workers": 3}).tree("plain", 1))
    with pytest.raises(StudyError, match=r"plain-1.*schedule\.num_steps.*10000.*7"):
        check_same(folder, study.sharing({"schedule.num_steps": 7}).tree("plain", 1))


def test_a_default_that_has_changed_since_makes_another_training(tmp_path: Path) -> None:
    """What a study writes names a part of the settings, what the training writes all of them."""
    study, folder = Study.read(written(tmp_path)), tmp_path / "plain-1"
    folder.mkdir()
    (folder / "trained.txt").touch()
    settings_path(folder).write_text(yaml.safe_dump(study.tree("plain", 1)))
    for quality, is_same in ((1.0, True), (2.0, False)):
        used = study.sharing({"criterion.quality": quality}).tree("plain", 1)
        (folder / "config.yaml").write_text(yaml.safe_dump(used))
        if is_same:
            check_same(folder, study.tree("plain", 1))
        else:
            with pytest.raises(StudyError, match=r"criterion\.quality.*2\.0.*1\.0"):
                check_same(folder, study.tree("plain", 1))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of a floor with a box on it."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for part in ("clouds", "labels"):
        (folder / part).mkdir()
    for name in ("a", "b", "c"):
        floor = rng.uniform((0, 0, 0), (3, 3, 0.01), (1500, 3))
        box = rng.uniform((1, 1, 0), (1.6, 1.6, 0.8), (500, 3))
        np.save(folder / "clouds" / f"{name}.npy", np.concatenate([floor, box]))
        truth = [{"class": "chair", "center": [1.3, 1.3, 0.4], "size": [0.6, 0.6, 0.8]}]
        (folder / "labels" / f"{name}.json").write_text(json.dumps({"boxes": truth}))
    (folder / "classes.txt").write_text("chair\n")
    for split in ("train", "val"):
        (folder / f"{split}.txt").write_text("a\nb\nc\n")
    return folder


@pytest.mark.slow
def test_a_study_trains_scores_and_does_nothing_twice(scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    tiny = {"widths": [8, 8, 8, 8], "stem_channels": 8, "neck_channels": 8}
    shared = {
        "network.changes": tiny,
        "data": {"name": "folder", "path": str(scenes)},
        "schedule": {"num_steps": 2, "batch_size": 1, "warmup_steps": 1},
    }
    variants = {
        "plain": {},
        "focal": {"criterion.classification": {"name": "focal"}},
        "wild": {"schedule.learning_rate": 1e30, "schedule.clip_norm": 1e30},
    }
    path = written(tmp_path, shared=shared, variants=variants, data=[str(scenes)])
    out = tmp_path / "out"
    arguments = ("study", path, "--out", out, "--processes", "2")
    result = sr3d(*arguments, "--names", "focal")
    assert result.exit_code == 0, result.output
    weights = out / "focal-1" / "weights.safetensors"
    assert is_trained(weights.parent)
    table = (out / "table.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["plain", "focal"]
    assert "(of 1: " in table

    eval_json = tmp_path / "eval.json"
    asked = ("--data", scenes, "--weights", weights, "--json", eval_json)
    assert sr3d("eval", *asked).exit_code == 0
    scored = json.loads(next(weights.parent.glob("scores-*.json")).read_text())
    assert {key: json.loads(eval_json.read_text())[key] for key in scored["report"]} == (
        scored["report"]
    )

    with_less = Path(shutil.copytree(scenes, tmp_path / "scenes"))  # scenes that change
    by_folder = (*arguments, "--names", "focal", "--data", with_less)
    assert sr3d(*by_folder).exit_code == 0
    (with_less / "val.txt").write_text("a\nc\n")
    assert sr3d(*by_folder).exit_code == 0
    kept = [json.loads(each.read_text()) for each in out.glob("*-1/scores-*.json")]
    assert sorted(each["report"]["num_scenes"] for each in kept) == [2, 2, 3, 3]
    assert sr3d(*arguments, "--names", "focal").exit_code == 0

    times = {each: each.stat().st_mtime_ns for each in out.glob("*-1/*")}
    again = sr3d(*arguments, "--names", "focal")
    assert again.exit_code == 0
    assert "trainings 2/2" in again.stderr
    assert "trainings 1/2" not in again.stderr  # what was done before says nothing of the time
    assert {each: each.stat().st_mtime_ns for each in out.glob("*-1/*")} == times
    assert (out / "table.md").read_text() == table

    assert sr3d(*arguments, "--names", "focal", "--tests", "2").exit_code == 0
    assert len(list(weights.parent.glob("scores-*-test2.json"))) == 1
    assert {each: each.stat().st_mtime_ns for each in times} == times
    figures = json.loads((out / "study.json").read_text())["variants"]["focal"]
    assert figures["configuration"]["criterion.classification.name"] == "focal"
    (of_data,) = figures["data"].values()
    assert [len(tests) for tests in of_data["ap25"]["each_test"]] == [2]

    (out / "focal-1" / "trained.txt").unlink()  # as if it had been stopped
    failed = sr3d(*arguments)
    assert failed.exit_code == 1
    assert "1 of 3 trainings are missing" in failed.stderr.splitlines()[-1]
    assert "wild-1" in failed.stderr.splitlines()[-1]
    assert is_trained(weights.parent)
    rows = (out / "table.md").read_text().splitlines()
    assert [row.split("|")[2].strip() for row in rows[2:]] == ["1", "1", "0"]


@pytest.mark.slow
def test_a_study_that_is_asked_to_end_ends_its_trainings_which_save(
    scenes: Path, tmp_path: Path
) -> None:
    """Else they would go on unseen, and the same study once more would train beside them."""
    pytest.importorskip("accelerate")
    tiny = {"widths": [8, 8, 8, 8], "stem_channels": 8, "neck_channels": 8}
    shared = {
        "network.changes": tiny,
        "data": {"name": "folder", "path": str(scenes)},
        "schedule": {"num_steps": 100_000, "batch_size": 1},
    }
    path = written(tmp_path, shared=shared, variants={"long": {}, "later": {}}, data=[str(scenes)])
    out = tmp_path / "out"
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "sr3d_core.cli.main", "study", str(path), "--out", str(out)]
    log = out / "long-1" / "log.csv"
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(root)}) as study:
        while study.poll() is None and not (log.exists() and log.read_text().count("\n") > 1):
            time.sleep(0.05)
        study.terminate()
        assert study.wait() != 0
    assert read_state(out / "long-1" / "state.pt").step > 0
    assert not (out / "long-1" / "training.lock").exists()
    assert not (out / "later-1").exists()
