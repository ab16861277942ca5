"""The state of a run: damage, full disks and kills are survived or refused; what may change."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_whole_files import no_file_longer_than
from training_cases import config, room, stand_in, tensors

from sr3d_core.checkpoint import read_manifest
from sr3d_core.config import Config
from sr3d_core.data.folder import DatasetError, FolderSource
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.structures import Sample
from sr3d_core.supervision.center_topk import CenterTopK
from sr3d_core.supervision.criterion import Criterion
from sr3d_core.train import Progress, TrainingError, train
from sr3d_core.training.state import check_fits, read_state, settings_of

pytest.importorskip("accelerate")
ROOMS = [room(0), room(1)]


@pytest.fixture(autouse=True)
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The configured data source gives two hand-made rooms, or what the test says instead."""

    def give(scenes: Any = ROOMS, classes: tuple[str, ...] = ("cube", "slab")) -> None:
        for name, value in stand_in(scenes, classes).items():
            monkeypatch.setattr(RoomsSource, name, value)

    give()
    return give


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stand_in(ROOMS).items():
            patch.setattr(RoomsSource, name, value)
        folder = tmp_path_factory.mktemp("whole") / "run"
        train(config(4), folder)
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def assert_same_run(run: Path, whole: Path) -> None:
    """Bit for bit."""
    assert read_manifest(run / "weights.safetensors").sha256 == (
        read_manifest(whole / "weights.safetensors").sha256
    )
    assert sorted(path.name for path in run.iterdir()) == (
        sorted(path.name for path in whole.iterdir())
    )
    logs = [(each / "log.csv").read_text().splitlines() for each in (run, whole)]
    assert [line.split(",")[:-1] for line in logs[0]] == [line.split(",")[:-1] for line in logs[1]]


def assert_one_pair(run: Path, step: int) -> None:
    """State and weights are both of this step, and nothing else lies there."""
    state = read_state(run / "state.pt")
    assert state.step == step
    assert state.weights_sha256 == read_manifest(run / "weights.safetensors").sha256
    assert not list(run.glob("*.part"))


# Damage


