"""Square tiles of patterns that repeat without a seam, drawn once, and how pixels look them up.

A tile holds two numbers from 0 to 1 at each place: how much of a surface's second color is mixed
into its first, and how bright it is (0.5 as it is). Along u runs what has a direction: the grain
of wood, the length of planks, the rows of bricks. Smaller copies of each tile, down to a single
number, are looked up where a pixel covers more than one of its points, so that nothing flickers
far away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

Rng = np.random.Generator
Field = Float[ndarray, "n n"]  # v down, u across
Tile = tuple[Field, Field]  # mixed in, brightness

SIZE = 256
"""Points along each side of a tile."""

VARIANTS = 4
"""How many tiles there are of each pattern."""

_LEVELS = 9  # 256, 128 ... 1


def _noise(rng: Rng, fall: float, stretch: float = 1.0) -> Field:
    """Noise of zero mean and unit variance, periodic; `fall` is that of its amplitudes with the
    wave number, `stretch` how many times longer it is along u."""
    wave = np.fft.fftfreq(SIZE) * SIZE
    radius = np.hypot(wave[:, None], wave[None, :] * stretch)
    radius[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.standard_normal((SIZE, SIZE))) * radius**-fall
    field = np.fft.ifft2(spectrum).real
    return field / field.std()


def _bright(field: Field, share: float) -> Field:
    return np.clip(0.5 + share * field, 0, 1)


def _place() -> tuple[Field, Field]:
    """u and v of every point, 0..1."""
    line = (np.arange(SIZE) + 0.5) / SIZE
    return np.broadcast_to(line[None, :], (SIZE, SIZE)), np.broadcast_to(
        line[:, None], (SIZE, SIZE)
    )


def plain(rng: Rng) -> Tile:
    """One color, hardly uneven."""
    return _bright(_noise(rng, 1.2), 0.1), _bright(_noise(rng, 0.8), 0.12)


def plaster(rng: Rng) -> Tile:
    """Rough, with stains."""
    return _bright(_noise(rng, 1.8), 0.2), _bright(_noise(rng, rng.uniform(0.3, 0.9)), 0.2)


def grain(rng: Rng) -> Tile:
    """Wood: year rings that were cut lengthwise."""
    _, v = _place()
    bend = _noise(rng, 2.0, 6.0) * rng.uniform(0.4, 1.1)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * int(rng.integers(5, 14)) * v + 3 * bend)
    fibre = _noise(rng, 0.6, 16.0)
    return np.clip(0.75 * rings**1.5 + 0.12 * fibre + 0.1, 0, 1), _bright(fibre, 0.16)


def planks(rng: Rng) -> Tile:
    """Boards beside each other, their ends apart."""
    rows = int(rng.choice([4, 6, 8]))
    u, v = _place()
    row = (v * rows).astype(np.int64)
    ends = rng.random(rows)
    along = (u + ends[row]) % 1.0
    board = row * 2 + (along > 0.5)
    tone = rng.random(2 * rows)
    wood, bright = grain(rng)
    gap = (v * rows % 1 < 0.05 * rows / 8) | (np.minimum(along % 0.5, 0.5 - along % 0.5) < 0.004)
    mixed = np.clip(0.55 * tone[board] + 0.45 * np.roll(wood, int(rng.integers(SIZE)), 0), 0, 1)
    return mixed, np.where(gap, 0.1, bright * 0.8 + 0.2 * tone[board])


def parquet(rng: Rng) -> Tile:
    """Blocks of slats that lie across each other."""
    blocks, slats = int(rng.choice([2, 4])), int(rng.choice([4, 5]))
    u, v = _place()
    turned = ((u * blocks).astype(np.int64) + (v * blocks).astype(np.int64)) % 2 == 1
    across = np.where(turned, u, v) * blocks * slats
    slat = across.astype(np.int64) + 64 * (np.where(turned, v, u) * blocks).astype(np.int64)
    tone = rng.random(64 * 64)
    gap = (across % 1 < 0.08) | (np.where(turned, v, u) * blocks % 1 < 0.02)
    wood = np.where(turned, grain(rng)[0].T, grain(rng)[0])
    return np.clip(0.6 * tone[slat] + 0.4 * wood, 0, 1), np.where(gap, 0.2, 0.5)


def tiled(rng: Rng) -> Tile:
    """Square tiles with joints in the second color."""
    count, wide = int(rng.choice([2, 4])), rng.uniform(0.015, 0.05)
    u, v = _place()
    a, b = u * count, v * count
    joint = (np.minimum(a % 1, 1 - a % 1) < wide) | (np.minimum(b % 1, 1 - b % 1) < wide)
    tone = rng.normal(0.5, rng.choice([0.03, 0.12]), (count, count))
    each = tone[a.astype(np.int64), b.astype(np.int64)]
    stone = _noise(rng, 1.4) * rng.uniform(0, 0.1)
    return np.where(joint, 1.0, 0.0), np.where(joint, 0.45, np.clip(each + stone, 0, 1))


def bricks(rng: Rng) -> Tile:
    """Rows of bricks or flat tiles, every other one shifted by a half."""
    rows, ratio = int(rng.choice([8, 10])), int(rng.choice([4, 5]))
    u, v = _place()
    row = (v * rows).astype(np.int64)
    along = u * ratio + 0.5 * (row % 2)
    brick = row * 16 + along.astype(np.int64) % ratio
    joint = (v * rows % 1 < 0.12) | (along % 1 < 0.03)
    tone = rng.normal(0.5, rng.choice([0.05, 0.2]), 16 * rows)
    rough = _noise(rng, 0.7) * 0.08
    return np.where(joint, 1.0, 0.0), np.where(joint, 0.5, np.clip(tone[brick] + rough, 0, 1))


def weave(rng: Rng) -> Tile:
    """Cloth: threads over and under each other."""
    count = int(rng.choice([32, 48, 64]))
    u, v = _place()
    over = np.sin(2 * np.pi * count * u) * np.sin(2 * np.pi * count * v)
    uneven = _noise(rng, 0.5)
    return np.clip(0.5 + 0.4 * over, 0, 1), np.clip(0.5 + 0.2 * over + 0.12 * uneven, 0, 1)


def stripes(rng: Rng) -> Tile:
    """Stripes along u, some wide, some narrow."""
    edges = np.sort(rng.choice(32, int(rng.choice([4, 6, 8])), replace=False)) * (SIZE // 32)
    line = np.zeros(SIZE)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        line[start:end] = rng.choice([1.0, 1.0, 0.5])
    mixed = np.broadcast_to(line[:, None], (SIZE, SIZE))
    return mixed, _bright(_noise(rng, 0.4), 0.08)


def checks(rng: Rng) -> Tile:
    """Stripes both ways, as on table cloths and blankets."""
    one, two = stripes(rng)[0], stripes(rng)[0].T
    return 0.5 * (one + two), weave(rng)[1]


def dots(rng: Rng) -> Tile:
    """Round dots or blossoms, in rows or anywhere."""
    count = int(rng.choice([3, 4, 6]))
    u, v = _place()
    shift = rng.random() * 0.5
    a, b = u * count, v * count
    a = a + shift * (b.astype(np.int64) % 2) if count % 2 == 0 else a
    away = np.hypot(a % 1 - 0.5, b % 1 - 0.5)
    angle = np.arctan2(b % 1 - 0.5, a % 1 - 0.5)
    petals = 1 + rng.choice([0.0, 0.3]) * np.cos(int(rng.integers(4, 7)) * angle)
    return (away < rng.uniform(0.15, 0.35) * petals).astype(float), weave(rng)[1] * 0.5 + 0.25


def motif(rng: Rng) -> Tile:
    """Branches and leaves, or what could be: a wavy field, cut at a level."""
    field = _noise(rng, rng.uniform(1.3, 2.2))
    edge = rng.uniform(-0.4, 0.6)
    lines = np.abs(field - edge) < 0.12 if rng.random() < 0.4 else field > edge
    return lines.astype(float), _bright(_noise(rng, 0.5), 0.08)


def carpet(rng: Rng) -> Tile:
    """Short threads in two colors."""
    return _bright(_noise(rng, 0.2), 0.3), _bright(_noise(rng, 0.35), 0.3)


def brushed(rng: Rng) -> Tile:
    """Metal that was brushed along u."""
    return _bright(_noise(rng, 0.5, 60.0), 0.12), _bright(_noise(rng, 0.4, 60.0), 0.12)


def stone(rng: Rng) -> Tile:
    """Marble: veins."""
    field = _noise(rng, 1.7) + 0.3 * _noise(rng, 1.0)
    veins = np.exp(-np.abs(field) * rng.uniform(4, 10))
    return np.clip(veins, 0, 1), _bright(_noise(rng, 1.5), 0.12)


def speckle(rng: Rng) -> Tile:
    """Terrazzo, granite, flecked linoleum."""
    field = _noise(rng, rng.uniform(0.7, 1.1))
    return (field > rng.uniform(0.7, 1.5)).astype(float), _bright(_noise(rng, 0.5), 0.12)


def blotches(rng: Rng) -> Tile:
    """A painting, a photograph, a cover: large areas and details in them."""
    large, small = _noise(rng, 1.9), _noise(rng, 1.2)
    steps = np.digitize(large, np.sort(rng.normal(0, 0.8, 3))) / 3.0
    return steps, _bright(0.6 * np.sign(small) + 0.4 * large, 0.25)


PATTERNS: tuple[Callable[[Rng], Tile], ...] = (
    *(plain, plaster, grain, planks, parquet, tiled, bricks, weave, stripes, checks),
    *(dots, motif, carpet, brushed, stone, speckle, blotches),
)
"""All patterns; a new one is its function and its name here."""


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """All variants of all patterns in all sizes, one after the other."""

    points: UInt8[ndarray, "N 2"]
    starts: Int[ndarray, " levels"]  # of each size within a tile
    length: int  # of one tile

    def at(
        self,
        tile: Int[ndarray, " N"],
        u: Float[ndarray, " N"],
        v: Float[ndarray, " N"],
        width: Float[ndarray, " N"],
    ) -> Float[ndarray, "N 2"]:
        """What tiles hold at `u` and `v`, seen through pixels `width` wide, all in tiles."""
        level = np.log2(np.maximum(width * SIZE, 1.0)).round().astype(np.int32)
        level = np.minimum(level, _LEVELS - 1)
        size = np.right_shift(SIZE, level)
        column = np.floor(u * size).astype(np.int32) & (size - 1)
        row = np.floor(v * size).astype(np.int32) & (size - 1)
        place = tile.astype(np.int64) * self.length + self.starts[level] + row * size + column
        return self.points[place].astype(np.float32) * np.float32(1 / 255)


@lru_cache(maxsize=1)
def all_tiles() -> Tiles:
    """The tiles, drawn once in each process, always the same."""
    starts = np.cumsum([0] + [(SIZE >> k) ** 2 for k in range(_LEVELS)])
    rows = []
    for number, pattern in enumerate(PATTERNS):
        for variant in range(VARIANTS):
            tile = np.stack(pattern(np.random.default_rng((number, variant))), axis=-1)
            rows += _sizes(tile)
    points = np.concatenate([np.rint(255 * each).astype(np.uint8).reshape(-1, 2) for each in rows])
    return Tiles(points, starts[:-1], int(starts[-1]))


def _sizes(tile: Float[ndarray, "n n 2"]) -> list[Float[ndarray, "m m 2"]]:
    """A tile and its copies of half the size, each point the mean of four."""
    out = [np.clip(tile, 0, 1)]
    while len(out[-1]) > 1:
        half = len(out[-1]) // 2
        out.append(out[-1].reshape(half, 2, half, 2, 2).mean(axis=(1, 3)))
    return out


def tile_of(pattern: Callable[[Rng], Tile], variant: int) -> int:
    """The number of a tile."""
    return PATTERNS.index(pattern) * VARIANTS + variant % VARIANTS
