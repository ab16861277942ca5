"""Write docs/parameters.md and config/parameters.schema.json from the node's own list.

    .venv/bin/python make/parameter_reference.py

A test compares the committed files with what this makes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sr3d_ros.parameters.record import class_specifications, specifications
from sr3d_ros.parameters.rules import Specification

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "parameters.md"
SCHEMA = ROOT / "config" / "parameters.schema.json"
FOREIGN = ("use_sim_time", "qos_overrides", "diagnostic_updater")
"""Parameters that rclpy and diagnostic_updater declare themselves."""

HEAD = """\
# Parameters of the detector

Made by `make/parameter_reference.py` from `sr3d_ros/parameters/declared.py`; do not edit.

Set them in a file (`params_file:=mine.yaml`, see `config/detector.param.yaml`), at the start
(`--ros-args -p output.score_threshold:=0.5`) or, those marked *live*, while the node runs
(`ros2 param set /sr3d_detector output.score_threshold 0.5`). A name that does not exist, a wrong
type or a value out of range is refused with a text that says what was expected.

| a change acts | when |
| --- | --- |
| live | at the next frame |
| load | when the weights are loaded again: `ros2 service call /sr3d_detector/load_model ...` |
| start | when the node is started again; `ros2 param set` refuses it as read-only |

`config/parameters.schema.json` is a JSON schema of parameter files: editors that know it complete
names and mark mistakes, for example with a first line

    # yaml-language-server: $schema=/path/to/parameters.schema.json
"""
CLASSES = """
## classes

For every class of the weights (`sr3d model info` lists them), for example `classes.chair.enabled`.

"""
TAIL = """
## Set by ROS itself

`use_sim_time`; `qos_overrides.<topic>.<publisher or subscription>.<policy>` for the QoS of every
topic, for example `qos_overrides./sr3d_detector/output/detections.publisher.depth: 1`.
"""
TABLE = (
    "| parameter | default | values | a change acts | meaning |\n| --- | --- | --- | --- | --- |\n"
)


def page() -> str:
    """docs/parameters.md."""
    groups: dict[str, list[Specification]] = {}
    for specification in specifications():
        groups.setdefault(specification.name.partition(".")[0], []).append(specification)
    parts = [HEAD]
    for group, members in groups.items():
        parts.append(f"\n## {group}\n\n{TABLE}{''.join(row(member) for member in members)}")
    rows = "".join(row(member) for member in class_specifications("<name>"))
    parts.append(f"{CLASSES}{TABLE}{rows}")
    return "".join([*parts, TAIL])


def row(specification: Specification) -> str:
    """One line of a table."""
    cells = (
        f"`{specification.name}`",
        f"`{json.dumps(specification.default)}`",
        specification.expectation,
        specification.changes,
        specification.description,
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n"


def schema() -> dict[str, Any]:
    """The JSON schema of a parameter file."""
    parameters = group()
    for specification in specifications():
        place = parameters
        *path, name = specification.name.split(".")
        for part in path:
            place = place["properties"].setdefault(part, group())
        place["properties"][name] = rule(specification)
    one_class = group()
    for specification in class_specifications("x"):
        one_class["properties"][specification.attribute] = rule(specification)
    parameters["properties"]["classes"] = {"type": "object", "additionalProperties": one_class}
    parameters["properties"].update({name: {} for name in FOREIGN})
    of_node = {
        "type": "object",
        "properties": {"ros__parameters": parameters},
        "required": ["ros__parameters"],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Parameter file of the SR3D detector",
        "type": "object",
        "additionalProperties": of_node,
    }


def group() -> dict[str, Any]:
    """Parameters with a common prefix; others are mistakes."""
    return {"type": "object", "additionalProperties": False, "properties": {}}


def rule(specification: Specification) -> dict[str, Any]:
    """What one value may be."""
    default = specification.default
    found: dict[str, Any] = {"description": specification.description}
    entries: dict[str, Any] = found
    if isinstance(default, tuple):
        entries = {}
        found.update(type="array", items=entries, default=list(default))
    else:
        found["default"] = default
    sample = default[0] if isinstance(default, tuple) else default
    entries["type"] = {bool: "boolean", int: "integer", float: "number", str: "string"}[
        type(sample)
    ]
    if specification.choices:
        entries["enum"] = list(specification.choices)
    if specification.at_least is not None:
        entries.update(minimum=specification.at_least, maximum=specification.at_most)
    return found


def schema_text() -> str:
    """config/parameters.schema.json."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)} and {SCHEMA.relative_to(ROOT)}")
