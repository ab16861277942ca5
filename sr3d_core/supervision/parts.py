"""The lists of what a configuration can name: assigners and terms of the loss.

A new one is its file, a frozen dataclass with a `name`, and one line here: configurations, help
texts and the benchmark follow. Nothing heavy is imported, so that help comes at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

ASSIGNERS = {
    "spota": "spota.Spota",
    "ota": "ota.Ota",
    "simota": "simota.SimOta",
    "alignota": "alignota.AlignOta",
    "center_topk": "center_topk.CenterTopK",
    "fcaf3d": "fcaf3d.Fcaf3d",
}
"""`criterion.assigner`: which predictions are trained towards which box."""

CLASSIFICATIONS = {
    "ras": "ras.Ras",
    "focal": "losses.Focal",
    "qfl": "qfl.Qfl",
    "vfl": "vfl.Vfl",
}
"""`criterion.classification`: the term over all predictions and classes."""


def part(places: Mapping[str, str], name: str) -> type[Any]:
    """The class of that name in one of the lists."""
    module, _, attribute = places[name].partition(".")
    found: type[Any] = getattr(import_module(f"sr3d_core.supervision.{module}"), attribute)
    return found
