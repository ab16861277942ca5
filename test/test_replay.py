"""Recordings through the node's path: small bags that the tests write, and real ones."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from typer.testing import CliRunner

from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.bags.commands import app
from sr3d_ros.bags.run import detect_run, open_run, score_run
from sr3d_ros.bags.truth import BagTruth
from sr3d_ros.frame import FramePipeline, FrameSettings
from sr3d_ros.replay import Bag, DroppedFrame, ReplayError, replay
from sr3d_ros.transforms import TransformBuffer, TransformError

S = 1_000_000_000
STORE = get_typestore(Stores.ROS2_HUMBLE)
T = STORE.types
CAMERA_TURN = (0.5, -0.5, 0.5, -0.5)  # link from optical frame
STILL = (0.0, 0.0, 0.0, 1.0)
SIZE = (0.6, 0.4, 0.8)
CENTER = (3.0, 1.0, 0.4)  # of the one object, in the map


class BoundingBox:
    """Finds one box round all points, in a frame that is z up."""

    classes = ("chair", "sofa")

    def __init__(self) -> None:
        self.clouds: list[PointCloud] = []

    def detect(self, cloud: PointCloud) -> Detections:
        self.clouds.append(cloud)
        low, high = cloud.xyz.amin(dim=0), cloud.xyz.amax(dim=0)
        row = torch.cat([(low + high) / 2, high - low])[None]
        return Detections(
            Boxes3D.from_array(row), torch.tensor([0.9]), torch.zeros(1, dtype=torch.int64)
        )


def header(stamp_ns: int, frame: str) -> Any:
    stamp = T["builtin_interfaces/msg/Time"](stamp_ns // S, stamp_ns % S)
    return T["std_msgs/msg/Header"](stamp, frame)


def tf(parent: str, child: str, stamp_ns: int, moved: Any, turned: Any = STILL) -> Any:
    transform = T["geometry_msgs/msg/Transform"](
        T["geometry_msgs/msg/Vector3"](*moved), T["geometry_msgs/msg/Quaternion"](*turned)
    )
    stamped = T["geometry_msgs/msg/TransformStamped"](header(stamp_ns, parent), child, transform)
    return T["tf2_msgs/msg/TFMessage"]([stamped])


def cloud(stamp_ns: int, frame: str, points: np.ndarray, names: str = "xyz") -> Any:
    make = T["sensor_msgs/msg/PointField"]
    fields = [make(name, 4 * index, 7, 1) for index, name in enumerate(names)]
    data = np.frombuffer(points.astype("<f4").tobytes(), np.uint8)
    size = len(points)
    return T["sensor_msgs/msg/PointCloud2"](
        header(stamp_ns, frame), 1, size, fields, False, 12, 12 * size, data, True
    )


def optical_points(robot_x: float) -> np.ndarray:
    """The corners and faces of the object, in the optical frame of a camera at (robot_x, 0, 1)."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 4)] * 3), axis=-1).reshape(-1, 3)
    x, y, z = (grid * SIZE + CENTER - (robot_x, 0.0, 1.0)).T
    return np.stack([-y, -z, x], axis=1)


Write = Callable[[str, Any, int], None]


def content(write: Write) -> None:
    """A robot that drives from x = 0 to 0.4 m while its camera looks at one object."""
    write("/tf_static", tf("base_link", "camera", 0, (0, 0, 1), CAMERA_TURN), S)
    for tick in range(5):
        stamp_ns = S + tick * S // 10
        # Recorded after the cloud that needs it, as on a real robot.
        points = optical_points(tick / 10)
        write("/points", cloud(stamp_ns, "camera", points), stamp_ns + 1000)
        write("/tf", tf("map", "base_link", stamp_ns, (tick / 10, 0, 0)), stamp_ns + 2000)


def write_bag(path: Path, storage: str, fill: Callable[[Write], None] = content) -> Path:
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with Writer2(path, version=9, storage_plugin=plugin) as writer:
        connections: dict[str, Any] = {}

        def write(topic: str, message: Any, time_ns: int) -> None:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], time_ns, STORE.serialize_cdr(message, kind))

        fill(write)
    return path


@pytest.fixture(scope="module", params=["sqlite3", "mcap"])
def bag_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", request.param)


@pytest.fixture(scope="module")
def one_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", "sqlite3")


