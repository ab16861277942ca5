"""How Sphinx makes the documentation site: `make docs`.

The pages are Markdown (MyST) and, for the reference of the Python API, what the docstrings say.
The page of commands holds what `sr3d ... --help` prints; the start page is the README.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import typer  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import sr3d_core  # noqa: E402
from sr3d_core.cli.main import app as commands  # noqa: E402

project = "SR3D"
author = "The SR3D authors"
version = release = sr3d_core.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"SR3D {version}"

default_role = "code"  # a docstring's `name` is code
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": False}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
myst_heading_anchors = 3
REPOSITORY = "https://github.com/sr3d/sr3d/blob/main/docs/"
IMAGES = "https://raw.githubusercontent.com/sr3d/sr3d/main/docs/"


def setup(app: Sphinx) -> None:
    """Fill the pages that repeat what is written elsewhere."""
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", mark_literal_blocks)


def fill(_: Sphinx, page: str, source: list[str]) -> None:
    """Put the README and the help of all commands where a page asks for them."""
    if page == "index":
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        readme = readme.replace(REPOSITORY, "").replace(IMAGES, "")
        source[0] = source[0].replace("@README@", readme)
    if page == "commands":
        source[0] = source[0].replace("@COMMANDS@", "\n".join(helps()))


def helps() -> Iterator[str]:
    """A heading and the help of every command."""
    for words in command_names(typer.main.get_command(commands), ()):
        shown = CliRunner().invoke(
            commands, [*words, "--help"], prog_name="sr3d", env={"COLUMNS": "88", "TERM": "dumb"}
        )
        yield f"## sr3d {' '.join(words)}\n\n```text\n{shown.stdout.strip()}\n```\n"


def command_names(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something, such as `data` and `rooms`."""
    if not hasattr(command, "list_commands"):
        yield words
        return
    for name in command.list_commands(None):  # those of plug-ins too
        yield from command_names(command.get_command(None, name), (*words, name))


def mark_literal_blocks(
    _: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """What is indented after an empty line of a docstring is shown as it is, as in Markdown."""
    before = ["", *lines]
    lines.clear()
    for last, line in pairwise(before):
        if line.startswith("    ") and not last:
            previous = next((text for text in reversed(lines) if text), "")
            if not previous.startswith("    "):
                lines.extend(["::", ""])
        lines.append(line)
