"""Generated and hand-written files around the node: they say what the code says."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import xml.etree.ElementTree as ElementTree
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from sr3d_ros.parameters.record import class_specifications, specifications

ROOT = Path(__file__).parent.parent
PARAMETER_FILES = sorted((ROOT / "config").glob("**/*.param.yaml"))
PARAMETER_FILES += sorted((ROOT / "config" / "sensors").glob("*.yaml"))
POLICY = ROOT / "config" / "sros2" / "sr3d_detector.policy.xml"


def script(name: str) -> ModuleType:
    """A program of make/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "make" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_parameter_page_is_the_generated_one() -> None:
    reference = script("parameter_reference")
    assert (ROOT / "docs" / "parameters.md").read_text() == reference.page(), (
        "run make/parameter_reference.py"
    )


def test_the_parameter_schema_is_the_generated_one() -> None:
    reference = script("parameter_reference")
    committed = (ROOT / "config" / "parameters.schema.json").read_text()
    assert committed == reference.schema_text(), "run make/parameter_reference.py"


def test_topics_and_drop_reasons_of_documents_are_the_generated_ones() -> None:
    for path, text in script("robot_reference").files().items():
        assert path.read_text() == text, "run make/robot_reference.py"


def test_the_page_names_every_parameter_once() -> None:
    page = (ROOT / "docs" / "parameters.md").read_text()
    for specification in (*specifications(), *class_specifications("<name>")):
        assert page.count(f"| `{specification.name}` |") == 1


def schema() -> dict[str, Any]:
    text = (ROOT / "config" / "parameters.schema.json").read_text()
    return dict(json.loads(text))


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.name)
def test_the_schema_accepts_the_shipped_files(path: Path) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema())
    assert [e.message for e in validator.iter_errors(yaml.safe_load(path.read_text()))] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("output: {score_threshold: 1.5}", "greater than the maximum"),
        ("output: {score_treshold: 0.5}", "score_treshold"),
        ("frames: {up: sideways}", "is not one of"),
        ("filter: {roi: [0, 0, 0, 1, 1, x]}", "is not of type 'number'"),
        ("classes: {chair: {score_threshold: 2.0}}", "greater than the maximum"),
        ("input: {drop_zeros: 1}", "is not of type 'boolean'"),
    ],
)
def test_the_schema_refuses_mistakes(text: str, complaint: str) -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema())
    file = {"/**": {"ros__parameters": yaml.safe_load(text)}}
    (error,) = validator.iter_errors(file)
    assert complaint in error.message


def test_the_schema_allows_what_ros_declares_itself() -> None:
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema())
    parameters = {"use_sim_time": True, "qos_overrides": {"/x": {"publisher": {"depth": 1}}}}
    validator.validate({"sr3d_detector": {"ros__parameters": parameters}})


def test_the_class_colors_are_the_generated_ones() -> None:
    committed = (ROOT / "config" / "classes.rviz.yaml").read_text()
    assert committed == script("class_colors").text(), "run make/class_colors.py"
    assert all(set(color) == {"r", "g", "b"} for color in yaml.safe_load(committed).values())


def private_names() -> set[str]:
    """The private topics and services that the node's files name, without the inputs."""
    found: set[str] = set()
    for path in (ROOT / "sr3d_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(re.findall(r"^~/(?!input/)([\w/]+)$", node.value))
    return found


def test_the_security_policy_allows_every_output_and_service_of_the_node() -> None:
    profile = ElementTree.parse(POLICY).getroot().find("enclaves/enclave/profiles/profile")
    assert profile is not None
    entries = profile.findall("topics[@publish='ALLOW']/topic")
    entries += profile.findall("services/service")
    # SROS2 puts namespace and name of the node in the place of "~" and adds no slash.
    allowed = [str(entry.text).replace("~", "/sr3d_detector") for entry in entries]
    names = private_names()
    assert {"output/detections", "enable", "status"} <= names
    for name in names:
        assert any(fnmatchcase(f"/sr3d_detector/{name}", each) for each in allowed), name


def test_the_security_policy_reads_what_the_realsense_preset_reads() -> None:
    readable = {topic.text for topic in ElementTree.parse(POLICY).iter("topic")}
    launch = (ROOT / "launch" / "detector.launch.py").read_text()
    wanted = set(re.findall(r'"(/camera/camera/[\w/]+)"', launch))
    assert wanted <= readable


PAGES = [
    path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
]


@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_robot_page_names_only_what_exists() -> None:
    text = (ROOT / "docs" / "robot.md").read_text()
    files = set(re.findall(r"`((?:config|launch|docs|benchmark)/[\w./]+\.\w+)`", text))
    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []
    known = {specification.name for specification in specifications()}
    groups = {name.partition(".")[0] for name in known}
    used = set(re.findall(rf"`((?:{'|'.join(groups)})\.[a-z_]+)(?::=[^`]*)?`", text))
    assert used
    assert used <= known
    arguments = set(re.findall(r"\b([a-z_]+):=", text))
    launch = "".join(path.read_text() for path in (ROOT / "launch").glob("*.py"))
    foreign = {"enable_colored_point_cloud", "depth_registration", "enable_sync_output_accel_gyro"}
    foreign |= {"camera_model", "rgb_point_cloud", "depth_mode", "point_cloud_in_depth_frame"}
    foreign |= {"enable", "unite_imu_method", "enable_accel", "enable_gyro", "__ns"}
    assert {name for name in arguments if f'"{name}"' not in launch} <= foreign


def test_the_fast_dds_profile_is_valid_and_large() -> None:
    tree = ElementTree.parse(ROOT / "config" / "fastdds_large_data.xml")
    space = {"dds": "http://www.eprosima.com"}
    defined = {e.text for e in tree.findall(".//dds:transport_descriptor/dds:transport_id", space)}
    used = {e.text for e in tree.findall(".//dds:userTransports/dds:transport_id", space)}
    assert defined == used
    assert [e.text for e in tree.findall(".//dds:segment_size", space)] == [str(64 * 2**20)]


def test_every_message_package_that_is_imported_is_a_dependency() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    dependencies = {e.text for e in manifest if e.tag in ("depend", "exec_depend")}
    sources = "".join(path.read_text() for path in (ROOT / "sr3d_ros").rglob("*.py"))
    imported = set(re.findall(r"(?:from |\")(\w+_(?:msgs|interfaces))\.msg", sources))
    assert imported
    assert imported <= dependencies
