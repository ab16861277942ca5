"""Validation while a network trains: what it finds, keeps and ends; it changes nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_whole_files import no_file_longer_than
from training_cases import config, room, tensors, without_boxes

from sr3d_core.analysis.analyse import analyse
from sr3d_core.checkpoint import read_manifest
from sr3d_core.config import Config, ConfigError, Evaluation, parse_config
from sr3d_core.data.augment import Augment
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.data.sources import FolderSource
from sr3d_core.detector import Detector, Postprocess
from sr3d_core.evaluate import evaluate
from sr3d_core.plots import training_plot
from sr3d_core.structures import Sample
from sr3d_core.train import Progress, TrainingError, Validated, train
from sr3d_core.training.folder import RunFolder
from sr3d_core.training.state import read_state
from sr3d_core.training.validation import Validation

pytest.importorskip("accelerate")
TRAIN, VAL = [room(0), room(1)], [room(2), room(3), room(4)]
NAMES = ("map50", "map25")
EVERY = {"ema_decay": 0.5, "decay_norms": False}


@pytest.fixture(autouse=True)
def rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hand-made rooms to train on, three others to validate on."""
    use(monkeypatch, VAL)


def use(patch: pytest.MonkeyPatch, val: Sequence[Sample]) -> None:
    splits: dict[str, Sequence[Sample]] = {"train": TRAIN, "val": val}
    patch.setattr(RoomsSource, "classes", ("cube", "slab"))
    patch.setattr(RoomsSource, "front_classes", ())
    patch.setattr(RoomsSource, "open", lambda self, split: splits[split])


def with_figures(
    patch: pytest.MonkeyPatch, ap50: Sequence[float], ap25: Sequence[float] | None = None
) -> None:
    """Validation number n, from the first of these on, finds figure number n."""
    score, left = Validation.score, list(zip(ap50, ap25 or [0.5] * len(ap50), strict=True))

    def found(self: Validation, *inputs: Any) -> Any:
        report = score(self, *inputs)
        return None if report is None else {**report, **dict(zip(NAMES, left.pop(0), strict=True))}

    patch.setattr(Validation, "score", found)


def stop_after(step: int) -> Any:
    def on_step(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return on_step


def scores(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "validation.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=0, atol=0, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("switches", [{}, EVERY])
def test_validation_changes_nothing_that_is_learnt(
    tmp_path: Path, switches: dict[str, Any]
) -> None:
    without = train(config(4, **switches), tmp_path / "without")
    random_numbers = torch.get_rng_state()  # both runs set the seed
    with_it = train(config(4, validate_steps=1, **switches), tmp_path / "with")
    assert torch.equal(torch.get_rng_state(), random_numbers)
    assert_equal(tensors(without), tensors(with_it))
    a, b = (read_state(tmp_path / run / "state.pt") for run in ("without", "with"))
    assert_equal(a.network, b.network)
    logs = [(tmp_path / run / "log.csv").read_text().splitlines() for run in ("without", "with")]
    assert [line.split(",")[:-1] for line in logs[0]] == [line.split(",")[:-1] for line in logs[1]]


@pytest.mark.slow
@pytest.mark.parametrize("switches", [{}, EVERY])
def test_figures_are_those_of_an_evaluation_of_the_saved_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switches: dict[str, Any]
) -> None:
    """Of enough steps that something is found; by the configured rules."""
    use(monkeypatch, TRAIN)
    changes = {"widths": [16, 32, 32, 32], "stem_channels": 16, "neck_channels": 32}
    chosen = config(50, changes, learning_rate=4e-3, validate_steps=40, **switches)
    rules = Evaluation(nms="bev", max_points=3000)
    seen: list[Validated] = []
    weights = train(
        replace(chosen, augment=Augment(), evaluation=rules),
        tmp_path / "run",
        on_validated=seen.append,
    )
    assert [found.step for found in seen] == [40, 50]
    detector = Detector.from_checkpoint(
        weights, device="cpu", postprocess=Postprocess(nms="bev"), max_points=3000
    )
    other_rules = analyse(detector, TRAIN, assigner=chosen.criterion.assigner).other_rules
    assert other_rules is not None
    assert other_rules.assigner == "spota"
    assert 0 < other_rules.aic < 1
    expected = {**evaluate(detector, TRAIN).to_dict(), "aic": round(other_rules.aic, 6)}
    assert {"step": 50, **expected} == scores(tmp_path / "run")[-1]
    assert seen[-1].report == expected
    assert seen[-1].report["per_class"].keys() == {"cube", "slab"}
    assert seen[-1].report["map25"] > 0.1


@pytest.mark.slow
def test_the_best_weights_are_kept_beside_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_figures(monkeypatch, [0.2, 0.4, 0.4, 0.3])
    seen: list[Validated] = []
    last = train(config(4, validate_steps=1), tmp_path / "run", on_validated=seen.append)
    whole = train(config(4), tmp_path / "same", on_step=stop_after(2))
    assert_equal(tensors(tmp_path / "run" / "best.safetensors"), tensors(whole))
    train(config(4), tmp_path / "same", resume=True)
    assert_equal(tensors(last), tensors(whole))
    assert [(found.is_best, found.best_step, found.without_gain) for found in seen] == [
        (True, 1, 0),
        (True, 2, 0),
        (False, 2, 1),
        (False, 2, 2),
    ]


@pytest.mark.parametrize(
    ("at_most", "read"), [(1, [0]), (2, [0, 2]), (3, [0, 1, 2]), (9, [0, 1, 2, 3])]
)
def test_some_of_many_scenes_are_scored_spread_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_most: int, read: list[int]
) -> None:
    asked: list[int] = []

    class Four(list[Sample]):
        def __getitem__(self, index: Any) -> Any:
            asked.append(index)
            return super().__getitem__(index)

    use(monkeypatch, Four([room(seed) for seed in range(2, 6)]))
    train(config(1, validate_steps=1, validate_scenes=at_most), tmp_path / "run")
    assert asked == read
    assert scores(tmp_path / "run")[0]["num_scenes"] == len(read)


