"""Rooms take a share of their furniture from a library; what is wrong with one is told."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sr3d_core.cli.main import app
from sr3d_core.data.rooms.dataset import RoomsError
from sr3d_core.data.rooms.furniture.classes import LABELS, OWN_FURNITURE
from sr3d_core.data.rooms.furniture.library.factories import (
    FACTORIES,
    class_names,
    make_furniture,
    planned,
)
from sr3d_core.data.rooms.furniture.library.file import (
    LibraryError,
    enough,
    read_library,
    write_library,
)
from sr3d_core.data.rooms.furniture.library.folder import read_folder
from sr3d_core.data.rooms.furniture.library.supply import STRETCH, FurnitureLibrary, furniture_of
from sr3d_core.data.rooms.prerender import prerender
from sr3d_core.data.rooms.source import RoomsSource

Arrays = dict[str, np.ndarray]

CORNERS = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0, 1)])
FACES = np.array([(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5)])  # back and front: a box of two
SIZES = {"sofa": (0.9, 2.0, 0.8), "cabinet": (0.4, 0.8, 1.9)}


def arrays_of(models: list[tuple[str, str]]) -> Arrays:
    """A library written without our code: two sheets in a box of its class for each model."""
    num = len(models)
    size = np.array([SIZES[name] for name, _ in models], np.float32)
    about = {"format": 1, "source": "test", "version": "7", "licence": "CC0-1.0", "seed": 5}
    return {
        "about": np.array(json.dumps(about)),
        "name": np.array([f"model {k}" for k in range(num)]),
        "class": np.array([name for name, _ in models]),
        "kind": np.array([kind for _, kind in models]),
        "size": size,
        "num_vertices": np.full(num, 8, np.int32),
        "num_faces": np.full(num, 4, np.int32),
        "vertices": np.concatenate([CORNERS * row for row in size]).astype(np.float32),
        "faces": np.tile(FACES, (num, 1)).astype(np.int32),
        "color": np.full((4 * num, 3), 51, np.uint8),
        "absorbs": np.full(4 * num, 255, np.uint8),
    }


GOOD = [("sofa", "straight_sofa")] * 3 + [("cabinet", "wardrobe")] * 3


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "furniture.npz"
    np.savez(path, **arrays_of(GOOD))
    return path


def test_a_library_is_read_as_it_was_written_by_others(library: Path, tmp_path: Path) -> None:
    models, about = read_library(library)
    assert [model.class_name for model in models] == [name for name, _ in GOOD]
    assert (about.source, about.version, about.licence, about.seed) == ("test", "7", "CC0-1.0", 5)
    low, high = models[0].mesh.bounds
    np.testing.assert_allclose(
        np.concatenate([low, high]), (-0.45, -1, 0, 0.45, 1, 0.8), atol=1e-6
    )
    assert (models[0].mesh.color == 0.2).all()
    assert (models[0].mesh.absorbs == 1).all()
    write_library(tmp_path / "again.npz", models, about)
    again, about_again = read_library(tmp_path / "again.npz")
    assert about_again == about
    np.testing.assert_array_equal(again[5].mesh.vertices, models[5].mesh.vertices)


def _put(name: str, value: object) -> Callable[[Arrays], object]:
    return lambda arrays: arrays.__setitem__(name, np.asarray(value))


def _flat(arrays: Arrays) -> None:
    arrays["vertices"][:8, 2] = 0
    arrays["size"][0, 2] = 0


def _off_the_floor(arrays: Arrays) -> None:
    arrays["vertices"][:8, 2] += 0.5


def _in_millimetres(arrays: Arrays) -> None:
    arrays["vertices"] *= 1000
    arrays["size"] *= 1000


def _not_a_number(arrays: Arrays) -> None:
    arrays["vertices"][3, 1] = np.nan


def _without_rows(arrays: Arrays) -> None:
    for name, value in arrays.items():
        arrays[name] = value[:0] if value.ndim else value


FAULTS: dict[str, tuple[Callable[[Arrays], object], str]] = {
    "no size": (_flat, "0.0"),
    "another unit": (_in_millimetres, "unit"),
    "in the air": (_off_the_floor, "0.5"),
    "not a number": (_not_a_number, "model 0"),
    "vertex that is not there": (_put("faces", np.full((24, 3), 8, np.int32)), "model 0"),
    "unknown class": (_put("class", ["hammock"] * 6), "hammock"),
    "too few of a class": (_put("class", ["sofa"] * 5 + ["bed"]), "1 models of the class bed"),
    "array that is missing": (lambda arrays: arrays.pop("absorbs"), "absorbs"),
    "arrays that disagree": (_put("faces", np.zeros((5, 3), np.int32)), "(24, 3)"),
    "no models": (_without_rows, "no models"),
    "another format": (_put("about", json.dumps({"format": 9, **dict.fromkeys(
        ("source", "version", "licence", "seed"), 0)})), "format 9"),
    "nothing about it": (lambda arrays: arrays.pop("about"), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_library_is_told_in_one_line(fault: str, tmp_path: Path) -> None:
    arrays = arrays_of(GOOD)
    FAULTS[fault][0](arrays)
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(LibraryError) as caught:
        read_library(path)
    assert FAULTS[fault][1] in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_cut_short_or_hold_pickles_are_refused(library: Path) -> None:
    with pytest.raises(LibraryError, match="does not exist"):
        read_library(library.with_name("other.npz"))
    whole = library.read_bytes()
    for content in (b"", b"solid model", whole[: len(whole) // 2]):
        library.write_bytes(content)
        with pytest.raises(LibraryError, match="damaged"):
            read_library(library)
    np.savez(library, about=np.array({"format": 1}, dtype=object))
    with pytest.raises(LibraryError, match="damaged"):
        read_library(library)


def test_a_share_of_the_pieces_is_from_the_library_and_what_it_lacks_from_the_rest(
    library: Path,
) -> None:
    supply = FurnitureLibrary(read_library(library)[0], share=0.3)
    rng = np.random.default_rng(0)
    made = [supply.make("sofa", rng) for _ in range(200)]
    from_library = [piece for piece in made if len(piece.mesh.faces) == 4]
    assert 35 < len(from_library) < 85  # 60 expected, 6.5 the standard deviation
    sizes = np.array([piece.size for piece in from_library]) / SIZES["sofa"]
    assert (np.abs(np.log(sizes)) <= np.log(STRETCH) + 1e-9).all()
    assert {piece.label for piece in made} == {LABELS.index("sofa")}
    assert all(len(supply.make("bed", rng).mesh.faces) > 4 for _ in range(20))
    assert supply.kinds("sofa") == OWN_FURNITURE.kinds("sofa")


def test_a_kind_that_the_library_lacks_is_never_replaced_by_another(library: Path) -> None:
    supply = FurnitureLibrary(read_library(library)[0], share=1.0)
    rng = np.random.default_rng(0)
    assert len(supply.make("cabinet", rng, "wardrobe").mesh.faces) == 4
    assert len(supply.make("cabinet", rng, "wall_unit").mesh.faces) > 4


def test_without_a_library_the_furniture_is_our_own() -> None:
    assert furniture_of(None, 0.3) is OWN_FURNITURE


def test_training_rooms_of_a_source_use_the_library_and_validation_does_not(library: Path) -> None:
    own = RoomsSource(sensors=("frame",))
    mixed = RoomsSource(sensors=("frame",), furniture=library, furniture_share=1.0)
    val, train = mixed.open("val")[0].cloud.xyz, mixed.open("train")[0].cloud.xyz
    assert torch.equal(val, own.open("val")[0].cloud.xyz)
    assert torch.equal(train, mixed.open("train")[0].cloud.xyz)
    assert not torch.equal(train, own.open("train")[0].cloud.xyz)


def test_a_source_refuses_furniture_that_it_would_not_use(library: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.furniture"):
        RoomsSource(furniture=library, prerendered=tmp_path)
    with pytest.raises(ValueError, match=r"1\.5"):
        RoomsSource(furniture=library, furniture_share=1.5)


def test_prerendered_rooms_of_another_library_are_not_mixed(library: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rooms"
    options = {"num_frames": 1, "scan": False}
    assert prerender(folder, "train", 1, furniture=library, **options) == 1
    with pytest.raises(RoomsError):
        prerender(folder, "train", 1, **options)
    with pytest.raises(RoomsError):
        prerender(folder, "train", 1, furniture=library, furniture_share=0.5, **options)
    with pytest.raises(LibraryError):
        prerender(tmp_path / "new", "train", 1, furniture=tmp_path / "none.npz", **options)
    assert not (tmp_path / "new").exists()


def test_every_factory_makes_a_class_by_name_and_classes_share_what_is_asked_for() -> None:
    assert set(class_names()) <= {each.class_name for each in FACTORIES}
    plan = planned(4, ("chair", "toilet"))
    assert [each.class_name for each, _ in plan] == ["chair"] * 4 + ["toilet"] * 4
    assert len({each.path for each, _ in plan[:4]}) > 1
    assert len({number for _, number in plan[:4]}) == 4


FAKE = """#!{python}
import json, sys, time
import numpy as np
print(json.dumps({{"error": None, "version": "fake 1"}}), flush=True)
for count, line in enumerate(sys.stdin):
    wanted = json.loads(line)
    what = {plan}[wanted["seed"] % 4]
    if what == "crash":
        sys.exit(3)
    if what == "hang":
        time.sleep(60)
    if what == "raise":
        print(json.dumps({{"error": "ValueError: no legs"}}), flush=True)
        continue
    box = np.array([(x, y, z) for x in (0, 1.0) for y in (0, 2.0) for z in (0, 3.0)])
    np.savez(wanted["file"], vertices=box, faces=np.array({faces}), color=np.full((4, 3), np.nan),
             is_clear=np.array([True, False, False, False]))
    print(json.dumps({{"error": None}}), flush=True)
