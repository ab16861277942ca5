"""RViz as the launch file starts it: its layout shows the node's topics, in any namespace."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from test_launch import ROOT, Recorded, description_of, node_of, topics_of_the_node


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """All objects that the detector's launch file makes."""
    return description_of(ROOT / "launch" / "detector.launch.py", monkeypatch)


def rviz_layout() -> dict[str, Any]:
    layout = yaml.safe_load((ROOT / "config" / "sr3d.rviz").read_text())
    return dict(layout["Visualization Manager"])


def test_rviz_shows_the_topics_that_the_launch_file_maps(everything: list[Recorded]) -> None:
    rviz = node_of(everything, "rviz2")
    mapped = {topic for topic, _ in rviz.named["remappings"]}
    shown = {d["Topic"]["Value"] for d in rviz_layout()["Displays"] if "Topic" in d}
    assert shown <= mapped
    assert "/sr3d_detector/output/markers" in shown


def test_rviz_needs_only_stock_displays() -> None:
    enabled = [d for d in rviz_layout()["Displays"] if d["Enabled"]]
    assert {display["Class"].split("/")[0] for display in enabled} == {"rviz_default_plugins"}
    clouds = {d["Name"]: d for d in enabled if d["Class"].endswith("/PointCloud2")}
    assert clouds["Cloud"]["Topic"]["Reliability Policy"] == "Best Effort"
    assert clouds["Cloud"]["Color Transformer"] == "RGB8"


def test_rviz_names_topics_of_the_node() -> None:
    own = {
        d["Topic"]["Value"].removeprefix("/sr3d_detector/")
        for d in rviz_layout()["Displays"]
        if d.get("Topic", {}).get("Value", "").startswith("/sr3d_detector/")
    }
    assert {f"~/{topic}" for topic in own} <= topics_of_the_node()


def test_rviz_gets_the_topics_of_the_namespace(everything: list[Recorded]) -> None:
    remaps = dict(node_of(everything, "rviz2").named["remappings"])
    namespace, slash, name, _, topic = remaps["/sr3d_detector/output/markers"]
    assert (namespace.positional, name.positional) == (("namespace",), ("name",))
    assert (slash, topic) == ("/", "output/markers")
