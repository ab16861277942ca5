"""Probes of frozen features: against features whose answers are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from cli_harness import assert_one_line_error, sr3d

from sr3d_core.checkpoint import backbone_content
from sr3d_core.data.rooms.prerender import prerender
from sr3d_core.data.rooms.source import RoomsSource
from sr3d_core.data.split import rooms_of
from sr3d_core.model.network import SR3D
from sr3d_core.pretrain.encoder import Encoder
from sr3d_core.pretrain.probe import (
    Linear,
    Probed,
    explained,
    kinds,
    linear_miou,
    mean_iou,
    nearest_accuracy,
    probed_scene,
    raw_geometry,
)
from sr3d_core.pretrain.probing import (
    RawGeometry,
    encoder_of,
    probed_scenes,
    random_encoder,
)
from sr3d_core.pretrain.settings import Pretraining
from sr3d_core.structures import Boxes3D, PointCloud, Sample, Targets

NUM_CLASSES, NUM_KINDS = 3, 6
TINY = {"stem_channels": 4, "widths": [4, 4, 4, 4], "depths": [1, 1, 1, 1], "voxel_size_m": 0.08}


class Listed(list[Sample]):
    """Scenes to probe on."""

    classes: tuple[str, ...] = ("chair",)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def probed(
    cells: torch.Tensor,
    kinds: torch.Tensor,
    cell_room: torch.Tensor,
    boxes: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    box_room: torch.Tensor | None = None,
) -> Probed:
    nothing = torch.zeros(0, dtype=torch.int64)
    return Probed(
        cells=cells,
        kinds=kinds,
        height_m=cells[:, 0],
        border_m=cells[:, 0],
        cell_room=cell_room,
        boxes=torch.zeros(0, cells.shape[1]) if boxes is None else boxes,
        labels=nothing if labels is None else labels,
        box_room=nothing if box_room is None else box_room,
    )


def separable(num: int = 600) -> Probed:
    """Cells whose kind is the place of their largest feature, in four rooms."""
    kind = torch.arange(num) % NUM_KINDS
    features = torch.nn.functional.one_hot(kind, NUM_KINDS) + 0.01 * torch.randn(
        num, NUM_KINDS, generator=seeded(1)
    )
    return probed(features, kind, torch.arange(num) // (num // 4))


def test_features_that_say_the_kind_give_a_mean_iou_of_one() -> None:
    assert linear_miou(separable(), NUM_KINDS, seeded(0), Linear(steps=200)) == 1.0


def test_features_that_know_nothing_are_no_better_than_one_guess_for_all() -> None:
    kind = torch.randint(NUM_KINDS, (4000,), generator=seeded(2))
    noise = torch.randn(4000, 8, generator=seeded(3))
    rooms = torch.arange(4000) % 4
    found = linear_miou(probed(noise, kind, rooms), NUM_KINDS, seeded(0), Linear(steps=300))
    assert found < 1.5 / (2 * NUM_KINDS - 1)  # IoU of random guesses among equals


def test_rooms_that_are_scored_are_not_learnt_from() -> None:
    """Features that say the room and the kind by heart say nothing of another room."""
    kind = torch.tensor([0, 1, 2, 2, 0, 1])
    rooms = torch.tensor([0, 0, 0, 1, 1, 1])
    by_heart = torch.tensor([0, 1, 2, 0, 1, 2])
    features = torch.nn.functional.one_hot(by_heart, 3).float()
    assert (
        linear_miou(probed(features, kind, rooms), NUM_KINDS, seeded(0), Linear(steps=300)) == 0.0
    )


def test_one_room_and_nothing_say_nothing() -> None:
    one = separable()
    alone = probed(one.cells, one.kinds, torch.zeros_like(one.kinds))
    empty = probed(one.cells[:0], one.kinds[:0], one.kinds[:0])
    for each in (alone, empty):
        assert math.isnan(linear_miou(each, NUM_KINDS, seeded(0), Linear(steps=2)))
        assert math.isnan(explained(each, each.height_m))
        assert math.isnan(nearest_accuracy(each, NUM_CLASSES))


def test_mean_iou_leaves_out_kinds_that_are_not_there() -> None:
    """Kind 0: 2 of 3 in the union; kind 1: 1 of 2; kind 2 is nowhere, kind 3 only guessed."""
    truth = torch.tensor([0, 0, 1, 1, 0])
    found = torch.tensor([0, 0, 1, 0, 3])
    assert mean_iou(found, truth, 4) == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert math.isnan(mean_iou(truth[:0], truth[:0], 4))


def of_boxes(boxes: torch.Tensor, labels: torch.Tensor, rooms: torch.Tensor) -> Probed:
    nothing = torch.zeros(0, dtype=torch.int64)
    return probed(boxes[:0], nothing, nothing, boxes, labels, rooms)


def test_the_nearest_of_other_rooms_vote_and_those_of_the_own_room_do_not() -> None:
    """Each room has a direction of its own, which its two classes share with no other room: who
    asks the own room is right, who leaves it out is wrong."""
    labels = torch.tensor([0, 0, 1, 1])
    rooms = torch.tensor([0, 0, 1, 1])
    boxes = torch.tensor([[1.0, 0], [1, 0.1], [0, 1.0], [0.1, 1]])
    assert nearest_accuracy(of_boxes(boxes, labels, rooms), NUM_CLASSES, k=1) == 0.0
    apart = torch.arange(4)
    assert nearest_accuracy(of_boxes(boxes, labels, apart), NUM_CLASSES, k=1) == 1.0


def test_objects_that_look_alike_in_all_rooms_are_found() -> None:
    labels = torch.arange(60) % NUM_CLASSES
    boxes = torch.nn.functional.one_hot(labels, NUM_CLASSES) + 0.05 * torch.randn(
        60, NUM_CLASSES, generator=seeded(4)
    )
    assert nearest_accuracy(of_boxes(boxes, labels, torch.arange(60) // 6), NUM_CLASSES, 5) == 1.0


def test_a_box_without_one_of_another_room_does_not_count() -> None:
    one = of_boxes(torch.eye(2), torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert math.isnan(nearest_accuracy(one, NUM_CLASSES))


def test_what_is_linear_in_the_features_is_explained_and_noise_is_not() -> None:
    features = torch.randn(800, 4, generator=seeded(5))
    rooms = torch.arange(800) % 4
    each = probed(features, torch.zeros(800, dtype=torch.int64), rooms)
    line = features @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 3
    assert explained(each, line) > 0.99
    assert explained(each, torch.randn(800, generator=seeded(6))) < 0.05


def boxes(*rows: tuple[float, ...]) -> Boxes3D:
    return Boxes3D.from_array(torch.tensor(rows).reshape(-1, 7))


def test_cells_are_of_the_smallest_box_then_floor_wall_other() -> None:
    """A column of six cells is wall but for its foot; a cell high in the air is other."""
    column = [(3.0, 3.0, 0.1 + 0.4 * step) for step in range(6)]
    centers = torch.tensor([(0.0, 0, 0.1), (1.0, 0, 0.1), *column, (5.0, 5, 1.0), (7.0, 7, 0.1)])
    targets = Targets(
        boxes((0, 0, 0.5, 4, 4, 2, 0), (0, 0, 0.1, 0.4, 0.4, 0.4, 0)),
        torch.tensor([0, 1]),
        Targets(boxes((7, 7, 0.1, 1, 1, 1, 0)), torch.tensor([2])),
    )
    floor, wall, other = NUM_CLASSES, NUM_CLASSES + 1, NUM_CLASSES + 2
    expected = [1, 0, floor, *[wall] * 5, other, other]
    assert kinds(centers, targets, NUM_CLASSES).tolist() == expected
    assert kinds(centers[:0], targets, NUM_CLASSES).tolist() == []


def test_a_box_has_the_mean_of_its_cells_and_one_without_cells_is_left_out() -> None:
    centers = torch.tensor([(0.0, 0, 0), (0.1, 0, 0), (5.0, 0, 0)])
    features = torch.tensor([[1.0, 0], [3, 2], [9, 9]])
    targets = Targets(boxes((0, 0, 0, 1, 1, 1, 0), (50, 0, 0, 1, 1, 1, 0)), torch.tensor([2, 1]))
    found = probed_scene(features, centers, targets, NUM_CLASSES, room=7)
    assert found.boxes.tolist() == [[2.0, 1.0]]
    assert found.labels.tolist() == [2]
    assert found.box_room.tolist() == [7]
    assert found.cell_room.tolist() == [7, 7, 7]
    nothing = Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64))
    none = probed_scene(features[:0], centers[:0], nothing, NUM_CLASSES, room=0)
    assert (len(none.cells), len(none.boxes)) == (0, 0)


def test_raw_geometry_is_color_height_and_how_many_cells_are_near() -> None:
    """Two cells beside each other and one apart, of stride 2 at voxels of 0.5 m: edges of 1 m."""
    xyz = torch.tensor([(0.1, 0.1, 0.1), (0.9, 0.1, 0.1), (1.1, 0.1, 0.1), (8.1, 0.1, 3.1)])
    color = torch.tensor([(0.0, 0, 0), (1, 1, 1), (0.2, 0.4, 0.6), (math.nan,) * 3])
    coords = torch.tensor([(0, 0, 0, 0), (0, 2, 0, 0), (0, 16, 0, 6)])
    rows = raw_geometry(PointCloud.single(xyz, color), coords, 2, 0.5)
    expected = [[0.5, 0.5, 0.5], [0.2, 0.4, 0.6], [0.5, 0.5, 0.5]]
    torch.testing.assert_close(rows[:, :3], torch.tensor(expected))
    torch.testing.assert_close(rows[:, 3], torch.tensor([0.0, 0.0, 3.0]))
    assert rows[:, 4].tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("names", "num_rooms"),
    [
        (["room 5 frame 0", "room 5 scan", "room 6 frame 0", "room 6 scan"], 2),
        (["room_0000012 sample 3", "room_0000012 sample 0", "room_0000013 sample 0"], 2),
        (["scene0000_00", "scene0000_01", "scene0001_00"], 2),
        (["kitchen/0", "kitchen/1", "hall/0", "hall/1"], 2),
        (["a", "b", "c"], 3),
    ],
    ids=["made", "rendered", "ScanNet", "folders", "files"],
)
def test_what_is_scored_is_of_other_rooms_than_what_is_learnt_from(
    names: list[str], num_rooms: int
) -> None:
    """Or the probe is asked about the rooms that it knows: a frame and a scan are of one."""
    cloud = PointCloud.single(torch.rand(300, 3, generator=seeded(2)) * 2, None)
    box = Boxes3D.from_array(torch.tensor([[1.0, 1, 1, 2, 2, 2, 0]]))
    scenes = Listed([Sample(cloud, Targets(box, torch.tensor([0])), name) for name in names])
    found = probed_scenes(RawGeometry(Pretraining(changes=TINY).architecture), scenes)
    assert len(found.cell_room.unique()) == num_rooms
    assert found.box_room.tolist() == sorted(found.box_room.tolist())
    assert len(found.box_room.unique()) == num_rooms


def test_rooms_that_are_made_are_named_by_their_room() -> None:
    scenes = RoomsSource().open("val", num=4)
    rooms = rooms_of([scenes[index].name for index in range(4)])
    assert rooms[0] == rooms[1] != rooms[2] == rooms[3]


def test_a_single_room_is_refused() -> None:
    nothing = Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64))
    cloud = PointCloud.single(torch.rand(300, 3, generator=seeded(2)) * 2, None)
    scenes = Listed([Sample(cloud, nothing, name) for name in ("room 3 frame 0", "room 3 scan")])
    with pytest.raises(ValueError, match="room 3"):
        probed_scenes(RawGeometry(Pretraining(changes=TINY).architecture), scenes)


def pretrained(path: Path) -> Path:
    architecture = Pretraining(changes=TINY).architecture
    torch.manual_seed(5)
    backbone = SR3D(architecture).backbone.state_dict()
    path.write_bytes(backbone_content(architecture, backbone, {"steps": 0}))
    return path


def test_weights_give_the_features_of_their_own_backbone(tmp_path: Path) -> None:
    path = pretrained(tmp_path / "pre.safetensors")
    torch.manual_seed(5)
    own = Encoder(Pretraining(changes=TINY).architecture, 0).eval()
    cloud = PointCloud.single(torch.rand(500, 3, generator=seeded(7)) * 2, None)
    with torch.no_grad():
        torch.testing.assert_close(encoder_of(path)(cloud)[0], own(cloud, 1).features)


def test_a_network_that_has_learnt_nothing_knows_how_its_values_spread() -> None:
    """Or they would fade from layer to layer: each norm gives mean 0 and deviation 1."""
    cloud = PointCloud.single(torch.rand(3000, 3, generator=seeded(8)) * 4, None)
    nothing = Targets(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64))
    encoder = random_encoder(
        Pretraining(changes=TINY).architecture, Listed([Sample(cloud, nothing, "a")]), seed=1
    )
    heard: list[torch.Tensor] = []
    norm = next(each for each in encoder.modules() if isinstance(each, torch.nn.BatchNorm1d))
    norm.register_forward_hook(lambda module, given, found: heard.append(found))
    encoder(cloud)  # with gradients, or nothing passes through the norm itself
    torch.testing.assert_close(heard[0].mean(dim=0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(heard[0].std(dim=0), torch.ones(4), atol=0.05, rtol=0)


def test_the_command_has_a_row_for_each_file_and_two_beside(tmp_path: Path) -> None:
    prerender(tmp_path / "rooms", "train", 2, num_frames=1, scan=False)
    weights, found = pretrained(tmp_path / "pre.safetensors"), tmp_path / "found.json"
    data = f"rooms:,prerendered={tmp_path / 'rooms'}"
    arguments = ("model", "probe", weights, "--data", data, "--split", "train", "--json", found)
    result = sr3d(*arguments)
    assert result.exit_code == 0, result.stderr
    rows = json.loads(found.read_text())["rows"]
    assert [row["weights"] for row in rows] == [str(weights), "random", "raw geometry"]
    assert rows[2]["height"] > 0.99  # height is one of its columns
    assert len({row["num_cells"] for row in rows}) == 1
    assert "mIoU" in result.stdout
    assert "seed 1" in result.stdout
    before = found.read_text()
    assert sr3d(*arguments).exit_code == 0
    assert found.read_text() == before
    there = ("--data", data, "--split", "train")
    nowhere = sr3d("model", "probe", tmp_path / "no.safetensors", *there)
    assert_one_line_error(nowhere, "no.safetensors")
