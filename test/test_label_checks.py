"""Mistakes in labelled folders, made on purpose in rendered rooms, are found and named."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_rooms import NUM_ROOMS, Box, read_labels, write_labels, write_rooms

from sr3d_core.data.folder import DatasetError, FolderDataset, FolderSource
from sr3d_core.data.inspection import Inspection, inspect_before_training, inspect_scenes
from sr3d_core.data.rooms.source import RoomsSource

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("sound") / "rooms")


@pytest.fixture
def rooms(sound: Path, tmp_path: Path) -> Path:
    """A sound folder, to be spoilt."""
    return Path(shutil.copytree(sound, tmp_path / "rooms"))


def inspect(root: Path, split: str = "train") -> Inspection:
    return inspect_scenes(FolderSource(path=root).open(split))


def change_labels(root: Path, change: Callable[[Box], Box]) -> Path:
    for index in range(NUM_ROOMS):
        write_labels(
            root, f"room{index}", [change(box) for box in read_labels(root, f"room{index}")]
        )
    return root


def change_points(root: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    for path in (root / "clouds").iterdir():
        with np.load(path) as arrays:
            xyz = arrays["xyz"]
        np.savez(path, xyz=change(xyz))
    return root


def spoil(root: Path, **changes: object) -> Path:
    """Change the second box of one scene."""
    boxes = read_labels(root, "room1")
    boxes[1].update(changes)
    write_labels(root, "room1", boxes)
    return root


def y_up(row: list[float]) -> list[float]:
    return [row[0], row[2], -row[1]]


def labels_y_up(box: Box) -> Box:
    dx, dy, dz = box["size"]
    return {**box, "center": y_up(box["center"]), "size": [dx, dz, dy]}


def points_y_up(xyz: np.ndarray) -> np.ndarray:
    return np.stack([xyz[:, 0], xyz[:, 2], -xyz[:, 1]], axis=1)


def test_sound_rooms_raise_no_suspicion(sound: Path) -> None:
    found = inspect(sound)
    assert (found.faults, found.warnings) == ([], [])
    assert inspect_before_training(FolderSource(path=sound)) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rotation": 0.5}, r"boxes\[1\]\.rotation: unknown key.* yaw.*radians"),
        ({"rotation_deg": 30}, r"boxes\[1\]\.rotation_deg: unknown key.* yaw.*radians"),
        ({"dimensions": [1, 1, 1]}, r"boxes\[1\]\.dimensions: unknown key.* size"),
        ({"yaw": 90}, r"boxes\[1\]\.yaw: 90.*radians.*degrees.*0\.01745"),
        ({"yaw": -6.4}, r"boxes\[1\]\.yaw: -6\.4"),
        ({"yaw": "0.3"}, r"boxes\[1\]\.yaw: found '0\.3'"),
        ({"center": "123"}, r"boxes\[1\]\.center: found '123'"),
        ({"center": ["1", "2", "3"]}, r"boxes\[1\]\.center\[0\]: found '1'"),
        ({"size": [True, 1, 1]}, r"boxes\[1\]\.size\[0\]: found True"),
        ({"size": [1, -1, 1]}, r"boxes\[1\]\.size\[1\]: found -1"),
        ({"center": [math.nan, 0, 0]}, r"boxes\[1\]\.center\[0\]: found nan"),
        ({"center": [10**400, 0, 0]}, r"boxes\[1\]\.center\[0\]: found 1000.{0,120}finite"),
        ({"class": ""}, r"boxes\[1\]\.class: found ''"),
        ({"class": "Chair"}, r"boxes\[1\]\.class: 'Chair'.*mean 'chair'"),
        ({"class": "throne"}, r"boxes\[1\]\.class: 'throne'"),
        ({"center": [100, 0, 1]}, r"boxes\[1\]\.center: \[100, 0, 1\] is \d+"),
        ({"center": [1e39, 0, 1]}, r"boxes\[1\]\.center: \[inf, 0, 1\]"),
        ({"size": [50, 60, 80]}, r"boxes\[1\]\.size: \[50, 60, 80\]"),
    ],
)
def test_a_box_that_cannot_be_right_is_refused_by_all_who_read_it(
    rooms: Path, changes: Box, text: str
) -> None:
    spoil(rooms, **changes)
    found = inspect(rooms)
    assert len(found.faults) == 1
    for read in (
        lambda: FolderDataset(rooms, "train")[1],
        lambda: inspect_before_training(FolderSource(path=rooms)),
    ):
        with pytest.raises(DatasetError, match=rf"(?s)room1\.json: {text}"):
            read()


@pytest.mark.parametrize(
    ("factor", "text"), [(100, r"centimetres.*by 0\.01$"), (1000, r"millimetres.*by 0\.001$")]
)
def test_a_center_in_another_unit_is_refused_with_its_factor(
    rooms: Path, factor: float, text: str
) -> None:
    boxes = read_labels(rooms, "room1")
    farthest = max(boxes, key=lambda box: float(np.linalg.norm(box["center"])))
    farthest["center"] = [factor * place for place in farthest["center"]]
    write_labels(rooms, "room1", boxes)
    (fault,) = inspect(rooms).faults
    assert re.search(rf"boxes\[{boxes.index(farthest)}\]\.center.*{text}", fault), fault


def test_a_full_turn_is_no_degree(rooms: Path) -> None:
    assert inspect(spoil(rooms, yaw=6.2832)).faults == []


def test_all_faulty_scenes_are_named_at_once_and_no_cloud_is_read_for_it(rooms: Path) -> None:
    change_labels(rooms, lambda box: {**box, "yaw": math.degrees(box["yaw"]) + 90})
    for path in (rooms / "clouds").iterdir():
        path.write_bytes(b"damaged")
    faults = inspect(rooms).faults
    assert len(faults) == NUM_ROOMS - 1
    for index, fault in enumerate(faults):
        assert f"room{index}.json" in fault
        assert "degrees" in fault
    with pytest.raises(DatasetError, match=rf"{NUM_ROOMS - 1} scenes .*room0\.json"):
        inspect_before_training(FolderSource(path=rooms))


def test_a_box_twice_is_refused(rooms: Path) -> None:
    boxes = read_labels(rooms, "room1")
    write_labels(rooms, "room1", [*boxes, *boxes])
    (fault,) = inspect(rooms).faults
    assert f"room1.json: boxes[{len(boxes)}]: the same as boxes[0]" in fault


def test_a_box_nearly_twice_is_a_suspicion(rooms: Path) -> None:
    boxes = read_labels(rooms, "room1")
    x, y, z = boxes[2]["center"]
    write_labels(rooms, "room1", [*boxes, {**boxes[2], "center": [x + 0.001, y, z]}])
    (warning,) = inspect(rooms).warnings
    assert f"room1: boxes[2] and boxes[{len(boxes)}]" in warning


def test_a_key_twice_is_refused(rooms: Path) -> None:
    path = rooms / "labels" / "room2.json"
    box = '{"class": "chair", "center": [0, 0, 1], "size": [1, 1, 1], "yaw": 0, "yaw": 1}'
    path.write_text(f'{{"boxes": [{box}]}}')
    (fault,) = inspect(rooms).faults
    assert "room2.json: yaw: stands twice" in fault


def test_endless_nesting_is_told(rooms: Path) -> None:
    (rooms / "labels" / "room2.json").write_text("[" * 200_000)
    (fault,) = inspect(rooms).faults
    assert "room2.json: not JSON" in fault


def test_two_clouds_of_one_name_are_refused(rooms: Path) -> None:
    shutil.copy(rooms / "clouds" / "room1.npz", rooms / "clouds" / "room3.ply")
    with pytest.raises(DatasetError, match=r"'room3'.*room3\.ply and room3\.npz"):
        inspect_before_training(FolderSource(path=rooms))


@pytest.mark.parametrize("factor", [1000.0, 100.0])
def test_clouds_in_another_unit_are_refused_before_the_first_step(
    rooms: Path, factor: float
) -> None:
    change_points(rooms, lambda xyz: xyz * factor)
    change_labels(
        rooms,
        lambda box: {
            **box,
            "center": [factor * value for value in box["center"]],
            "size": [factor * value for value in box["size"]],
        },
    )
    assert len(inspect(rooms).faults) == NUM_ROOMS - 1
    with pytest.raises(DatasetError, match=r"room0\.npz.*millimetres by 0\.001"):
        inspect_before_training(FolderSource(path=rooms))


def test_a_hall_that_is_higher_than_a_room_is_a_suspicion_and_can_be_trained_on(
    rooms: Path,
) -> None:
    mast = np.stack([np.zeros(2000), np.zeros(2000), np.linspace(0.0, 25.0, 2000)], axis=1)
    change_points(rooms, lambda xyz: np.concatenate([xyz[:4000], mast]).astype(np.float32))
    warnings = inspect_before_training(FolderSource(path=rooms))
    # 1 % of the points lie beyond what is called the extent, at most a metre of the mast.
    assert any(re.search(r"room0.* x 2[34]\.\d m", warning) for warning in warnings), warnings


def test_clouds_that_were_read_by_a_guess_are_a_warning_once(rooms: Path) -> None:
    change_points(rooms, lambda xyz: np.c_[xyz, np.ones(len(xyz))])
    for warnings in (inspect(rooms).warnings, inspect_before_training(FolderSource(path=rooms))):
        (warning,) = (warning for warning in warnings if "intensity" in warning)
        assert "room0" in warning
        assert f"{NUM_ROOMS - 1} clouds" in warning


@pytest.mark.parametrize("factor", [100.0, 1000.0])
def test_labels_far_too_large_are_refused(rooms: Path, factor: float) -> None:
    change_labels(rooms, lambda box: {**box, "size": [factor * side for side in box["size"]]})
    assert len(inspect(rooms).faults) == NUM_ROOMS - 1


def test_labels_far_too_small_are_a_suspicion(rooms: Path) -> None:
    change_labels(rooms, lambda box: {**box, "size": [0.01 * side for side in box["size"]]})
    assert any("0.05 m" in warning for warning in inspect(rooms).warnings)


def bottom_center(box: Box) -> Box:
    x, y, z = box["center"]
    return {**box, "center": [x, y, z - box["size"][2] / 2]}


def swapped(box: Box) -> Box:
    dx, dy, dz = box["size"]
    return {**box, "size": [dy, dx, dz]}


def clockwise(box: Box) -> Box:
    """The yaw given clockwise, as VoteNet's files have it."""
    return {**box, "yaw": -box["yaw"]}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (bottom_center, "half of the height"),
        (lambda box: {**box, "size": [side / 2 for side in box["size"]]}, "half extents"),
        (swapped, "swapped"),
        (clockwise, "clockwise"),
        (labels_y_up, "[x, -z, y]"),
    ],
)
def test_labels_of_another_convention_are_a_suspicion_with_the_remedy(
    rooms: Path, change: Callable[[Box], Box], text: str
) -> None:
    change_labels(rooms, change)
    for warnings in (inspect(rooms).warnings, inspect_before_training(FolderSource(path=rooms))):
        assert text in warnings[0]


