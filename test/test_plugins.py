"""Commands of other packages: found by entry points, loaded late, broken alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_harness import assert_one_line_error, sr3d


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages: one sound command, one that raises, one without module."""
    (tmp_path / "sound_plugin.py").write_text(
        "import typer\napp = typer.Typer()\n@app.command()\ndef wave() -> None:\n"
        '    """Say hello."""\n    print("hello")\n'
    )
    (tmp_path / "raising_plugin.py").write_text("1 / 0\n")
    info = tmp_path / "wavers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wavers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sr3d.commands]\nwave = sound_plugin:app\nraise = raising_plugin:app\n"
        "gone = gone_plugin:app\ndetect = sound_plugin:app\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sound_plugin", raising=False)
    return tmp_path


@pytest.mark.usefixtures("site")
def test_a_command_of_another_package_is_listed_and_runs() -> None:
    assert "Say hello." in sr3d("--help").stdout
    assert sr3d("wave").stdout == "hello\n"


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("name", "texts"),
    [("raise", ("raising_plugin:app", "ZeroDivisionError")), ("gone", ("No module named",))],
)
def test_a_broken_one_says_why_in_one_line(name: str, texts: tuple[str, ...]) -> None:
    assert_one_line_error(sr3d(name, "some", "--flag", "x"), name, *texts)


@pytest.mark.usefixtures("site")
def test_broken_ones_leave_the_others_alone() -> None:
    shown = sr3d("--help")
    assert shown.exit_code == 0, shown.output
    assert {"detect", "gone", "raise", "wave"} <= set(shown.stdout.split())
    assert sr3d("model", "verify").exit_code == 0


@pytest.mark.usefixtures("site")
def test_the_own_commands_win_and_load_no_other_package() -> None:
    assert "--score" in sr3d("detect", "--help").stdout
    assert "sound_plugin" not in sys.modules


def test_recordings_are_a_command_of_the_ros_side() -> None:
    assert "detect" in sr3d("bag", "--help").stdout
