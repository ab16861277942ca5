"""A recording as a film: its frames at their stamps, also where something ends the work."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from small_bags import BoundingBox, interrupt_at, write_bag
from typer.testing import CliRunner

from sr3d_ros.bag.commands import app
from sr3d_ros.bag.video import LEAP_S, FilmClock

av = pytest.importorskip("av")


def film(path: Path) -> list[tuple[float, tuple[int, ...]]]:
    """When each frame is shown, and its height, width and channels."""
    with av.open(str(path)) as file:
        (stream,) = file.streams.video
        return [
            (float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24").shape)
            for frame in file.decode(stream)
        ]


def test_a_film_keeps_the_pace_and_survives_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fourth of five clouds, 0.1 s apart, is interrupted: three are in the film."""
    interrupt_at(4, monkeypatch)
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
    )
    bag, out, video = (
        write_bag(tmp_path / "drive", "mcap"),
        tmp_path / "a.json",
        tmp_path / "a.mp4",
    )
    command = ["detect", str(bag), "--up", "tf", "--json", str(out), "--video", str(video)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 130, result.output
    assert len(json.loads(out.read_text())["frames"]) == 3
    shown = film(video)
    assert [time_s for time_s, _ in shown] == pytest.approx([0.0, 0.1, 0.2], abs=1e-3)
    assert {shape for _, shape in shown} == {(800, 1500, 3)}


def test_frames_come_in_order_where_the_clock_does_not() -> None:
    clock, ms = FilmClock(), 1_000_000
    leap = round(1000 * LEAP_S)
    stamps = [5000, 5100, 5100, 5400, 100, 200, 10**9, 10**9 + 50]
    times = [clock.time_of(stamp * ms) for stamp in stamps]
    steps = [after - before for before, after in pairwise(times)]
    assert times[0] == 0
    assert steps == [100, 1, 300, leap, 100, leap, 50]


def test_a_film_of_another_ending_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["detect", "a", "--video", str(tmp_path / "a.mov")])
    assert result.exit_code == 1
    assert "a.mov" in result.output
    assert len(result.output.strip().splitlines()) == 1
