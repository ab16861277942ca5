"""Which number is full brightness, whatever the type."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sr3d_core.cli.main import app
from sr3d_core.data.cloud_file import CloudFileError, open_cloud
from sr3d_core.data.cloud_formats.color_scale import unit_color

UNIT = np.array([[1.0, 0.0, 0.2], [0.4, 0.8, 0.6]])


def scaled(full: int, dtype: str) -> np.ndarray:
    return (UNIT * full).round().astype(dtype) if full > 1 else UNIT.astype(dtype)


@pytest.mark.parametrize(
    ("full", "dtype", "is_guess"),
    [
        *((1, dtype, False) for dtype in ("f2", "f4", "f8")),
        *((255, dtype, False) for dtype in ("u1", "i2", "i4", "i8", "u4", "u8", "f4", "f8")),
        (255, "u2", True),
        (65535, "u2", False),
        *((65535, dtype, True) for dtype in ("i4", "i8", "u4", "f4", "f8")),
    ],
)
def test_range_decides_and_a_guess_is_told(
    tmp_path: Path, full: int, dtype: str, is_guess: bool
) -> None:
    np.savez(tmp_path / "a.npz", xyz=np.eye(2, 3), rgb=scaled(full, dtype))
    cloud = open_cloud(tmp_path / "a.npz", up="z")
    np.testing.assert_allclose(cloud.cloud.features.numpy(), UNIT, atol=1e-3)
    assert (f"0..{full}" in cloud.note) == is_guess
    assert bool(cloud.note) == is_guess


@pytest.mark.parametrize("full", [1, 255, 65535])
def test_colors_a_little_outside_are_cut_and_that_is_told(tmp_path: Path, full: int) -> None:
    rgb = UNIT * full
    rgb[0, 0], rgb[0, 1] = 1.02 * full, -0.01 * full
    np.savez(tmp_path / "a.npz", xyz=np.eye(2, 3), rgb=rgb)
    cloud = open_cloud(tmp_path / "a.npz", up="z")
    np.testing.assert_allclose(cloud.cloud.features.numpy(), UNIT, atol=1e-6)
    assert f"0..{full}" in cloud.note


@pytest.mark.parametrize("dtype", ["?", "u1", "i4", "u2", "f4"])
def test_zeros_and_ones_are_off_and_on(tmp_path: Path, dtype: str) -> None:
    rgb = np.array([[1, 0, 1], [0, 1, 0]], dtype)
    np.savez(tmp_path / "a.npz", xyz=np.eye(2, 3), rgb=rgb)
    cloud = open_cloud(tmp_path / "a.npz", up="z")
    assert cloud.cloud.features.tolist() == rgb.astype(float).tolist()
    assert bool(cloud.note) == (dtype in ("u1", "i4", "u2"))


@pytest.mark.parametrize("rgb", [[[-1.0, 0, 0]], [[1e6, 0, 0]], [[-100, 200, 3]]])
def test_numbers_that_are_no_colors_are_refused(rgb: list[list[float]]) -> None:
    with pytest.raises(CloudFileError, match=re.escape(f"{min(rgb[0]):g}..{max(rgb[0]):g}")):
        unit_color(Path("a.npz"), np.array(rgb))


def test_colors_that_are_not_finite_become_black() -> None:
    rgb, _ = unit_color(Path("a"), np.array([[np.nan, 0.5, np.inf], [0.1, 0.2, 0.3]]))
    assert rgb is not None
    np.testing.assert_allclose(rgb, [[0.0, 0.5, 1.0], [0.1, 0.2, 0.3]], atol=1e-6)


def test_what_was_taken_is_told_by_the_command(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", xyz=np.eye(2, 3), rgb=scaled(255, "u2"))
    result = CliRunner().invoke(app, ["data", "inspect", str(tmp_path / "a.npz")])
    assert "0..255" in result.output
