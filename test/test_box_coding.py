"""Codings of boxes: what is encoded by hand is decoded, squares and at the seam as well."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sr3d_core.geometry.iou import aligned_diou, aligned_iou
from sr3d_core.model.box_coding import BoxCoding, decode, regression_rows
from sr3d_core.structures import Boxes3D
from sr3d_core.supervision.spota import aligned_vertex_distance

ANCHOR = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)


def boxes(dx: float, dy: float, yaw_degrees: float, dz: float = 0.7) -> Boxes3D:
    row = [1.3, -2.1, 0.4, dx, dy, dz, math.radians(yaw_degrees)]
    return Boxes3D.from_array(torch.tensor([row], dtype=torch.float64))


def numbers(box: Boxes3D, coding: BoxCoding, length: float = 1.0) -> Tensor:
    """A box as the definition of its coding has it; `length` is that of the vectors of angles."""
    (dx, dy, dz), yaw = box.size[0].tolist(), float(box.yaw)
    part = math.log((dx + dy) / 2)
    height = math.log(dz if coding != "tr3d" else dz - (dx + dy) / 2)
    n = math.log(dy / dx)
    row = [part, part, height, n * math.sin(2 * yaw), n * math.cos(2 * yaw)]
    if coding == "quarter_turns":
        row += [length * math.sin(4 * yaw), length * math.cos(4 * yaw)]
    offset = box.center - ANCHOR
    return torch.cat([offset, torch.tensor([row], dtype=torch.float64)], dim=1)


CODINGS: tuple[BoxCoding, ...] = ("tr3d", "own_height", "quarter_turns")
LONG = [(0.5, 2.0, 30.0), (2.0, 0.5, 30.0), (2.0, 0.5, -80.0), (0.9, 1.0, 44.0)]
CASES = [(coding, case) for coding in CODINGS for case in LONG]
CASES.append(("quarter_turns", (1.0, 1.0, 20.0)))  # the others have no yaw for a square


@pytest.mark.parametrize(("coding", "case"), CASES)
def test_what_is_encoded_is_decoded(coding: BoxCoding, case: tuple[float, float, float]) -> None:
    box = boxes(*case, dz=2.5)
    found = decode(ANCHOR, numbers(box, coding, length=0.3), coding)
    torch.testing.assert_close(aligned_iou(found, box), torch.ones(1, dtype=torch.float64))


def test_a_height_of_its_own_may_be_less_than_half_the_footprint() -> None:
    box = boxes(1.0, 2.0, 0, dz=0.1)
    assert float(decode(ANCHOR, numbers(box, "own_height"), "own_height").size[0, 2]) == (
        pytest.approx(0.1)
    )


def test_a_square_keeps_its_yaw_where_its_sides_are_told_with_noise() -> None:
    box = boxes(1.0, 1.0, 20)
    row = numbers(box, "quarter_turns")
    noise = torch.tensor([[0.02, -0.03], [-0.03, 0.01], [0.0, 0.04]], dtype=torch.float64)
    noisy = row.repeat(3, 1)
    noisy[:, 6:8] += noise
    found = decode(ANCHOR.repeat(3, 1), noisy, "quarter_turns")
    torch.testing.assert_close(found.yaw, box.yaw.repeat(3))
    assert bool((found.size[:, :2] - 1).abs().max() < 0.03)
    of_tr3d = decode(ANCHOR.repeat(3, 1), noisy[:, :8], "own_height")  # its yaw is the noise's
    assert float(of_tr3d.yaw.max() - of_tr3d.yaw.min()) > 1.0


def seam() -> tuple[Boxes3D, Boxes3D, Tensor, Tensor]:
    """A long box found a little below and a little above 45 degrees, and what was regressed."""
    low, high = (
        numbers(boxes(2.0, 0.6, 45 + side), "quarter_turns").requires_grad_()
        for side in (-1e-6, 1e-6)
    )
    return decode(ANCHOR, low, "quarter_turns"), decode(ANCHOR, high, "quarter_turns"), low, high


def test_sides_are_exchanged_at_the_seam_and_the_box_stays() -> None:
    below, above, _, _ = seam()
    torch.testing.assert_close(below.size[:, [1, 0, 2]], above.size)
    torch.testing.assert_close(below.yaw - math.pi / 2, above.yaw, atol=1e-6, rtol=0)
    assert aligned_iou(below, above).item() == pytest.approx(1, abs=1e-5)
    for found in (below, above):
        assert aligned_vertex_distance(found, boxes(2.0, 0.6, 45)).item() < 1e-5


def test_loss_and_gradient_are_continuous_at_the_seam() -> None:
    below, above, low, high = seam()
    truth = boxes(1.8, 0.7, 41)
    torch.testing.assert_close(aligned_diou(below, truth), aligned_diou(above, truth))
    for found in (below, above):
        aligned_diou(found, truth).sum().backward()
    assert low.grad is not None
    assert high.grad is not None
    assert float(low.grad[:, 6:].abs().max()) > 0.01
    torch.testing.assert_close(low.grad, high.grad, atol=1e-5, rtol=0)


def test_a_vector_that_vanishes_has_a_finite_gradient() -> None:
    regression = torch.zeros(2, 10, requires_grad=True)
    decode(torch.zeros(2, 3), regression, "quarter_turns").array.sum().backward()
    assert regression.grad is not None
    assert torch.isfinite(regression.grad).all()


@pytest.mark.parametrize("coding", ["tr3d", "own_height", "quarter_turns"])
def test_every_number_has_a_name_of_its_own(coding: BoxCoding) -> None:
    rows = regression_rows(True, coding)
    assert len(set(rows)) == len(rows) == (10 if coding == "quarter_turns" else 8)
