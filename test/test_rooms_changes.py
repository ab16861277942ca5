"""Drives through rooms in which things move: the truth of each moment is right."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from sr3d_core.data.rooms.changes import ChangeSettings, ChangingRoom, changing_sequence
from sr3d_core.data.rooms.sequence import SequenceFrame, SequenceSettings, room_sequence
from sr3d_core.geometry.boxes import points_in_boxes
from sr3d_core.structures import Boxes3D

SEED = 10_020_003
SHORT = SequenceSettings(num_frames=6, rate_hz=1.0, width=120)
NOTHING = ChangeSettings(moved=0, removed=0, added=0, has_person=False)


@pytest.fixture(scope="module")
def changing() -> ChangingRoom:
    return ChangingRoom.of(SEED, SHORT)


@pytest.fixture(scope="module")
def frames() -> list[SequenceFrame]:
    return list(changing_sequence(SEED, SHORT))


def test_without_changes_it_is_the_still_drive_to_the_bit() -> None:
    short = SequenceSettings(num_frames=2, rate_hz=1.0, width=120)
    still, same = room_sequence(SEED, short), changing_sequence(SEED, short, NOTHING)
    for a, b in zip(still, same, strict=True):
        assert np.array_equal(a.depth, b.depth)
        assert np.array_equal(a.rgb, b.rgb)
        assert np.array_equal(a.things, b.things)


def test_the_same_seed_brings_the_same_changes(
    changing: ChangingRoom, frames: list[SequenceFrame]
) -> None:
    again = ChangingRoom.of(SEED, SHORT)
    assert [c.at_s for c in again.changes] == [c.at_s for c in changing.changes]
    last = list(changing_sequence(SEED, SHORT))[-1]
    assert np.array_equal(last.depth, frames[-1].depth)


def test_things_move_go_and_come(changing: ChangingRoom) -> None:
    kinds = {(c.before is None, c.after is None) for c in changing.changes}
    assert kinds == {(False, False), (False, True), (True, False)}
    for change in changing.changes:
        before, after = (
            bool(changing.is_there(change.at_s + step)[change.thing]) for step in (-0.01, 0.01)
        )
        assert before == (change.before is not None)
        assert after == (change.after is not None)


def test_the_surface_of_what_is_carried_is_in_its_new_box(changing: ChangingRoom) -> None:
    for change in changing.changes:
        room, place = changing.at(change.at_s + 0.01), change.after
        mine = room.corners[room.owner == change.thing].reshape(-1, 3)
        if place is None:
            assert len(mine) == 0
            continue
        box = Boxes3D.from_array(
            torch.tensor([[*place.center, *(place.size + 0.01), place.yaw]], dtype=torch.float64)
        )
        assert bool(points_in_boxes(torch.from_numpy(mine), box).all())


def test_what_is_away_is_no_target(changing: ChangingRoom, frames: list[SequenceFrame]) -> None:
    for second, frame in enumerate(frames):
        there = changing.is_there(float(second))
        assert there[frame.things].all()
        places = changing.places(float(second))
        for thing, box in zip(frame.things.tolist(), frame.targets.boxes.center, strict=True):
            np.testing.assert_allclose(box.numpy(), places[thing].center, atol=1e-5)


def test_a_person_walks_and_has_no_label(changing: ChangingRoom) -> None:
    alone = ChangingRoom(changing.room, changing.changes, None, changing.person)
    num_faces = len(changing.person.faces)
    assert len(changing.at(1.0).owner) - len(alone.at(1.0).owner) == num_faces
    assert (changing.at(1.0).owner[-num_faces:] == -1).all()
    steps = [changing.walker(s).vertices[:, :2].mean(axis=0) for s in (0.0, 1.0, 2.0)]
    assert max(np.linalg.norm(b - a) for a, b in pairwise(steps)) < 1.2
    assert np.linalg.norm(steps[2] - steps[0]) > 0.1