def test_every_cloud_gives_boxes_in_the_gravity_frame(bag_path: Path) -> None:
    with open_run(bag_path, BoundingBox()) as run:
        frames = list(run.frames())
    assert [frame.stamp_ns for frame in frames] == [S + tick * S // 10 for tick in range(5)]
    for tick, frame in enumerate(frames):
        assert not isinstance(frame, DroppedFrame)
        assert (frame.gravity_frame, frame.frame_id) == ("base_link", "camera")
        center = torch.tensor([[CENTER[0] - tick / 10, *CENTER[1:]]])
        torch.testing.assert_close(frame.detections.boxes.center, center, atol=1e-5, rtol=0)
        torch.testing.assert_close(frame.detections.boxes.size, torch.tensor([SIZE]))
        assert frame.num_points == 64
        assert set(frame.time_ms) == {"parse", "transform", "detect"}


def test_output_matrix_leads_back_to_the_clouds_frame(one_bag: Path) -> None:
    with open_run(one_bag, BoundingBox()) as run:
        frame = next(iter(run.frames()))
    assert not isinstance(frame, DroppedFrame)
    center = frame.output_from_gravity @ [*frame.detections.boxes.center[0].tolist(), 1.0]
    np.testing.assert_allclose(center[:3], optical_points(0.0).mean(axis=0), atol=1e-5)


def test_target_frame_is_reached_at_the_clouds_stamp(one_bag: Path) -> None:
    settings = FrameSettings(target_frame="/map")
    with open_run(one_bag, BoundingBox(), settings=settings) as run:
        frame = list(run.frames())[-1]
    assert not isinstance(frame, DroppedFrame)
    assert frame.frame_id == "map"
    center = frame.output_from_gravity @ [*frame.detections.boxes.center[0].tolist(), 1.0]
    np.testing.assert_allclose(center[:3], CENTER, atol=1e-5)


def test_the_detector_sees_the_sensor_at_the_origin_of_the_ground(one_bag: Path) -> None:
    detector = BoundingBox()
    settings = FrameSettings(detection_frame="map")
    with open_run(one_bag, detector, settings=settings) as run:
        last = list(run.frames())[-1]
    assert not isinstance(last, DroppedFrame)
    torch.testing.assert_close(last.detections.boxes.center, torch.tensor([CENTER]))
    seen = detector.clouds[-1].xyz
    expected = torch.tensor([CENTER[0] - 0.4, CENTER[1], CENTER[2]])
    torch.testing.assert_close((seen.amin(0) + seen.amax(0)) / 2, expected)


def test_detections_below_the_threshold_are_left_out(one_bag: Path) -> None:
    settings = FrameSettings(score_threshold=0.95)
    with open_run(one_bag, BoundingBox(), settings=settings) as run:
        records, tally = detect_run(run)
    assert [record["detections"] for record in records] == [[]] * 5
    assert tally.drops_by_reason == {}


def test_an_empty_cloud_has_no_detections_and_is_no_error() -> None:
    detector = BoundingBox()
    settings = FrameSettings(detection_frame="none")
    pipeline = FramePipeline(detector.detect, TransformBuffer(), settings)
    result = pipeline.process(cloud(S, "/base", np.zeros((0, 3))))
    assert len(result.detections) == 0
    assert result.gravity_frame == result.frame_id == "base"
    assert detector.clouds == []


def test_a_frame_without_transforms_says_why() -> None:
    pipeline = FramePipeline(BoundingBox().detect, TransformBuffer())
    with pytest.raises(TransformError, match="set the detection frame") as caught:
        pipeline.process(cloud(S, "camera", np.ones((3, 3))))
    assert caught.value.reason == "no_transform"


def test_a_chosen_gravity_frame_that_is_late_does_not_make_boxes_jump() -> None:
    buffer = TransformBuffer()
    buffer.insert("base_link", "camera", S, (0, 0, 1), STILL)
    buffer.insert("camera", "odom", 0, (0, 0, -1), STILL, static=True)
    pipeline = FramePipeline(BoundingBox().detect, buffer)
    assert pipeline.process(cloud(S, "camera", np.ones((3, 3)))).gravity_frame == "base_link"
    with pytest.raises(TransformError) as caught:
        pipeline.process(cloud(2 * S, "camera", np.ones((3, 3))))
    assert caught.value.reason == "extrapolation"


def test_bad_clouds_are_dropped_with_their_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        write("/points", cloud(S, "map", np.ones((4, 3)), names="abc"), S)
        write("/points", cloud(2 * S, "nowhere", np.ones((4, 3))), 2 * S)
        write("/points", cloud(3 * S, "map", np.ones((4, 3))), 3 * S)
        write("/tf_static", tf("map", "base", 0, (0, 0, 0)), S)

    with open_run(write_bag(tmp_path / "bag", "mcap", fill), BoundingBox()) as run:
        records, tally = detect_run(run)
    assert tally.drops_by_reason == {"no_transform": 1, "no_xyz": 1}
    assert [drop.stamp_ns for drop in tally.dropped] == [S, 2 * S]
    assert [record["stamp_ns"] for record in records] == [3 * S]


def test_a_bag_without_z_up_frames_is_taken_as_z_up(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        write("/points", cloud(S, "lidar", np.eye(3)), S)

    path = write_bag(tmp_path / "bag", "sqlite3", fill)
    with open_run(path, BoundingBox()) as run:
        assert detect_run(run)[0][0]["frame"] == "lidar"
    with (
        open_run(path, BoundingBox(), up="tf") as run,
        pytest.raises(ReplayError, match=r"all 1 clouds .* use --up none"),
    ):
        detect_run(run)


def test_missing_topics_are_answered_with_the_ones_there_are(one_bag: Path) -> None:
    with Bag(one_bag) as bag:
        with pytest.raises(ReplayError, match=r"'/x' is not in this bag.*/points \(5 clouds\)"):
            bag.cloud_topic("/x")
        with pytest.raises(ReplayError, match="'/tf' holds tf2_msgs/msg/TFMessage"):
            bag.cloud_topic("/tf")
        assert bag.cloud_topic() == "/points"


def test_several_cloud_topics_must_be_chosen_from(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        for topic in ("/left", "/right"):
            write(topic, cloud(S, "map", np.eye(3)), S)

    with Bag(write_bag(tmp_path / "bag", "mcap", fill)) as bag:
        with pytest.raises(ReplayError, match=r"/left .*, /right .*; choose one with --topic"):
            bag.cloud_topic()
        assert bag.cloud_topic("/right") == "/right"


def test_a_bag_without_clouds_says_so(tmp_path: Path) -> None:
    def fill(write: Write) -> None:
        write("/tf", tf("map", "base", 0, (0, 0, 0)), S)

    with Bag(write_bag(tmp_path / "bag", "mcap", fill)) as bag:
        with pytest.raises(ReplayError, match="0 point cloud topics"):
            bag.cloud_topic()
        assert list(bag.messages("/points")) == []


def test_files_that_are_no_bags_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no bag")
    for path, complaint in (
        (tmp_path / "gone", "no such file or folder"),
        (tmp_path, "no metadata.yaml"),
        (text, "cannot be opened"),
    ):
        with pytest.raises(ReplayError, match=complaint):
            Bag(path)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_cut_bag_is_a_replay_error(tmp_path: Path, storage: str) -> None:
    path = write_bag(tmp_path / "bag", storage)
    file = next(f for f in path.iterdir() if f.suffix in (".db3", ".mcap"))
    for keep in (0, 20, 0.5, 0.9):
        content_ = file.read_bytes()
        length = int(keep * len(content_)) if isinstance(keep, float) else keep
        file.write_bytes(content_[:length])
        try:
            with open_run(path, BoundingBox()) as run:
                detect_run(run)
        except ReplayError as error:
            assert "bag" in str(error)  # noqa: PT017 - a lightly cut file may still be readable
        file.write_bytes(content_)


def test_an_undecodable_message_is_dropped_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", "sqlite3")
    with sqlite3.connect(next(path.glob("*.db3"))) as database:
        first = database.execute(
            "SELECT min(messages.id) FROM messages JOIN topics ON topic_id = topics.id "
            "WHERE name = '/points'"
        ).fetchone()[0]
        garbage = b"\x00\x01\x00\x00" + struct.pack("<I", 2**31)
        database.execute("UPDATE messages SET data = ? WHERE id = ?", (garbage, first))
    database.close()
    with open_run(path, BoundingBox()) as run:
        records, tally = detect_run(run)
    assert tally.drops_by_reason == {"undecodable": 1}
    assert len(records) == 4


def test_a_ros_1_bag_with_leading_slashes_is_read(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    text = "geometry_msgs/TransformStamped[] transforms"
    store.register(get_types_from_msg(text, "tf2_msgs/msg/TFMessage"))
    stamp = store.types["builtin_interfaces/msg/Time"](1, 0)
    sent = cloud(S, "/camera", np.eye(3))
    sent.header = store.types["std_msgs/msg/Header"](0, stamp, "/camera")
    static = tf("/map", "/camera", S, (0, 0, 2))
    static.transforms[0].header = store.types["std_msgs/msg/Header"](0, stamp, "/map")
    path = tmp_path / "old.bag"
    with Writer1(path) as writer:
        for topic, message in (("/tf_static", static), ("/points", sent)):
            kind = message.__msgtype__
            connection = writer.add_connection(topic, kind, typestore=store)
            writer.write(connection, S, store.serialize_ros1(message, kind))
    with open_run(path, BoundingBox()) as run:
        record = detect_run(run)[0][0]
    assert record["frame"] == "map"
    assert record["detections"][0]["center"] == pytest.approx([0.5, 0.5, 2.5])


BOX = {"class": "chair", "center": list(CENTER), "size": list(SIZE), "yaw": 0.0}
FAR_BOX = {"class": "sofa", "center": [50, 0, 0], "size": [1, 1, 1]}


def truth_file(folder: Path, content_: Any) -> Path:
    path = folder / "truth.json"
    path.write_text(json.dumps(content_))
    return path


def scored(bag: Path, folder: Path, content_: Any, min_points: int = 20) -> dict[str, Any]:
    path = truth_file(folder, content_)
    with open_run(bag, BoundingBox()) as run:
        return score_run(run, BagTruth.load(path, run.classes, min_points)).to_dict()


def test_static_truth_follows_the_robot_and_unseen_boxes_do_not_count(
    bag_path: Path, tmp_path: Path
) -> None:
    result = scored(bag_path, tmp_path, {"frame": "map", "static": [BOX, FAR_BOX]})
    assert result["map50"] == 1.0
    assert result["per_class"]["chair"] == {
        "boxes": 5,
        "ap25": 1.0,
        "ap50": 1.0,
        "recall25": 1.0,
        "recall50": 1.0,
    }
    assert result["per_class"]["sofa"]["boxes"] == 0
    assert set(result["latency_ms"]) == {"p50", "p90", "p99"}


def test_unseen_static_boxes_count_where_no_points_are_asked_for(
    one_bag: Path, tmp_path: Path
) -> None:
    truth = {"frame": "map", "static": [BOX, FAR_BOX]}
    assert scored(one_bag, tmp_path, truth, min_points=0)["mean_recall25"] == 0.5


def test_a_detection_on_a_box_that_does_not_count_is_not_wrong(
    one_bag: Path, tmp_path: Path
) -> None:
    result = scored(one_bag, tmp_path, {"frame": "map", "static": [BOX]}, min_points=1000)
    assert result["map25"] is None  # nothing to find, and nothing counted against the detector
    assert result["per_class"]["chair"]["boxes"] == 0


def test_truth_by_stamp_scores_the_stamps_it_has(one_bag: Path, tmp_path: Path) -> None:
    frames = [
        {"stamp_ns": S, "boxes": [BOX]},
        {"stamp": 1.1, "boxes": [BOX, FAR_BOX]},
    ]
    result = scored(one_bag, tmp_path, {"frame": "map", "frames": frames})
    assert (result["num_scenes"], result["num_without_truth"]) == (2, 3)
    assert result["per_class"]["chair"]["recall50"] == 1.0
    assert result["per_class"]["sofa"]["recall25"] == 0.0


def test_truth_whose_stamps_are_elsewhere_is_an_error(one_bag: Path, tmp_path: Path) -> None:
    truth = {"frame": "map", "frames": [{"stamp": 99.0, "boxes": [BOX]}]}
    with pytest.raises(ReplayError, match="none of the 5 clouds of /points has ground truth"):
        scored(one_bag, tmp_path, truth)


def test_detections_of_classes_nobody_annotated_are_left_out(
    one_bag: Path, tmp_path: Path
) -> None:
    truth = {"frame": "map", "classes": ["sofa"], "static": [{**BOX, "class": "sofa"}]}
    result = scored(one_bag, tmp_path, truth)
    assert result["map25"] == 0.0


def test_truth_in_a_tilted_frame_is_an_error(one_bag: Path, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="tilted by 90 degrees"):
        scored(one_bag, tmp_path, {"frame": "camera", "static": [BOX]})


def test_frames_whose_truth_cannot_be_placed_are_dropped(one_bag: Path, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"all 5 clouds .*truth_no_transform"):
        scored(one_bag, tmp_path, {"frame": "mars", "static": [BOX]})


@pytest.mark.parametrize(
    ("content_", "complaint"),
    [
        ({"static": []}, "frame: Field required"),
        ({"frame": "map"}, "expected either 'static'"),
        ({"frame": "map", "static": [{**BOX, "colour": 1}]}, r"static\.0\.colour: Extra"),
        ({"frame": "map", "static": [{**BOX, "size": [1, 0, 1]}]}, "three positive extents"),
        ({"frame": "map", "static": [{**BOX, "class": "cat"}]}, "classes cat are not among"),
        ({"frame": "map", "frames": [{"boxes": []}]}, "either stamp_ns or stamp"),
    ],
)
def test_ground_truth_with_mistakes_names_the_place(
    tmp_path: Path, content_: Any, complaint: str
) -> None:
    with pytest.raises(ReplayError, match=complaint):
        BagTruth.load(truth_file(tmp_path, content_), ("chair", "sofa"))


def test_ground_truth_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    with pytest.raises(ReplayError, match="cannot be read"):
        BagTruth.load(path, ("chair",))
    path.write_text("{")
    with pytest.raises(ReplayError, match="not JSON"):
        BagTruth.load(path, ("chair",))


@pytest.fixture
def with_fake_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sr3d_core.detector.Detector.from_checkpoint",
        lambda weights, device, backend, postprocess: BoundingBox(),
    )


def run_command(*arguments: Any) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.mark.usefixtures("with_fake_weights")
def test_bag_detect_writes_json_and_pictures(one_bag: Path, tmp_path: Path) -> None:
    out, pictures = tmp_path / "out.json", tmp_path / "pictures"
    code, text = run_command("detect", one_bag, "--json", out, "--pictures", pictures)
    assert code == 0, text
    written = json.loads(out.read_text())
    assert written["topic"] == "/points"
    assert written["classes"] == ["chair", "sofa"]
    assert len(written["frames"]) == 5
    found = written["frames"][0]["detections"][0]
    assert found["class"] == "chair"
    assert found["center"] == pytest.approx(CENTER, abs=1e-5)
    assert len(list(pictures.glob("*.png"))) == 5


@pytest.mark.usefixtures("with_fake_weights")
def test_bag_eval_prints_precision_and_latency(one_bag: Path, tmp_path: Path) -> None:
    truth = truth_file(tmp_path, {"frame": "map", "static": [BOX]})
    out = tmp_path / "out.json"
    code, text = run_command("eval", one_bag, "--gt", truth, "--json", out)
    assert code == 0, text
    assert "AP25" in text
    assert "p99" in text
    assert json.loads(out.read_text())["map50"] == 1.0


def test_bag_info_lists_topics_and_frames(one_bag: Path) -> None:
    code, text = run_command("info", one_bag)
    assert code == 0, text
    assert "/points" in text
    assert "base_link camera map" in text


@pytest.mark.usefixtures("with_fake_weights")
def test_commands_fail_with_one_line(tmp_path: Path) -> None:
    for command in (("info",), ("detect",), ("eval", "--gt", tmp_path / "x.json")):
        code, text = run_command(*command, tmp_path / "gone")
        assert code == 1
        assert "Traceback" not in text


REAL_DATA = os.environ.get("SR3D_REAL_DATA")


@pytest.mark.skipif(not REAL_DATA, reason="SR3D_REAL_DATA is not set")
@pytest.mark.parametrize("name", ["open3d_redwood_5frames_db3", "open3d_redwood_5frames_mcap"])
def test_real_ros_2_bags_are_replayed(name: str) -> None:
    with open_run(Path(str(REAL_DATA)) / "bags" / name, BoundingBox()) as run:
        frames = list(run.frames())
    assert len(frames) == 5
    for frame in frames:
        assert not isinstance(frame, DroppedFrame)
        assert frame.gravity_frame == "map"
        assert frame.num_points > 20_000
        assert not frame.cloud.features.isnan().any()
        lowest = torch.quantile(frame.cloud.xyz[::10, 2], 0.01)
        assert 0.0 < float(lowest) < 0.5  # the floor is at z = 0.12


@pytest.mark.skipif(not REAL_DATA, reason="SR3D_REAL_DATA is not set")
def test_real_ros_1_bag_is_replayed_or_says_that_its_transforms_are_late() -> None:
    path = Path(str(REAL_DATA)) / "bags" / "watercan.bag"
    with open_run(path, BoundingBox(), up="none") as run:
        frame = next(iter(run.frames()))
    assert not isinstance(frame, DroppedFrame)
    assert (frame.num_points, frame.frame_id) == (13_966, "ground")
    with open_run(path, BoundingBox()) as run:
        late = next(iter(replay(run.bag, run.source, run.pipeline)))
    assert isinstance(late, DroppedFrame)
    assert late.reason == "extrapolation"
