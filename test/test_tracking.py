"""Identities of objects over frames: what keeps one, what gets a new one, what is forgotten."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sr3d_core.geometry.iou import aligned_iou
from sr3d_core.structures import Boxes3D, Detections
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.tracking.kalman import KalmanState, MotionModel
from sr3d_ros.tracking.tracker import Tracker, in_static_frame

START_NS = 1_700_000_000_000_000_000
CHAIR, TABLE = 0, 1
Row = tuple[float, float]  # x, y


def seen(*places: Row, labels: tuple[int, ...] | None = None, score: float = 0.6) -> Detections:
    """Boxes 0.6 x 0.6 x 0.9 m on the floor."""
    array = torch.tensor([[x, y, 0.45, 0.6, 0.6, 0.9, 0.0] for x, y in places]).reshape(-1, 7)
    chosen = labels or (CHAIR,) * len(places)
    scores = torch.full((len(places),), score)
    return Detections(Boxes3D.from_array(array), scores, torch.tensor(chosen, dtype=torch.int64))


def at(frame: int, rate_hz: float = 10.0) -> int:
    return START_NS + round(1e9 * frame / rate_hz)


def tracker(**given: float) -> Tracker:
    values = {f"tracking.{name}": value for name, value in {"min_hits": 1, **given}.items()}
    return Tracker(Parameters.from_values(values))


def test_an_object_gets_its_identity_after_the_asked_for_hits() -> None:
    mine = tracker(min_hits=3)
    ids = [mine.update(seen((0, 0)), at(frame)) for frame in range(4)]
    assert ids == [("",), ("",), ("1",), ("1",)]


def test_identities_go_with_the_objects_and_not_with_the_rows() -> None:
    mine = tracker()
    assert mine.update(seen((0, 0), (2, 0)), at(0)) == ("1", "2")
    assert mine.update(seen((2.05, 0), (0.05, 0)), at(1)) == ("2", "1")


def test_two_tracks_that_come_to_share_a_place_are_one_object() -> None:
    mine = tracker()
    assert mine.update(seen((0, 0)), at(0)) == ("1",)
    for frame in range(1, 6):  # a frame shows it twice, at first so far apart as two objects are
        apart = (0.0, 0.6 - 0.1 * frame)
        ids = mine.update(seen((0, 0), apart), at(frame))
        assert ids[0] == "1"
    assert ids[1] == ""
    for frame in range(6, 10):
        assert mine.update(seen((0.0, 0.1)), at(frame)) == ("1",)
    assert mine.tracks().ids == ("1",)


def test_tracks_of_objects_side_by_side_stay_apart() -> None:
    mine = tracker()
    for frame in range(6):
        off = 0.05 * (-1) ** frame
        assert mine.update(seen((0, off), (0, 0.6 - off)), at(frame)) == ("1", "2")


def test_the_front_of_a_track_is_where_most_detections_say() -> None:
    mine = tracker()
    for frame, turn in enumerate((math.pi, math.pi / 2, 0.0, 0.0, 0.0, math.pi, 0.0, 0.0)):
        one = seen((0, 0))
        sides = (0.4, 0.8) if frame == 1 else (0.8, 0.4)
        box = torch.tensor([[0.0, 0.0, 0.45, *sides, 0.9, 0.2 + turn]])
        mine.update(Detections(Boxes3D.from_array(box), one.scores, one.labels), at(frame))
    (track,) = mine.tracks().boxes.boxes.array.numpy()
    np.testing.assert_allclose(track[3:6], (0.8, 0.4, 0.9), atol=1e-5)
    assert math.remainder(track[6] - 0.2, 2 * math.pi) == pytest.approx(0.0, abs=1e-5)


def test_an_object_keeps_its_identity_behind_something_else() -> None:
    mine = tracker(max_age_s=2.0)
    mine.update(seen((0, 0)), at(0))
    for frame in range(1, 19):
        assert mine.update(seen(), at(frame)) == ()
    assert mine.update(seen((0.1, 0)), at(19)) == ("1",)


def test_an_object_that_was_away_too_long_is_another() -> None:
    mine = tracker(max_age_s=2.0)
    mine.update(seen((0, 0)), at(0))
    assert mine.update(seen((0, 0)), at(21)) == ("2",)


def test_a_moving_object_is_followed_through_an_occlusion() -> None:
    mine = Tracker(
        Parameters(track_min_hits=1, track_gate_m=0.4),
        MotionModel(acceleration=0.5, start_m_s=1.0),
    )
    for frame in range(15):
        assert mine.update(seen((0.08 * frame, 0)), at(frame)) == ("1",)
    for frame in range(15, 25):
        mine.update(seen(), at(frame))
    assert mine.update(seen((0.08 * 25, 0)), at(25)) == ("1",)  # 0.88 m on, with a gate of 0.4 m


def test_two_objects_that_swap_nothing_keep_their_identities_in_noise() -> None:
    rng, mine = np.random.default_rng(0), tracker()
    for frame in range(50):
        noise = rng.normal(0, 0.05, (2, 2))
        places = [(0 + noise[0, 0], noise[0, 1]), (0.9 + noise[1, 0], noise[1, 1])]
        assert mine.update(seen(*places), at(frame)) == ("1", "2")


def test_the_best_assignment_of_all_counts_not_the_nearest_pair() -> None:
    mine = tracker(gate_m=1.0)
    mine.update(seen((0.0, 0), (1.0, 0)), at(0))
    # Both moved by 0.7 m. The first is now nearest to where the second was.
    assert mine.update(seen((0.7, 0), (1.7, 0)), at(1)) == ("1", "2")


def test_a_jump_beyond_the_gate_is_another_object() -> None:
    mine = tracker(gate_m=0.5)
    mine.update(seen((0, 0)), at(0))
    assert mine.update(seen((1.2, 0)), at(1)) == ("2",)


def test_another_class_in_the_same_place_is_the_same_object() -> None:
    mine = tracker()
    mine.update(seen((0, 0)), at(0))
    assert mine.update(seen((0.05, 0), labels=(TABLE,)), at(1)) == ("1",)


def test_another_class_beside_it_is_another_object() -> None:
    mine = tracker(gate_m=0.7)
    mine.update(seen((0, 0)), at(0))
    assert mine.update(seen((0.5, 0), labels=(TABLE,)), at(1)) == ("2",)


def test_a_second_box_on_a_tracked_object_gets_no_identity() -> None:
    mine = tracker()
    mine.update(seen((0, 0)), at(0))
    ids = mine.update(seen((0, 0), (0.1, 0), labels=(CHAIR, TABLE)), at(1))
    assert ids == ("1", "")


def test_time_that_jumps_back_starts_anew_but_repeats_no_identity() -> None:
    mine = tracker()
    mine.update(seen((0, 0)), at(50))
    assert mine.update(seen((0, 0)), at(0)) == ("2",)


def test_the_same_stamp_twice_is_no_trouble() -> None:
    mine = tracker()
    mine.update(seen((0, 0)), at(0))
    assert mine.update(seen((0, 0)), at(0)) == ("1",)


def test_nothing_seen_is_normal() -> None:
    mine = tracker()
    assert mine.update(Detections.empty(), at(0)) == ()
    known = mine.tracks()
    assert (len(known.boxes), known.ids, known.added_variance_m2.shape) == (0, (), (0,))


def test_occluded_objects_keep_their_tracks_where_they_were() -> None:
    mine = tracker()
    mine.update(seen((1, 2), labels=(TABLE,), score=0.8), at(0))
    mine.update(seen(), at(1))
    known = mine.tracks()
    assert known.ids == ("1",)
    assert known.boxes.boxes.center[0].tolist() == pytest.approx([1, 2, 0.45])
    assert known.boxes.labels.tolist() == [TABLE]


def test_what_is_occluded_is_less_certain_by_what_its_motion_may_have_been() -> None:
    motion = MotionModel(measured_m=0.1, start_m_s=0.5, acceleration=0.0)
    mine = Tracker(Parameters(track_min_hits=1), motion)
    mine.update(seen((0, 0)), at(0))
    assert mine.tracks().added_variance_m2.tolist() == [0.0]
    mine.update(seen(), at(20))  # 2 s at 0.5 m/s are 1 m
    assert mine.tracks().added_variance_m2.tolist() == pytest.approx([1.0])
    mine.update(seen((0, 0)), at(30))
    assert mine.tracks().added_variance_m2.tolist() == [0.0]


def test_boxes_of_tracks_are_steadier_than_what_was_seen() -> None:
    rng, mine = np.random.default_rng(1), tracker()
    for frame in range(40):
        place = rng.normal(0, 0.1, 2)
        mine.update(seen((float(place[0]), float(place[1]))), at(frame))
    assert float(mine.tracks().boxes.boxes.center[0, :2].norm()) < 0.07


def test_the_class_of_a_track_is_what_it_mostly_was() -> None:
    mine = tracker()
    for frame, label in enumerate((CHAIR, TABLE, TABLE)):
        mine.update(seen((0, 0), labels=(label,)), at(frame))
    assert mine.tracks().boxes.labels.tolist() == [TABLE]


def test_a_box_written_with_its_sides_exchanged_is_the_same_box() -> None:
    long = Detections(
        Boxes3D.from_array(torch.tensor([[0, 0, 0.5, 0.5, 2.0, 1.0, 0.0]])),
        torch.tensor([0.5]),
        torch.tensor([0]),
    )
    exchanged = Boxes3D.from_array(torch.tensor([[0, 0, 0.5, 2.0, 0.5, 1.0, math.pi / 2]]))
    mine = tracker()
    mine.update(long, at(0))
    mine.update(Detections(exchanged, long.scores, long.labels), at(1))
    tracks = mine.tracks().boxes.boxes
    assert float(aligned_iou(tracks, Boxes3D.from_array(long.boxes.array.double()))) > 0.99


def test_detections_are_carried_into_a_static_frame() -> None:
    matrix = np.array([[0.0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 1], [0, 0, 0, 1]])
    moved = in_static_frame(seen((1, 2)), matrix).boxes
    assert moved.center[0].tolist() == pytest.approx([8, 21, 1.45])
    assert float(moved.yaw[0]) == pytest.approx(math.pi / 2)


def test_a_static_frame_far_away_costs_no_precision() -> None:
    far = np.eye(4)
    far[:3, 3] = 1e6, 1e6, 0
    moved = in_static_frame(seen((0.001, 0)), far).boxes
    assert float(moved.center[0, 0]) - 1e6 == pytest.approx(0.001, abs=1e-6)


def matrix_filter(positions: np.ndarray, step_s: float, motion: MotionModel) -> np.ndarray:
    """The textbook filter of one axis, written with full matrices."""
    f = np.array([[1, step_s], [0, 1]])
    q = motion.acceleration**2 * np.array(
        [[step_s**3 / 3, step_s**2 / 2], [step_s**2 / 2, step_s]]
    )
    h, r = np.array([[1.0, 0.0]]), motion.measured_m**2
    x, p = np.array([positions[0], 0.0]), np.diag([r, motion.start_m_s**2])
    for z in positions[1:]:
        x, p = f @ x, f @ p @ f.T + q
        k = p @ h.T / (h @ p @ h.T + r)
        x, p = x + k[:, 0] * (z - x[0]), (np.eye(2) - k @ h) @ p
    return x


def test_the_filter_equals_the_textbook_one_on_every_axis() -> None:
    motion = MotionModel(acceleration=0.3)
    track = np.random.default_rng(2).normal(0, 1, (20, 3)).cumsum(axis=0)
    state = KalmanState.first(track[0], motion)
    for position in track[1:]:
        state = state.predicted(0.1, motion).corrected(position, motion)
    for axis in range(3):
        expected = matrix_filter(track[:, axis], 0.1, motion)
        np.testing.assert_allclose([state.position[axis], state.velocity[axis]], expected)