@pytest.mark.parametrize(("best_by", "best"), [("ap25", [1, 1]), ("ap50", [1, 2])])
def test_what_the_best_is_can_be_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best_by: Any, best: list[int]
) -> None:
    with_figures(monkeypatch, ap50=[0.2, 0.4], ap25=[0.6, 0.5])
    seen: list[Validated] = []
    chosen = config(2, validate_steps=1, best_by=best_by)
    train(chosen, tmp_path / "run", on_validated=seen.append)
    assert [found.best_step for found in seen] == best


def test_between_equals_the_other_threshold_decides_also_over_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A young network: nothing overlaps by half yet, but more and more is found."""
    with_figures(monkeypatch, ap50=[0.0, 0.0, 0.0, 0.0, 0.0], ap25=[0.1, 0.2, 0.4, 0.4, 0.3])
    seen: list[Validated] = []
    patient = config(9, validate_steps=1, patience=2)
    train(patient, tmp_path / "run", on_validated=seen.append)
    assert [found.best_step for found in seen] == [1, 2, 3, 3, 3]
    assert [found.without_gain for found in seen] == [0, 0, 0, 1, 2]


@pytest.mark.slow
def test_a_training_ends_after_so_many_validations_without_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_figures(monkeypatch, [0.2, 0.1, 0.3, 0.3, 0.1, 0.9])
    patient = config(9, validate_steps=1, patience=2)
    seen: list[Validated] = []
    train(patient, tmp_path / "run", on_validated=seen.append)
    assert [found.is_last for found in seen] == [False, False, False, False, True]
    assert read_state(tmp_path / "run" / "state.pt").step == 5
    train(patient, tmp_path / "run", resume=True)
    assert read_state(tmp_path / "run" / "state.pt").step == 5
    assert "schedule.patience is 2" in caplog.text
    more = replace(patient, schedule=replace(patient.schedule, patience=3))
    train(more, tmp_path / "run", resume=True, on_validated=seen.append, on_step=stop_after(7))
    assert seen[-1].best_step == 6


@pytest.mark.slow
@pytest.mark.parametrize("stopped_at", [1, 2, 3, 5])
def test_a_resumed_run_has_the_best_and_the_patience_of_one_that_was_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    """Stopped before, at, and after a validation; the third one in a row brings no gain."""
    asked = config(9, validate_steps=2, patience=2, **EVERY)
    figures = [0.2, 0.1, 0.1, 0.1]
    with_figures(monkeypatch, figures)
    train(asked, tmp_path / "whole")
    monkeypatch.undo()
    use(monkeypatch, VAL)
    with_figures(monkeypatch, figures)
    train(asked, tmp_path / "parts", on_step=stop_after(stopped_at))
    assert read_state(tmp_path / "parts" / "state.pt").step == stopped_at
    train(asked, tmp_path / "parts", resume=True)
    states = [read_state(tmp_path / run / "state.pt") for run in ("whole", "parts")]
    assert [state.step for state in states] == [6, 6]
    assert states[0].validation == states[1].validation
    for name in ("weights.safetensors", "best.safetensors"):
        assert_equal(*(tensors(tmp_path / run / name) for run in ("whole", "parts")))
    assert read_manifest(tmp_path / "parts" / "best.safetensors").description.endswith("2 steps")
    assert scores(tmp_path / "whole") == scores(tmp_path / "parts")


def test_a_validation_that_is_stopped_is_done_when_the_run_goes_on(tmp_path: Path) -> None:
    asked = config(3, validate_steps=2)

    def stop(num_done: int, num: int) -> None:
        assert num == len(VAL)
        os.kill(os.getpid(), signal.SIGINT)

    train(asked, tmp_path / "run", on_scored=stop)
    assert read_state(tmp_path / "run" / "state.pt").step == 2
    assert not (tmp_path / "run" / "validation.jsonl").exists()
    train(asked, tmp_path / "run", resume=True)
    assert [line["step"] for line in scores(tmp_path / "run")] == [2, 3]


@pytest.mark.parametrize("moment", ["last step", "last validation", "validation at first"])
def test_a_run_that_is_stopped_before_its_last_validation_is_not_done(
    tmp_path: Path, moment: str
) -> None:
    """All steps are done, or none in this session: neither says that the run is."""
    asked = config(2, validate_steps=2)
    stopped: list[tuple[int, int]] = []

    def stop_now(num_done: int, num: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def told(step: int, num_steps: int) -> None:
        stopped.append((step, num_steps))

    if moment == "last step":
        train(asked, tmp_path / "run", on_step=stop_after(2), on_stopped=told)
    else:
        train(asked, tmp_path / "run", on_scored=stop_now, on_stopped=told)
    assert stopped == [(2, 2)]
    if moment == "validation at first":
        train(asked, tmp_path / "run", resume=True, on_scored=stop_now, on_stopped=told)
        assert stopped == [(2, 2), (2, 2)]
    stopped.clear()
    train(asked, tmp_path / "run", resume=True, on_stopped=told)
    assert [line["step"] for line in scores(tmp_path / "run")] == [2]
    assert stopped == []


def test_a_disk_that_is_full_at_a_validation_does_not_disown_what_is_saved(
    tmp_path: Path,
) -> None:
    full = ExitStack()

    def fill(progress: Progress) -> None:
        if progress.step == 3:
            full.enter_context(no_file_longer_than(10_000))

    with full, pytest.raises(TrainingError, match=r"step 4 cannot be saved .*step 2 is"):
        train(config(4, validate_steps=2), tmp_path / "run", on_step=fill)
    assert read_state(tmp_path / "run" / "state.pt").step == 2


def test_scores_that_cannot_be_written_lose_no_step_and_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(folder: RunFolder, step: int, report: Any) -> str:
        with (folder.path / "validation.jsonl").open("a") as file:
            file.write('{"step": 2, "ma')
        return "validation.jsonl: cannot be written"

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "note_scores", cut_off)
        with pytest.raises(TrainingError, match=r"step 2: .*jsonl.* 2 steps, is saved"):
            train(config(4, validate_steps=2), tmp_path / "run")
    assert read_state(tmp_path / "run" / "state.pt").step == 2
    train(config(4, validate_steps=2), tmp_path / "run", resume=True)
    assert [line["step"] for line in scores(tmp_path / "run")] == [2, 4]


def test_scores_that_a_resumed_run_finds_again_stand_once(tmp_path: Path) -> None:
    asked = config(4, validate_steps=2)
    train(asked, tmp_path / "run", on_step=stop_after(3))
    log = tmp_path / "run" / "validation.jsonl"
    log.write_text(log.read_text() + '{"step": 4, "map50": 1.0}\n{"step": 5, "ma')
    train(asked, tmp_path / "run", resume=True)
    assert [line["step"] for line in scores(tmp_path / "run")] == [2, 4]
    assert scores(tmp_path / "run")[1]["num_scenes"] == len(VAL)


@pytest.mark.parametrize("change", ["file", "scenes", "rules"])
def test_the_best_is_sought_anew_where_it_cannot_be_compared(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: str,
) -> None:
    with_figures(monkeypatch, [0.9, 0.1])
    asked = config(2, validate_steps=1)
    train(asked, tmp_path / "run", on_step=stop_after(2))  # before its validation
    if change == "file":
        (tmp_path / "run" / "best.safetensors").unlink()
    elif change == "rules":
        asked = replace(asked, evaluation=Evaluation(nms="bev"))
    else:
        use(monkeypatch, VAL[:2])
    seen: list[Validated] = []
    train(asked, tmp_path / "run", resume=True, on_validated=seen.append)
    assert [found.best_step for found in seen] == [2]
    assert "sought anew" in caplog.text
    best, last = (tmp_path / "run" / name for name in ("best.safetensors", "weights.safetensors"))
    assert_equal(tensors(best), tensors(last))


def test_a_run_of_an_earlier_release_can_be_validated_from_then_on(tmp_path: Path) -> None:
    train(config(2), tmp_path / "run", on_step=stop_after(1))
    seen: list[Validated] = []
    train(config(2, validate_steps=1), tmp_path / "run", resume=True, on_validated=seen.append)
    assert [found.step for found in seen] == [1, 2]


@pytest.mark.parametrize("val", [[], [without_boxes(room(5))]])
def test_a_split_on_which_nothing_can_be_scored_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, val: list[Sample]
) -> None:
    use(monkeypatch, val)
    with pytest.raises(TrainingError, match=r"split val.* no boxes.*schedule\.validate_steps: 0"):
        train(config(validate_steps=1), tmp_path / "run")
    assert not (tmp_path / "run" / "validation.jsonl").exists()


@pytest.mark.parametrize("names", [None, "", "empty\n"])
def test_a_folder_on_which_nothing_can_be_scored_is_refused_before_the_first_step(
    tmp_path: Path, names: str | None
) -> None:
    data = tmp_path / "mine"
    for folder in ("clouds", "labels"):
        (data / folder).mkdir(parents=True)
    (data / "classes.txt").write_text("cube\n")
    (data / "train.txt").write_text("empty\n")
    np.save(data / "clouds" / "empty.npy", room(0).cloud.xyz.numpy())
    (data / "labels" / "empty.json").write_text('{"boxes": []}')
    if names is not None:
        (data / "val.txt").write_text(names)
    asked = replace(config(validate_steps=1), data=FolderSource(path=data))
    with pytest.raises(TrainingError, match=r"split val.*schedule\.validate_steps: 0"):
        train(asked, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_scene_that_cannot_be_validated_on_stops_the_training_and_loses_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(list[Sample]):
        def __getitem__(self, index: Any) -> Any:
            raise ValueError(f"labels/{index}.json: broken")

    use(monkeypatch, Broken(VAL))
    with pytest.raises(TrainingError, match=r"step 2: validation: labels/0\.json.*is saved"):
        train(config(validate_steps=2), tmp_path / "run")
    assert read_state(tmp_path / "run" / "state.pt").step == 2


def test_patience_without_validation_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"schedule\.patience.*schedule\.validate_steps"):
        parse_config({"schedule": {"patience": 3}})


def test_curves_are_drawn_anew_as_a_run_goes_on(tmp_path: Path) -> None:
    picture = tmp_path / "run" / "curves.png"
    train(config(4, validate_steps=2), tmp_path / "run", on_step=stop_after(3))
    first = picture.read_bytes()
    assert first.startswith(b"\x89PNG")
    train(config(4, validate_steps=2), tmp_path / "run", resume=True)
    assert picture.read_bytes() != first
    assert not list((tmp_path / "run").glob("*.part"))


def test_without_matplotlib_there_are_no_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "sr3d_core.plots", raising=False)
    for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
        monkeypatch.delitem(sys.modules, name)
    train(config(2), tmp_path / "run")
    assert not (tmp_path / "run" / "curves.png").exists()


def test_curves_are_drawn_of_lines_of_before_aic() -> None:
    steps = [
        {"step": k, "rate": 1e-3, "loss": 1.0, "classification": 0.5, "box": 0.5} for k in (1, 2)
    ]
    old = {"step": 2, "map25": 0.5, "map50": 0.25}
    drawn = [training_plot(steps, [line]) for line in (old, {**old, "aic": 0.3})]
    assert all(picture.startswith(b"\x89PNG") for picture in drawn)
    assert drawn[0] != drawn[1]


def test_events_of_tensorboard_are_those_of_the_logs(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    asked: Config = config(3, validate_steps=2, tensorboard=True)
    train(asked, tmp_path / "run", on_step=stop_after(1))
    train(asked, tmp_path / "run", resume=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = [line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    losses = events.Scalars("loss/total")
    assert [event.step for event in losses] == [1, 2, 3]
    assert [event.value for event in losses] == pytest.approx(
        [float(row[2]) for row in rows[1:]], abs=1e-5
    )
    aic = [line["aic"] for line in scores(tmp_path / "run")]
    assert [event.value for event in events.Scalars("val/aic")] == pytest.approx(aic, abs=1e-6)
    figures = events.Scalars("val/map50")
    assert [event.step for event in figures] == [2, 3]
