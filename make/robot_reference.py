"""Write what documents say about topics and drop reasons from the node's own lists.

    .venv/bin/python make/robot_reference.py

Makes the table of topics in docs/robot.md, and docs/drop_reasons.md. A test compares the committed
files with what this makes.
"""

from __future__ import annotations

from pathlib import Path

from sr3d_ros.errors import DROP_REASONS, DropReason
from sr3d_ros.node.topics import OUTPUT_TOPICS, OutputTopic

ROOT = Path(__file__).resolve().parent.parent
ROBOT = ROOT / "docs" / "robot.md"
REASONS = ROOT / "docs" / "drop_reasons.md"

TABLE = (
    "<!-- topics: made by make/robot_reference.py from sr3d_ros/node/topics.py -->\n\n",
    "\n<!-- end of topics -->",
)

HEAD = """\
# Why a frame gives no boxes

Made by `make/robot_reference.py` from `sr3d_ros/errors.py`; do not edit.

A frame that gives no boxes is counted under one of these reasons in `~/status`; `/diagnostics` and
the log say the same with the numbers of the frame. *Normal* reasons are counted, but neither
logged nor a warning.

| reason | what happened | what to do |
| --- | --- | --- |
"""


def topics_table() -> str:
    """The table of topics in docs/robot.md."""
    head = "| topic of `/sr3d_detector` | type | when | what |\n| --- | --- | --- | --- |\n"
    return head + "".join(topic_row(topic) for topic in OUTPUT_TOPICS)


def topic_row(topic: OutputTopic) -> str:
    """One line of the table."""
    when = f"{topic.when}; latched" if topic.is_latched else topic.when
    kind = topic.kind.replace("/msg/", "/")
    return f"| `{topic.name}` | `{kind}` | {when} | {topic.meaning} |\n"


def reasons_page() -> str:
    """docs/drop_reasons.md."""
    return HEAD + "".join(reason_row(reason) for reason in DROP_REASONS.values())


def reason_row(reason: DropReason) -> str:
    """One line of the page."""
    name = f"`{reason.slug}`" + (" (normal)" if reason.is_normal else "")
    return f"| {name} | {reason.meaning} | {reason.remedy} |\n"


def replaced(text: str, between: tuple[str, str], content: str) -> str:
    """A text with other content between two marks."""
    before, start, rest = text.partition(between[0])
    _, end, after = rest.partition(between[1])
    if not (start and end):
        raise SystemExit(f"no {between[0].strip()} ... {between[1].strip()} in the file")
    return f"{before}{start}{content}{end}{after}"


def files() -> dict[Path, str]:
    """Every file with what it should hold."""
    return {
        ROBOT: replaced(ROBOT.read_text(encoding="utf-8"), TABLE, topics_table()),
        REASONS: reasons_page(),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
