"""Studies of pre-training: sizes of labelled data, what is done before trainings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_harness import sr3d

from sr3d_core.data.rooms.prerender import prerender
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.study.before import Pretrainings, Probing, best_of, pretrained_weights, probe_apart
from sr3d_core.study.processes import StudyError
from sr3d_core.study.settings import Study
from sr3d_core.study.table import interval, markdown
from sr3d_core.study.training import check_same, is_trained, train_apart

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "config" / "study" / "pretraining.yaml"
TINY = {
    "stem_channels": 4,
    "widths": [4, 4, 4, 4],
    "depths": [1, 1, 1, 1],
    "neck_channels": 4,
    "voxel_size_m": 0.08,
    "stem_kernel": 1,
}


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rooms")
    prerender(folder, "train", 4, num_frames=1, scan=False)
    return folder


def names_of(rooms: Path, num_rooms: int, draw: int) -> set[str]:
    scenes = RoomsSource(prerendered=rooms, num_rooms=num_rooms, draw=draw).open("train")
    return {scenes[index].name for index in range(len(scenes))}


def test_rooms_of_a_smaller_number_are_among_those_of_a_larger_one(rooms: Path) -> None:
    for draw in range(4):
        sizes = [names_of(rooms, num, draw) for num in (1, 2, 3, 4)]
        assert [len(each) for each in sizes] == [1, 2, 3, 4]
        assert all(small < large for small, large in pairwise(sizes))
    assert len({frozenset(names_of(rooms, 2, draw)) for draw in range(6)}) > 1


def test_more_rooms_than_there_are_and_none_are_refused(rooms: Path) -> None:
    with pytest.raises(ValueError, match=r"4 rooms.*5"):
        RoomsSource(prerendered=rooms, num_rooms=5).open("train")
    with pytest.raises(ValueError, match="num_rooms"):
        RoomsSource(prerendered=rooms, num_rooms=0)
    with pytest.raises(ValueError, match="num_rooms"):
        RoomsSource(num_rooms=2)


def test_at_most_so_many_scenes_of_rendered_rooms_are_opened(rooms: Path) -> None:
    assert len(RoomsSource(prerendered=rooms).open("train", num=3)) == 3
    assert len(RoomsSource(prerendered=rooms).open("train", num=99)) == 4


@pytest.mark.parametrize("size", ["1", "5", "10", "100"])
def test_methods_of_one_size_and_seed_see_the_same_labels_and_start_from_their_own_weights(
    size: str,
) -> None:
    study = Study.read(SHIPPED)
    arms = [name.removesuffix("_100") for name in study.variants if name.endswith("_100")]
    assert arms[:2] == ["scratch", "scratch_longer"]
    for seed in (1, 2, 3):
        trees = {arm: study.tree(f"{arm}_{size}", seed, Path("out")) for arm in arms}
        data = [tree["data"] for tree in trees.values()]
        assert all(each == data[0] for each in data)
        assert data[0]["draw"] == seed
        assert data[0]["num_rooms"] == 4 * int(size)
        assert {tree["schedule"]["seed"] for tree in trees.values()} == {seed}
        weights = {arm: tree["network"].get("weights") for arm, tree in trees.items()}
        assert weights["scratch"] is weights["scratch_longer"] is None
        assert weights["dos"] == f"out/pretrained-dos-{seed}.safetensors"
        assert weights["supervised"] == f"out/pretrained-supervised-{seed}/weights.safetensors"
        assert weights.pop("dos_longer") == weights["dos"]
        assert len({*weights.values()} - {None}) == len(weights) - 2


@pytest.mark.parametrize("name", ["pretraining", "pretraining_sensor"])
def test_the_networks_of_pre_training_and_training_are_the_same(name: str) -> None:
    study = Study.read(SHIPPED.with_stem(name))
    for method in study.pretrainings.methods:
        changes = study.pretrainings.settings(method, 1)["changes"]
        assert changes == study.tree("dos_10", 1)["network"]["changes"]
    seeds = [study.pretrainings.settings("dos", seed)["steps"]["seed"] for seed in (1, 2)]
    assert seeds == [1, 2]


def test_a_method_may_learn_from_clouds_of_its_own() -> None:
    two = Pretrainings(
        sources=("rooms",), methods={"dos": {}, "there": {"sources": ["a", "b"], "method": "dos"}}
    )
    assert two.sources_of("dos") == ("rooms",)
    assert two.sources_of("there") == ("a", "b")
    assert two.settings("there", 1) == {"method": "dos", "steps": {"seed": 1}}


def test_a_method_is_compared_with_scratch_of_its_own_size() -> None:
    study = Study.read(SHIPPED)
    assert study.compared_with("dos_5") == ["scratch_5", "scratch_longer_5"]
    assert study.compared_with("scratch_5") == []
    assert study.chosen(["dos_5"]) == ["scratch_5", "scratch_longer_5", "dos_5"]


def written(folder: Path, **changes: Any) -> Path:
    tree = {"preset": "rooms", "variants": {"scratch": {}, "dos": {"starts_from": "dos"}}}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**tree, **changes}, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ("dos", "starts_from")),
        ({"pretrainings": {"methods": {"dos": {}}}}, ("sources",)),
        (
            {"pretrainings": {"sources": ["rooms"], "methods": {"dos": {"mask.rato": 1}}}},
            ("rato",),
        ),
        ({"pretrainings": {"methods": {"dos": {"sources": "rooms"}}}}, ("dos", "a list")),
        ({"variants": {"a": {"searched_as": "a"}}}, ("searched_as",)),
        ({"variants": {"a": {}}, "sizes": {"5": 3}}, ("sizes",)),
        ({"variants": {"a": {}}, "search": {"tries": []}}, ("tries",)),
        ({"variants": {"a": {}}, "baselines": {"a": "b"}}, ("baselines", "'b'")),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(StudyError) as caught:
        Study.read(written(tmp_path, **changes))
    assert all(word in str(caught.value) for word in (*words, "study.yaml"))


def test_the_best_settings_have_the_best_ap50_then_ap25_then_come_first() -> None:
    assert best_of([(0.1, 0.9), (0.2, 0.1), (0.2, 0.3)]) == 2
    assert best_of([(0.2, 0.3), (0.2, 0.3)]) == 0
    assert best_of([(-1.0, -1.0)]) == 0


def test_the_interval_of_three_pairs_is_that_of_a_table_of_students_t() -> None:
    """Mean 2 and deviation 1 of 1, 2 and 3; t of two degrees of freedom is 4.303."""
    low, high = interval([1.0, 2.0, 3.0]) or (0.0, 0.0)
    assert low == pytest.approx(2 - 4.303 / 3**0.5, abs=1e-3)
    assert high == pytest.approx(2 + 4.303 / 3**0.5, abs=1e-3)
    assert interval([1.0]) is None
    assert interval([]) is None


def test_probes_stand_below_the_variants_as_means_over_seeds() -> None:
    row = {"weights": "x", "miou": 0.2, "nearest": 0.5, "height": None, "border": 0.25}
    found: dict[str, Any] = {
        "first": "a",
        "tests": 1,
        "variants": {"a": {"seeds": [], "data": {"rooms": {}}}},
        "probes": {"1": {"dos": row}, "2": {"dos": {**row, "miou": 0.4}, "random": row}},
    }
    table = markdown(found).split("\n\n")[1].splitlines()
    assert table[2].startswith("| dos | 2 | 30.0 ± 14.1 | 50.0 ± 0.0 |  | 0.25 ± 0.00 |")
    assert table[3].startswith("| random | 1 | 20.0 | 50.0 |")


def test_a_training_from_other_weights_of_the_same_name_is_not_taken_for_done(
    rooms: Path, tmp_path: Path
) -> None:
    """As where a pre-training was removed and done again with other settings."""
    sources = {"sources": ["rooms"], "methods": {"dos": {}}}
    shared = {"data": {"name": "rooms", "prerendered": str(rooms)}}
    study = Study.read(written(tmp_path, pretrainings=sources, shared=shared))
    weights, folder = pretrained_weights(tmp_path, "dos", 1), tmp_path / "dos-1"
    weights.write_bytes(b"first")

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        folder.mkdir()
        (folder / "weights.safetensors").write_bytes(b"trained")
        return subprocess.Popen([sys.executable, "-c", ""], **options)

    tree = study.tree("dos", 1, tmp_path)
    train_apart(folder, tree, start=start)
    assert is_trained(folder)
    check_same(folder, tree)
    weights.write_bytes(b"second")
    with pytest.raises(StudyError, match=r"dos-1: .*other weights.*pretrained-dos-1"):
        check_same(folder, tree)
    weights.unlink()  # they are done again first
    check_same(folder, tree)


def test_rooms_that_were_added_are_probed_again(rooms: Path, tmp_path: Path) -> None:
    """The command itself is not run: what counts is whether it would be."""
    folder, weights = tmp_path / "rooms", tmp_path / "weights.safetensors"
    folder.mkdir()
    weights.write_bytes(b"weights")
    *few, last = sorted(rooms.iterdir(), key=lambda path: path.suffix == ".json", reverse=True)
    for path in few:
        shutil.copy(path, folder)
    asked: list[list[str]] = []

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        asked.append(command)
        (tmp_path / "probes-1.json").write_text('{"rows": []}')
        return subprocess.Popen([sys.executable, "-c", ""], **options)

    def probe() -> None:
        probing = Probing(data=f"rooms:,prerendered={folder}")
        probe_apart(probing, {"dos": weights}, 1, tmp_path, {}, start)

    probe()
    probe()
    assert len(asked) == 1
    shutil.copy(last, folder)
    probe()
    probe()
    assert len(asked) == 2


@pytest.mark.slow
def test_a_study_pre_trains_searches_trains_probes_and_does_nothing_twice(
    rooms: Path, tmp_path: Path
) -> None:
    pytest.importorskip("accelerate")
    source = f"rooms:,prerendered={rooms}"
    shared = {
        "network.changes": TINY,
        "data": {"name": "rooms", "prerendered": str(rooms)},
        "augment.max_points": 3000,
        "schedule": {"num_steps": 2, "batch_size": 1, "warmup_steps": 1, "validate_scenes": 1},
    }
    settings = {"changes": TINY, "steps.num": 2, "steps.batch_size": 2, "views.max_points": 2000}
    path = written(
        tmp_path,
        shared=shared,
        data=[source],
        split="train",
        num=2,
        seed_keys=["schedule.seed", "data.draw"],
        sizes={"half": {"data.num_rooms": 2}},
        pretrainings={
            "sources": [source],
            "shared": {**settings, "probe.data": "off"},
            "methods": {"dos": {}},
            "probe": {"data": source, "num": 4},
        },
        search={"size": "half", "tries": [{}, {"schedule.learning_rate": 0.1}]},
    )
    tree = yaml.safe_load(path.read_text())
    tree["variants"]["scratch"]["searched_as"] = "dos"  # one search is enough for a test
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    out = tmp_path / "out"
    room = RoomsSource(prerendered=rooms, num_rooms=2, draw=1).open("train").files[-1]
    result = sr3d("study", path, "--out", out, "--processes", "2")
    assert result.exit_code == 0, result.stderr
    figures = json.loads((out / "study.json").read_text())
    assert list(figures["variants"]) == ["scratch_half", "dos_half"]
    assert set(figures["probes"]["1"]) == {"dos", "random", "raw geometry"}
    assert figures["searched"]["dos_half"] in tree["search"]["tries"]
    tried = [json.loads((each / "validation.jsonl").read_text()) for each in out.glob("search-*1")]
    assert len(tried) == 2
    used = yaml.safe_load((out / "dos_half-1.yaml").read_text())
    weights = pretrained_weights(out, "dos", 1)
    assert used["network"]["weights"] == str(weights)
    assert "the backbone, pre-trained" in (out / "dos_half-1.log").read_text()

    times = {each: each.stat().st_mtime_ns for each in out.rglob("*") if each.is_file()}
    tables = {out / "table.md", out / "study.json"}
    assert sr3d("study", path, "--out", out).exit_code == 0
    again = {each: each.stat().st_mtime_ns for each in out.rglob("*") if each.is_file()}
    assert {each for each in again if again[each] != times.get(each)} <= tables

    content = room.read_bytes()
    room.write_bytes(content + b" ")
    stopped = sr3d("study", path, "--out", out)
    assert stopped.exit_code == 1
    assert str(rooms) in stopped.stderr.splitlines()[-1]
    assert "--accept-data" in stopped.stderr.splitlines()[-1]
    room.write_bytes(content)

    tree["pretrainings"]["shared"]["mask.ratio"] = 0.4
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    failed = sr3d("study", path, "--out", out)
    assert failed.exit_code == 1
    assert "pretrained-dos-1" in failed.stderr.splitlines()[-1]
    assert "other settings" in failed.stderr.splitlines()[-1]
