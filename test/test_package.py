"""What a package index and a robot get: versions, the wheel, links, dependencies."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

import sr3d_core
import sr3d_ros

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/sr3d/sr3d/blob/main/"
RAW = "https://raw.githubusercontent.com/sr3d/sr3d/main/"
IN_WHEEL = ("sr3d_core", "sr3d_ros", "config")


def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def test_all_parts_have_one_version() -> None:
    assert sr3d_ros.__version__ == sr3d_core.__version__
    assert manifest().findtext("version") == sr3d_core.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == sr3d_core.__version__


def test_the_changelog_tells_the_version_or_what_is_to_come() -> None:
    headings = re.findall(r"^(.+)\n-+$", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert headings[0] == "Forthcoming" or headings[0].startswith(f"{sr3d_core.__version__} (")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel as `pip install` builds it, from a copy: building leaves files behind."""
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy)
    for name in IN_WHEEL:
        unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel('.')"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = copy.glob("*.whl")
    return ZipFile(path)


def test_the_wheel_holds_every_file_of_the_modules_and_the_node(wheel: ZipFile) -> None:
    """Modules, weights, the sample and presets in their folders, the node's files in share/."""
    share = f"sr3d-{sr3d_core.__version__}.data/data/share/sr3d_ros/"
    wanted = {
        (share if name == "config" else "") + path.relative_to(ROOT).as_posix()
        for name in IN_WHEEL
        for path in (ROOT / name).rglob("*.*")
        if path.is_file() and path.suffix != ".pyc"
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == wanted


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    return message_from_bytes(wheel.read(f"sr3d-{sr3d_core.__version__}.dist-info/METADATA"))


def test_the_metadata_says_what_an_index_shows(metadata: Message) -> None:
    assert metadata["Version"] == sr3d_core.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert {url.partition(",")[0] for url in metadata.get_all("Project-URL", [])} >= {
        *("Homepage", "Documentation", "Changelog", "Issues")
    }
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_the_extra_all_holds_what_commands_need(metadata: Message) -> None:
    (everything,) = [
        line for line in metadata.get_all("Requires-Dist", []) if 'extra == "all"' in line
    ]
    for extra in ("train", "viz", "bag", "engines"):
        assert re.search(rf"[\[,]{extra}[,\]]", everything), extra


def test_links_of_the_readme_work_on_an_index_and_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    assert targets
    for target in targets:
        assert target.startswith(("https://", "http://")), f"{target} is relative"
        for start in (REPOSITORY, RAW):
            if target.startswith(start):
                assert (ROOT / target.removeprefix(start)).exists(), target


ROSDEP_KEYS = {
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "tf2_ros": "tf2_ros_py",
    "PIL": "python3-pil",
}
PIP_NAMES = {"yaml": "pyyaml", "PIL": "pillow", "rerun": "rerun-sdk"}
BAG_EXTRAS = ("bag", "ray", "video", "rerun")
"""Modules whose package has another name."""


def imported_on_a_robot() -> set[str]:
    """Top-level modules that sr3d_ros, its programs and launch files import, also by name."""
    programs = [*(ROOT / "scripts").iterdir(), *(ROOT / "launch").glob("*.py")]
    found = set()
    for path in (*(ROOT / "sr3d_ros").rglob("*.py"), *programs):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module))
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    roots = {str(name).partition(".")[0] for name in found}
    return roots - set(sys.stdlib_module_names) - {"sr3d_ros", "sr3d_core"}


def test_every_import_on_a_robot_comes_from_rosdep_or_with_sr3d_core(metadata: Message) -> None:
    """Or with an extra of `sr3d bag`, for recordings."""
    keys = {str(e.text) for e in manifest() if e.tag in ("depend", "exec_depend")}
    lines = [
        line
        for line in metadata.get_all("Requires-Dist", [])
        if "extra ==" not in line or any(f'extra == "{extra}"' in line for extra in BAG_EXTRAS)
    ]
    with_core = {re.split(r"[<>=;\s]", line)[0].lower() for line in lines}
    modules = imported_on_a_robot()
    for module in modules:
        is_known = ROSDEP_KEYS.get(module, module) in keys
        assert is_known or PIP_NAMES.get(module, module) in with_core, (
            f"{module}: name its rosdep key in package.xml, or its package in pyproject.toml"
        )
    used = {ROSDEP_KEYS.get(module, module) for module in modules}
    assert {key for key in keys if key.startswith("python3-")} <= used, "nothing imports it"
