"""AsymDSD's predictor: what hidden cells are like, from the visible ones (arXiv 2506.21724).

A query knows where its cell is and asks the visible cells alone. No query sees another: the places
of all hidden cells together would outline the whole scene.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sr3d_core.pretrain.encoder import initialised


def attend(
    queries: Float[Tensor, "Q W"],
    keys: Float[Tensor, "M W"],
    values: Float[Tensor, "M W"],
    heads: int = 1,
) -> Float[Tensor, "Q W"]:
    """What the queries take from the memory, nothing of each other."""

    def split(rows: Tensor) -> Tensor:
        return rows.reshape(len(rows), heads, -1).transpose(0, 1)

    found = nn.functional.scaled_dot_product_attention(
        split(queries)[None], split(keys)[None], split(values)[None]
    )
    return found[0].transpose(0, 1).reshape(len(queries), -1)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_queries, self.norm_memory = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width, bias=False)
        self.to_key = nn.Linear(width, width, bias=False)
        self.to_value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """The queries, a little wiser."""
        known = self.norm_memory(memory)
        asked = self.to_query(self.norm_queries(queries))
        found = attend(asked, self.to_key(known), self.to_value(known), self.heads)
        queries = queries + self.out(found)
        fed: Tensor = queries + self.feed(queries)
        return fed


class Predictor(nn.Module):
    """Features of hidden cells from features of visible ones and the places of both."""

    def __init__(self, features: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.to_memory = nn.Linear(features, width)
        self.place = nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.Linear(width, width))
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.from_query = nn.Linear(width, features)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        initialised(self)

    def forward(
        self,
        hidden_m: Float[Tensor, "Q 3"],
        visible_m: Float[Tensor, "M 3"],
        features: Float[Tensor, "M F"],
    ) -> Float[Tensor, "Q F"]:
        """Those of one scene; places in metres from the middle of what is visible."""
        if not len(hidden_m) or not len(visible_m):
            return features.new_zeros(len(hidden_m), features.shape[1])
        middle = visible_m.mean(dim=0)
        memory = self.to_memory(features) + self.place(visible_m - middle)
        place = self.place(hidden_m - middle)
        queries = self.mask_token + torch.zeros_like(place)
        for block in self.blocks:
            queries = block(queries + place, memory)
        predicted: Tensor = self.from_query(self.norm(queries))
        return predicted


def some_rows(num: int, limit: int, generator: torch.Generator) -> Tensor:
    """At most so many of the rows, drawn at random, in their order."""
    if num <= limit:
        return torch.arange(num)
    return torch.randperm(num, generator=generator)[:limit].sort().values


def nearest_rows(
    to: Float[Tensor, "Q 3"], rows: Float[Tensor, "M 3"], limit: int
) -> Sequence[int] | Tensor:
    """The rows that are nearest to any of the others, at most so many."""
    if len(rows) <= limit or not len(to):
        return torch.arange(len(rows), device=rows.device)
    distance = torch.cdist(rows, to).amin(dim=1)
    return distance.topk(limit, largest=False).indices.sort().values
