"""Transforms between named frames, against scipy's rotations."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.buffer import TransformBuffer
from sr3d_ros.tf.rigid import matrix_of, quaternion_of, rigid_inverse
from sr3d_ros.tf.source import first_gravity_frame

S = 1_000_000_000
STILL = (0.0, 0.0, 0.0, 1.0)
ORIGIN = (0.0, 0.0, 0.0)

parts = st.floats(-1, 1, allow_nan=False, width=32)
rotations = st.tuples(parts, parts, parts, parts).filter(lambda q: np.linalg.norm(q) > 0.1)
vectors = st.tuples(*[st.floats(-50, 50, allow_nan=False, width=32)] * 3)
poses = st.tuples(vectors, rotations)


def by_scipy(translation: Any, rotation: Any) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(rotation).as_matrix()
    matrix[:3, 3] = translation
    return matrix


def refused(buffer: TransformBuffer, target: str, source: str, stamp_ns: int) -> tuple[str, str]:
    with pytest.raises(TransformError) as caught:
        buffer.lookup(target, source, stamp_ns)
    return caught.value.reason, str(caught.value)


@given(poses)
def test_matrix_of_a_quaternion_is_scipys(pose: Any) -> None:
    translation, rotation = pose
    unit = np.array(rotation) / np.linalg.norm(rotation)
    np.testing.assert_allclose(matrix_of(translation, unit), by_scipy(*pose), atol=1e-12)


@given(rotations)
def test_quaternion_of_a_matrix_goes_back(rotation: Any) -> None:
    matrix = by_scipy(ORIGIN, rotation)
    quaternion = quaternion_of(matrix)
    assert quaternion[3] >= 0
    assert math.isclose(np.linalg.norm(quaternion), 1.0)
    np.testing.assert_allclose(matrix_of(ORIGIN, quaternion), matrix, atol=1e-9)


@given(poses)
def test_rigid_inverse_undoes(pose: Any) -> None:
    matrix = by_scipy(*pose)
    np.testing.assert_allclose(rigid_inverse(matrix) @ matrix, np.eye(4), atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(poses, poses, poses)
def test_a_path_up_and_down_is_the_product_of_its_edges(a: Any, b: Any, c: Any) -> None:
    buffer = TransformBuffer()
    buffer.insert("map", "odom", 0, a[0], a[1], static=True)
    buffer.insert("odom", "base", 0, b[0], b[1], static=True)
    buffer.insert("map", "tower", 0, c[0], c[1], static=True)
    expected = np.linalg.inv(by_scipy(*c)) @ by_scipy(*a) @ by_scipy(*b)
    np.testing.assert_allclose(buffer.lookup("tower", "base", 5 * S), expected, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(poses, poses, st.floats(0, 1))
def test_between_two_stamps_the_motion_is_linear_and_the_turn_spherical(
    a: Any, b: Any, share: float
) -> None:
    buffer = TransformBuffer()
    buffer.insert("map", "base", 1 * S, *a)
    buffer.insert("map", "base", 2 * S, *b)
    stamp_ns = S + round(share * S)
    share = (stamp_ns - S) / S
    expected = np.eye(4)
    turn = Slerp([0, 1], Rotation.from_quat([a[1], b[1]]))(share)
    expected[:3, :3] = turn.as_matrix()
    expected[:3, 3] = (1 - share) * np.array(a[0]) + share * np.array(b[0])
    angle = (Rotation.from_quat(a[1]).inv() * Rotation.from_quat(b[1])).magnitude()
    if angle > math.pi - 1e-4:
        return  # both ways round are equally short
    np.testing.assert_allclose(buffer.lookup("map", "base", stamp_ns), expected, atol=1e-6)


def test_the_same_frame_is_the_identity_even_if_unknown() -> None:
    np.testing.assert_array_equal(TransformBuffer().lookup("map", "/map", 0), np.eye(4))


def test_leading_slashes_of_ros_1_do_not_matter() -> None:
    buffer = TransformBuffer()
    buffer.insert("/map", "/base", 0, (1, 2, 3), STILL, static=True)
    assert buffer.lookup("map", "base", 0)[:3, 3].tolist() == [1, 2, 3]
    assert buffer.frames == ("base", "map")


def test_a_quaternion_of_another_length_is_normalised() -> None:
    buffer = TransformBuffer()
    buffer.insert("map", "base", 0, ORIGIN, (0, 0, 3, 3), static=True)
    quarter = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(buffer.lookup("map", "base", 0)[:3, :3], quarter, atol=1e-12)


@pytest.mark.parametrize(
    ("translation", "rotation"),
    [
        (ORIGIN, (0, 0, 0, 0)),
        (ORIGIN, (math.nan, 0, 0, 1)),
        ((math.inf, 0, 0), STILL),
    ],
)
def test_numbers_that_are_no_transform_are_refused(translation: Any, rotation: Any) -> None:
    with pytest.raises(TransformError, match="transform of 'base' in 'map'") as caught:
        TransformBuffer().insert("map", "base", 0, translation, rotation)
    assert caught.value.reason == "bad_transform"


@pytest.mark.parametrize(("parent", "child"), [("", "base"), ("map", "/"), ("base", "base")])
def test_frame_names_that_make_no_edge_are_refused(parent: str, child: str) -> None:
    with pytest.raises(TransformError) as caught:
        TransformBuffer().insert(parent, child, 0, ORIGIN, STILL)
    assert caught.value.reason == "bad_transform"


def moving(*stamps_s: float, history_s: float = 10.0) -> TransformBuffer:
    """`base` in `map` at x = its stamp in seconds."""
    buffer = TransformBuffer(history_s)
    for stamp_s in stamps_s:
        buffer.insert("map", "base", round(stamp_s * S), (stamp_s, 0, 0), STILL)
    return buffer


def test_stamp_zero_is_the_latest() -> None:
    assert moving(1, 2, 3).lookup("map", "base", 0)[0, 3] == 3


def test_stamp_zero_is_the_latest_time_that_all_edges_share() -> None:
    buffer = moving(1, 2, 3)
    for stamp_s in (1, 2):
        buffer.insert("base", "camera", stamp_s * S, (0, stamp_s, 0), STILL)
    assert buffer.lookup("map", "camera", 0)[:2, 3].tolist() == [2, 2]


def test_stamp_zero_ignores_edges_above_the_common_ancestor() -> None:
    buffer = moving(1)
    for stamp_s in (1, 5):
        buffer.insert("base", "camera", stamp_s * S, (0, stamp_s, 0), STILL)
    assert buffer.lookup("base", "camera", 0)[1, 3] == 5


def test_late_and_repeated_samples_keep_the_order() -> None:
    buffer = moving(1, 3, 2)
    buffer.insert("map", "base", 2 * S, (2, 0, 0), STILL)
    assert buffer.lookup("map", "base", 2 * S)[0, 3] == 2
    assert buffer.lookup("map", "base", 2 * S + S // 2)[0, 3] == 2.5


@pytest.mark.parametrize("stamp_s", [0.5, 3.5])
def test_outside_the_history_the_error_says_what_is_known(stamp_s: float) -> None:
    reason, text = refused(moving(1, 2, 3), "map", "base", round(stamp_s * S))
    assert reason == "extrapolation"
    assert "'base' in 'map' is known from 1.000 to 3.000 s" in text
    assert "clocks" in text


def test_samples_older_than_the_history_are_forgotten() -> None:
    assert refused(moving(1, 5, 12), "map", "base", 2 * S)[0] == "extrapolation"
    assert moving(1, 5, 12).lookup("map", "base", 6 * S)[0, 3] == 6


def test_a_bag_buffer_forgets_nothing() -> None:
    assert moving(1, 500, history_s=math.inf).lookup("map", "base", 2 * S)[0, 3] == 2


def test_clearing_forgets_where_moving_frames_were_and_keeps_static_ones_and_names() -> None:
    buffer = moving(100, 101)
    buffer.insert("base", "camera", 0, (0, 0, 1), STILL, static=True)
    buffer.clear()
    assert refused(buffer, "map", "base", 101 * S)[0] == "extrapolation"  # it may come again
    assert refused(buffer, "map", "base", 0)[0] == "disconnected"
    assert buffer.lookup("base", "camera", 0)[2, 3] == 1
    buffer.insert("map", "base", 5 * S, (7, 0, 0), STILL)
    assert buffer.lookup("map", "camera", 0)[:3, 3].tolist() == [7, 0, 1]


@pytest.mark.parametrize("history_s", [10.0, math.inf])
def test_one_backward_stamp_changes_nothing_for_other_frames(history_s: float) -> None:
    buffer = moving(100, 101, history_s=history_s)
    for stamp_s in (100, 101):
        buffer.insert("base", "lidar", stamp_s * S, (0, stamp_s, 0), STILL)
    buffer.insert("base", "lidar", 5 * S, (0, 7, 0), STILL)
    assert buffer.lookup("map", "base", 100 * S)[0, 3] == 100
    assert buffer.lookup("map", "lidar", 101 * S)[:2, 3].tolist() == [101, 101]


def test_a_stamp_older_than_the_history_is_ignored() -> None:
    reason, text = refused(moving(100, 101, 5), "map", "base", 50 * S)
    assert reason == "extrapolation"
    assert "from 100.000 to 101.000 s" in text


def test_of_several_with_one_stamp_the_last_is_the_latest() -> None:
    buffer = moving(1, 2)
    buffer.insert("map", "base", 2 * S, (99, 0, 0), STILL)
    assert buffer.lookup("map", "base", 0)[0, 3] == 99
    assert buffer.lookup("map", "base", 2 * S)[0, 3] == 99
    assert buffer.lookup("map", "base", S + S // 2)[0, 3] == 1.5  # towards the first of them


def test_a_frame_has_the_parent_that_it_had_at_the_time() -> None:
    buffer = TransformBuffer()
    buffer.insert("world", "map", 0, (0, 5, 0), STILL, static=True)
    for stamp_s, parent in ((1, "map"), (2, "map"), (3, "world"), (4, "world")):
        buffer.insert(parent, "cup", stamp_s * S, (stamp_s, 0, 0), STILL)
    assert buffer.lookup("world", "cup", S + S // 2)[:2, 3].tolist() == [1.5, 5]
    assert buffer.lookup("world", "cup", 3 * S + S // 2)[:2, 3].tolist() == [3.5, 0]
    # Between two parents the older one counts, and nothing is interpolated.
    assert buffer.lookup("world", "cup", 2 * S + S // 2)[:2, 3].tolist() == [2, 5]


def two_parents() -> TransformBuffer:
    """`mast` by turns on `base` and on `other`, which nobody connects with the map."""
    buffer = moving(1, 2, 3)
    for stamp_s, parent in ((1, "base"), (1.5, "other"), (2, "base"), (2.5, "other")):
        buffer.insert(parent, "mast", round(stamp_s * S), (stamp_s, 0, 0), STILL)
    return buffer


def test_two_parents_come_and_go_and_the_error_names_them() -> None:
    buffer = two_parents()
    buffer.insert("mast", "camera", 0, ORIGIN, STILL, static=True)
    assert buffer.lookup("map", "camera", round(1.2 * S))[0, 3] == pytest.approx(2.2)
    for stamp_ns in (0, round(1.6 * S), round(2.7 * S)):
        reason, text = refused(buffer, "map", "camera", stamp_ns)
        assert reason == "two_parents"
        assert all(name in text for name in ("'mast'", "'base'", "'other'"))


def test_two_parents_are_not_blamed_for_frames_below_which_they_are_not() -> None:
    buffer = two_parents()
    assert refused(buffer, "map", "base", 9 * S)[0] == "extrapolation"


def test_a_frame_that_was_handed_over_once_has_no_two_parents() -> None:
    buffer = moving(1, 2, 3)
    for stamp_s, parent in ((1, "base"), (2, "map"), (30, "base")):
        buffer.insert(parent, "cup", stamp_s * S, ORIGIN, STILL)
    assert refused(buffer, "map", "cup", 31 * S)[0] == "extrapolation"


def test_two_static_parents_are_named_where_the_second_leads_nowhere() -> None:
    buffer = moving(1)
    for parent in ("base", "gimbal"):
        buffer.insert(parent, "camera", 0, ORIGIN, STILL, static=True)
    assert refused(buffer, "map", "camera", S)[0] == "two_parents"


def test_parents_that_no_longer_disagree_are_not_blamed() -> None:
    buffer = two_parents()
    buffer.insert("other", "mast", 20 * S, ORIGIN, STILL)
    assert refused(buffer, "map", "mast", 20 * S)[0] == "disconnected"


def test_a_static_transform_published_again_holds_at_all_times() -> None:
    buffer = TransformBuffer()
    for height in (1, 2):
        buffer.insert("base", "camera", height * S, (0, 0, height), STILL, static=True)
    assert buffer.lookup("base", "camera", S)[2, 3] == 2


def test_a_frame_that_becomes_static_or_moving_starts_afresh() -> None:
    buffer = moving(1, 2)
    buffer.insert("map", "base", 3 * S, (9, 0, 0), STILL, static=True)
    assert buffer.lookup("map", "base", S)[0, 3] == 9
    buffer.insert("map", "base", 4 * S, (4, 0, 0), STILL)
    assert refused(buffer, "map", "base", 3 * S)[0] == "extrapolation"
    assert buffer.lookup("map", "base", 0)[0, 3] == 4


def test_a_moving_frame_with_stamp_zero_is_known_at_the_time_of_the_others() -> None:
    buffer = moving(3)
    buffer.insert("base", "camera", 0, (0, 0, 1), STILL)
    assert refused(buffer, "map", "camera", 0)[0] == "extrapolation"
    buffer.insert("base", "camera", 3 * S, (0, 0, 2), STILL)
    assert buffer.lookup("map", "camera", 0)[:3, 3].tolist() == [3, 0, 2]


def test_the_way_to_a_frame_of_a_ring_ends_there() -> None:
    buffer = TransformBuffer()
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a")):
        buffer.insert(parent, child, 0, (1, 0, 0), STILL, static=True)
    assert buffer.lookup("a", "c", S)[0, 3] == 2


REAL_DATA = os.environ.get("SR3D_REAL_DATA")
OF_TF2 = {
    "lookup": {"no_transform"},
    "connectivity": {"disconnected", "two_parents"},
    "extrapolation": {"extrapolation", "two_parents"},
}


@pytest.mark.skipif(not REAL_DATA, reason="SR3D_REAL_DATA is not set")
def test_every_answer_is_the_one_that_tf2s_own_buffer_gave() -> None:
    path = Path(str(REAL_DATA)) / "oracles" / "tf2_answers.json"
    num_asked = 0
    for number, scenario in enumerate(json.loads(path.read_text())["scenarios"]):
        buffer = TransformBuffer(scenario["history_s"])
        for step, each in enumerate(scenario["operations"]):
            where, stamp_ns = f"scenario {number}, step {step}", each.get("stamp_ns", 0)
            if "put" in each:
                moved, turned = each["translation"], each["rotation_xyzw"]
                buffer.insert(*each["put"], stamp_ns, moved, turned, each["static"])
            elif "clear" in each:
                buffer.clear()
            elif "error" in each:
                num_asked += 1
                assert refused(buffer, *each["ask"], stamp_ns)[0] in OF_TF2[each["error"]], where
            else:
                num_asked += 1
                np.testing.assert_allclose(
                    buffer.lookup(*each["ask"], stamp_ns),
                    by_scipy(each["translation"], each["rotation_xyzw"]),
                    atol=1e-7,  # the answers have nine decimals
                    err_msg=where,
                )
    assert num_asked == 1418


def test_unknown_frames_are_listed_with_similar_names_first() -> None:
    reason, text = refused(moving(1), "map", "bose", S)
    assert reason == "no_transform"
    assert "'bose'" in text
    assert "base, map" in text  # those that are known


def test_two_trees_are_disconnected() -> None:
    buffer = moving(1)
    buffer.insert("world", "camera", 0, ORIGIN, STILL, static=True)
    reason, text = refused(buffer, "map", "camera", S)
    assert reason == "disconnected"
    assert "('map' and 'world' have no parent)" in text


def test_a_cycle_is_an_error_and_ends() -> None:
    buffer = TransformBuffer()
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a")):
        buffer.insert(parent, child, 0, ORIGIN, STILL, static=True)
    buffer.insert("map", "base", 0, ORIGIN, STILL, static=True)
    assert refused(buffer, "map", "a", S)[0] == "cycle"
    assert refused(buffer, "map", "a", 0)[0] == "cycle"


def tf_message(*edges: tuple[str, str, int, Any, Any]) -> SimpleNamespace:
    entries = []
    for parent, child, stamp_ns, moved, turned in edges:
        stamp = SimpleNamespace(sec=stamp_ns // S, nanosec=stamp_ns % S)
        transform = SimpleNamespace(
            translation=SimpleNamespace(**dict(zip("xyz", moved, strict=True))),
            rotation=SimpleNamespace(**dict(zip("xyzw", turned, strict=True))),
        )
        header = SimpleNamespace(stamp=stamp, frame_id=parent)
        entry = SimpleNamespace(header=header, child_frame_id=child, transform=transform)
        entries.append(entry)
    return SimpleNamespace(transforms=entries)


def test_one_bad_transform_of_a_message_does_not_keep_the_others_out() -> None:
    buffer = TransformBuffer()
    bad, good = ("map", "a", 0, ORIGIN, (0, 0, 0, 0)), ("map", "b", 0, (4, 0, 0), STILL)
    with pytest.raises(TransformError, match="'a' in 'map'"):
        buffer.add_tf_message(tf_message(bad, good), static=True)
    assert buffer.lookup("map", "b", 3)[0, 3] == 4


def test_the_nearest_gravity_frame_that_resolves_is_chosen() -> None:
    buffer = moving(1)
    buffer.insert("odom", "map", 0, ORIGIN, STILL, static=True)
    assert first_gravity_frame(buffer, "base", S) == "odom"
    assert first_gravity_frame(buffer, "base", S, ("map", "odom")) == "map"


def test_no_gravity_frame_says_what_was_tried() -> None:
    buffer = TransformBuffer()
    with pytest.raises(TransformError, match="tried base_footprint, base_link, odom") as caught:
        first_gravity_frame(buffer, "/camera", S)
    assert caught.value.reason == "no_transform"


def test_a_gravity_frame_that_may_still_come_is_an_extrapolation() -> None:
    with pytest.raises(TransformError) as caught:
        first_gravity_frame(moving(1), "base", 2 * S)
    assert caught.value.reason == "extrapolation"
