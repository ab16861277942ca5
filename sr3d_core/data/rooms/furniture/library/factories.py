"""Furniture made by Infinigen's indoor factories (BSD-3): a process with Blender per few models.

Infinigen (https://github.com/princeton-vl/infinigen) and bpy exist for Python 3.11 only and want
old packages, so that they may live in an environment of their own: its interpreter is given. A
model on which Blender crashes, hangs or raises is lost and counted; the process starts anew.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.furniture.library.file import About, Model, check_model
from sr3d_core.data.rooms.furniture.material import material_of_models
from sr3d_core.data.rooms.furniture.mesh import Mesh, turn_z

MAX_FACES = 600
"""Triangles that models are thinned out to."""

START_S = 240.0
"""How long Blender may take to start."""

GLASS_ABSORBS = 0.7
"""Chance that a depth sensor gets no answer from what one sees through."""

_WORKER = Path(__file__).with_name("blender_worker.py")


class BlenderError(ValueError):
    """Blender or Infinigen does not start: they are not installed, or not in the Python given."""


@dataclass(frozen=True, slots=True)
class Factory:
    """A factory of Infinigen, and which of our classes and kinds it makes."""

    class_name: str
    kind: str
    path: str  # module below infinigen.assets.objects, and name
    turned_deg: float = 0.0  # counter-clockwise, until the front is +x


FACTORIES = (
    Factory("chair", "four_leg_chair", "seating:ChairFactory"),
    Factory("chair", "four_leg_chair", "seating:ChairFactory"),
    Factory("chair", "swivel_chair", "seating:OfficeChairFactory"),
    Factory("chair", "armchair", "seating:ArmChairFactory"),
    Factory("table", "rectangular_table", "tables:TableDiningFactory", 90.0),
    Factory("table", "coffee_table", "tables:CoffeeTableFactory", 90.0),
    Factory("table", "small_table", "tables:SideTableFactory"),
    Factory("table", "cocktail_table", "tables:TableCocktailFactory"),
    Factory("desk", "frame_desk", "shelves:SimpleDeskFactory"),
    Factory("bed", "framed_bed", "seating:BedFactory"),
    Factory("sofa", "straight_sofa", "seating:SofaFactory"),
    Factory("bookshelf", "open_bookshelf", "shelves:SimpleBookcaseFactory"),
    Factory("bookshelf", "open_bookshelf", "shelves:LargeShelfFactory"),
    Factory("bookshelf", "cube_bookshelf", "shelves:CellShelfFactory"),
    Factory("cabinet", "wardrobe", "shelves:SingleCabinetFactory"),
    Factory("cabinet", "kitchen_unit", "shelves:KitchenCabinetFactory"),
    Factory("cabinet", "sideboard", "shelves:TVStandFactory"),
    Factory("toilet", "tank_toilet", "bathroom:ToiletFactory"),
    Factory("bathtub", "built_in_tub", "bathroom:BathtubFactory"),
    Factory("door", "door", "elements:DoorFactory", 90.0),
    Factory("window", "window", "windows:WindowFactory", 90.0),
    Factory("sink", "pedestal_sink", "bathroom:StandingSinkFactory"),
    Factory("picture", "picture", "wall_decorations:WallArtFactory"),
)
"""Which way each faces was looked at. Where a class has several, they take turns.

