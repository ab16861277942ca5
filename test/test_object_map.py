"""A map of objects: what it believes, what it lets go, and what it must not."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from ray_casting import Box, seen_cloud

from sr3d_core import ObjectMap, ObjectMapSettings
from sr3d_core.memory.fused_box import BoxView, fused_box, robust_mean
from sr3d_core.memory.map_file import MapFileError
from sr3d_core.memory.merging import merged
from sr3d_core.memory.object_map import Updated
from sr3d_core.memory.visibility import Visibility
from sr3d_core.structures import Boxes3D, Detections

SECOND = 1_000_000_000
CLASSES = ("chair", "table", "bed")
CHAIR: Box = (3.0, 0.0, 0.45, 0.5, 0.5, 0.9)
EYE = (0.0, 0.0, 1.2)


def found(*rows: tuple[float, ...], label: int = 0, score: float = 0.8) -> Detections:
    boxes = Boxes3D.from_array(torch.tensor(rows, dtype=torch.float32).reshape(-1, 7))
    labels = torch.full((len(rows),), label)
    return Detections(boxes, torch.full((len(rows),), score), labels)


def row(box: Box, yaw: float = 0.0) -> tuple[float, ...]:
    return (*box, yaw)


@cache
def look(*boxes: Box, eye: tuple[float, float, float] = EYE) -> Visibility:
    """What the depth says, its cloud in the static frame."""
    return Visibility.of(seen_cloud(eye, *boxes), np.eye(4), eye)


def shown(
    objects: ObjectMap,
    at_s: float,
    detections: Detections,
    *world: Box,
    eye: tuple[float, float, float] = EYE,
) -> Updated:
    return objects.update(detections, int(at_s * SECOND), look(*world, eye=eye))


def chair_map(settings: ObjectMapSettings | None = None) -> ObjectMap:
    """A map in which one chair is confirmed, last seen at 0.4 s."""
    objects = ObjectMap(CLASSES, settings)
    for step in range(3):
        shown(objects, 0.2 * step, found(row(CHAIR)), CHAIR)
    return objects


def test_an_object_is_confirmed_by_frames_and_keeps_its_identity() -> None:
    objects = ObjectMap(CLASSES)
    ids = [objects.update(found(row(CHAIR)), step * SECOND).identities for step in range(3)]
    assert ids == [("1",)] * 3
    (chair,) = objects.objects()
    assert (chair.state, chair.class_name, chair.times_seen) == ("confirmed", "chair", 3)
    assert (chair.first_ns, chair.last_ns) == (0, 2 * SECOND)


def test_a_frame_says_free_hidden_met_and_out_of_view() -> None:
    boxes = np.array([row(CHAIR), row((3.0, 0.0, 4.0, 0.5, 0.5, 0.5))])
    empty, there = look().of_boxes(boxes), look(CHAIR).of_boxes(boxes)
    hidden = look((1.5, 0.0, 0.8, 0.1, 2.0, 1.6)).of_boxes(boxes)
    assert empty.free[0] > 0.9
    assert there.met[0] > 0.9
    assert empty.met[0] == there.free[0] == 0.0
    assert hidden.free[0] == hidden.met[0] == hidden.clear[0] == 0.0
    for each in (empty, there, hidden):  # above the image
        assert each.clear[1] == each.free[1] == each.met[1] == 0.0


def test_what_was_carried_away_is_gone_with_the_time_and_stays_known() -> None:
    objects = chair_map()
    gone = [shown(objects, 2 + step, found()).gone for step in range(3)]
    assert gone == [(), (), ("1",)]
    assert objects.objects() == []
    (chair,) = objects.objects(("gone",))
    assert (chair.gone_ns, chair.times_missed) == (4 * SECOND, 3)
    shown(objects, 4 + ObjectMapSettings().keep_gone_s + 1, found())
    assert objects.objects(()) == []


def test_what_stood_against_a_wall_is_found_gone_too() -> None:
    wall = (3.5, 0.0, 1.25, 0.5, 6.0, 2.5)  # its face is the chair's rear
    objects = ObjectMap(CLASSES)
    for step in range(3):
        shown(objects, 0.2 * step, found(row(CHAIR)), CHAIR, wall)
    looks = look(CHAIR, wall).of_boxes(np.array([row(CHAIR)]))
    assert (looks.met[0] > 0.9, looks.free[0] < 0.1) == (True, True)
    for step in range(3):
        said = shown(objects, 2 + 0.2 * step, found(), wall)
    assert said.gone == ("1",)


@pytest.mark.parametrize(
    ("world", "eye"),
    [
        ([(1.5, 0.0, 0.8, 0.1, 2.0, 1.6)], EYE),  # hidden behind a board
        ([], (4.0, 0.0, 1.2)),  # behind the camera
        ([CHAIR], EYE),  # not found, but there
    ],
)
def test_what_is_hidden_out_of_view_or_not_found_stays(
    world: list[Box], eye: tuple[float, float, float]
) -> None:
    objects = chair_map()
    for step in range(6):
        shown(objects, 3 + step, found(), *world, eye=eye)
    (chair,) = objects.objects()
    assert chair.times_missed == 0


def test_without_depth_nothing_is_missed() -> None:
    objects = chair_map()
    for step in range(6):
        objects.update(found(), (2 + step) * SECOND)
    assert len(objects.objects()) == 1


def test_what_is_in_clear_view_from_many_places_and_not_found_is_not_believed() -> None:
    objects = chair_map()
    for step in range(12):
        shown(objects, 1 + step, found(), CHAIR, eye=(0.0, 0.12 * step - 0.7, 1.2))
    assert objects.objects() == []


def test_from_one_place_not_being_found_again_and_again_counts_once() -> None:
    objects = chair_map()
    for step in range(20):
        shown(objects, 1 + 0.2 * step, found(), CHAIR, eye=(0.0, 0.5, 1.2))
    (chair,) = objects.objects()
    assert (chair.times_overlooked, chair.times_missed, chair.state) == (1, 0, "confirmed")


def test_a_place_from_which_one_look_misses_and_another_finds_counts_as_one_that_found() -> None:
    objects = chair_map()
    for step in range(4):  # each place first without the chair, then with it
        eye = (0.0, 0.2 * step + 0.2, 1.2)
        shown(objects, 1 + 0.5 * step, found(), CHAIR, eye=eye)
        assert objects.objects(())[0].times_overlooked == 1
        shown(objects, 1.2 + 0.5 * step, found(row(CHAIR)), CHAIR, eye=eye)
        assert objects.objects(())[0].times_overlooked == 0
    (chair,) = objects.objects()
    assert (chair.times_seen, chair.state) == (7, "confirmed")


def test_looks_from_one_place_are_averaged_and_count_as_one_view() -> None:
    objects = ObjectMap(CLASSES)
    for step in range(10):  # errors of 10 cm to either side, from one place
        off: Box = (3.0, 0.1 * (-1) ** step, *CHAIR[2:])  # type: ignore[assignment]
        shown(objects, 0.2 * step, found(row(off)), CHAIR)
    np.testing.assert_allclose(objects.objects()[0].box[:3], CHAIR[:3], atol=0.01)
    for step in range(3):  # one look from each of three places, 10 cm off to one side
        off = (3.0, 0.1, *CHAIR[2:])  # type: ignore[assignment]
        shown(objects, 3 + step, found(row(off)), CHAIR, eye=(0.0, 0.2 * step + 0.2, 1.2))
    assert objects.objects()[0].box[1] > 0.07


def test_a_look_that_is_far_off_is_no_part_of_the_mean_of_its_place() -> None:
    objects = chair_map()
    off: Box = (3.0, 0.45, *CHAIR[2:])  # type: ignore[assignment]
    shown(objects, 1.0, found(row(off)), CHAIR)
    shown(objects, 1.2, found(row(CHAIR)), CHAIR)
    np.testing.assert_allclose(objects.objects()[0].box, row(CHAIR), atol=1e-6)


def test_a_flash_is_forgotten() -> None:
    objects = ObjectMap(CLASSES)
    objects.update(found(row(CHAIR)), 0)
    objects.update(found(), 11 * SECOND)
    assert objects.objects(()) == []


def test_an_object_that_moves_in_view_keeps_its_identity_and_its_box_follows() -> None:
    objects = chair_map()
    for step in range(12):
        at: Box = (3.0, 0.1 * step, *CHAIR[2:])  # type: ignore[assignment]
        assert shown(objects, 1 + 0.2 * step, found(row(at)), at).identities == ("1",)
    for step in range(3):
        shown(objects, 4 + 0.2 * step, found(row(at)), at)
    (chair,) = objects.objects()
    np.testing.assert_allclose(chair.box[:2], (3.0, 1.1), atol=0.05)


def test_what_was_carried_to_a_place_near_by_is_found_again() -> None:
    objects = chair_map()
    there: Box = (3.0, 1.2, *CHAIR[2:])  # type: ignore[assignment]
    steps = [shown(objects, 2 + step, found(row(there)), there) for step in range(4)]
    assert ("2", "1") in [pair for step in steps for pair in step.renamed]
    (chair,) = objects.objects(())
    assert (chair.identity, chair.state, chair.first_ns) == ("1", "confirmed", 0)
    np.testing.assert_allclose(chair.box[:2], (3.0, 1.2), atol=0.05)


def test_two_boxes_that_come_to_share_a_place_are_one_object() -> None:
    objects = chair_map()
    beside = found(row(CHAIR), row((3.0, 0.6, *CHAIR[2:])))  # type: ignore[arg-type]
    assert objects.update(beside, 1 * SECOND).identities == ("1", "2")
    known = {known.identity: known for known in objects._known}
    known["2"].box[1] = 0.05
    assert objects.update(found(), 2 * SECOND).renamed == (("2", "1"),)


def test_class_probabilities_follow_the_scores() -> None:
    objects = ObjectMap(CLASSES)
    for step, (label, score) in enumerate([(0, 0.9), (1, 0.4), (0, 0.7)]):
        objects.update(found(row(CHAIR), label=label, score=score), step * SECOND)
    (chair,) = objects.objects()
    assert chair.class_name == "chair"
    third = 1 / 3
    assert chair.probabilities["chair"] == pytest.approx((1.6 + third) / 3, abs=1e-6)
    assert chair.probabilities["table"] == pytest.approx((0.4 + third) / 3, abs=1e-6)


def test_boxes_are_fused_by_their_symmetry() -> None:
    first = np.array([1.0, 2.0, 0.5, 2.0, 0.8, 1.0, 0.1])
    turned = np.array([1.0, 2.0, 0.5, 0.8, 2.0, 1.0, 0.1 + math.pi / 2])
    half = np.array([1.0, 2.0, 0.5, 2.0, 0.8, 1.0, 0.1 - math.pi])
    box = fused_box([BoxView(view, 1.0) for view in (first, turned, half)])
    np.testing.assert_allclose(box, first, atol=1e-9)


def test_the_front_is_where_most_looks_say_whatever_the_first_said(tmp_path: Path) -> None:
    long: Box = (3.0, 0.0, 0.45, 0.5, 0.8, 0.9)
    across = row((*long[:3], 0.8, 0.5, 0.9), 0.3 + math.pi / 2)  # type: ignore[arg-type]
    wrong = [row(long, 0.3 + math.pi), across]
    objects = ObjectMap(CLASSES)
    for step in range(8):  # half of them from one place, half from others
        eye = (0.0, 0.2 * max(step - 4, 0), 1.2)
        box = wrong[step] if step < 2 else row(long, 0.3)
        shown(objects, 0.2 * step, found(box), CHAIR, eye=eye)
    objects.save(tmp_path / "map.json")
    for each in (objects, ObjectMap.load(tmp_path / "map.json", CLASSES)):
        shown(each, 2.0, found(row(long, 0.3)), CHAIR)
        np.testing.assert_allclose(each.objects()[0].box[3:], (*long[3:], 0.3), atol=1e-6)


def test_a_box_whose_looks_do_not_agree_on_a_side_stays_as_it_is_written() -> None:
    turns = (0.3, 0.3 + math.pi, 0.3, 0.3 + math.pi)
    views = [BoxView(np.array([*CHAIR, turn]), 1.0) for turn in turns]
    for before in (0.3, 0.3 - math.pi):
        assert fused_box(views, before)[6] == pytest.approx(before)


def test_what_frame_and_scene_both_find_keeps_the_front_of_the_better() -> None:
    better = found((*CHAIR[:3], 0.8, 0.5, 0.9, math.pi - 0.1), score=0.9)
    other = found((*CHAIR[:3], 0.8, 0.5, 0.9, -0.1), score=0.4)
    for frame, scene in ((better, other), (other, better)):
        (both,) = merged(frame, scene).boxes.array.numpy()
        np.testing.assert_allclose(both[3:], (0.8, 0.5, 0.9, math.pi - 0.1), atol=1e-5)


def test_sizes_are_averaged_as_logarithms() -> None:
    views = [BoxView(np.array([0, 0, 0, s, 1, 1, 0.0]), 1.0) for s in (0.98, 1.0, 1.0 / 0.98)]
    assert fused_box(views)[3] == pytest.approx(1.0, abs=1e-9)


def test_one_view_that_is_far_off_hardly_counts() -> None:
    values = np.array([[1.0], [1.01], [0.99], [1.0], [5.0]])
    assert robust_mean(values, np.ones(5), 0.02)[0] == pytest.approx(1.0, abs=0.02)


def test_what_was_seen_better_counts_more() -> None:
    values = np.array([[0.0], [0.02]])
    assert robust_mean(values, np.array([3.0, 1.0]), 1.0)[0] == pytest.approx(0.005)


def test_a_frame_that_is_late_is_left_out_and_a_clock_set_back_begins_anew() -> None:
    objects = chair_map()
    assert objects.update(found(row(CHAIR)), 0).is_late
    assert "1 objects" in objects.update(found(), -5 * SECOND).forgot
    assert objects.objects(()) == []
    assert objects.update(found(row(CHAIR)), 0).identities == ("2",)


def test_a_frame_after_a_jump_of_the_static_frame_misses_nothing() -> None:
    objects = chair_map()
    for step in range(6):
        eye = (0.0, 1.0 * (step % 2), 1.2)
        said = shown(objects, 2 + 0.01 * step, found(), eye=eye)
        assert bool(said.jump) == (step > 0)
    assert objects.objects()[0].times_missed == 1


def test_a_map_reads_back_as_it_was_and_goes_on(tmp_path: Path) -> None:
    objects = chair_map()
    path = tmp_path / "map.json"
    objects.save(path, "map")
    loaded = ObjectMap.load(path, CLASSES, frame="map")
    for each in (objects, loaded):
        shown(each, 1.0, found(row(CHAIR), (1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 0.3)), CHAIR)
        each.save(tmp_path / f"{id(each)}.json", "map")
    first, second = (
        json.loads((tmp_path / f"{id(m)}.json").read_text()) for m in (objects, loaded)
    )
    assert first == second
    assert [each["id"] for each in first["objects"]] == ["1", "2"]


def test_a_map_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    chair_map().save(path, "map")
    good = path.read_text()
    tree = json.loads(good)

    def refusal(text: str, classes: tuple[str, ...] = CLASSES, frame: str = "map") -> str:
        path.write_text(text)
        with pytest.raises(MapFileError) as caught:
            ObjectMap.load(path, classes, frame=frame)
        said = str(caught.value)
        assert "\n" not in said
        assert "map.json" in said
        return said

    assert "9" in refusal(json.dumps({**tree, "version": 9}))
    assert "digest" in refusal(good.replace("chair", "table"))
    assert "sofa" in refusal(good, classes=("chair", "table", "sofa"))
    assert "odom" in refusal(good, frame="odom")
    assert "format" in refusal('{"detections": []}')
    refusal(good[: len(good) // 2])
    refusal("")
