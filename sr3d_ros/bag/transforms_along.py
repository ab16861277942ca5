"""The transforms of a recording beside the frames that are written from it, in recorded order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from sr3d_ros.bag.replay import Bag
from sr3d_ros.bag.tf_topics import TfTopics
from sr3d_ros.errors import MessageError


class TransformsAlong:
    """Hands out each message with transforms once; `source` is opened for this alone."""

    def __init__(self, source: Bag, topics: TfTopics) -> None:
        self._is_static = topics.is_static
        self._pending: Iterator[tuple[str, int, Any]] = source.messages(*topics.is_static)

    def until(self, time_ns: int | None) -> Iterator[tuple[bool, int, Any]]:
        """Whether it is static, receive time and message of those received till then; None: all.

        What cannot be decoded is left out.
        """
        for topic, received_ns, message in self._pending:
            if time_ns is not None and received_ns > time_ns:
                self._pending = chain([(topic, received_ns, message)], self._pending)
                return
            if not isinstance(message, MessageError):
                yield self._is_static[topic], received_ns, message
