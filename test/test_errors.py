"""Every reason for which a frame can be dropped has a remedy in words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sr3d_ros.errors import QUIET, REMEDIES, TRANSFORM_REASONS, remedy_for

SOURCES = sorted((Path(__file__).parent.parent / "sr3d_ros").rglob("*.py"))
REFUSALS = ("MessageError", "UpError", "TransformError", "Refused", "OutOfMemory")


def reasons_raised() -> Iterator[str]:
    """The slugs with which the sources make refusals."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                if node.func.id in REFUSALS and isinstance(first, ast.Constant):
                    yield str(first.value)


def test_every_reason_of_the_sources_has_a_remedy() -> None:
    found = set(reasons_raised())
    assert len(found) > 10
    assert found <= set(REMEDIES)


def test_quiet_reasons_and_those_of_transforms_have_remedies_too() -> None:
    assert {*QUIET, *TRANSFORM_REASONS} <= set(REMEDIES)


def test_a_reason_that_nobody_foresaw_points_at_its_text() -> None:
    assert remedy_for("meteorite") == "do as the text says"


def test_late_transforms_point_at_the_transport_as_well() -> None:
    remedy = remedy_for("extrapolation")
    assert "raise frames.timeout_s" in remedy
    assert "config/fastdds_large_data.xml" in remedy
