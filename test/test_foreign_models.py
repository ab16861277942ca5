"""Furniture archives, their models as meshes of ours, and the table of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign.archive import ArchiveError, archives_in, read_catalogue
from foreign.models import MAX_FACES, read_model
from foreign.supply import ForeignFurniture, open_models
from foreign.table import TABLE, TableError, read_table
from furniture_archives import ENTRY, FILES, one_of_each, write_archive

from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.library.imported import simplified
from sr3d_core.data.rooms.furniture.mesh import Mesh, box, height_field


def test_a_catalogue_is_read_in_metres_with_its_credits(tmp_path: Path) -> None:
    (entry,) = read_catalogue(write_archive(tmp_path / "a.sh3f")).values()
    assert (entry.identity, entry.name) == ("Test#pyramid", "Fauteuil à bascule")
    assert entry.size == pytest.approx((0.8, 0.5, 1.2))  # depth, width, height
    assert entry.elevation == pytest.approx(0.125)
    assert (entry.creator, entry.licence) == ("Jane", "CC-BY, © Jane")
    assert entry.tags == ("Seat", "Chair")


def test_a_model_stands_up_with_its_front_along_x(tmp_path: Path) -> None:
    (entry,) = read_catalogue(write_archive(tmp_path / "a.sh3f")).values()
    mesh = read_model(entry)
    low, high = mesh.bounds
    np.testing.assert_allclose([*low, *high], [-0.4, -0.25, 0, 0.4, 0.25, 1.2], atol=1e-9)
    tip = mesh.vertices[mesh.vertices[:, 2].argmax()]
    np.testing.assert_allclose(tip, [0.4, 0.0, 1.2], atol=1e-9)


def test_a_model_is_turned_before_it_is_stretched(tmp_path: Path) -> None:
    turned = {**ENTRY, "modelRotation": "0 0 1 0 1 0 -1 0 0"}  # what looked along z looks along x
    (entry,) = read_catalogue(write_archive(tmp_path / "a.sh3f", turned)).values()
    mesh = read_model(entry)
    np.testing.assert_allclose(mesh.bounds[1], [0.4, 0.25, 1.2], atol=1e-9)
    tip = mesh.vertices[mesh.vertices[:, 2].argmax()]
    np.testing.assert_allclose(tip, [0.0, 0.25, 1.2], atol=1e-9)  # their x is our y


def test_colors_are_those_of_materials_and_the_means_of_textures(tmp_path: Path) -> None:
    (entry,) = read_catalogue(write_archive(tmp_path / "a.sh3f")).values()
    mesh = read_model(entry)
    is_floor = (mesh.vertices[mesh.faces][:, :, 2] < 0.01).all(axis=1)
    np.testing.assert_allclose(mesh.color[is_floor], [[1.0, 0.0, 0.0]] * 2, atol=0.01)
    np.testing.assert_allclose(mesh.color[~is_floor], [[0.0, 0.5, 0.5]] * 4, atol=0.01)
    np.testing.assert_allclose(mesh.absorbs[~is_floor], 0.25)  # a quarter of the light goes on


def test_fine_meshes_lose_triangles_but_not_their_shape() -> None:
    heights = np.fromfunction(lambda x, y: 0.2 * np.sin(x / 40) + 0.3, (120, 120))
    fine = height_field((0.8, 0.6), (0, 0, 0), heights, (0.1, 0.2, 0.3))
    coarse = simplified(fine, MAX_FACES)
    assert len(fine.faces) > 20_000
    assert len(coarse.faces) <= MAX_FACES
    np.testing.assert_allclose(coarse.bounds, fine.bounds, atol=0.03)
    np.testing.assert_allclose(coarse.color, [[0.1, 0.2, 0.3]] * len(coarse.faces))


def test_coarse_meshes_are_left_as_they_are() -> None:
    cube = box((0.01, 0.01, 0.01), (0, 0, 0), (0, 0, 0))
    assert simplified(cube, MAX_FACES) is cube


def broken(**changes: str | None) -> dict[str, str]:
    return {key: value for key, value in {**ENTRY, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (broken(width=None), "width"),
        (broken(height="0"), "more than 0"),
        (broken(depth="wide"), "'wide'"),
        (broken(depth=""), "depth"),
        (broken(modelRotation="1 0 0"), "9 numbers"),
        (broken(model=None), "model"),
    ],
)
def test_an_entry_without_size_or_model_is_refused_by_name(
    tmp_path: Path, entry: dict[str, str], named: str
) -> None:
    path = write_archive(tmp_path / "a.sh3f", entry)
    with pytest.raises(ArchiveError, match="Test#pyramid") as caught:
        read_catalogue(path)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {**FILES, "m/wedge.obj": b"v 0 0 0\nf 1 2 7\n"},
        {**FILES, "m/wedge.obj": b"\x00\x01\x02"},
        {**FILES, "m/wedge.obj": b"v 0 0 0\nv 1 0 0\nv 1 0 1\nf 1 2 3\n"},  # flat
    ],
    ids=["missing", "faces without vertices", "binary", "flat"],
)
def test_a_damaged_model_is_refused_by_name(tmp_path: Path, files: dict[str, bytes]) -> None:
    (entry,) = read_catalogue(write_archive(tmp_path / "a.sh3f", files=files)).values()
    with pytest.raises(ArchiveError, match=r"wedge\.obj") as caught:
        read_model(entry)
    assert "\n" not in str(caught.value)


def test_a_model_without_materials_is_grey(tmp_path: Path) -> None:
    files = {"m/wedge.obj": FILES["m/wedge.obj"]}
    (entry,) = read_catalogue(write_archive(tmp_path / "a.sh3f", files=files)).values()
    assert np.ptp(read_model(entry).color, axis=1).max() < 0.01


def test_files_that_are_no_archives_are_refused(tmp_path: Path) -> None:
    torn = tmp_path / "torn.sh3f"
    torn.write_bytes(write_archive(tmp_path / "a.sh3f").read_bytes()[:200])
    with pytest.raises(ArchiveError, match=r"torn\.sh3f"):
        read_catalogue(torn)
    with pytest.raises(ArchiveError, match="apt-get download"):
        archives_in([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match="apt-get download"):
        archives_in([tmp_path / "empty"])


def test_the_table_that_ships_is_sound_and_large_enough() -> None:
    table = read_table(TABLE, LABELS)
    assert len(table.models) >= 151
    assert {name for name, is_rare in table.is_rare.items() if is_rare} == {
        *{"night_stand", "dresser", "toilet", "bathtub", "refrigerator"},
        *{"curtain", "counter", "sink", "picture", "shower_curtain"},
    }
    for one in table.classes.values():
        sun_rgbd = one.published.get("sun_rgbd")
        for axis, mean in zip(("depth", "width", "height"), sun_rgbd or (), strict=False):
            low, high = getattr(one.range, axis)
            assert low < mean < high


def edited(tmp_path: Path, before: str, after: str) -> Path:
    _, table = one_of_each(tmp_path)
    text = table.read_text()
    assert before in text
    table.write_text(text.replace(before, after, 1))
    return table


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("  chair:", "  armchair:", "armchair"),
        ("['Test#bed']", "[]", "bed"),
        ("['Test#bed']", "['Test#sofa']", "Test#sofa"),
        ("depth: [0.5, 0.9]", "depth: [0.9, 0.5]", "depth"),
        ("depth: [0.5, 0.9]", "depth: [-1, 0.9]", "depth"),
        ("classes:", "turned_deg: {Test#no: 90}\nclasses:", "Test#no"),
    ],
    ids=["unknown class", "no model", "twice", "reversed", "negative", "turned nothing"],
)
def test_a_table_that_does_not_fit_is_refused(
    tmp_path: Path, before: str, after: str, named: str
) -> None:
    with pytest.raises(TableError, match=named) as caught:
        read_table(edited(tmp_path, before, after), LABELS)
    assert "\n" not in str(caught.value)


def test_a_class_that_rooms_shall_do_without_is_named(tmp_path: Path) -> None:
    path = edited(tmp_path, "{any: ['Test#sink']}", "{}")
    path.write_text("not_offered: [sink]\n" + path.read_text())
    table = read_table(path, LABELS)
    archive = tmp_path / "each.sh3f"
    furniture = ForeignFurniture(open_models([archive], table, tmp_path / "cache"), table)
    assert furniture.kinds("sink") == ()
    assert table.is_rare["sink"]
    path.write_text(path.read_text().replace("[sink]", "[sink, bed]"))
    with pytest.raises(TableError, match="not_offered"):
        read_table(path, LABELS)


@pytest.fixture
def furniture(tmp_path: Path) -> ForeignFurniture:
    archive, path = one_of_each(tmp_path)
    table = read_table(path, LABELS)
    return ForeignFurniture(open_models([archive], table, tmp_path / "cache"), table)


def test_sizes_are_drawn_over_the_range_of_the_class(furniture: ForeignFurniture) -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([furniture.make("bed", rng).size for _ in range(400)])
    # 0.8 x 0.5 x 1.2 m, stretched by up to 1.5, within 0.5..0.9 x 0.4..0.6 x 0.7..1.0
    np.testing.assert_allclose(sizes.min(axis=0), [0.8 / 1.5, 0.4, 0.8], atol=0.01)
    np.testing.assert_allclose(sizes.max(axis=0), [0.9, 0.6, 1.0], atol=0.01)


def test_equal_generators_give_equal_pieces_of_the_class(furniture: ForeignFurniture) -> None:
    first, second = (furniture.make("sofa", np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.mesh.vertices, second.mesh.vertices)
    assert first.label == LABELS.index("sofa")
    assert first.mesh.bounds[0][2] == pytest.approx(0.0)


def test_a_wish_is_granted_where_there_is_such_a_kind(tmp_path: Path) -> None:
    table_file = edited(
        tmp_path, "{any: ['Test#table']}", "{any: ['Test#table'], low: ['Test#l']}"
    )
    flat = {**ENTRY, "id": "Test#l", "height": "80"}
    entries = [{**ENTRY, "id": f"Test#{name}"} for name in LABELS]
    archive = write_archive(tmp_path / "each.sh3f", *entries, flat)
    table = read_table(table_file, LABELS)
    furniture = ForeignFurniture(open_models([archive], table, tmp_path), table)
    assert sorted(furniture.kinds("table")) == ["any", "low"]
    rng = np.random.default_rng(0)
    low = [furniture.make("table", rng, "low").size[2] for _ in range(50)]
    any_of_class = [furniture.make("table", rng, "no such kind").size[2] for _ in range(50)]
    assert min(low) < 0.75 < 0.8 <= max(any_of_class)


def test_models_of_the_table_that_no_archive_has_are_named(tmp_path: Path) -> None:
    _, path = one_of_each(tmp_path)
    other = write_archive(tmp_path / "other.sh3f")
    with pytest.raises(TableError, match="Test#chair"):
        open_models([other], read_table(path, LABELS), tmp_path)


def test_thinned_out_models_are_read_back_from_the_cache(tmp_path: Path) -> None:
    archive, path = one_of_each(tmp_path)
    table = read_table(path, LABELS)
    told: list[int] = []
    first = open_models([archive], table, tmp_path / "cache", told.append)
    again = open_models([archive], table, tmp_path / "cache", told.append)
    assert told == list(range(1, len(LABELS) + 1))  # only the first time

    def arrays(mesh: Mesh) -> list[np.ndarray]:
        return [mesh.vertices, mesh.faces, mesh.color, mesh.absorbs]

    for one, other in zip(first, again, strict=True):
        for a, b in zip(arrays(one.mesh), arrays(other.mesh), strict=True):
            np.testing.assert_array_equal(a, b)
