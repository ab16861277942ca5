"""The one error of recordings."""

from __future__ import annotations


class ReplayError(ValueError):
    """A bag or a ground-truth file that cannot be used."""
