"""A lifecycle node that survives a transition which its state does not have, or which fails.

Managers ask for such: they configure a node that has started itself, or reset one twice. rclpy of
Jazzy and Humble raises an error then, in the callback of the service: the process ends and who
asked gets no answer. Newer ones answer "no", as here, but tell numbers alone. An error inside of a
transition is swallowed by all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def telling(transition: Transition) -> Transition:
    """A transition's callback that logs what it raises, before rclpy swallows it."""

    @wraps(transition)
    def told(node: LifecycleNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.get_logger().error(
                f"{transition.__name__} failed from state '{state.label}', a fault of this "
                f"package; please report it: {type(error).__name__}: {error}"
            )
            raise

    return told


class ManagedNode(LifecycleNode):
    """A `LifecycleNode` that refuses what its state does not allow, and says so."""

    # All transitions go through this method of rclpy, by service and by call; it has no hook.
    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:
        possible = _names_of(self._state_machine.available_transitions)
        if transition_id in possible:
            return super()._LifecycleNodeMixin__change_state(transition_id)
        asked = _names_of(self._state_machine.transition_graph).get(transition_id, transition_id)
        self.get_logger().warning(
            f"refused to {asked}: the node is {self._state_machine.current_state[1]}, from where "
            f"it can {' or '.join(possible.values()) or 'go nowhere'}. Where a lifecycle manager "
            "starts the node, set lifecycle.autostart to false (launch argument autostart:=false)"
        )
        return TransitionCallbackReturn.ERROR


def _names_of(transitions: Any) -> dict[int, str]:
    """Transitions of rclpy's state machine by their numbers."""
    return {number: name for number, name, *_ in transitions}
