"""What surfaces look like: colors, pattern, gloss, for each material and class of things.

Colors are kept as reflectance, linear in light: palette colors are those of a screen (sRGB) and
are converted. Real rooms have what `_RECIPES` says; in some images everything has any finish at
all, so that a network does not learn that beds are white and floors brown (domain randomisation).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from sr3d_core.data.rooms.furniture.material import Material
from sr3d_core.data.rooms.looks import tiles
from sr3d_core.data.rooms.looks.parts import Group
from sr3d_core.data.rooms.looks.tiles import Tile, tile_of

Rng = np.random.Generator
Color = Float[ndarray, " 3"]
Pattern = Callable[[Rng], Tile]

BRIGHTEST = 0.85
"""Nothing reflects more than that."""

_CLOTH = ("bed", "sofa", "chair", "curtain", "shower_curtain")
_CERAMIC = ("toilet", "bathtub", "sink")
_WET = ("toilet", "bathtub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How one group of parts is painted."""

    pattern: Pattern
    color: Color  # reflectance 0..1
    second: Color
    scale_m: float = 0.5
    """Edge of a tile of the pattern."""
    mixed: float = 1.0
    """How much of the second color there is where the pattern has most of it."""
    uneven: float = 0.5
    """How much darker and brighter the pattern makes it, 0..1."""
    gloss: float = 0.0
    """Share of light that is thrown back as from a mirror, 0..1."""
    shine: float = 20.0
    """How sharp that is: exponent of Blinn and Phong."""
    is_metal: bool = False
    """Whether its gloss has its color."""
    turn_rad: float = 0.0
    """How the pattern lies."""


@dataclass(frozen=True, slots=True, eq=False)
class Finishes:
    """One for each group of parts, as columns."""

    tile: Int[ndarray, " K"]
    color: Float[ndarray, "K 3"]
    second: Float[ndarray, "K 3"]
    scale: Float[ndarray, " K"]
    turn: Float[ndarray, "K 2"]  # cosine and sine
    mixed: Float[ndarray, " K"]
    uneven: Float[ndarray, " K"]
    gloss: Float[ndarray, "K 3"]
    shine: Float[ndarray, " K"]
    is_outside: Bool[ndarray, " K"]  # panes of windows: one sees what is behind them

    @classmethod
    def of(cls, groups: Sequence[Group], rng: Rng) -> Finishes:
        """As in real rooms; the same draws for the same groups."""
        is_wet = any(group.class_name in _WET for group in groups)
        return cls._table([_finish(group, is_wet, rng) for group in groups], groups, rng)

    @classmethod
    def at_random(cls, groups: Sequence[Group], rng: Rng) -> Finishes:
        """Any color and any pattern on everything."""
        return cls._table([_any_finish(rng) for _ in groups], groups, rng)

    @classmethod
    def _table(cls, rows: list[Finish], groups: Sequence[Group], rng: Rng) -> Finishes:
        variant = rng.integers(tiles.VARIANTS, size=len(rows)).tolist()
        angle = np.array([row.turn_rad for row in rows])
        mirror = [row.gloss * (row.color if row.is_metal else np.ones(3)) for row in rows]

        def column(values: list) -> ndarray:
            return np.array(values, dtype=np.float32)

        return cls(
            np.array([tile_of(r.pattern, v) for r, v in zip(rows, variant, strict=True)], int),
            column([np.clip(row.color, 0.01, BRIGHTEST) for row in rows]).reshape(-1, 3),
            column([np.clip(row.second, 0.01, BRIGHTEST) for row in rows]).reshape(-1, 3),
            column([row.scale_m for row in rows]),
            np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32),
            column([row.mixed for row in rows]),
            column([row.uneven for row in rows]),
            column(mirror).reshape(-1, 3),
            column([row.shine for row in rows]),
            np.array([_is_window(group) for group in groups], dtype=bool),
        )


def linear(color: Sequence[float] | Float[ndarray, "... 3"]) -> Float[ndarray, "... 3"]:
    """From a screen's numbers 0..1 (sRGB) to light."""
    value = np.clip(np.asarray(color, dtype=np.float64), 0, 1)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _is_window(group: Group) -> bool:
    return group.material == Material.GLASS and group.class_name == "window"


def _finish(group: Group, is_wet: bool, rng: Rng) -> Finish:
    color = _varied(linear(group.paint), rng)
    material = _made_of(group, rng)
    if material == Material.WALL:
        return (_bath_wall if is_wet and rng.random() < 0.7 else _wall)(color, rng)
    if material == Material.GROUND:
        return _ground(color, is_wet, rng)
    if material == Material.WHITE and group.class_name in _CERAMIC:
        return _glossy(color, rng)
    if material == Material.GREY and group.class_name == "counter":
        return _stone(color, rng)
    if material == Material.PRINT and group.class_name == "picture":
        return _painting(color, rng)
    return _RECIPES[material](color, rng)


