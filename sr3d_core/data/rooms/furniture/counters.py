"""Counters: tops that are laid on cabinets, and counters that stand by themselves.

As ScanNet labels them: in a kitchen the counter is the top with its splash back (a mean height of
.27 m); the cabinets below are cabinets. What serves guests is a counter from the floor up.
"""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Color, Mesh, beam, box

Rng = np.random.Generator

_LONGEST = 4.0


def _length(rng: Rng) -> float:
    return rng.uniform(0.6, _LONGEST)


def _stone(rng: Rng) -> Color:
    return palette.wood(rng) if rng.random() < 0.4 else palette.grey(rng)


def counter_top(rng: Rng) -> Mesh:
    """A slab with a splash back, to be laid on cabinets along one wall."""
    depth, length = rng.uniform(0.5, 0.75), _length(rng)
    return Mesh.cat(
        _slab(rng, (depth, length), _splash(rng), _stone(rng), rng.uniform(0.02, 0.06))
    )


def corner_counter_top(rng: Rng) -> Mesh:
    """Two slabs in an L: one along the wall behind, one towards +x at the end +y."""
    depth, length, reach = rng.uniform(0.5, 0.75), rng.uniform(1.2, 3.6), rng.uniform(0.6, 2.4)
    color, thick, splash = _stone(rng), rng.uniform(0.02, 0.06), _splash(rng)
    back = _slab(rng, (depth, length), splash, color, thick)
    leg = [box((reach, depth, thick), ((depth + reach) / 2, (length - depth) / 2, 0), color)]
    if splash > 0:
        at = ((depth + reach) / 2 - depth / 2, length / 2 - 0.01, thick)
        leg.append(box((depth + reach, 0.02, splash), at, color))
    return Mesh.cat([*back, *leg])


def _splash(rng: Rng) -> float:
    """Height of the board at the wall behind a counter, 0 for none."""
    kind = rng.random()
    if kind < 0.35:
        return 0.0
    return rng.uniform(0.05, 0.15) if kind < 0.75 else rng.uniform(0.3, 0.6)


def _slab(
    rng: Rng, size: tuple[float, float], splash: float, color: Color, thick: float
) -> list[Mesh]:
    depth, length = size
    parts = [box((depth, length, thick), (0, 0, 0), color)]
    if splash > 0:
        tone = color if rng.random() < 0.5 else palette.white(rng)
        parts.append(box((0.02, length, splash), (-depth / 2 + 0.01, 0, thick), tone))
    return parts


def service_counter(rng: Rng) -> Mesh:
    """A reception, a bar or an island: a body under a top, the guests' side at +x."""
    depth, length, height = rng.uniform(0.4, 0.95), _length(rng), rng.uniform(0.85, 1.2)
    body, top = palette.furniture(rng), rng.uniform(0.025, 0.06)
    over = rng.uniform(0.0, min(0.3, depth / 3))
    parts = [
        box((depth - over, length * 0.98, height - top), (-over / 2, 0, 0), body),
        box((depth, length, top), (0, 0, height - top), _stone(rng)),
    ]
    panels = int(rng.integers(0, 1 + int(length / 0.5)))
    wide = length * 0.98 / max(panels, 1)
    tone, x = palette.blend(body, (0, 0, 0), 0.12), depth / 2 - over + 0.005
    parts += [
        box(
            (0.012, wide - 0.06, height - top - 0.16),
            (x, (k + 0.5) * wide - length * 0.49, 0.1),
            tone,
        )
        for k in range(panels)
    ]
    return Mesh.cat(parts)


def corner_counter(rng: Rng) -> Mesh:
    """A counter in an L from the floor up."""
    depth, height = rng.uniform(0.4, 0.75), rng.uniform(0.85, 1.2)
    length, reach = rng.uniform(1.2, 3.6), rng.uniform(0.6, 2.0)
    body, stone, top = palette.furniture(rng), _stone(rng), rng.uniform(0.025, 0.06)
    runs = [
        ((depth, length), (0.0, 0.0)),
        ((reach, depth), ((depth + reach) / 2, (length - depth) / 2)),
    ]
    parts = []
    for (dx, dy), (x, y) in runs:
        parts.append(box((dx - 0.04, dy - 0.04, height - top), (x, y, 0), body))
        parts.append(box((dx, dy, top), (x, y, height - top), stone))
    return Mesh.cat(parts)


def bar_shelf(rng: Rng) -> Mesh:
    """A narrow high top on legs along a wall, as in a cafe or for a breakfast."""
    depth, length, height = rng.uniform(0.3, 0.5), rng.uniform(0.8, 2.6), rng.uniform(0.88, 1.12)
    color, top = _stone(rng), rng.uniform(0.025, 0.05)
    legs = [
        beam((x, y, 0), (x, y, height - top), 0.05, 0.05, color)
        for x in (-depth / 2 + 0.04, depth / 2 - 0.04)
        for y in np.linspace(-length / 2 + 0.05, length / 2 - 0.05, 2 + int(length / 1.4)).tolist()
    ]
    return Mesh.cat([*legs, box((depth, length, top), (0, 0, height - top), color)])
