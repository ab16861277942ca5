"""`sr3d bag info`: what a recording holds."""

from __future__ import annotations

from rich.table import Table

from sr3d_core.console import one_line_errors, result_console, say, write_json
from sr3d_ros.bag.commands.options import BagPath, Json, TfNamespace


def info(bag: BagPath, tf_namespace: TfNamespace = None, json_out: Json = None) -> None:
    """List the topics of a recording and the frames of its transforms."""
    from sr3d_ros.bag.replay import Bag

    with one_line_errors(), Bag(bag) as opened:
        tf_topics = opened.tf_topics(tf_namespace)
        frames = list(opened.transforms(tf_topics)[0].frames)
        topics, duration_s = opened.topics, opened.duration_s
    table = Table(title=f"{bag}  {duration_s:.1f} s")
    for heading in ("topic", "type", "messages"):
        table.add_column(heading, overflow="fold")
    for topic in topics:
        table.add_row(topic.topic, topic.type_name, str(topic.num_messages))
    console = result_console()
    console.print(table)
    console.print(f"frames: {' '.join(frames) or 'none'}", markup=False, highlight=False)
    if tf_topics.remark:
        say(tf_topics.remark)
    listed = [{"topic": t.topic, "type": t.type_name, "messages": t.num_messages} for t in topics]
    with one_line_errors():
        write_json(json_out, {"duration_s": duration_s, "topics": listed, "frames": frames})
