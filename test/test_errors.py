"""Every reason for which a frame can be dropped has a remedy in words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sr3d_ros.errors import DROP_REASONS, drop_reason

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


def test_every_reason_of_the_sources_is_on_the_list() -> None:
    found = set(reasons_raised())
    assert len(found) > 10
    assert found <= set(DROP_REASONS)


def test_every_reason_on_the_list_is_used() -> None:
    texts = "".join(path.read_text() for path in SOURCES if path.name != "errors.py")
    unused = [
        slug for slug in DROP_REASONS if f'"{slug}"' not in texts and slug.upper() not in texts
    ]
    assert unused == []


def test_every_reason_says_what_happened_and_what_to_do() -> None:
    assert all(reason.meaning and reason.remedy for reason in DROP_REASONS.values())


def test_what_is_about_transforms_is_what_lookups_raise() -> None:
    about = {slug for slug, reason in DROP_REASONS.items() if reason.is_about_transforms}
    assert {"no_transform", "disconnected", "extrapolation", "cycle"} < about


def test_a_reason_that_nobody_foresaw_has_a_remedy_and_is_not_normal() -> None:
    unforeseen = drop_reason("meteorite")
    assert unforeseen.remedy
    assert not unforeseen.is_normal


def test_late_transforms_point_at_the_transport_as_well() -> None:
    remedy = drop_reason("extrapolation").remedy
    assert "frames.timeout_s" in remedy
    assert "config/fastdds_large_data.xml" in remedy