@pytest.mark.parametrize("place", [0.0, 0.01, 0.3, 0.5, 0.7, 0.99, 1.0])
def test_a_flipped_bit_is_refused(run: Path, place: float) -> None:
    content = bytearray((run / "state.pt").read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (run / "state.pt").write_bytes(content)
    before = (run / "weights.safetensors").read_bytes()
    with pytest.raises(TrainingError, match=r"state\.pt"):
        train(config(5), run, resume=True)
    assert (run / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize("num_bytes", [0, 1, 80, -1, -73, -1000])
def test_a_state_that_was_cut_short_is_refused(run: Path, num_bytes: int) -> None:
    content = (run / "state.pt").read_bytes()
    (run / "state.pt").write_bytes(content[:num_bytes])
    with pytest.raises(TrainingError, match=r"state\.pt"):
        train(config(5), run, resume=True)


def test_another_programs_file_with_a_right_digest_is_refused(run: Path) -> None:
    import hashlib
    import io

    buffer = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    (run / "state.pt").write_bytes(buffer.getvalue() + f"\nsha256 {digest}\n".encode())
    with pytest.raises(TrainingError, match=r"state\.pt"):
        train(config(5), run, resume=True)


@pytest.mark.parametrize("damage", [b"", b"nonsense"])
def test_weights_that_do_not_belong_to_the_state_are_written_again(
    run: Path, whole: Path, damage: bytes
) -> None:
    (run / "weights.safetensors").write_bytes(damage)
    train(config(4), run, resume=True)
    assert_same_run(run, whole)


# Full disks and kills


@pytest.mark.slow
@pytest.mark.parametrize("file", ["state.pt", "weights.safetensors"])
def test_a_full_disk_keeps_the_last_pair_and_the_next_resume_goes_on(
    tmp_path: Path, whole: Path, file: str
) -> None:
    """Both files are too large, or the larger one alone."""
    run = tmp_path / "run"
    limit = (whole / file).stat().st_size - 1

    def fill(progress: Progress) -> None:
        if progress.step == 3:
            full.enter_context(no_file_longer_than(limit))

    full = ExitStack()
    with full, pytest.raises(TrainingError, match=r"step 3 .*step 2"):
        train(config(4, checkpoint_minutes=0), run, on_step=fill)
    assert_one_pair(run, step=2)
    train(config(4), run, resume=True)
    assert_same_run(run, whole)


def test_a_disk_that_is_full_from_the_start_is_one_error(tmp_path: Path) -> None:
    with no_file_longer_than(10_000), pytest.raises(TrainingError, match="step 1"):
        train(config(1), tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.yaml", "log.csv"]
    train(config(1), tmp_path / "run")


def test_a_full_log_stops_before_a_step_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_log(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "log.csv":
            raise OSError(28, "No space left on device")
        return open_file(path, *args, **options)

    def fill(progress: Progress) -> None:
        if progress.step == 1:
            monkeypatch.setattr(Path, "open", no_log)

    open_file = Path.open
    with pytest.raises(TrainingError, match=r"log\.csv"):
        train(config(4), tmp_path / "run", on_step=fill)
    monkeypatch.undo()
    assert_one_pair(tmp_path / "run", step=2)


KILLED = """
import os, signal, sys
from pathlib import Path
from training_cases import config, room, use_scenes
from sr3d_core.train import train

num_renames, replace = int(sys.argv[2]), Path.replace

def replace_or_die(part, path):
    global num_renames
    if path.name in ("state.pt", "weights.safetensors") and train.is_late:
        num_renames -= 1
        if num_renames < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return replace(part, path)

def on_step(progress):
    train.is_late = progress.step == 3

train.is_late = False
Path.replace = replace_or_die
use_scenes([room(0), room(1)])
train(config(4, checkpoint_minutes=0), Path(sys.argv[1]), on_step=on_step)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("num_renames", "step"), [(0, 2), (1, 3)])
def test_a_kill_before_or_between_the_renames_loses_no_saved_step(
    tmp_path: Path, whole: Path, num_renames: int, step: int
) -> None:
    run, test = tmp_path / "run", Path(__file__).resolve().parent
    environment = {**os.environ, "PYTHONPATH": f"{test.parent}{os.pathsep}{test}"}
    command = [sys.executable, "-c", KILLED, str(run), str(num_renames)]
    assert subprocess.run(command, env=environment).returncode == -signal.SIGKILL
    assert list(run.glob("*.part"))
    assert read_state(run / "state.pt").step == step
    read_manifest(run / "weights.safetensors")  # sound, of this step or the one before
    train(config(4), run, resume=True)
    assert_same_run(run, whole)


@pytest.mark.parametrize("rest", [b"\0" * 40, b"3,0.1,\xff\xfe,1,1,1,1\n", b"3,0.00"])
def test_what_a_power_cut_leaves_in_a_log_stops_no_resume(
    tmp_path: Path, whole: Path, rest: bytes
) -> None:
    def cut(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    run = tmp_path / "run"
    train(config(4), run, on_step=cut)
    for name in ("log.csv", "validation.jsonl"):
        with (run / name).open("ab") as file:
            file.write(rest)
    train(config(4), run, resume=True)
    (run / "validation.jsonl").unlink()
    assert_same_run(run, whole)


HOLDS = """
import sys
from pathlib import Path
from sr3d_core.training.folder import RunFolder

with RunFolder(Path(sys.argv[1])).alone():
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("is_resumed", [False, True])
def test_two_trainings_cannot_write_into_one_folder(
    tmp_path: Path, run: Path, is_resumed: bool
) -> None:
    """As when a study is started again whose trainings still run."""
    folder = run if is_resumed else tmp_path / "new"
    before = sorted(folder.glob("*"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(TrainingError, match="another training"):
            train(config(5), folder, resume=is_resumed)
        other.kill()
    train(config(5), folder, resume=is_resumed)
    assert read_state(folder / "state.pt").step == 5
    assert {*before} <= {*folder.glob("*")}
    assert not (folder / "training.lock").exists()


# What a training that fails has saved


class BreaksAfter(list[Sample]):
    """Scenes that cannot be read any more once so many were."""

    left = 5

    def __getitem__(self, index: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise DatasetError("labels/bad.json: broken")
        return super().__getitem__(index)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_scene_that_cannot_be_read_loses_no_step(
    tmp_path: Path, whole: Path, use: Callable[..., None], num_workers: int
) -> None:
    use(BreaksAfter(ROOMS))
    with pytest.raises(TrainingError, match=r"bad\.json") as caught:
        train(config(4, num_workers=num_workers), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert_one_pair(tmp_path / "run", step=2)
    use()
    train(config(4), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_a_scene_that_cannot_be_read_at_first_leaves_the_folder_free(
    tmp_path: Path, use: Callable[..., None]
) -> None:
    scenes = BreaksAfter(ROOMS)
    scenes.left = 0
    use(scenes)
    with pytest.raises(TrainingError, match=r"bad\.json"):
        train(config(1), tmp_path / "run")
    use()
    train(config(1), tmp_path / "run")


class Spoilt(list[Sample]):
    """Scenes whose colors are beyond all numbers once so many were read."""

    left = 5

    def __getitem__(self, index: Any) -> Any:
        self.left -= 1
        sample = super().__getitem__(index)
        if self.left >= 0:
            return sample
        glaring = torch.full_like(sample.cloud.features, torch.inf)
        return replace(sample, cloud=replace(sample.cloud, features=glaring))


def test_a_loss_that_is_not_finite_saves_the_state_before_it(
    tmp_path: Path, whole: Path, use: Callable[..., None]
) -> None:
    """Also the statistics, which the step had moved already."""
    use(Spoilt(ROOMS))
    with pytest.raises(TrainingError, match=r"step 2.* on scenes room \d, room \d"):
        train(config(4), tmp_path / "run")
    assert_one_pair(tmp_path / "run", step=2)
    use()
    train(config(4), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_a_step_that_fails_in_any_way_saves_the_state_before_it(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    criterion = Criterion.__call__
    left = iter([True, True])

    def fails_later(self: Criterion, *inputs: Any) -> Any:
        if next(left, False):
            return criterion(self, *inputs)
        raise MemoryError("too large a scene")

    monkeypatch.setattr(Criterion, "__call__", fails_later)
    with pytest.raises(MemoryError):
        train(config(4), tmp_path / "run")
    monkeypatch.setattr(Criterion, "__call__", criterion)
    assert_one_pair(tmp_path / "run", step=2)
    train(config(4), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_a_step_that_was_cut_off_midway_is_not_saved_as_the_one_before(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some weights have moved and others not."""
    step = torch.optim.AdamW.step
    left = iter([True, True])

    def fails_later(self: torch.optim.AdamW, closure: Any = None) -> Any:
        if next(left, False):
            return step(self)
        self.param_groups[0]["params"][0].detach().zero_()
        raise MemoryError("no room for the moments")

    monkeypatch.setattr(torch.optim.AdamW, "step", fails_later)
    with pytest.raises(MemoryError):
        train(config(4), tmp_path / "run")
    assert "step 3 was cut off" in caplog.text
    assert not (tmp_path / "run" / "state.pt").exists()
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    train(config(4), tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


def test_a_listener_that_fails_loses_no_step(tmp_path: Path, whole: Path) -> None:
    def listen(progress: Progress) -> None:
        if progress.step == 3:
            raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError):
        train(config(4), tmp_path / "run", on_step=listen)
    assert_one_pair(tmp_path / "run", step=3)
    train(config(4), tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_a_network_that_is_no_longer_finite_is_an_error_at_the_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(self: torch.optim.AdamW, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.detach().fill_(torch.inf)

    monkeypatch.setattr(torch.optim.AdamW, "step", diverge)
    with pytest.raises(TrainingError, match="step 1"):
        train(config(1), tmp_path / "run")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


# What may be set otherwise


def test_a_finished_run_is_extended_at_the_rate_of_the_longer_schedule(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    longer = config(8)
    with caplog.at_level(logging.WARNING):
        train(longer, run, resume=True)
    rates = [float(line.split(",")[1]) for line in (run / "log.csv").read_text().splitlines()[5:]]
    expected = [longer.schedule.rate_at(step) for step in range(4, 8)]
    assert rates == pytest.approx(expected, rel=1e-2)
    assert_one_pair(run, step=8)
    assert "schedule.num_steps was 4, is 8" in caplog.text
    assert f"{expected[0]:.3g}" in caplog.text
    assert "num_steps: 8" in (run / "config.yaml").read_text()


def test_fewer_steps_than_are_done_are_refused(run: Path) -> None:
    with pytest.raises(TrainingError, match=r"4 steps .*num_steps is 3"):
        train(config(3), run, resume=True)


def test_speed_and_places_may_change_and_are_named(
    run: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed = config(4, num_workers=1, checkpoint_minutes=99)
    network = replace(changed.network, backend="torch")
    with caplog.at_level(logging.WARNING):
        train(replace(changed, network=network), run, resume=True)
    for key in ("schedule.num_workers", "schedule.checkpoint_minutes", "network.backend"):
        assert key in caplog.text
    assert_same_run(run, whole)


def test_swapped_classes_are_refused(run: Path, use: Callable[..., None]) -> None:
    use(classes=("slab", "cube"))
    with pytest.raises(TrainingError, match=r"'cube', 'slab'.*'slab', 'cube'"):
        train(config(5), run, resume=True)


def test_another_number_of_scenes_is_refused(run: Path, use: Callable[..., None]) -> None:
    use([*ROOMS, room(2)])
    with pytest.raises(TrainingError, match="were 2, are 3"):
        train(config(5), run, resume=True)


OTHERWISE: list[tuple[str, Config]] = [
    ("schedule.seed", config(4, seed=1)),
    ("schedule.batch_size", config(4, batch_size=1)),
    ("schedule.learning_rate", config(4, learning_rate=1e-4)),
    ("schedule.clip_norm", config(4, clip_norm=1.0)),
    ("augment.flip_x", replace(config(4), augment=replace(config(4).augment, flip_x=0.1))),
    ("criterion.assigner.name", replace(config(4), criterion=Criterion(assigner=CenterTopK()))),
    ("network.neck_channels", config(4, changes={"neck_channels": 16})),
]


@pytest.mark.parametrize(("key", "changed"), OTHERWISE, ids=[key for key, _ in OTHERWISE])
def test_what_decides_the_steps_is_refused_by_name(run: Path, key: str, changed: Config) -> None:
    with pytest.raises(TrainingError, match=key.replace(".", r"\.") + " was"):
        train(changed, run, resume=True)


def test_two_ways_to_say_the_same_architecture_are_one(run: Path, whole: Path) -> None:
    same = config(4, changes={"stem_kernel": 2})  # as the preset has it
    train(same, run, resume=True)
    assert_same_run(run, whole)


def test_a_folder_may_move_but_its_scenes_stay_in_order(tmp_path: Path, run: Path) -> None:
    def settings(place: str, names: list[str]) -> dict[str, Any]:
        folder = tmp_path / place
        (folder / "clouds").mkdir(parents=True)
        (folder / "classes.txt").write_text("cube\nslab\n")
        (folder / "train.txt").write_text("\n".join(names))
        for name in names:
            (folder / "clouds" / f"{name}.npy").touch()
        source = FolderSource(path=folder)
        return settings_of(replace(config(4), data=source), source.open("train"))

    state = replace(read_state(run / "state.pt"), settings=settings("here", ["a", "b"]))
    changes = check_fits(run / "state.pt", state, settings("there", ["a", "b"]), num_steps=4)
    assert len(changes) == 1
    assert "data.path was" in changes[0]
    for place, names in (("swapped", ["b", "a"]), ("longer", ["a", "b", "c"])):
        with pytest.raises(TrainingError, match="scene"):
            check_fits(run / "state.pt", state, settings(place, names), num_steps=4)


def test_the_weights_of_a_resumed_run_are_those_of_its_classes(run: Path) -> None:
    train(config(5), run, resume=True)
    assert read_manifest(run / "weights.safetensors").classes == ("cube", "slab")
    assert all(tensor.isfinite().all() for tensor in tensors(run / "weights.safetensors").values())
