"""Many recordings at once: lost workers, interrupts, results that no number of workers changes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_harness import save_untrained
from small_bags import without_times, write_bag
from typer.testing import CliRunner
from worker_jobs import work

from sr3d_ros.bag.commands import app
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.many.folder import ResultFolder
from sr3d_ros.bag.many.processes import Processes
from sr3d_ros.bag.many.schedule import Ended, Lost, run_all


class Forgetful:
    """Workers that lose each job so many times, and answer the newest one first."""

    num, num_clouds = 2, 0

    def __init__(self, losses: Sequence[int]) -> None:
        self.losses, self.started = list(losses), list[int]()
        self._under_way = list[int]()

    def __enter__(self) -> Forgetful:
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self, number: int, message: Mapping[str, Any]) -> None:
        self.started.append(number)
        self._under_way.append(number)
        assert len(self._under_way) <= self.num

    def wait(self) -> list[tuple[int, dict[str, Any] | Lost]]:
        number = self._under_way.pop()
        self.losses[number] -= 1
        return [(number, Lost("gone") if self.losses[number] >= 0 else {"number": number})]


def ends(workers: Any, messages: Sequence[Mapping[str, Any]]) -> list[Ended]:
    with workers:
        events = run_all(len(messages), lambda number, _: messages[number], workers)
        return [ended for ended in events if ended is not None]


def test_a_lost_job_is_done_again_at_most_twice() -> None:
    workers = Forgetful([0, 1, 2, 3, 9, 0])
    final = {end.number: end for end in ends(workers, [{}] * 6) if end.is_final}
    assert [final[number].attempt for number in range(6)] == [1, 2, 3, 3, 3, 1]
    assert [isinstance(final[number].answer, Lost) for number in range(6)] == [
        *(False, False, False, True, True, False)
    ]
    assert len(workers.started) == 1 + 2 + 3 + 3 + 3 + 1


def test_a_process_that_is_killed_loses_no_other_job(tmp_path: Path) -> None:
    kinds = ("no", "once", "always", "no")
    messages = [{"ends": kind, "mark": str(tmp_path / f"{n}")} for n, kind in enumerate(kinds)]
    done = ends(Processes(work, 2), messages)
    final = {end.number: end for end in done if end.is_final}
    assert [final[number].attempt for number in range(4)] == [1, 2, 3, 1]
    lost = final[2].answer
    assert isinstance(lost, Lost)
    assert "SIGKILL" in lost.how
    processes = {final[number].answer["process"] for number in (0, 1, 3)}  # type: ignore[index]
    assert os.getpid() not in processes


@pytest.fixture
def interrupts() -> Iterator[None]:
    """An interrupt raises KeyboardInterrupt, also where whoever started the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_stops_all_processes(tmp_path: Path) -> None:
    marks = [tmp_path / "a", tmp_path / "b"]
    messages = [{"ends": "never", "mark": str(mark)} for mark in marks]
    workers = Processes(work, 2)
    with pytest.raises(KeyboardInterrupt), workers:  # noqa: PT012
        for _ in run_all(2, lambda number, _: messages[number], workers):
            if workers.num_clouds == 6:  # both said so
                os.kill(os.getpid(), signal.SIGINT)
    for mark in marks:
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.read_text()), 0)


def test_results_are_named_after_recordings_and_old_ones_go(tmp_path: Path) -> None:
    bags = [tmp_path / "a" / "drive", tmp_path / "b" / "drive", tmp_path / "summary"]
    out = tmp_path / "out"
    out.mkdir()
    (out / "drive.json").write_text("of an earlier run")
    folder = ResultFolder(out, bags)
    assert folder.names == ["drive.json", "drive-2.json", "summary-2.json"]
    folder.remove_old()
    assert list(out.iterdir()) == []
    first, second = folder.part(0, 1), folder.part(0, 2)
    for part in (first, second):
        part.write_text(part.name)
    folder.take(Ended(0, 1, Lost("gone"), is_final=False))
    folder.take(Ended(0, 2, {"num_frames": 1}, is_final=True))
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [
        ("drive.json", second.name)
    ]
    folder.part(1, 1).write_text("begun")
    folder.remove_parts()
    assert [path.name for path in out.iterdir()] == ["drive.json"]
    with pytest.raises(ReplayError, match="drive"):
        ResultFolder(out, [bags[0], bags[0]])


def run_command(*arguments: Any) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["detect", *(str(argument) for argument in arguments)])
    return result.exit_code, result.output


@pytest.mark.parametrize("options", [["--json"], ["--pictures"], ["--out"]])
def test_an_output_of_one_recording_is_refused_for_several(
    tmp_path: Path, options: list[str]
) -> None:
    place = tmp_path / "place"
    code, text = run_command("a", "b", "--out-dir", tmp_path / "out", *options, place)
    assert (code, len(text.splitlines())) == (1, 1)
    assert "place" in text
    code, text = run_command("a", "b")
    assert (code, len(text.splitlines())) == (1, 1)
    assert "--out-dir" in text


@pytest.mark.slow
def test_processes_give_what_one_recording_alone_gives_and_name_what_failed(
    tmp_path: Path,
) -> None:
    weights = save_untrained(tmp_path)
    bags = [write_bag(tmp_path / name, "mcap") for name in ("monday", "tuesday")]
    bad = tmp_path / "broken.mcap"
    bad.write_bytes(b"no recording")
    settings = ("--weights", weights, "--score", "0")
    out = tmp_path / "found"
    code, text = run_command(*bags, bad, "--out-dir", out, "--jobs", "2", *settings)
    assert code == 1, text
    assert [line for line in text.splitlines() if "error" in line and str(bad) in line]
    files = ["monday.json", "summary.json", "tuesday.json"]
    assert sorted(path.name for path in out.iterdir()) == files
    summary = json.loads((out / "summary.json").read_text())
    assert [entry["bag"] for entry in summary["recordings"]] == [str(bag) for bag in (*bags, bad)]
    assert [entry["result"] for entry in summary["recordings"]] == ["monday.json", files[2], None]
    assert summary["num_failed"] == 1
    alone = tmp_path / "alone.json"
    for bag in bags:
        code, text = run_command(bag, "--json", alone, *settings)
        assert code == 0, text
        found = without_times(out / f"{bag.name}.json")
        assert found == without_times(alone)
        assert len(found["frames"]) == 5
        assert sum(len(frame["detections"]) for frame in found["frames"]) > 0
