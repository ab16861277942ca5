from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from sr3d_core.data.rooms import (
    LABELS,
    PrerenderedRooms,
    Rooms,
    RoomsError,
    contact_sheet,
    prerender,
    room_sample,
    room_samples,
)
from sr3d_core.data.rooms.camera.noise import FLIGHT
from sr3d_core.data.rooms.camera.sensor import Capture, Light, View, capture, orientation
from sr3d_core.data.rooms.dataset import (
    FORMAT,
    SEEDS_PER_SPLIT,
    XYZ_STEP_M,
    packed,
    relabelled,
    seed_of,
    unpacked,
)
from sr3d_core.data.rooms.furniture.mesh import turn_z
from sr3d_core.data.rooms.sample import frame_of, scan_of
from sr3d_core.data.rooms.scene.floor import Floor
from sr3d_core.data.rooms.scene.layout import Layout
from sr3d_core.data.rooms.scene.room import Build, Room, build_room
from sr3d_core.data.rooms.sight import MIN_SHARE
from sr3d_core.geometry.camera import Pinhole
from sr3d_core.structures import Sample

pytestmark = pytest.mark.slow

PERFECT = replace(FLIGHT, constant_m=0.0, quadratic=0.0, edge_jitter=0.0, flying=0.0, holes=0.0)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Two frames and the scan of each of three rooms."""
    return [s for seed in (1, 2, 4) for s in room_samples(seed, num_frames=2, scan=True)]


def perfect_shot(room: Room, heading: float) -> Capture:
    """What a camera without errors sees from the middle of the room."""
    floor = room.layout.floor
    view = View(
        Pinhole(160, 120, 100.0, 100.0, 79.5, 59.5),
        orientation(heading, np.deg2rad(-15), 0.0),
        np.array([floor.width * 0.45, floor.depth * 0.45, 1.4]),
        9.0,
        PERFECT,
    )
    rng = np.random.default_rng(0)
    return capture(room, view, Light.random(rng), rng)


def bare_room() -> Room:
    """Nothing to see: one triangle a hundred metres below the floor."""
    return Room(
        Layout(Floor(4.0, 4.0), np.random.default_rng(0)),
        np.array([[(0.0, 0.0, -100.0), (1.0, 0.0, -100.0), (0.0, 1.0, -100.0)]]),
        np.zeros((1, 3)),
        np.zeros(1),
        np.full(1, -1),
        (),
        np.zeros((0, 64, 3)),
        Build(np.array([[0, 1, 2]]), np.zeros((1, 3)), np.zeros(1, int), np.full(1, -1)),
    )


def equal(a: Sample, b: Sample) -> bool:
    return (
        torch.equal(a.cloud.xyz, b.cloud.xyz)
        and torch.equal(a.cloud.features, b.cloud.features)
        and torch.equal(a.targets.boxes.array, b.targets.boxes.array)
        and torch.equal(a.targets.labels, b.targets.labels)
    )


def test_the_label_space_has_the_shipped_order() -> None:
    assert LABELS == (
        "chair", "table", "desk", "bed", "sofa", "bookshelf", "cabinet", "night_stand", "dresser",
        "toilet", "bathtub", "refrigerator", "door", "window", "curtain", "counter", "sink",
        "garbage_bin", "picture", "shower_curtain",
    )  # fmt: skip


def test_a_seed_always_gives_the_same_frame() -> None:
    assert equal(room_sample(11, "frame"), room_sample(11, "frame"))


def test_the_global_random_state_does_not_matter() -> None:
    np.random.seed(1)  # noqa: NPY002
    first = room_sample(12, "frame")
    np.random.seed(2)  # noqa: NPY002
    assert equal(first, room_sample(12, "frame"))


def test_a_sample_does_not_depend_on_which_others_are_made() -> None:
    frame, _, scan = room_samples(13, num_frames=2, scan=True)
    assert equal(frame, room_sample(13, "frame"))
    assert equal(scan, room_sample(13, "scan"))


def test_different_seeds_give_different_rooms() -> None:
    assert not equal(room_sample(14, "frame"), room_sample(15, "frame"))


def test_all_numbers_are_finite(samples: list[Sample]) -> None:
    for sample in samples:
        assert torch.isfinite(sample.cloud.xyz).all()
        assert torch.isfinite(sample.targets.boxes.array).all()


def test_colors_lie_between_0_and_1(samples: list[Sample]) -> None:
    for sample in samples:
        assert 0 <= sample.cloud.features.min() <= sample.cloud.features.max() <= 1


def test_clouds_have_at_most_50000_points(samples: list[Sample]) -> None:
    assert all(0 < len(sample.cloud) <= 50_000 for sample in samples)


def test_the_last_sample_of_a_room_is_its_scan(samples: list[Sample]) -> None:
    assert [s.name for s in samples[:3]] == ["room 1 frame 0", "room 1 frame 1", "room 1 scan"]


def test_every_box_holds_the_points_that_justify_it(samples: list[Sample]) -> None:
    for sample in samples:
        xyz = sample.cloud.xyz.numpy().astype(np.float64)
        for x, y, z, dx, dy, dz, yaw in sample.targets.boxes.array.numpy().astype(np.float64):
            local = (xyz - (x, y, z)) @ turn_z(yaw)
            inside = (np.abs(local) <= np.array([dx, dy, dz]) / 2 + 0.1).all(axis=1)
            assert inside.sum() >= 30


def test_points_run_along_half_of_every_box_at_least(samples: list[Sample]) -> None:
    for sample in samples:
        xyz = sample.cloud.xyz.numpy().astype(np.float64)
        for x, y, z, dx, dy, dz, yaw in sample.targets.boxes.array.numpy().astype(np.float64):
            local = (xyz - (x, y, z)) @ turn_z(yaw) / (dx, dy, dz)
            inside = local[(np.abs(local) <= 0.55).all(axis=1)]
            assert np.ptp(inside[:, int(dy > dx)]) >= 0.5


def test_yaws_lie_within_a_turn(samples: list[Sample]) -> None:
    yaw = torch.cat([sample.targets.boxes.yaw for sample in samples])
    assert yaw.abs().max() <= np.pi + 1e-6


def test_boxes_contain_the_points_that_rays_hit_on_their_things() -> None:
    room = build_room(np.random.default_rng(2))
    num_checked = 0
    for heading in (0.0, 1.6, 3.1, 4.7):
        shot = perfect_shot(room, heading)
        for index, thing in enumerate(room.things):
            mine = shot.xyz[shot.thing == index]
            local = (mine - thing.center) @ turn_z(thing.yaw)
            assert (np.abs(local) <= thing.size / 2 + 1e-4).all()
            num_checked += len(mine)
    assert num_checked > 1000


def test_the_floor_is_at_height_zero_in_room_coordinates() -> None:
    shot = perfect_shot(build_room(np.random.default_rng(2)), heading=1.0)
    assert shot.xyz[:, 2].min() == pytest.approx(0.0, abs=1e-4)
    assert (np.abs(shot.xyz[:, 2]) < 1e-4).mean() > 0.05


def test_the_floor_of_a_scan_is_near_zero() -> None:
    heights = [np.quantile(room_sample(seed, "scan").cloud.xyz[:, 2], 0.05) for seed in range(4)]
    assert np.abs(heights).max() < 0.35  # tilted by up to 3 degrees


def test_a_view_of_nothing_gives_an_empty_cloud_and_no_targets() -> None:
    frame = frame_of(bare_room(), np.random.default_rng(0), "void")
    assert len(frame.cloud) == 0
    assert len(frame.targets) == len(frame.targets.ignored or []) == 0
    assert frame.targets.boxes.array.shape == (0, 7)


def test_a_scan_of_nothing_gives_an_empty_cloud_and_no_targets() -> None:
    scan = scan_of(bare_room(), np.random.default_rng(0), "void")
    assert len(scan.cloud) == 0
    assert len(scan.targets) == 0


def test_splits_use_disjoint_seeds() -> None:
    last = SEEDS_PER_SPLIT - 1
    assert seed_of("train", last) < seed_of("val", 0)
    assert seed_of("val", last) < seed_of("sample", 0)


def test_a_room_beyond_the_split_is_refused() -> None:
    with pytest.raises(RoomsError, match="expected 0 <= index < 10000000"):
        seed_of("train", SEEDS_PER_SPLIT)


def test_rooms_alternate_between_the_sensors() -> None:
    rooms = Rooms("val", 2)
    assert len(rooms) == 2
    assert [rooms[i].name for i in range(2)] == ["room 10000000 frame 0", "room 10000000 scan"]


def test_an_index_past_the_end_stops_iteration() -> None:
    with pytest.raises(IndexError, match="sample 2 of 2"):
        Rooms("train", 2)[2]


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(RoomsError, match="split is 'test', expected one of"):
        Rooms("test", 2)  # type: ignore[arg-type]


def test_no_sensors_are_refused() -> None:
    with pytest.raises(RoomsError, match="no sensors given"):
        Rooms("train", 2, sensors=())


def test_a_label_space_without_our_classes_is_refused() -> None:
    with pytest.raises(RoomsError, match="has no class that rooms contain"):
        Rooms("train", 2, label_space=("spoon",))


def test_another_label_space_renumbers_and_drops(samples: list[Sample]) -> None:
    sample = next(s for s in samples if len(set(s.targets.labels.tolist())) > 2)
    names = [LABELS[label] for label in sample.targets.labels]
    wanted = ("spoon", names[0])
    got = relabelled(sample, wanted)
    assert got.targets.labels.tolist() == [1] * names.count(names[0])
    assert torch.equal(got.targets.boxes.center[0], sample.targets.boxes.center[0])


def test_prerendered_rooms_come_back_as_they_were(tmp_path: Path) -> None:
    prerender(tmp_path, "val", 1, num_frames=1, scan=False)
    rooms = PrerenderedRooms(tmp_path)
    back, fresh = rooms[0], room_sample(seed_of("val", 0), "frame")
    torch.testing.assert_close(back.cloud.xyz, fresh.cloud.xyz, rtol=0, atol=0.6 * XYZ_STEP_M)
    torch.testing.assert_close(back.cloud.features, fresh.cloud.features, rtol=0, atol=0.003)
    assert torch.equal(back.targets.boxes.array, fresh.targets.boxes.array)
    assert torch.equal(back.targets.labels, fresh.targets.labels)
    assert rooms.labels_of(0) == fresh.targets.labels.tolist()
    assert fresh.targets.seen is not None
    assert back.targets.seen is not None
    assert torch.equal(back.targets.seen, fresh.targets.seen)


def test_rooms_say_how_much_of_each_object_is_seen(samples: list[Sample]) -> None:
    """No more than all, no less than what makes a box a target; it goes with its box."""
    for sample in samples:
        seen = sample.targets.seen
        assert seen is not None
        assert seen.shape == sample.targets.labels.shape
        assert bool(((seen >= MIN_SHARE - 1e-6) & (seen <= 1)).all())
        name = LABELS[int(sample.targets.labels[-1])] if len(sample.targets) else LABELS[0]
        alone = relabelled(sample, (name,)).targets.seen
        assert alone is not None
        assert alone.tolist() == seen[sample.targets.labels == LABELS.index(name)].tolist()
    assert any(float(sample.targets.seen.max()) > 0.5 for sample in samples if len(sample.targets))


def test_rooms_of_before_are_read_without_what_is_seen(tmp_path: Path) -> None:
    arrays = packed(room_sample(14, "frame"), 0)
    np.savez(tmp_path / "one.npz", **{k: v for k, v in arrays.items() if "_seen" not in k})
    with np.load(tmp_path / "one.npz", allow_pickle=False) as file:
        assert unpacked(file, 0, "back").targets.seen is None


def test_ignored_boxes_are_kept_in_files_and_renumbered(tmp_path: Path) -> None:
    sample = room_sample(14, "frame")
    both = replace(sample, targets=replace(sample.targets, ignored=sample.targets[:1]))
    np.savez(tmp_path / "one.npz", **packed(both, 0))
    with np.load(tmp_path / "one.npz", allow_pickle=False) as arrays:
        ignored = unpacked(arrays, 0, "back").targets.ignored
    assert ignored is not None
    assert torch.equal(ignored.boxes.array, sample.targets.boxes.array[:1])
    name = LABELS[int(sample.targets.labels[0])]
    mine, others = relabelled(both, ("spoon", name)), relabelled(both, ("spoon",))
    assert mine.targets.ignored is not None
    assert mine.targets.ignored.labels.tolist() == [1]
    assert others.targets.ignored is not None
    assert len(others.targets.ignored) == 0


def thickness_m(sample: Sample) -> float:
    """How thick surfaces are: the median deviation of points from planes of 15 cm around them."""
    xyz = sample.cloud.xyz.numpy().astype(np.float64)
    tree = cKDTree(xyz)
    places = np.random.default_rng(0).choice(len(xyz), 200, replace=False)
    around = [xyz[tree.query_ball_point(xyz[place], 0.15)] for place in places]
    return float(
        np.median([max(0.0, np.linalg.eigvalsh(np.cov(each.T))[0]) ** 0.5 for each in around])
    )


def test_a_bad_sensor_sees_thicker_walls_in_the_same_rooms(tmp_path: Path) -> None:
    prerender(tmp_path, "val", 1, num_frames=1, noise="strong")
    strong = PrerenderedRooms(tmp_path)
    for number, sensor in enumerate(("frame", "scan")):
        usual = room_sample(seed_of("val", 0), sensor)
        assert thickness_m(strong[number]) > max(0.015, 1.5 * thickness_m(usual))
    with pytest.raises(RoomsError, match="choose another folder"):
        prerender(tmp_path, "val", 1, num_frames=1)
    with pytest.raises(RoomsError, match="of frames and scans"):
        prerender(tmp_path / "new", "val", 1, num_frames=0, scan=False, images=1, noise="strong")


def test_prerendering_skips_what_is_there_and_reports_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert prerender(tmp_path, "val", 1, num_frames=1, scan=False) == 1
    (tmp_path / "room_0000001.part").write_bytes(b"interrupted")
    new = prerender(
        tmp_path, "val", 2, num_frames=1, scan=False, progress=lambda *done: seen.append(done)
    )
    assert new == 1
    assert seen == [(2, 2)]
    assert len(PrerenderedRooms(tmp_path)) == 2


def test_workers_render_the_same_rooms(tmp_path: Path) -> None:
    prerender(tmp_path / "alone", "val", 1, num_frames=1, scan=False)
    prerender(tmp_path / "helped", "val", 1, workers=1, num_frames=1, scan=False)
    alone, helped = PrerenderedRooms(tmp_path / "alone"), PrerenderedRooms(tmp_path / "helped")
    assert equal(alone[0], helped[0])


def test_a_folder_with_other_settings_is_refused(tmp_path: Path) -> None:
    prerender(tmp_path, "val", 0, num_frames=1)
    with pytest.raises(RoomsError, match="choose another folder or remove this one"):
        prerender(tmp_path, "train", 0, num_frames=1)


def test_a_folder_without_rooms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RoomsError, match=r"rooms\.json does not exist; expected rooms"):
        PrerenderedRooms(tmp_path)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"labels": ["spoon"]}, "spoon"),
        ({"format": FORMAT - 1}, f"format {FORMAT - 1}, expected {FORMAT}"),
        ({"format": None}, f"expected {FORMAT}"),
    ],
)
def test_a_folder_of_other_classes_or_an_older_format_is_refused(
    tmp_path: Path, changes: dict[str, Any], found: str
) -> None:
    prerender(tmp_path, "val", 0, num_frames=1)
    manifest = json.loads((tmp_path / "rooms.json").read_text()) | changes
    kept = {key: value for key, value in manifest.items() if value is not None}
    (tmp_path / "rooms.json").write_text(json.dumps(kept))
    with pytest.raises(RoomsError, match=f"{found}.* render again into an empty folder"):
        PrerenderedRooms(tmp_path)


def test_prerendered_files_hold_no_pickles(tmp_path: Path) -> None:
    prerender(tmp_path, "val", 1, num_frames=1, scan=False)
    with np.load(tmp_path / "room_0000000.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "iuf" for name in arrays.files)


def test_a_contact_sheet_is_a_picture(tmp_path: Path, samples: list[Sample]) -> None:
    path = tmp_path / "sheet.png"
    contact_sheet(samples[:2], path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_contact_sheet_takes_empty_samples(tmp_path: Path) -> None:
    void = frame_of(bare_room(), np.random.default_rng(0), "void")
    contact_sheet([void], tmp_path / "void.png")
    assert (tmp_path / "void.png").stat().st_size > 0
