"""Pieces are stretched per axis, within what their class is sold in."""

from __future__ import annotations

import numpy as np
import pytest

from sr3d_core.data.rooms.furniture.classes import make
from sr3d_core.data.rooms.furniture.mesh import box
from sr3d_core.data.rooms.furniture.stretch import MOST, PLAUSIBLE_M, stretched

GREY = (0.5, 0.5, 0.5)


def sizes(edges: tuple[float, float, float], name: str, num: int = 300) -> np.ndarray:
    """Sizes of one block after many stretches."""
    mesh = box(edges, (0, 0, 0), GREY)
    rng = np.random.default_rng(0)
    return np.array([np.ptp(stretched(mesh, name, rng).vertices, axis=0) for _ in range(num)])


def test_axes_are_stretched_independently_by_up_to_a_quarter() -> None:
    factor = sizes((0.6, 0.6, 0.9), "chair") / (0.6, 0.6, 0.9)
    assert (factor.min(axis=0) < 0.82).all()
    assert (factor.min(axis=0) >= 1 / MOST - 1e-9).all()
    assert (factor.max(axis=0) > 1.23).all()
    assert (factor.max(axis=0) <= MOST + 1e-9).all()
    correlation = np.corrcoef(factor.T)[np.triu_indices(3, 1)]
    assert (np.abs(correlation) < 0.2).all()


def test_sizes_stay_in_the_range_of_the_class_and_do_not_gather_at_its_end() -> None:
    depth = sizes((2.2, 1.5, 1.0), "bed")[:, 0]
    longest = PLAUSIBLE_M["bed"][0][1]
    assert depth.max() <= longest + 1e-9
    assert (depth > longest - 0.001).mean() < 0.05


def test_a_piece_beyond_its_range_is_never_carried_farther() -> None:
    widths = sizes((0.3, 0.5, 0.05), "table")  # a table top on the floor
    assert widths[:, 2].min() >= 0.05 - 1e-9


def test_a_class_without_a_range_keeps_its_size() -> None:
    np.testing.assert_allclose(np.ptp(sizes((1.0, 2.0, 3.0), "window"), axis=0), 0.0)


@pytest.mark.parametrize("name", ["bed", "toilet"])
def test_equal_generators_give_equal_pieces(name: str) -> None:
    first, second = (make(name, np.random.default_rng(4)).mesh for _ in range(2))
    assert np.array_equal(first.vertices, second.vertices)


def test_pieces_of_one_kind_differ_in_height_against_width() -> None:
    rng = np.random.default_rng(1)
    made = np.array([make("night_stand", rng).size for _ in range(80)])
    assert np.ptp(np.log(made[:, 2] / made[:, 1])) > np.log(2.5)
