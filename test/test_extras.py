"""What is told to install brings what is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sr3d_core.machine.extras import EXTRAS, how_to_install

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


@pytest.mark.parametrize("package", EXTRAS)
def test_the_extra_that_is_named_brings_the_package(package: str) -> None:
    extra = re.search(
        rf"^{EXTRAS[package]} = \[(.*?)\]$", PROJECT.read_text(), re.DOTALL | re.MULTILINE
    )
    assert extra is not None
    distribution = {"PIL": "pillow"}.get(package, package)
    assert f'"{distribution}' in extra[1]
    assert f"[{EXTRAS[package]}]" in how_to_install(package)