def _made_of(group: Group, rng: Rng) -> Material:
    """The material, where class and color tell more than the palette did."""
    material = group.material
    if material == Material.WHITE and group.class_name in _CLOTH:
        return Material.FABRIC
    if material == Material.UNKNOWN:
        red, _, blue = group.paint
        if red > blue + 0.12 and rng.random() < 0.6:
            return Material.WOOD
        return Material.GREY if rng.random() < 0.5 else Material.WHITE
    return material


def _varied(color: Color, rng: Rng) -> Color:
    """A little of another hue, lighter or darker."""
    return np.clip(color * np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.05, 3)), 0.01, BRIGHTEST)


def _shade(color: Color, low: float, high: float, rng: Rng) -> Color:
    return color * rng.uniform(low, high)


def _any_color(rng: Rng) -> Color:
    return linear(colorsys.hsv_to_rgb(rng.random(), rng.random() ** 0.7, rng.uniform(0.1, 1.0)))


def _one_of(makers: Sequence[tuple[float, Pattern]], rng: Rng) -> Pattern:
    share = np.array([weight for weight, _ in makers])
    return makers[rng.choice(len(makers), p=share / share.sum())][1]


def _wood(color: Color, rng: Rng) -> Finish:
    pattern = _one_of([(0.8, tiles.grain), (0.2, tiles.plain)], rng)
    return Finish(
        pattern=pattern,
        color=color * 1.15,
        second=_shade(color, 0.35, 0.8, rng),
        scale_m=rng.uniform(0.35, 1.2),
        mixed=rng.uniform(0.4, 1.0),
        uneven=rng.uniform(0.2, 0.7),
        gloss=rng.choice([0.02, 0.05, 0.12]),
        shine=rng.uniform(8, 60),
    )


def _fabric(color: Color, rng: Rng) -> Finish:
    choice = [(4.0, tiles.weave), (1.5, tiles.carpet), (1.0, tiles.plain), (1.2, tiles.stripes),
              (1.0, tiles.checks), (0.7, tiles.dots), (0.9, tiles.motif)]  # fmt: skip
    pattern = _one_of(choice, rng)
    is_drawn = pattern in (tiles.stripes, tiles.checks, tiles.dots, tiles.motif)
    second = _shade(color, 0.5, 1.6, rng)
    if is_drawn:
        second = _any_color(rng) if rng.random() < 0.5 else _shade(color, 0.25, 3.0, rng)
    is_leather = pattern is tiles.plain
    return Finish(
        pattern=pattern,
        color=color,
        second=second,
        scale_m=rng.uniform(0.2, 0.8) if is_drawn else rng.uniform(0.1, 0.4),
        mixed=rng.uniform(0.5, 1.0),
        uneven=rng.uniform(0.3, 0.9),
        gloss=0.1 if is_leather else 0.0,
        shine=rng.uniform(10, 30),
        turn_rad=float(rng.choice([0.0, np.pi / 2])),
    )


def _grey(color: Color, rng: Rng) -> Finish:
    is_metal = bool(rng.random() < 0.45)
    return Finish(
        pattern=tiles.brushed if is_metal else tiles.plain,
        color=color,
        second=_shade(color, 0.6, 1.3, rng),
        scale_m=rng.uniform(0.2, 0.6),
        uneven=rng.uniform(0.2, 0.8) if is_metal else 0.3,
        gloss=rng.uniform(0.3, 0.8) if is_metal else rng.uniform(0.02, 0.12),
        shine=rng.uniform(15, 120),
        is_metal=is_metal,
    )


def _white(color: Color, rng: Rng) -> Finish:
    pattern = _one_of([(0.75, tiles.plain), (0.15, tiles.grain), (0.1, tiles.plaster)], rng)
    return Finish(
        pattern=pattern,
        color=color,
        second=_shade(color, 0.75, 0.98, rng),
        scale_m=rng.uniform(0.4, 1.0),
        mixed=0.6,
        uneven=0.25,
        gloss=rng.choice([0.02, 0.08]),
        shine=rng.uniform(10, 80),
    )


def _glossy(color: Color, rng: Rng) -> Finish:
    return Finish(
        pattern=tiles.plain, color=color, second=color * 0.95, uneven=0.1,
        gloss=rng.uniform(0.08, 0.25), shine=rng.uniform(60, 250),
    )  # fmt: skip


def _stone(color: Color, rng: Rng) -> Finish:
    return Finish(
        pattern=_one_of([(1, tiles.stone), (1, tiles.speckle), (1, tiles.plain)], rng),
        color=color,
        second=_shade(color, 0.3, 2.5, rng),
        scale_m=rng.uniform(0.3, 0.9),
        mixed=rng.uniform(0.3, 0.9),
        uneven=0.4,
        gloss=rng.uniform(0.03, 0.2),
        shine=rng.uniform(30, 150),
    )


def _print(color: Color, rng: Rng) -> Finish:
    return Finish(
        pattern=_one_of([(2, tiles.plain), (1, tiles.blotches), (0.5, tiles.stripes)], rng),
        color=color,
        second=_any_color(rng) if rng.random() < 0.4 else _shade(color, 0.4, 1.4, rng),
        scale_m=rng.uniform(0.1, 0.5),
        mixed=rng.uniform(0.3, 1.0),
        gloss=rng.choice([0.0, 0.05]),
    )


