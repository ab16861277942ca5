"""People-like figures."""

from __future__ import annotations

import numpy as np

from sr3d_core.data.rooms.furniture import palette
from sr3d_core.data.rooms.furniture.mesh import Mesh, beam, blob, box, cylinder, loft, ring

Rng = np.random.Generator

_SKIN = (0.75, 0.55, 0.45)


def standing(rng: Rng) -> Mesh:
    """Somebody who stands."""
    tall, turn = rng.uniform(1.5, 1.92), rng.uniform(-0.3, 0.3)
    shirt, trousers = palette.fabric(rng), palette.fabric(rng)
    hip, shoulder = tall * 0.5, tall * 0.82
    parts = _trunk(hip, shoulder, tall, shirt)
    for side in (-1, 1):
        step = rng.uniform(-0.12, 0.12)
        parts.append(beam((step, side * 0.1, 0), (0, side * 0.09, hip), 0.13, 0.13, trousers))
        parts.append(box((0.26, 0.1, 0.08), (step + 0.05, side * 0.1, 0), (0.1, 0.1, 0.1)))
        hand = (rng.uniform(-0.05, 0.35), side * 0.27, hip + rng.uniform(-0.05, 0.3))
        parts.append(beam((0, side * 0.22, shoulder - 0.04), hand, 0.08, 0.08, shirt))
    return Mesh.cat(parts).moved(yaw=turn)


def sitting(rng: Rng, seat_m: float) -> Mesh:
    """Somebody who sits with the hips on the axis, `seat_m` above the feet; looks along +x."""
    rise, knee = rng.uniform(0.72, 0.92), rng.uniform(0.38, 0.48)
    shirt, trousers = palette.fabric(rng), palette.fabric(rng)
    shoulder = seat_m + rise * 0.66
    parts = _trunk(seat_m, shoulder, seat_m + rise, shirt)
    for side in (-1, 1):
        y, bent = side * 0.1, seat_m + 0.07
        foot = (knee + rng.uniform(-0.1, 0.15), y)
        parts.append(beam((0, y, bent), (knee, y, bent), 0.13, 0.14, trousers))
        parts.append(beam((*foot, 0.0), (knee, y, bent), 0.1, 0.1, trousers))
        parts.append(box((0.26, 0.1, 0.08), (foot[0] + 0.05, y, 0), (0.1, 0.1, 0.1)))
        hand = (
            rng.uniform(0.2, 0.4),
            side * rng.uniform(0.1, 0.25),
            seat_m + rng.uniform(0.1, 0.4),
        )
        parts.append(beam((0, side * 0.22, shoulder - 0.04), hand, 0.08, 0.08, shirt))
    return Mesh.cat(parts)


def _trunk(
    hip: float, shoulder: float, tall: float, shirt: tuple[float, float, float]
) -> list[Mesh]:
    middle = hip + 0.6 * (shoulder - hip)
    rings = [ring(0.12, 0.16, hip), ring(0.12, 0.19, middle), ring(0.1, 0.2, shoulder)]
    return [
        loft(np.stack(rings), shirt, bottom=True, top=True),
        blob((0.2, 0.17, 0.25), (0.02, 0, tall - 0.25), _SKIN),
        cylinder(0.05, 0.1, (0, 0, shoulder - 0.02), _SKIN, n=6),
    ]
