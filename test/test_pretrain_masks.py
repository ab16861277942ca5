"""What is hidden from the student, what is the same place, and figures that show a collapse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sr3d_core.pretrain.diagnostics import (
    deviation,
    divergence,
    effective_rank,
    entropy,
    likeness,
    perplexity,
)
from sr3d_core.pretrain.masks import (
    grid_cells,
    hide_all_but_blocks,
    hide_blocks,
    inverse_block_counts,
    num_hidden,
)
from sr3d_core.pretrain.matching import nearest_pairs
from sr3d_core.pretrain.prototypes import zipf_prior

EXAMPLES = json.loads((Path(__file__).parent / "pretraining_examples.json").read_text())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(num: int, seed: int = 0) -> Tensor:
    return torch.rand(num, 3, generator=seeded(seed)) * torch.tensor([4.0, 3.0, 2.5])


def test_blocks_are_those_of_the_worked_example() -> None:
    case = EXAMPLES["grid_mask"]
    cells, row = grid_cells(torch.tensor(case["xyz"], dtype=torch.float64), case["block"])
    assert cells.tolist() == case["unique_cells_sorted"]
    assert cells[row].tolist() == case["cells"]
    assert row.tolist() == case["point_to_cell"]
    assert num_hidden(len(cells), 0.7) == case["masked_cells_at_0.7"]


def test_a_block_is_hidden_as_a_whole() -> None:
    xyz = points(3000)
    visible = hide_blocks(xyz, 0.4, 0.6, seeded())
    cells, row = grid_cells(xyz, 0.4)
    share = torch.bincount(row, visible.double()) / torch.bincount(row)
    assert set(share.tolist()) == {0.0, 1.0}
    assert int((share == 0).sum()) == int(0.6 * len(cells))


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_something_always_stays_visible(ratio: float) -> None:
    assert bool(hide_blocks(points(1), 0.4, ratio, seeded()).all())
    assert bool(hide_blocks(points(50), 0.4, ratio, seeded()).any())
    assert hide_blocks(points(0), 0.4, ratio, seeded()).shape == (0,)
    assert int(hide_all_but_blocks(points(1), ratio, 0.1, seeded()).sum()) == 1
    assert hide_all_but_blocks(points(0), ratio, 0.1, seeded()).shape == (0,)


@pytest.mark.parametrize("case", EXAMPLES["inverse_block_mask_counts"])
def test_inverse_blocks_have_the_worked_counts(case: dict[str, int]) -> None:
    counts = inverse_block_counts(case["patches"], 0.7, 0.1)
    expected = (case["masked"], case["visible"], case["block_size"], case["blocks"])
    assert tuple(counts) == expected


@settings(deadline=None, max_examples=30)
@given(num=st.integers(1, 300), ratio=st.floats(0, 1), seed=st.integers(0, 9))
def test_inverse_blocks_hide_exactly_so_many(num: int, ratio: float, seed: int) -> None:
    visible = hide_all_but_blocks(points(num, seed), ratio, 0.1, seeded(seed))
    assert int(visible.sum()) == inverse_block_counts(num, ratio, 0.1).visible


def test_what_inverse_blocks_show_is_compact() -> None:
    """The nearest visible neighbour is nearer than among as many cells chosen at random."""
    centers = torch.cartesian_prod(*[torch.arange(8.0)] * 3)
    blocks = hide_all_but_blocks(centers, 0.7, 0.1, seeded())
    scattered = torch.randperm(len(centers), generator=seeded())[: int(blocks.sum())]

    def with_a_neighbour(xyz: Tensor) -> float:
        distance = torch.cdist(xyz, xyz).fill_diagonal_(99.0)
        return float((distance < 1.1).sum(dim=1).float().mean())

    assert with_a_neighbour(centers[blocks]) > 1.5 * with_a_neighbour(centers[scattered])


def test_masks_follow_their_seed() -> None:
    xyz = points(500)
    first, same, other = (hide_blocks(xyz, 0.4, 0.6, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_same_places_are_the_worked_ones() -> None:
    case = EXAMPLES["view_matching"]
    views = torch.tensor(case["view1_origin_xyz"]), torch.tensor(case["view2_origin_xyz"])
    pairs = nearest_pairs(*views, case["radius"])
    assert torch.stack(pairs, dim=1).tolist() == case["kept_pairs"]


@pytest.mark.parametrize(("num", "other"), [(0, 3), (3, 0), (0, 0)])
def test_empty_views_have_no_place_in_common(num: int, other: int) -> None:
    assert [len(rows) for rows in nearest_pairs(points(num), points(other), 0.1)] == [0, 0]


def test_diagnostics_are_the_worked_ones() -> None:
    case = EXAMPLES["diagnostics"]
    rank = case["effective_rank"]
    assert effective_rank(torch.tensor(rank["X"])) == pytest.approx(rank["value"], abs=1e-6)
    alike = torch.tensor([[1.0, 2.0, 3.0]]) * torch.tensor([[1.0], [2.0], [0.5], [3.0]])
    assert effective_rank(alike) == pytest.approx(1.0, abs=1e-4)
    usage = torch.tensor(case["usage_entropy"]["usage"])
    assert entropy(usage) == pytest.approx(case["usage_entropy"]["entropy"], abs=1e-6)
    assert divergence(usage, zipf_prior(4, 1.3)) == pytest.approx(
        case["usage_entropy"]["kl_to_zipf_1.3"], abs=1e-6
    )
    spread = case["feature_std_collapse"]
    assert deviation(torch.tensor(spread["unit_vectors"])) == pytest.approx(
        spread["mean_std_per_dim"], abs=1e-6
    )


def test_constant_features_are_of_one_direction() -> None:
    assert effective_rank(torch.ones(20, 6)) == 1.0
    assert effective_rank(torch.zeros(0, 6)) == 0.0
    assert deviation(torch.ones(20, 6)) == pytest.approx(0.0, abs=1e-6)


def test_flat_softmaps_are_as_wide_as_there_are_points() -> None:
    flat, spike = torch.full((10, 1), 0.1), torch.eye(10)[:, :1]
    widths = perplexity(torch.cat([flat, spike], dim=1))
    torch.testing.assert_close(widths, torch.tensor([10.0, 1.0], dtype=torch.float64))


def test_copies_among_prototypes_are_seen() -> None:
    assert likeness(torch.eye(4)) == (0.0, 0.0)
    mean, copies = likeness(torch.cat([torch.eye(3), torch.eye(3)[:1]]))
    assert mean == pytest.approx(2 / 12)
    assert copies == 0.5
    assert likeness(torch.ones(1, 3)) == (0.0, 0.0)
