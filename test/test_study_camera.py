"""Studies of camera students: arms that are distillations, scored on images, beside references."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from camera_cases import Toys, config, scene
from camera_weights import save_teacher
from cli_harness import sr3d

from sr3d_core.checkpoint import load_any
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.prerender import prerender
from sr3d_core.distill.learner import CameraLearner
from sr3d_core.distill.settings import CameraConfig, load_camera_config, parse_camera_config
from sr3d_core.distill.teachers import TeacherNetwork
from sr3d_core.distill.unlabelled import AndUnlabelled
from sr3d_core.structures import Batch
from sr3d_core.study.kinds import Reference
from sr3d_core.study.processes import StudyError
from sr3d_core.study.settings import Study
from sr3d_core.train import train

SHIPPED = Path(__file__).resolve().parent.parent / "config" / "study" / "monostl.yaml"


def parsed(study: Study, name: str) -> CameraConfig:
    found = study.parsed(name)
    assert isinstance(found, CameraConfig)
    return found


def test_all_arms_begin_from_one_student_and_learn_equally_long() -> None:
    study = Study.read(SHIPPED)
    arms = [name for name in study.variants if name != "dense"]
    for seed in (1, 2, 3):
        trees = [study.tree(name, seed, Path("out")) for name in arms]
        assert {tree["student"]["weights"] for tree in trees} == {"runs/cells/weights.safetensors"}
        assert {tree["schedule"]["seed"] for tree in trees} == {seed}
        assert len({json.dumps(tree["schedule"]) for tree in trees}) == 1
        assert len({json.dumps(tree["data"]) for tree in trees}) == 1
    first = load_camera_config(SHIPPED.parent.parent / "camera_cells.yaml")
    assert first.depth.first_steps == first.schedule.num_steps  # of cells alone
    assert not first.distill.is_asked
    assert first.student.camera.image == parsed(study, "none").student.camera.image
    assert study.labelled_tree("dense_student", 2)["schedule"]["seed"] == 2


def test_the_arms_are_those_of_the_comparison() -> None:
    study = Study.read(SHIPPED)
    terms = {}
    for name in study.variants:
        distill = parsed(study, name).distill
        weights = (distill.feature.weight, distill.relation.weight, distill.response.weight)
        terms[name] = (distill.preset, *(weight > 0 for weight in weights))
    assert study.first == "none"
    assert terms["none"][0] == terms["dense"][0] == "none"
    assert terms["plain"] == ("plain", True, True, True)
    assert terms["monostl"] == ("monostl", True, True, True)
    assert terms["monostl_features"] == ("monostl", True, False, False)
    assert terms["monostl_relations"] == ("monostl", False, True, False)
    assert terms["response"] == ("monostl", False, False, True)
    for name in ("monostl_literal", "published"):
        assert terms[name] == ("monostl_literal", True, True, True)
    assert terms["monostl_adapter"] == terms["monostl"]
    adapted = [name for name in study.variants if parsed(study, name).has_adapter]
    assert adapted == ["monostl_adapter", "published"]
    cells = [name for name in study.variants if parsed(study, name).compares_cells]
    assert cells == ["published"]
    assert parsed(study, "published").distill.relation.weight == 1.0
    for name in ("both", "depth_image", "oracle_lift", "unlabelled"):
        assert terms[name] == ("both", True, True, True)
    kinds = {name: parsed(study, name).teacher.kind for name in study.variants}
    assert {name for name, kind in kinds.items() if kind != "points"} == {
        "depth_image",
        "oracle_lift",
        "published",
    }
    for name in ("depth_image", "oracle_lift", "published"):
        tree = study.tree(name, 3, Path("out"))
        own = "depth_image" if name == "published" else name
        assert tree["teacher"]["weights"] == f"out/pretrained-{own}_teacher-3/weights.safetensors"
    teachers = {
        name: parse_camera_config(study.labelled_tree(name, 1)).student
        for name in ("depth_image_teacher", "oracle_lift_teacher", "dense_student")
    }
    assert teachers["depth_image_teacher"].camera.input == "depth"
    assert teachers["oracle_lift_teacher"].sees_depth
    assert teachers["dense_student"].camera == parsed(study, "dense").student.camera
    assert [name for name in study.variants if parsed(study, name).unlabelled] == ["unlabelled"]
    assert study.references["nothing"] == Reference()


def written(folder: Path, **changes: Any) -> Path:
    tree = {"trains": "distill", "variants": {"none": {}}, **changes}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": "rooms"}, ("preset", "network of clouds")),
        ({"tests": 2}, ("tests", "image")),
        ({"trains": "pretrain"}, ("trains",)),
        ({"variants": {"a": {"taught_by": "b"}}}, ("taught_by", "'b'")),
        ({"references": {"none": {}}}, ("references", "none")),
        ({"references": {"a": {"of": "b"}}}, ("references: a", "'b'")),
        ({"references": {"a": {"of": "none", "weights": "default"}}}, ("references: a", "one")),
        ({"references": {"a": {"true_depth": True}}}, ("references: a", "true_depth")),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(StudyError) as caught:
        Study.read(written(tmp_path, **changes))
    assert all(word in str(caught.value) for word in (*words, "study.yaml"))


def test_a_network_of_clouds_is_taught_by_nobody(tmp_path: Path) -> None:
    path = written(tmp_path, trains="train", preset="rooms", variants={"a": {"taught_by": "a"}})
    with pytest.raises(ValueError, match="taught_by"):
        Study.read(path).parsed("a")


def test_scenes_without_labels_come_after_the_others_and_have_none() -> None:
    both = AndUnlabelled(Toys(), Toys())  # type: ignore[arg-type]
    assert len(both) == 12
    assert len(both[3].targets) == 2
    assert both[3].is_labelled
    assert len(both[9].targets) == 0
    assert not both[9].is_labelled
    batch = Batch.collate([both[9], both[0], both[10]])
    assert batch.unlabelled == (0, 2)
    assert batch.to("cpu").unlabelled == (0, 2)


def test_what_the_teacher_is_sure_of_is_true_where_nothing_is_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher that scores 0.4 everywhere is believed, one that scores 0.2 is not."""
    teacher = save_teacher(tmp_path / "teacher.safetensors", ("chair", "table"))
    asked = config(teacher, Toys(), distill={"preset": "both"})
    settings = asked.teacher
    network = TeacherNetwork(settings, torch.device("cpu"), "auto")
    sample = AndUnlabelled(Toys(), Toys())[6]  # type: ignore[arg-type]
    batch = Batch.collate([scene(0), sample])
    counts = []
    for score in (0.2, 0.4):
        with torch.no_grad():
            network.network.head.classify.bias.fill_(torch.logit(torch.tensor(score)))
            network.network.head.classify.weight.zero_()
        found = network.taken_as_true(network(batch), [1])
        counts.append(sum(len(each) for each in found))
    assert counts[0] == 0
    assert counts[1] > 0