Left out: BarChairFactory makes stools, which are no chairs; shelves of BeverageFridgeFactory stand
out of its back; KitchenIslandFactory has too much inside to be thinned out.
"""


def class_names() -> tuple[str, ...]:
    """The classes of our label space that Infinigen makes."""
    made = {each.class_name for each in FACTORIES}
    return tuple(name for name in LABELS if name in made)


@dataclass(frozen=True, slots=True)
class Lost:
    """A model that could not be made, and why."""

    factory: Factory
    seed: int
    reason: str


def make_furniture(
    num: int,
    seed: int,
    *,
    classes: Sequence[str],
    python: str = sys.executable,
    timeout_s: float = 180.0,
    tell: Callable[[int, str], object] = lambda done, note: None,
) -> tuple[list[Model], list[Lost], About]:
    """About `num` models of each of `classes` that Infinigen has, and those that were lost.

    The model of a factory and number depends on `seed` alone. `tell` is told how many were tried.
    Raises `BlenderError` where Blender does not start.
    """
    models: list[Model] = []
    lost: list[Lost] = []
    with ExitStack() as stack:
        blender = stack.enter_context(Blender(python, timeout_s))
        for done, (factory, number) in enumerate(planned(num, classes), start=1):
            own_seed = zlib.crc32(f"{seed} {factory.path} {number}".encode()) % 10**7
            try:
                models.append(_model(factory, own_seed, blender.made(factory.path, own_seed)))
            except BlenderError:
                raise
            except ValueError as error:
                lost.append(Lost(factory, own_seed, str(error)))
            tell(done, f"{factory.class_name}, {len(lost)} lost")
    return models, lost, About("infinigen", blender.version, "BSD-3-Clause", seed)


def planned(num: int, classes: Sequence[str]) -> list[tuple[Factory, int]]:
    """Which factories are asked for which of their models: `num` of each class, in turn."""
    plan = []
    for name in dict.fromkeys(each.class_name for each in FACTORIES):
        if name in classes:
            some = [each for each in FACTORIES if each.class_name == name]
            plan += [(some[number % len(some)], number) for number in range(num)]
    return plan


def _model(factory: Factory, seed: int, arrays: dict[str, np.ndarray]) -> Model:
    """A model of ours out of what Blender made; colors that it could not tell are drawn."""
    rng = np.random.default_rng(seed)
    color = arrays["color"]
    color = np.where(np.isnan(color), np.array(palette.furniture(rng)), color)
    absorbs = np.where(arrays["is_clear"], GLASS_ABSORBS, 0.0)
    mesh = Mesh(arrays["vertices"], arrays["faces"], color, absorbs, material_of_models(absorbs))
    name = f"{factory.path.split(':')[1]} {seed}"
    turned = mesh.turned(turn_z(np.deg2rad(factory.turned_deg))).grounded()
    model = Model(name, factory.class_name, factory.kind, turned)
    check_model(model, turned.bounds[1] - turned.bounds[0], name)
    return model


class Blender:
    """A process that makes models; it starts anew after it ended or was too slow."""

    def __init__(self, python: str, timeout_s: float) -> None:
        self._command = [python, str(_WORKER)]
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None
        self.version = ""

    def __enter__(self) -> Blender:
        self._folder = tempfile.TemporaryDirectory()
        self._stderr = (Path(self._folder.name) / "stderr.txt").open("w+")
        try:
            self._start()
        except BlenderError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._stderr.close()
        self._folder.cleanup()

    def made(self, factory: str, seed: int) -> dict[str, np.ndarray]:
        """The arrays of one model; raises ValueError where it is lost."""
        if self._process is None:
            self._start()
        file = Path(self._folder.name) / "model.npz"
        request = {
            "factory": factory, "seed": seed, "max_faces": MAX_FACES, "file": str(file)
        }  # fmt: skip
        answer = self._answer(json.dumps(request), self._timeout_s)
        if answer["error"] is not None:
            raise ValueError(answer["error"])
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def _start(self) -> None:
        environment = {
            **os.environ,
            "XDG_CONFIG_HOME": self._folder.name,  # Blender looks for add-ons and settings there
            "PYTHONHASHSEED": "0",
        }
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
                env=environment,
            )
            self.version = self._answer(None, START_S)["version"]
        except (OSError, ValueError) as error:
            raise BlenderError(
                f"{self._command[0]}: cannot start Blender and Infinigen ({error}{self._last()})"
            ) from error

    def _last(self) -> str:
        """The last line that the process wrote."""
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def _answer(self, request: str | None, timeout_s: float) -> dict[str, Any]:
        """What the process answers; it is ended, and ValueError raised, where it does not."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if request is not None:
                process.stdin.write(request + "\n")
                process.stdin.flush()
            is_there = select.select([process.stdout], [], [], timeout_s)[0]
            line = process.stdout.readline() if is_there else None
        except OSError as error:
            self._end()
            raise ValueError(f"Blender ended ({error})") from error
        if not line:
            self._end()
            raise ValueError(
                f"no answer within {timeout_s:g} s" if line is None
                else f"Blender ended with status {process.returncode}"
            )  # fmt: skip
        return json.loads(line)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
