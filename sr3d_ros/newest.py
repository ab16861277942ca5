"""Which frame a detector looks at that is slower than its sensor: the newest, if not too old.

A queue would show the past, later with every frame; so there is one place, and what arrives while
another waits there replaces it. No clock and no threads: the node's worker and a recording that is
replayed at its own pace follow the same rule.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from sr3d_ros.errors import TOO_OLD

Item = TypeVar("Item")


class NewestOnly(Generic[Item]):
    """A place for one item."""

    def __init__(self) -> None:
        self._waiting: list[Item] = []  # empty or one item

    @property
    def has_item(self) -> bool:
        """Whether an item waits."""
        return bool(self._waiting)

    def offer(self, item: Item) -> list[Item]:
        """Put an item there; those that it replaces."""
        replaced, self._waiting = self._waiting, [item]
        return replaced

    def take(self) -> Item:
        """The item that waits, whose turn has come; IndexError where none does."""
        return self._waiting.pop()

    def clear(self) -> list[Item]:
        """Let nothing wait; what did."""
        waiting, self._waiting = self._waiting, []
        return waiting


def drop_reason_at(age_s: float, max_age_s: float) -> str:
    """Why an item of this age is dropped when its turn comes; "" = it is not. 0 = no limit."""
    return TOO_OLD if 0.0 < max_age_s < age_s else ""
