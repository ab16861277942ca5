"""What a sensor's habits do to points, against statistics that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sr3d_core.data.rooms.camera.habits import USUAL, SensorHabits

FLOOR = np.stack([*np.meshgrid(np.linspace(0, 7, 200), np.linspace(0, 7, 200))], -1).reshape(-1, 2)
FLOOR = np.column_stack([FLOOR, np.zeros(len(FLOOR))])


def test_the_usual_sensor_draws_no_number_and_moves_no_point() -> None:
    rng, untouched = np.random.default_rng(3), np.random.default_rng(3)
    assert USUAL.displaced(FLOOR, rng) is FLOOR
    assert USUAL.pitch(-0.3, rng) == -0.3
    assert rng.random() == untouched.random()


def test_noise_makes_a_floor_as_thick_as_it_says() -> None:
    habits = SensorHabits(noise_m=(0.013, 0.013))
    z = habits.displaced(FLOOR, np.random.default_rng(0))[:, 2]
    assert z.std() == pytest.approx(0.013, rel=0.02)


def test_a_warp_is_as_large_as_it_says_and_hardly_changes_over_five_centimetres() -> None:
    habits, rng = SensorHabits(warp_m=(0.012, 0.012)), np.random.default_rng(0)
    fields = [habits.displaced(FLOOR, rng)[:, 2].reshape(200, 200) for _ in range(40)]
    rms = np.sqrt(np.mean([np.square(field).mean() for field in fields]))
    step = np.mean([np.abs(np.diff(field, axis=1)).mean() for field in fields])  # 3.5 cm
    assert rms == pytest.approx(0.012, rel=0.15)
    assert step < 0.1 * rms


def test_level_views_have_a_pitch_within_the_range() -> None:
    habits, rng = SensorHabits(pitch_rad=(-0.2, 0.0)), np.random.default_rng(0)
    pitches = [habits.pitch(-0.7, rng) for _ in range(200)]
    assert -0.2 <= min(pitches) < -0.19
    assert -0.01 < max(pitches) <= 0.0
