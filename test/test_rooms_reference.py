"""The page about rooms says what the generator makes, and marks what real rooms have besides."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from foreign.table import ClassOfModels

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "make" / "rooms_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published(**means: tuple[float, float, float]) -> ClassOfModels:
    return ClassOfModels.model_validate(
        {
            "published": means,
            "range": {"depth": (0.1, 1), "width": (0.1, 1), "height": (0.1, 1)},
            "models": {},
        }
    )


SIZES = np.column_stack(
    [np.linspace(1.0, 2.04, 101), np.linspace(1.0, 3.0, 101), np.linspace(1.0, 4.0, 101)]
)
"""5, 50, 95 %: 1.052 1.52 1.988; 1.1 2 2.9; 1.15 2.5 3.85."""


def test_means_outside_and_narrow_ranges_are_bold(reference: ModuleType) -> None:
    means = published(sun_rgbd=(1.0, 2.0, 3.9))
    depth, width, height = reference.class_rows("desk", means, SIZES)
    assert depth == "| desk | depth | 1.52 (1.05 to 1.99) | 1.89 | **1.00** |  |\n"
    assert width == "|  | width | 2.00 (1.10 to 2.90) | 2.64 | 2.00 |  |\n"
    assert height == "|  | height | 2.50 (1.15 to 3.85) | 3.35 | **3.90** |  |\n"
    narrow = reference.class_rows("desk", means, 1 + SIZES / 10)[0]
    assert "| **1.08** |" in narrow


def test_a_narrow_range_with_a_reason_is_not_marked(reference: ModuleType) -> None:
    (name, axis), why = next(iter(reference.EXCUSED.items()))
    rows = reference.class_rows(name, published(), 1 + SIZES / 10)
    assert "**" not in rows[("depth", "width", "height").index(axis)]
    assert why in reference.reasons()


def test_boxes_without_heading_are_compared_by_the_mean_of_their_sides(
    reference: ModuleType,
) -> None:
    rows = reference.class_rows("sofa", published(scannet=(1.2, 3.0, 2.0)), SIZES)
    assert rows[-1] == "|  | both sides | 1.76 (1.08 to 2.44) | 2.27 |  | 2.10 |\n"
    assert rows[0].endswith("|  |  |\n")
    assert rows[2].endswith("|  | 2.00 |\n")


@pytest.mark.slow
def test_the_table_of_sizes_is_the_generated_one(reference: ModuleType) -> None:
    for path, text in reference.files().items():
        assert path.read_text(encoding="utf-8") == text, "run make/rooms_reference.py"


def test_all_published_means_are_in_our_ranges_and_these_are_wide(reference: ModuleType) -> None:
    page = reference.PAGE.read_text(encoding="utf-8")
    start, end = (page.index(mark) for mark in reference.MARKS)
    assert "**" not in page[start:end]
