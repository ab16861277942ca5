"""`sr3d bag info`: what a recording holds, and what the detector would do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from sr3d_core.console import (
    one_line_errors,
    require_writable,
    result_console,
    say,
    write_json,
)
from sr3d_ros.bag.commands.options import BagPath, CameraInfo, Color, Imu, Json, TfNamespace, Topic

if TYPE_CHECKING:
    from sr3d_ros.bag.survey import Survey


def info(
    bag: BagPath,
    topic: Topic = None,
    camera_info: CameraInfo = None,
    color: Color = None,
    imu: Imu = None,
    tf_namespace: TfNamespace = None,
    json_out: Json = None,
) -> None:
    """Say what a recording holds, what the detector would use, and what is missing.

    Rates, gaps, frames, which way is up. Options are those of `detect`, to try them.
    """
    with one_line_errors():
        from sr3d_ros.bag.replay import Bag
        from sr3d_ros.bag.source import Topics
        from sr3d_ros.bag.survey import survey

        require_writable(json_out)
        with Bag(bag) as opened:
            found = survey(opened, Topics(topic, camera_info, color, imu, tf_namespace))
    console = result_console()
    console.print(_table(f"{bag}  {found.duration_s:.1f} s", found))
    lines = [f"frames: {' '.join(found.frames) or 'none'}"]
    used = ", ".join(f"{name} {topic}" for name, topic in found.inputs.items())
    lines.append(f"the detector would use: {used or 'nothing'}")
    if found.inputs:
        why = f" ({found.up_reason})" if found.up_reason else ""
        lines.append(f"up: {found.up or 'not known'}{why}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for text in (*found.damage, *found.missing):
        say(text)
    with one_line_errors():
        write_json(json_out, found.to_dict())


def _table(title: str, found: Survey) -> Table:
    table = Table(title=title)
    for heading in ("topic", "type", "messages", "Hz", "gaps", "frame"):
        is_text = heading in ("topic", "type", "frame")
        table.add_column(heading, overflow="fold", justify="left" if is_text else "right")
    for row in found.topics:
        rate = "" if row.rate_hz is None else f"{row.rate_hz:.1f}"
        gaps = f"{row.num_gaps}, {row.longest_gap_s:.1f} s" if row.num_gaps else ""
        table.add_row(row.topic, row.type, str(row.messages), rate, gaps, row.frame)
    return table
