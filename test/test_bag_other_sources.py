"""Recordings without a PointCloud2: compressed depth is read, others are named with the remedy."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from small_bags import BoundingBox, S, T, Write, header, write_bag
from test_bag_sources import DEPTH, HEIGHT, INFO, WIDTH, depth, image, info
from test_compressed_depth import png_of, rvl_of
from typer.testing import CliRunner

from sr3d_ros.bag.commands import app
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.run import open_run
from sr3d_ros.bag.source import Topics
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult

COMPRESSED = f"{DEPTH}/compressedDepth"
PIXELS = np.full((HEIGHT, WIDTH), 2000, np.uint16)


def compressed(stamp_ns: int, codec: str, cut: int = 0) -> Any:
    rvl = struct.pack("<II", WIDTH, HEIGHT) + rvl_of(PIXELS.reshape(-1).tolist())
    data = struct.pack("<iff", 0, 0.0, 0.0) + (rvl if codec == "rvl" else png_of(PIXELS))
    octets = np.frombuffer(data[: len(data) - cut], np.uint8)
    kind = T["sensor_msgs/msg/CompressedImage"]
    return kind(header(stamp_ns, "optical"), f"16UC1; compressedDepth {codec}", octets)


def depth_bag(folder: Path, codec: str) -> Path:
    """Three compressed images and the same uncompressed; of the third the end is missing."""

    def fill(write: Write) -> None:
        write(INFO, info(S), S)
        for tick in range(3):
            stamp_ns = S + tick * S // 10
            write(DEPTH, depth(stamp_ns), stamp_ns + 1)
            write(COMPRESSED, compressed(stamp_ns, codec, 30 * (tick == 2)), stamp_ns + 2)

    return write_bag(folder / "bag", "mcap", fill)


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_compressed_depth_gives_the_clouds_of_the_images_it_was_made_of(
    tmp_path: Path, codec: str
) -> None:
    path, frames = depth_bag(tmp_path, codec), {}
    for topic in (DEPTH, COMPRESSED):
        with open_run(path, BoundingBox(), topics=Topics(topic), up="none") as run:
            assert run.source.inputs == {"depth": topic, "camera_info": INFO}
            frames[topic] = list(run.frames())
    for plain, found in zip(frames[DEPTH][:2], frames[COMPRESSED][:2], strict=True):
        assert isinstance(found, FrameResult)
        assert (found.stamp_ns, found.frame_id) == (plain.stamp_ns, "optical")
        assert found.num_points == HEIGHT * WIDTH
        assert found.cloud.xyz.equal(plain.cloud.xyz)
    cut = frames[COMPRESSED][2]
    assert cut.stamp_ns == S + 2 * S // 10
    assert cut.reason == ("truncated" if codec == "rvl" else "data")


def test_the_robots_parameters_choose_compressed_depth(tmp_path: Path) -> None:
    parameters = Parameters(kind="depth", depth_transport="compressedDepth")
    path = depth_bag(tmp_path, "rvl")
    with open_run(path, BoundingBox(), parameters=parameters, up="none") as run:
        assert run.topic == COMPRESSED


def test_the_command_reads_compressed_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint", lambda *_, **__: BoundingBox()
    )
    path, out = depth_bag(tmp_path, "png"), tmp_path / "out.json"
    options = ["--topic", COMPRESSED, "--up", "none", "--json", str(out)]
    result = CliRunner().invoke(app, ["detect", str(path), *options])
    assert result.exit_code == 0, result.output
    assert len(json.loads(out.read_text())["frames"]) == 2


def refusal(path: Path, topics: Topics | None = None) -> str:
    with pytest.raises(ReplayError) as caught, open_run(path, BoundingBox(), topics=topics):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_depth_topics_are_named_with_their_option_and_color_is_not(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        write("/rgb/image", image(S, red, "rgb8"), S)
        write(DEPTH, depth(S), S)
        write(COMPRESSED, compressed(S, "rvl"), S)

    text = refusal(write_bag(tmp_path / "bag", "mcap", fill))
    for topic in (DEPTH, COMPRESSED):
        assert f"--topic {topic}" in text
    assert "--topic /rgb/image" not in text


DRACO = "point_cloud_interfaces/msg/CompressedPointCloud2"


def foreign_bag(folder: Path, topic: str, kind: str, definition: str) -> Path:
    """A bag of one message of a type that is not among those that every store knows."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    if definition:
        store.register(get_types_from_msg(definition, kind))
    path = folder / "foreign"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(topic, kind, typestore=store)
        writer.write(connection, S, b"\0\1\0\0")
    return path


@pytest.mark.parametrize(
    ("kind", "definition", "package"),
    [
        (DRACO, "std_msgs/Header header\nuint8[] compressed_data\nstring format", "transport"),
        ("sensor_msgs/msg/PointCloud", "", "point_cloud_converter"),
        ("stereo_msgs/msg/DisparityImage", "", "stereo_image_proc"),
    ],
)
def test_what_other_packages_turn_into_clouds_is_named_with_the_package(
    tmp_path: Path, kind: str, definition: str, package: str
) -> None:
    path = foreign_bag(tmp_path, "/cloud/other", kind, definition)
    for topics in (None, Topics("/cloud/other")):
        text = refusal(path, topics)
        assert "/cloud/other has" in text
        assert package in text
