"""The model card of the weights that ship is the generated one, and says what they do badly."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from sr3d_core.checkpoint import read_manifest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("card", ROOT / "make" / "model_card.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_the_generated_one(maker: ModuleType) -> None:
    for path, text in maker.files().items():
        assert path.read_text(encoding="utf-8") == text, "run make/model_card.py"


def test_figures_of_classes_are_read_from_the_tables_of_today(maker: ModuleType) -> None:
    page = (
        "| chair | 1 | 1.0 / 1.0 |\n### The weights that ship, in it\n"
        "| class | boxes | AP25 / AP50 |\n| chair | 759 | 90.4 / 83.7 | 83.3 / 72.2 |\n"
        "| curtain * | 526 | 0.3 / 0.0 | - |\n## Next\n| door | 2 | 3.0 / 3.0 |\n"
    )
    assert maker.foreign_figures(page) == {"chair": 90.4, "curtain": 0.3}
    page = (
        "## The weights that ship\n\n| sink | 23 | 40.3 | 24.0 |\n"
        "| **mean of all 20** | 1545 | **53.0** | **40.7** |\n## Next\n| door | 2 | 3.0 | 3.0 |\n"
    )
    assert maker.own_figures(page) == {"sink": 40.3}
    with pytest.raises(SystemExit, match="no table"):
        maker.foreign_figures("nothing")


def test_badly_found_and_unmeasured_classes_are_named(maker: ModuleType) -> None:
    said = maker.limits({"chair": 90.4, "door": 34.4}, {"sofa": 12.0}, ("chair", "sofa"))
    assert "never seen a real room" in said[0]
    assert "door 34.4" in said[2]
    assert "chair" not in said[2]
    assert "no sofa: not measured" in said[3]
    assert "sofa 12" in said[4]
    assert "no chair: not measured" in said[5]


def test_means_are_those_of_the_pages(maker: ModuleType) -> None:
    rooms = (
        "AP25 **1.0** AP50 **1.0**\n### The weights that ship, in it\n"
        "AP25 **63.7** (5) and AP50\n**56.9**\n"
    )
    readme = (
        "## The weights that ship\nAP25 **2.0**\n"
        "| **mean of all 20** | 1545 | **53.2** | **41.8** |\n"
    )
    said = maker.means(rooms, readme)
    assert "AP25 63.7 and AP50 56.9 percent" in said
    assert "53.2 and 41.8" in said
    with pytest.raises(SystemExit, match="no means"):
        maker.means(readme, rooms)


def test_every_class_that_ships_has_a_figure(maker: ModuleType) -> None:
    classes = set(read_manifest().classes)
    assert set(maker.own_figures(maker.README.read_text(encoding="utf-8"))) == classes
    foreign = set(maker.foreign_figures(maker.ROOMS.read_text(encoding="utf-8")))
    assert foreign < classes
    assert len(foreign) > 10
