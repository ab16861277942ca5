"""The node's services; none of them holds up the frames.

    ~/enable        std_srvs/SetBool   false: leave the input topics, true: subscribe again
    ~/detect_once   std_srvs/Trigger   answers when the next frame is done; also while disabled
    ~/load_model    std_srvs/Trigger   loads `model.weights` beside the running model, then swaps

Answers that take time are coroutines of the executor: another thread sets their future and wakes
the executor with a guard condition, as all distributions have it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

DETECT_ONCE_LIMIT_S = 10.0
"""How long ~/detect_once waits for a frame."""

Answer = tuple[bool, str]


class ServiceHandler(Protocol):
    """What does the work of the services, such as the node; called in the executor's thread."""

    def set_enabled(self, is_enabled: bool) -> str:
        """Subscribe to the sensor or not; comes back with what to say."""

    def follow_requests(self) -> str:
        """Subscribe if anybody waits for a frame; gives the reason why it cannot, or ""."""

    def next_frame(self) -> int:
        """The number of the first frame that arrives from now on."""

    def loading(self) -> Callable[[], Callable[[], Answer]]:
        """What loads the model in another thread; it comes back with what swaps it in."""


class Services:
    """Serves `~/enable`, `~/detect_once` and `~/load_model`."""

    def __init__(self, node: Node, handler: ServiceHandler) -> None:
        self._handler = handler
        self._lock = threading.Lock()
        self._waiting: dict[Future, tuple[int, float]] = {}  # first frame that counts, time limit
        self._is_loading = False
        self._wake_up = node.create_guard_condition(lambda: None)
        # A coroutine that waits would hold up everything in its group, which is not to be the
        # group of the subscriptions and timers.
        apart = ReentrantCallbackGroup()
        for kind, name, callback in (
            (SetBool, "~/enable", self._on_enable),
            (Trigger, "~/detect_once", self._on_detect_once),
            (Trigger, "~/load_model", self._on_load_model),
        ):
            node.create_service(kind, name, callback, callback_group=apart)

    @property
    def wants_frame(self) -> bool:
        """Whether somebody waits for a frame."""
        return bool(self._waiting)

    def is_wanted(self, number: int) -> bool:
        """Whether somebody waits for this frame, or an earlier one."""
        with self._lock:
            return any(number >= first for first, _ in self._waiting.values())

    def frame_done(self, number: int, text: str) -> None:
        """The boxes of a frame are published; safe in any thread."""
        with self._lock:
            done = [each for each, (first, _) in self._waiting.items() if number >= first]
        self._answer(done, (True, text))

    def give_up(self, why: str, now_s: float | None = None) -> None:
        """Answer those who have waited too long by `now_s`; without it, all."""
        with self._lock:
            done = [
                each
                for each, (_, limit_s) in self._waiting.items()
                if (now_s or limit_s) >= limit_s
            ]
        self._answer(done, (False, why))

    def _answer(self, futures: list[Future], answer: Answer) -> None:
        for future in futures:
            with self._lock:
                self._waiting.pop(future, None)
            if not future.done():
                future.set_result(answer)
        if futures:
            self._wake_up.trigger()

    def _on_enable(self, request: Any, response: Any) -> Any:
        response.success, response.message = True, self._handler.set_enabled(request.data)
        return response

    async def _on_detect_once(self, request: Any, response: Any) -> Any:
        future = Future()
        with self._lock:
            limit_s = time.monotonic() + DETECT_ONCE_LIMIT_S
            self._waiting[future] = (self._handler.next_frame(), limit_s)
        impossible = self._handler.follow_requests()
        if impossible:
            self._answer([future], (False, impossible))
        response.success, response.message = await future
        self._handler.follow_requests()
        return response

    async def _on_load_model(self, request: Any, response: Any) -> Any:
        if self._is_loading:
            response.message = "a model is being loaded already; wait for it"
            return response
        self._is_loading = True
        try:
            swap = await self._in_background(self._handler.loading())
            response.success, response.message = swap()
        finally:
            self._is_loading = False
        return response

    def _in_background(self, work: Callable[[], Callable[[], Answer]]) -> Future:
        """The result of work in a thread of its own, to be awaited."""
        future = Future()

        def run() -> None:
            future.set_result(work())
            self._wake_up.trigger()

        threading.Thread(target=run, name="sr3d_load", daemon=True).start()
        return future
