"""The kinds of sensors that the rooms for training are seen with, of which each sample draws one.

The foreign world (`benchmark/foreign/world.py`) has others on purpose: its clouds have 12 to 15 mm
of noise everywhere where ours have at most 12 and mostly none, its scans are always warped, over
shorter waves, taken by few views from anywhere without any error of a loop, and its colors are
nearly true.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sr3d_core.choices import RoomNoise
from sr3d_core.data.rooms.camera.habits import USUAL, Range, SensorHabits

Rng = np.random.Generator


def _degrees(low: float, high: float) -> Range:
    return (float(np.deg2rad(low)), float(np.deg2rad(high)))


ANYHOW = USUAL
LEVEL = SensorHabits(height_m=(0.9, 1.7), pitch_rad=_degrees(-12, 0), range_m=(6.0, 10.0))
HAND = SensorHabits(height_m=(1.2, 1.7), range_m=(4.0, 10.0))
ROBOT = SensorHabits(
    height_m=(0.9, 1.3), on_floor=True, pitch_rad=_degrees(-25, -2), range_m=(4.0, 10.0)
)
VACUUM = SensorHabits(
    height_m=(0.25, 0.6), on_floor=True, pitch_rad=_degrees(-6, 8), range_m=(4.0, 8.0)
)

FRAMES: tuple[tuple[SensorHabits, float], ...] = (
    (ANYHOW, 0.3),
    (LEVEL, 0.28),
    (HAND, 0.16),
    (ROBOT, 0.16),
    (VACUUM, 0.1),
)
"""How single frames are taken, each with its share."""

SCANS: tuple[tuple[SensorHabits, float], ...] = (
    (ANYHOW, 0.3),
    (LEVEL, 0.1),
    (HAND, 0.4),
    (ROBOT, 0.15),
    (VACUUM, 0.05),
)
"""How the views of fused scans are taken."""


IMAGES: tuple[tuple[SensorHabits, float], ...] = (
    (replace(ANYHOW, height_m=(0.5, 1.9)), 0.3),
    (LEVEL, 0.2),
    (HAND, 0.2),
    (ROBOT, 0.18),
    (replace(VACUUM, height_m=(0.2, 0.6), pitch_rad=_degrees(-6, 10)), 0.12),
)
"""How color images are taken that have a depth image beside them."""


def frame_habits(rng: Rng, noise: RoomNoise = "usual") -> SensorHabits:
    """Of a single frame."""
    habits = _with_faults(_one_of(FRAMES, rng), rng, most_patches=3)
    return _strongly_wrong(habits, num_patches=(1, 4)) if noise == "strong" else habits


def image_habits(rng: Rng) -> SensorHabits:
    """Of a color image; its cloud is what its depth camera says, without further faults."""
    return _one_of(IMAGES, rng)


def scan_habits(rng: Rng, noise: RoomNoise = "usual") -> SensorHabits:
    """Of a fused scan: along a path or not, more or less warped, points or vertices."""
    habits = _with_faults(_one_of(SCANS, rng), rng, most_patches=8)
    walks = bool(rng.random() < 0.6)
    habits = replace(
        habits,
        num_views=(8, 40),
        walks=walks,
        drift_m=(0.001, 0.008) if rng.random() < 0.4 else (0.001, 0.004),
        loop_m=(0.0, 0.06) if walks and rng.random() < 0.5 else (0.0, 0.0),
        warp_m=(0.010, 0.015) if rng.random() < 0.3 else None,
        warp_length_m=(2.5, 8.0),
        sampling="vertices" if rng.random() < 0.25 else "points",
    )
    return _strongly_wrong(habits, num_patches=(4, 10)) if noise == "strong" else habits


def _one_of(kinds: tuple[tuple[SensorHabits, float], ...], rng: Rng) -> SensorHabits:
    return kinds[rng.choice(len(kinds), p=[share for _, share in kinds])][0]


def _strongly_wrong(habits: SensorHabits, num_patches: tuple[int, int]) -> SensorHabits:
    """The same, of a sensor that is twice as noisy as the worst that networks learn from."""
    return replace(
        habits, noise_m=(0.02, 0.03), warp_m=(0.015, 0.03), patches=num_patches, color="any"
    )


def _with_faults(habits: SensorHabits, rng: Rng, most_patches: int) -> SensorHabits:
    return replace(
        habits,
        color="any",
        noise_m=(0.0, 0.012) if rng.random() < 0.4 else None,
        patches=(0, most_patches) if rng.random() < 0.4 else (0, 0),
    )