def test_points_y_up_are_a_suspicion(rooms: Path) -> None:
    change_points(rooms, points_y_up)
    assert "x, -z, y" in inspect(rooms).warnings[0]


@pytest.mark.parametrize("sign", [1, -1])
def test_folders_y_up_are_a_suspicion(rooms: Path, sign: int) -> None:
    flip = np.array([1, sign, sign])
    change_points(rooms, lambda xyz: points_y_up(xyz) * flip)
    change_labels(rooms, labels_y_up)
    change_labels(rooms, lambda box: {**box, "center": (box["center"] * flip).tolist()})
    warning = inspect(rooms).warnings[0]
    assert ("[x, -z, y]" if sign == 1 else "[x, z, -y]") in warning


def test_yaw_in_few_whole_degrees_is_a_suspicion(rooms: Path) -> None:
    change_labels(rooms, lambda box: {**box, "yaw": 5})
    assert any("degrees" in warning for warning in inspect(rooms).warnings)


def test_boxes_without_points_are_named(rooms: Path) -> None:
    boxes = read_labels(rooms, "room1")
    write_labels(rooms, "room1", [*boxes, {**boxes[0], "center": [0, 0, 20]}])
    (warning,) = inspect(rooms).warnings
    assert f"room1: boxes[{len(boxes)}]" in warning


