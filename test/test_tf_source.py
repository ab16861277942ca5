"""Where transforms come from: tf2 where it is, else topics; stand-ins for ROS's modules."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_buffer import ORIGIN, STILL, S, by_scipy, tf_message

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.source import Tf2Source, TopicSource, transform_source


class FakeNode:
    """Keeps the subscriptions that a source makes."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.jump: Any = None

    def create_subscription(self, kind: Any, topic: str, callback: Any, qos: Any) -> object:
        self.callbacks[topic] = callback
        return object()

    def get_logger(self) -> Any:
        return SimpleNamespace(warning=lambda text, **_: self.warnings.append(text))

    def get_clock(self) -> Any:
        return SimpleNamespace(create_jump_callback=self._remember)

    def _remember(self, threshold: Any, *, post_callback: Any) -> object:
        self.jump = post_callback
        return object()


def fake_module(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def without_tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2_ros", None)  # import_module then raises ImportError
    fake_module(monkeypatch, "rclpy")
    durability = SimpleNamespace(TRANSIENT_LOCAL=1)
    fake_module(monkeypatch, "rclpy.qos", QoSProfile=dict, DurabilityPolicy=durability)
    fake_module(monkeypatch, "rclpy.duration", Duration=dict)
    fake_module(monkeypatch, "rclpy.clock", JumpThreshold=dict)
    fake_module(monkeypatch, "tf2_msgs")
    fake_module(monkeypatch, "tf2_msgs.msg", TFMessage=object)


@pytest.mark.usefixtures("without_tf2")
def test_without_tf2_the_own_buffer_listens_to_both_topics() -> None:
    node = FakeNode()
    source = transform_source(node)
    assert isinstance(source, TopicSource)
    node.callbacks["/tf_static"](tf_message(("map", "base", 0, (1, 0, 0), STILL)))
    node.callbacks["/tf"](tf_message(("base", "camera", 7 * S, (0, 1, 0), STILL)))
    assert source.lookup("map", "camera", 7 * S)[:2, 3].tolist() == [1, 1]
    node.jump(None)
    with pytest.raises(TransformError):
        source.lookup("map", "camera", 7 * S)
    assert source.lookup("map", "base", 7 * S)[0, 3] == 1


@pytest.mark.usefixtures("without_tf2")
def test_an_unusable_transform_on_the_topic_is_a_warning() -> None:
    node = FakeNode()
    transform_source(node)
    node.callbacks["/tf"](tf_message(("map", "base", 0, ORIGIN, (0, 0, 0, 0))))
    assert "expected finite numbers and a unit quaternion" in node.warnings[0]


class TransformException(Exception):
    """As in tf2_ros."""


class ExtrapolationException(TransformException):
    """As in tf2_ros."""


class FakeTf2Buffer:
    """Knows one transform, at one second."""

    def lookup_transform(self, target: str, source: str, when: dict[str, int]) -> Any:
        if when["nanoseconds"] != S:
            raise ExtrapolationException("into the future")
        return tf_message((target, source, S, (1, 2, 3), (0, 0, 1, 0))).transforms[0]


@pytest.fixture
def with_tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_module(
        monkeypatch,
        "tf2_ros",
        Buffer=FakeTf2Buffer,
        TransformListener=lambda buffer, node: object(),
        TransformException=TransformException,
        ExtrapolationException=ExtrapolationException,
    )
    fake_module(monkeypatch, "rclpy")
    fake_module(monkeypatch, "rclpy.time", Time=dict)


@pytest.mark.usefixtures("with_tf2")
def test_with_tf2_the_answer_is_tf2s() -> None:
    source = transform_source(FakeNode())
    assert isinstance(source, Tf2Source)
    expected = by_scipy((1, 2, 3), (0, 0, 1, 0))
    np.testing.assert_allclose(source.lookup("/map", "base", S), expected, atol=1e-12)


@pytest.mark.usefixtures("with_tf2")
def test_errors_of_tf2_get_a_reason() -> None:
    with pytest.raises(TransformError, match="into the future") as caught:
        transform_source(FakeNode()).lookup("map", "base", 2 * S)
    assert caught.value.reason == "extrapolation"