"""
"""Answers as the process with Blender does; what happens depends on the seed of the model."""


def fake_blender(path: Path, *plan: str) -> str:
    path.write_text(FAKE.format(python=sys.executable, plan=list(plan), faces=FACES.tolist()))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.skipif(os.name != "posix", reason="the fake is a script with a first line")
def test_a_crash_loses_one_model_and_equal_seeds_give_equal_furniture(tmp_path: Path) -> None:
    python = fake_blender(tmp_path / "python", "good", "good", "raise", "crash")
    models, lost, about = make_furniture(6, 3, classes=("toilet",), python=python)
    again, _, _ = make_furniture(6, 3, classes=("toilet",), python=python)
    assert len(models) + len(lost) == 6
    assert models
    assert lost
    for each in lost:
        assert each.reason == {2: "ValueError: no legs"}.get(each.seed % 4, each.reason)
        assert each.seed % 4 in (2, 3)
    assert all(int(model.name.split()[1]) % 4 in (0, 1) for model in models)
    assert about.version == "fake 1"
    assert [model.name for model in models] == [model.name for model in again]
    np.testing.assert_array_equal(models[0].mesh.color, again[0].mesh.color)
    assert np.isfinite(models[0].mesh.color).all()
    assert models[0].mesh.absorbs[0] > models[0].mesh.absorbs[1] == 0


@pytest.mark.skipif(os.name != "posix", reason="the fake is a script with a first line")
def test_a_model_that_takes_too_long_is_lost(tmp_path: Path) -> None:
    python = fake_blender(tmp_path / "python", *["hang"] * 4)
    models, lost, _ = make_furniture(1, 0, classes=("toilet",), python=python, timeout_s=0.05)
    assert not models
    assert "0.05" in lost[0].reason


def test_classes_with_too_few_models_are_told_apart(library: Path) -> None:
    models, _ = read_library(library)
    kept, too_few = enough(models[1:])
    assert {model.class_name for model in kept} == {"cabinet"}
    assert too_few == {"sofa": 2}


def test_where_blender_is_not_installed_one_line_says_what_to_do(tmp_path: Path) -> None:
    out = tmp_path / "furniture.npz"
    result = CliRunner().invoke(
        app, ["data", "furniture", "--out", str(out), "--python", str(tmp_path / "no_python")]
    )
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1
    assert "[infinigen]" in result.output
    assert not out.exists()


BOX_OF_OBJ = """mtllib box.mtl
usemtl red
v 0 0 0\nv 200 0 0\nv 200 90 0\nv 0 90 0\nv 0 0 80\nv 200 0 80\nv 200 90 80\nv 0 90 80
f 1 2 3 4\nf 5 6 7 8\nf 1 2 6 5\nf 4 3 7 8
"""
"""Centimetres: 200 along x, 90 high along y, 80 along z."""


def _folder_with(path: Path, entry: str) -> Path:
    path.mkdir()
    (path / "box.obj").write_text(BOX_OF_OBJ)
    (path / "box.mtl").write_text("newmtl red\nKd 1 0 0\n")
    (path / "nothing.obj").write_text("v 0 0 0\n")
    lines = "\n".join([f"  - {entry}"] * 3)
    (path / "furniture.yaml").write_text(f"licence: CC0-1.0\nmodels:\n{lines}\n")
    return path


def test_models_of_ones_own_stand_upright_in_metres_with_their_front_ahead(tmp_path: Path) -> None:
    entry = "{file: box.obj, class: sofa, up: y, front: +z, size: [0.8, 2.0, 0.9]}"
    folder, out = _folder_with(tmp_path / "mine", entry), tmp_path / "mine.npz"
    arguments = ["data", "furniture", "--source", "folder", "--folder", str(folder)]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    models, about = read_library(out)
    assert about.licence == "CC0-1.0"
    assert [model.class_name for model in models] == ["sofa"] * 3
    low, high = models[0].mesh.bounds
    np.testing.assert_allclose(np.concatenate([low, high]), (-0.4, -1, 0, 0.4, 1, 0.9), atol=1e-6)
    assert (models[0].mesh.color == (1, 0, 0)).all()


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("{file: box.obj, class: sofa, up: y}", "200"),  # centimetres
        ("{file: box.obj, class: hammock, size: [1, 1, 1]}", "hammock"),
        ("{file: box.obj, class: sofa, up: y, front: +y}", "front +y"),
        ("{file: box.obj, class: sofa, side: left}", "models.0.side"),
        ("{file: other.obj, class: sofa}", "other.obj"),
        ("{file: nothing.obj, class: sofa}", "nothing.obj"),
        ("{class: sofa}", "models.0.file"),
    ],
)
def test_what_is_wrong_with_a_folder_of_models_is_told(
    entry: str, found: str, tmp_path: Path
) -> None:
    with pytest.raises(LibraryError) as caught:
        read_folder(_folder_with(tmp_path / "mine", entry))
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)


def _has_blender() -> bool:
    command = [
        os.environ.get("SR3D_BLENDER_PYTHON", sys.executable),
        "-c",
        "import bpy, infinigen",
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_infinigen_makes_the_same_desks_of_a_plausible_size_again() -> None:
    if not _has_blender():
        pytest.skip("bpy and infinigen are not installed; SR3D_BLENDER_PYTHON names a Python")
    python = os.environ.get("SR3D_BLENDER_PYTHON", sys.executable)
    models, lost, about = make_furniture(3, 0, classes=("desk",), python=python)
    assert not lost
    assert "bpy" in about.version
    for model in models:
        low, high = model.mesh.bounds
        assert 0.5 < high[2] - low[2] < 1.2
        assert high[0] - low[0] < high[1] - low[1]  # deep along x, wide along y
        assert len(model.mesh.faces) <= 900
    again, _, _ = make_furniture(3, 0, classes=("desk",), python=python)
    for one, other in zip(models, again, strict=True):
        np.testing.assert_array_equal(one.mesh.vertices, other.mesh.vertices)