def test_ignored_boxes_may_lie_where_no_points_are_and_keep_their_place(rooms: Path) -> None:
    boxes = read_labels(rooms, "room1")
    unseen = {**boxes[0], "center": [0, 0, 20]}
    write_labels(rooms, "room1", [{**unseen, "ignored": True}, *boxes])
    assert inspect(rooms).warnings == []
    write_labels(rooms, "room1", [{**unseen, "ignored": True}, *boxes, unseen])
    (warning,) = inspect(rooms).warnings
    assert f"room1: boxes[{len(boxes) + 1}]" in warning


def test_a_scene_in_two_lists_is_a_suspicion_whichever_is_read(rooms: Path) -> None:
    (rooms / "val.txt").write_text("room9\nroom2\n")
    for split in ("train", "val"):
        (warning,) = inspect(rooms, split).warnings
        assert "room2" in warning
        assert "train.txt" in warning
        assert "val.txt" in warning


def test_faulty_labels_of_the_other_split_are_told_but_stop_no_training(rooms: Path) -> None:
    boxes = read_labels(rooms, "room9")
    write_labels(rooms, "room9", [{**boxes[0], "rotation_deg": 30}])
    (warning,) = inspect_before_training(FolderSource(path=rooms))
    for text in ("room9.json", "boxes[0].rotation_deg", "--split val"):
        assert text in warning


