"""Advice on silence: who publishes what, which QoS does not match, clouds of odd size."""

from __future__ import annotations

from sr3d_ros.diagnostics.advice import advice_on_qos, advice_on_silence, advice_on_time_set_back


def test_silence_with_a_publisher_points_at_the_transport() -> None:
    text = advice_on_silence("/points", 5.2, publishers=["camera"], candidates=["/points"])
    start = "nothing on /points for 5 s, although somebody publishes there: camera."
    assert text.startswith(start)
    assert "config/fastdds_large_data.xml" in text
    assert "input.reliability:=reliable" in text
    assert " reliability:=reliable" in text  # the launch argument


def test_silence_without_a_publisher_names_the_topics_that_would_do() -> None:
    text = advice_on_silence("/points", 5.0, candidates=["/points", "/oak/points"])
    assert "nobody publishes" in text
    assert "/oak/points" in text
    assert "remap ~/input/points" in text


def test_silence_without_any_such_topic_says_so() -> None:
    assert "no topic has such messages" in advice_on_silence("/points", 5.0)


def test_a_topic_of_another_type_is_told() -> None:
    text = advice_on_silence("/depth", 5.0, other_types=["sensor_msgs/msg/CompressedImage"])
    assert "sensor_msgs/msg/CompressedImage" in text
    text = advice_on_silence("/depth", 5.0, other_types=["x"], setting="input.kind:=depth")
    assert "input.kind:=depth" in text


def test_a_best_effort_publisher_needs_a_best_effort_subscriber() -> None:
    text = advice_on_qos("/points", "RELIABILITY", "reliable")
    assert "input.reliability:=reliable" in text
    assert "set input.reliability:=best_effort" in text


def test_another_policy_is_changed_by_an_override() -> None:
    text = advice_on_qos("/points", "DURABILITY", "best_effort")
    assert "qos_overrides./points.subscription.durability" in text


def test_a_sensor_that_has_received_and_falls_silent_has_stopped() -> None:
    text = advice_on_silence("/points", 5.0, publishers=["camera"], has_received=True)
    assert "although somebody publishes there: camera." in text
    assert "the sensor has stopped: look at its driver's log" in text


def test_advice_on_time_set_back_names_the_topic_and_both_times() -> None:
    advice = advice_on_time_set_back(100.0, 2.5)
    assert all(word in advice for word in ("/clock", "100.000", "2.500", "/tf"))
