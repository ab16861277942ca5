"""What documents name exists: commands with their options, files, targets, modules.

Documents are the pages, and comments and examples in configurations and commands.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from sr3d_core.cli.main import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("*.rst")])
TEXTS = [
    *PAGES,
    *sorted((ROOT / "sr3d_core" / "presets").glob("*.yaml")),
    *sorted((ROOT / "config").rglob("*.yaml")),
    *sorted((ROOT / "launch").glob("*.py")),
    *sorted((ROOT / "sr3d_core" / "cli").glob("*.py")),
    *sorted((ROOT / "sr3d_ros" / "bag" / "commands").glob("*.py")),
    *sorted((ROOT / ".github").rglob("*.*")),
    ROOT / "Makefile",
]
FOLDERS = ("benchmark", "config", "docs", "examples", "launch", "make", "msg", "scripts", "test")
FOLDERS += ("sr3d_core", "sr3d_ros")


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def command_lines(text: str) -> Iterator[str]:
    """Whole commands: lines of their own, without the remark after them."""
    for line in re.findall(r"^[ #]*(sr3d .*)$", text, flags=re.MULTILINE):
        for part in re.split(r"&&", re.split(r"\s{2,}|\s#", line)[0]):
            if part.strip().startswith("sr3d ") and "..." not in part:
                yield part.strip()


def inline_commands(text: str) -> Iterator[str]:
    """Commands in the middle of a sentence; they may be incomplete."""
    for part in re.findall(r"`(sr3d [^`]+)`", text):
        yield re.sub(r"\s+#? *", " ", part)


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the words after it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        found = command.get_command(None, words[0])  # those of plug-ins too
        assert found is not None, f"no command {words[0]!r} in {command.name}"
        command, words = found, words[1:]
    return command, words


def option_names(command: Any) -> set[str]:
    names = {name for parameter in command.params for name in parameter.opts}
    return names | {"--help", "-h"}


@pytest.mark.parametrize("path", TEXTS, ids=short)
def test_every_command_line_is_understood(path: Path) -> None:
    for line in command_lines(path.read_text()):
        command, words = command_of(shlex.split(line)[1:])
        if "--help" not in words:
            command.make_context(command.name, list(words))  # raises UsageError


@pytest.mark.parametrize("path", TEXTS, ids=short)
def test_every_command_in_a_sentence_exists(path: Path) -> None:
    for line in inline_commands(path.read_text()):
        words = [word for word in line.split()[1:] if word not in ("...", "|")]
        command, rest = command_of(words)
        named = {word for word in rest if word.startswith("--")}
        assert named <= option_names(command), line


def files_named(text: str) -> set[str]:
    """Paths from the top of the repository; addresses and types of messages are none."""
    text = re.sub(r"https?://\S+|\bsr3d_ros/(msg/)?[A-Z]\w+\b(?!\.)", "", text)
    return set(re.findall(rf"(?<![\w/~.)-])((?:{'|'.join(FOLDERS)})/[\w./-]*\w)", text))


@pytest.mark.parametrize("path", TEXTS, ids=short)
def test_every_file_that_is_named_exists(path: Path) -> None:
    placeholders = {name for name in files_named(path.read_text()) if "NAME" in name}
    named = files_named(path.read_text()) - placeholders - {"docs/_build"}
    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert all((ROOT / name).parent.is_dir() for name in placeholders)


@pytest.mark.parametrize("path", TEXTS, ids=short)
def test_every_target_of_make_exists(path: Path) -> None:
    rules = (ROOT / "Makefile").read_text() + (ROOT / "make" / "ros.mk").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", rules, flags=re.MULTILINE))
    lines = re.findall(r"(?:^    |`|run: )make ([a-z][a-z0-9 -]*)", path.read_text(), re.MULTILINE)
    named = {word for line in lines for word in line.split("  ")[0].split()}
    assert named <= targets


@pytest.mark.parametrize("path", TEXTS, ids=short)
def test_every_module_that_is_started_exists(path: Path) -> None:
    for name in re.findall(r"-m (sr3d_\w+(?:\.\w+)*)", path.read_text()):
        assert importlib.util.find_spec(name) is not None, name