def test_labels_in_no_list_are_a_suspicion(rooms: Path) -> None:
    (rooms / "val.txt").write_text("")
    (warning,) = inspect(rooms).warnings
    assert "labels/room9.json" in warning


def test_labels_without_a_cloud_and_a_cloud_without_labels_are_refused(rooms: Path) -> None:
    (rooms / "labels" / "room2.json").unlink()
    (fault,) = inspect(rooms).faults
    assert "room2.json" in fault
    (rooms / "clouds" / "room1.npz").unlink()
    with pytest.raises(DatasetError, match="'room1'"):
        inspect_before_training(FolderSource(path=rooms))


def test_scenes_without_boxes_are_normal(rooms: Path) -> None:
    for index in range(NUM_ROOMS - 2):
        write_labels(rooms, f"room{index}", [])
    for name in (rooms / "val.txt").read_text().split():  # else their classes cannot be learnt
        write_labels(rooms, name, [])
    found = inspect(rooms)
    assert (found.faults, found.warnings) == ([], [])


def test_a_folder_without_a_single_box_is_a_suspicion(rooms: Path) -> None:
    for index in range(NUM_ROOMS):
        write_labels(rooms, f"room{index}", [])
    found = inspect(rooms)
    assert found.faults == []
    (warning,) = found.warnings
    assert f"none of {NUM_ROOMS - 1} scenes" in warning


def test_folders_z_down_are_a_suspicion(rooms: Path) -> None:
    def z_down(box: Box) -> Box:
        x, y, z = box["center"]
        return {**box, "center": [x, -y, -z], "yaw": -box["yaw"]}

    change_labels(rooms, z_down)
    found = inspect(change_points(rooms, lambda xyz: xyz * [1, -1, -1]))
    assert found.faults == []
    (warning,) = found.warnings
    assert "-z is up" in warning
    assert "[x, -y, -z]" in warning


@pytest.mark.parametrize("name", ["./room1", "a/../room1", "clouds//room1", "/room1", "../room1"])
def test_a_second_name_of_one_scene_is_refused(rooms: Path, name: str) -> None:
    with (rooms / "train.txt").open("a") as file:
        file.write(f"{name}\n")
    with pytest.raises(DatasetError, match=re.escape(repr(name))):
        inspect(rooms)


def test_scenes_without_a_cloud_are_counted(rooms: Path) -> None:
    for index in (1, 3, 4):
        (rooms / "clouds" / f"room{index}.npz").unlink()
    with pytest.raises(DatasetError, match=r"'room1'.* 2 more"):
        inspect(rooms)


def test_scenes_that_are_left_after_many_faulty_clouds_are_counted(rooms: Path) -> None:
    names = [f"copy{index}" for index in range(25)]
    for name in names:
        np.savez(rooms / "clouds" / f"{name}.npz", xyz=np.full((9, 3), np.nan))
        write_labels(rooms, name, [])
    (rooms / "train.txt").write_text("\n".join(names))
    found = inspect(rooms)
    assert (len(found.faults), found.num_unread) == (20, 5)
    with pytest.raises(DatasetError, match=r"20 scenes .*\(5 more"):
        inspect_before_training(FolderSource(path=rooms))


def test_two_spellings_of_one_class_are_a_suspicion(rooms: Path) -> None:
    with (rooms / "classes.txt").open("a") as file:
        file.write("\nNight Stands\n")
    (warning,) = inspect(rooms).warnings
    assert "'night_stand' and 'Night Stands'" in warning


def test_index_of_a_box_is_that_of_its_file_when_classes_are_left_out(rooms: Path) -> None:
    boxes = read_labels(rooms, "room1")
    boxes[1]["center"] = [100, 0, 1]
    others = tuple({box["class"] for box in boxes} - {boxes[0]["class"]})
    write_labels(rooms, "room1", boxes)
    with pytest.raises(DatasetError, match=r"boxes\[1\]\.center"):
        FolderDataset(rooms, "train", classes=others)[1]


def test_progress_is_told_for_every_scene(sound: Path) -> None:
    told: list[tuple[int, int]] = []
    inspect_before_training(
        FolderSource(path=sound), lambda num_done, num: told.append((num_done, num))
    )
    assert told == [(index + 1, NUM_ROOMS - 1) for index in range(NUM_ROOMS - 1)]


def test_procedural_rooms_are_not_inspected_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(RoomsSource, "open")
    assert inspect_before_training(RoomsSource()) == []


def test_reading_a_sound_folder_gives_the_boxes_as_written(sound: Path) -> None:
    boxes = read_labels(sound, "room1")
    expected = torch.tensor([[*box["center"], *box["size"], box["yaw"]] for box in boxes])
    assert torch.equal(FolderDataset(sound, "train")[1].targets.boxes.array, expected)
