"""What is told to install brings what is missing."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from sr3d_core.machine.checks import check_extras
from sr3d_core.machine.extras import EXTRAS, distribution_of, how_to_install

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


@pytest.mark.parametrize("package", EXTRAS)
def test_the_extra_that_is_named_brings_the_package(package: str) -> None:
    extra = re.search(
        rf"^{EXTRAS[package]} = \[(.*?)\]$", PROJECT.read_text(), re.DOTALL | re.MULTILINE
    )
    assert extra is not None
    assert f'"{distribution_of(package)}' in extra[1]
    assert f"[{EXTRAS[package]}]" in how_to_install(package)


def test_what_is_installed_under_another_name_is_found() -> None:
    """Pillow, which photos and images of bags need, is imported as PIL."""
    assert "PIL " + version("pillow") in check_extras().text