def _painting(color: Color, rng: Rng) -> Finish:
    return Finish(
        pattern=_one_of([(4, tiles.blotches), (1, tiles.motif), (1, tiles.stripes)], rng),
        color=color,
        second=_any_color(rng),
        scale_m=rng.uniform(0.3, 1.5),
        uneven=rng.uniform(0.5, 1.0),
        gloss=rng.choice([0.0, 0.06]),
        shine=80.0,
    )


def _wall(color: Color, rng: Rng) -> Finish:
    choice = [(5.0, tiles.plaster), (3.0, tiles.plain), (0.8, tiles.stripes), (0.7, tiles.motif),
              (0.4, tiles.dots), (0.6, tiles.bricks), (0.4, tiles.planks)]  # fmt: skip
    pattern = _one_of(choice, rng)
    is_paper = pattern in (tiles.stripes, tiles.motif, tiles.dots)
    is_brick = pattern is tiles.bricks
    second = _shade(color, 0.75, 1.2, rng) if is_paper else _shade(color, 0.7, 0.95, rng)
    return Finish(
        pattern=pattern,
        color=color * ((0.6, 0.35, 0.3) if is_brick and rng.random() < 0.5 else (1, 1, 1)),
        second=second,
        scale_m=rng.uniform(0.6, 0.9) if is_brick else rng.uniform(0.5, 1.6),
        mixed=rng.uniform(0.4, 1.0),
        uneven=rng.uniform(0.1, 0.4),
        gloss=0.01,
        turn_rad=np.pi / 2 if is_brick else 0.0,
    )


def _bath_wall(color: Color, rng: Rng) -> Finish:
    return Finish(
        pattern=tiles.tiled if rng.random() < 0.75 else tiles.bricks,
        color=color,
        second=_shade(color, 0.4, 1.1, rng),
        scale_m=rng.uniform(0.3, 1.2),
        uneven=rng.uniform(0.3, 1.0),
        gloss=rng.uniform(0.05, 0.2),
        shine=rng.uniform(40, 200),
        turn_rad=np.pi / 2,
    )


def _ground(color: Color, is_wet: bool, rng: Rng) -> Finish:
    is_brown = color[0] > 1.25 * color[2]
    if is_brown and not is_wet:
        pattern = _one_of([(3, tiles.planks), (1, tiles.parquet)], rng)
        return Finish(
            pattern=pattern,
            color=color * 1.2,
            second=_shade(color, 0.4, 0.8, rng),
            scale_m=rng.uniform(0.7, 1.6),
            mixed=rng.uniform(0.4, 1.0),
            uneven=rng.uniform(0.4, 0.9),
            gloss=rng.uniform(0.01, 0.12),
            shine=rng.uniform(8, 60),
            turn_rad=float(rng.choice([0.0, np.pi / 2, np.pi / 4], p=(0.45, 0.45, 0.1))),
        )
    choice = [(3.0, tiles.tiled), (1.0, tiles.speckle), (1.0, tiles.stone)]
    if not is_wet:
        choice += [(3.0, tiles.carpet), (0.6, tiles.motif), (0.6, tiles.plaster)]
    pattern = _one_of(choice, rng)
    is_soft = pattern in (tiles.carpet, tiles.motif)
    return Finish(
        pattern=pattern,
        color=color,
        second=_shade(color, 0.4, 1.5, rng),
        scale_m=rng.uniform(0.2, 0.6) if is_soft else rng.uniform(0.6, 1.8),
        mixed=rng.uniform(0.4, 1.0),
        uneven=rng.uniform(0.3, 1.0),
        gloss=0.0 if is_soft else rng.uniform(0.02, 0.15),
        shine=rng.uniform(10, 100),
    )


def _plain_ground(color: Color, rng: Rng) -> Finish:
    return _ground(color, False, rng)


def _glass(color: Color, rng: Rng) -> Finish:
    return Finish(pattern=tiles.plain, color=color * 0.3, second=color * 0.3, gloss=0.3, shine=200)


def _any_finish(rng: Rng) -> Finish:
    return Finish(
        pattern=tiles.PATTERNS[rng.integers(len(tiles.PATTERNS))],
        color=_any_color(rng),
        second=_any_color(rng),
        scale_m=float(np.exp(rng.uniform(np.log(0.1), np.log(2.0)))),
        mixed=rng.random(),
        uneven=rng.random(),
        gloss=rng.choice([0.0, 0.05, 0.4]),
        shine=rng.uniform(5, 150),
        is_metal=bool(rng.random() < 0.2),
        turn_rad=rng.uniform(0, np.pi),
    )


_RECIPES: dict[Material, Callable[[Color, Rng], Finish]] = {
    Material.WOOD: _wood,
    Material.FABRIC: _fabric,
    Material.GREY: _grey,
    Material.WHITE: _white,
    Material.PRINT: _print,
    Material.WALL: _wall,
    Material.GROUND: _plain_ground,
    Material.GLASS: _glass,
}