def test_a_training_with_scenes_that_nobody_labelled_learns(tmp_path: Path) -> None:
    teacher = save_teacher(tmp_path / "teacher.safetensors", ("chair", "table"))
    asked = config(teacher, Toys(), distill={"preset": "both"}, schedule={"batch_size": 12})
    train(replace(asked, unlabelled=Toys()), tmp_path / "run", learner=CameraLearner)
    rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert len(rows) == 5
    with pytest.raises(ValueError, match=r"unlabelled is set.*depth_image"):
        replace(
            asked, unlabelled=Toys(), teacher=replace(asked.teacher, kind="depth_image")
        ).scenes()


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms")
    prerender(folder, "train", 2, num_frames=0, scan=False, images=2)
    return folder


class StoppedError(Exception):
    """As if the power went."""


def stop_after_one_step(progress: Any) -> None:
    if progress.step == 1:
        raise StoppedError


@pytest.mark.slow
def test_a_study_distils_scores_images_goes_on_and_does_nothing_twice(
    rooms: Path, tmp_path: Path
) -> None:
    teacher = save_teacher(tmp_path / "teacher.safetensors", LABELS)
    source = {"name": "rooms", "images": True, "prerendered": str(rooms)}
    data = f"rooms:,images=true,prerendered={rooms}"
    path = written(
        tmp_path,
        shared={
            "data": source,
            "student.camera.size": [64, 48],
            "student.camera.channels": 8,
            "teacher.weights": str(teacher),
            "distill.preset": "none",
            "schedule": {"num_steps": 2, "batch_size": 2, "warmup_steps": 0},
        },
        data=[data],
        split="train",
        num=2,
        pretrainings={"labelled": {"student": {}, "seer": {"student.sees_depth": True}}},
        variants={
            "none": {"starts_from": "student"},
            "both": {"starts_from": "student", "distill.preset": "both", "unlabelled": source},
            "lifted": {
                "starts_from": "student",
                "taught_by": "seer",
                "teacher.kind": "oracle_lift",
                "distill.preset": "plain",
            },
        },
        references={
            "teacher": {"weights": str(teacher)},
            "seen": {"of": "none", "true_depth": True},
            "nothing": {},
        },
    )
    out = tmp_path / "out"
    result = sr3d("study", path, "--out", out)
    assert result.exit_code == 0, result.output
    figures = json.loads((out / "study.json").read_text())
    assert list(figures["variants"]) == ["none", "both", "lifted"]
    assert list(figures["references"]) == ["teacher", "seen", "nothing"]
    assert figures["references"]["nothing"]["data"][data]["ap25"]["mean"] == 0.0
    assert figures["references"]["teacher"]["images"][data] == {}
    images = figures["variants"]["both"]["images"][data]
    assert 0 < images["abs_rel"]["mean"] < 10
    assert {"ap25_at_true_depth", "delta_1_25", "within_std"} <= set(images)
    assert "AbsRel" in (out / "table.md").read_text()
    used = yaml.safe_load((out / "lifted-1.yaml").read_text())
    assert used["teacher"]["weights"].startswith(str(out / "pretrained-seer-1"))

    scored = json.loads(next((out / "both-1").glob("scores-*.json")).read_text())["report"]
    asked = ("--data", data, "--split", "train", "--num", "2", "--json", tmp_path / "eval.json")
    weights = out / "both-1" / "weights.safetensors"
    assert sr3d("eval", "--input", "rgb", "--weights", weights, *asked).exit_code == 0
    told = json.loads((tmp_path / "eval.json").read_text())
    assert {key: told[key] for key in scored} == scored

    times = {each: each.stat().st_mtime_ns for each in out.rglob("*") if each.is_file()}
    tables = {out / "table.md", out / "study.json"}
    table = (out / "table.md").read_text()
    assert sr3d("study", path, "--out", out).exit_code == 0
    again = {each: each.stat().st_mtime_ns for each in out.rglob("*") if each.is_file()}
    assert {each for each in again if again[each] != times.get(each)} <= tables
    assert (out / "table.md").read_text() == table

    before = load_any(weights)[0].state_dict()
    shutil.rmtree(out / "both-1")
    settings = load_camera_config(out / "both-1.yaml")
    with pytest.raises(StoppedError):
        train(settings, out / "both-1", learner=CameraLearner, on_step=stop_after_one_step)
    assert sr3d("study", path, "--out", out).exit_code == 0
    rows = (out / "both-1" / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2"]
    for name, tensor in load_any(weights)[0].state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
