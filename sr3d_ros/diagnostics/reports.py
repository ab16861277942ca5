"""From counts to what /diagnostics says: one report per concern, with a level and a remedy.

Concerns are `input`, `tf`, `inference`, `frames`, `model`, `memory` and `setup`; names on the
topic are "node: concern" (REP-107). Plain Python, no ROS imports; `node/status.py` publishes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from sr3d_ros.diagnostics.advice import AHEAD_MS, advice_on_clocks, advice_on_loss
from sr3d_ros.diagnostics.counters import Snapshot
from sr3d_ros.errors import DROP_REASONS, drop_reason

_QUICKER = "set load.adaptive, or lower input.max_points"

PARTS = ("input", "tf", "inference", "frames", "model", "memory", "setup")


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True, slots=True)
class Report:
    """One DiagnosticStatus."""

    part: str
    level: Level
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the node knows beside its counts; texts are "" where there is nothing to say."""

    state: str = "active"  # of the life cycle
    is_listening: bool = True  # false while inactive or disabled
    topic: str = ""
    silence_warning_s: float = 5.0
    silence_advice: str = ""
    qos_advice: str = ""
    input_advice: str = ""
    fallback_advice: str = ""  # why boxes are of the camera alone
    transform_advice: str = ""
    late_ms: float = math.inf
    error_after_s: float = 0.0
    model: str = ""
    device: str = ""
    engine: str = ""  # that runs, of the convolutions
    classes: tuple[str, ...] = ()
    refusal: str = ""  # why the model could not be loaded
    ignored: str = ""  # parameters of classes that the model does not know
    memory: Mapping[str, str] = field(default_factory=dict)
    memory_warning: str = ""
    setup_advice: str = ""  # about how the node was started


def reports(now: Snapshot, before: Snapshot, situation: Situation) -> tuple[Report, ...]:
    """Everything there is to say; `before` is a snapshot of some seconds ago."""
    recent = _Recent.between(before, now)
    return (
        _input(now, recent, situation),
        _transforms(now, recent, situation),
        _inference(now, recent, situation),
        _frames(now, recent),
        _model(situation),
        Report(
            "memory",
            Level.WARN if situation.memory_warning else Level.OK,
            situation.memory_warning or "enough memory",
            situation.memory,
        ),
        Report(
            "setup",
            Level.WARN if situation.setup_advice else Level.OK,
            situation.setup_advice or "nothing is odd about how the node was started",
        ),
    )


@dataclass(frozen=True, slots=True)
class _Recent:
    """What happened between two snapshots."""

    received: int
    processed: int
    lost: int
    drops: Mapping[str, int]  # those that happened

    @classmethod
    def between(cls, before: Snapshot, now: Snapshot) -> _Recent:
        drops = {
            reason: count - before.drops.get(reason, 0)
            for reason, count in now.drops.items()
            if count > before.drops.get(reason, 0)
        }
        return cls(
            now.received - before.received,
            now.processed - before.processed,
            now.lost - before.lost,
            drops,
        )

    def level_of(self, reasons: Mapping[str, int]) -> Level:
        """Some frames lost is a warning, every frame lost an error."""
        if not reasons:
            return Level.OK
        return Level.WARN if self.processed else Level.ERROR


def _input(now: Snapshot, recent: _Recent, situation: Situation) -> Report:
    values = {
        "topic": situation.topic,
        "rate (Hz)": f"{now.rate_hz:.2f}",
        "age at arrival (ms)": _shown(now.input_age_ms),
        "silent for (s)": f"{now.silence_s:.1f}",
        "lost on the way": str(now.lost),
        "last frame made of": now.input,
        "fallbacks to the camera": str(now.num_fallbacks),
    }
    if not situation.is_listening:
        what = "disabled by ~/enable" if situation.state == "active" else situation.state
        return Report("input", Level.OK, f"not listening: {what}", values)
    losses = advice_on_loss(situation.topic, recent.received, recent.lost)
    is_silent = 0.0 < situation.silence_warning_s <= now.silence_s
    if is_silent or (situation.qos_advice and now.rate_hz == 0.0):
        advice = situation.qos_advice or losses or situation.silence_advice
        fallback = f"nothing on {situation.topic} for {now.silence_s:.0f} s"
        return Report("input", Level.ERROR, advice or fallback, values)
    clocks = advice_on_clocks(-now.input_age_ms) if now.input_age_ms < -AHEAD_MS else ""
    advice = situation.qos_advice or losses or clocks or situation.input_advice
    if advice := "; ".join(filter(None, [situation.fallback_advice, advice])):
        return Report("input", Level.WARN, advice, values)
    return Report("input", Level.OK, f"{now.rate_hz:.1f} frames per second", values)


def _transforms(now: Snapshot, recent: _Recent, situation: Situation) -> Report:
    reasons = [slug for slug, reason in DROP_REASONS.items() if reason.is_about_transforms]
    lost = {reason: n for reason, n in recent.drops.items() if reason in reasons}
    values = {reason: str(now.drops.get(reason, 0)) for reason in reasons}
    advice = situation.transform_advice
    if lost:
        message = "; ".join(filter(None, [advice, _explained(lost, now)]))
        return Report("tf", recent.level_of(lost), message, values)
    if advice:
        return Report("tf", Level.WARN, advice, values)
    return Report("tf", Level.OK, "no frame was lost for want of a transform lately", values)


def _inference(now: Snapshot, recent: _Recent, situation: Situation) -> Report:
    values = {
        "processing p50 (ms)": _shown(now.processing_p50_p99_ms[0]),
        "processing p99 (ms)": _shown(now.processing_p50_p99_ms[1]),
        "stamp to boxes p50 (ms)": _shown(now.latency_p50_p99_ms[0]),
        "stamp to boxes p99 (ms)": _shown(now.latency_p50_p99_ms[1]),
        "late for (s)": f"{now.late_s:.1f}",
        "boxes in the last frame": str(now.num_detections),
    }
    if now.busy_s > max(1e-3 * situation.late_ms, situation.error_after_s):
        message = f"a frame has been in hand for {now.busy_s:.0f} s: {_QUICKER}"
        return Report("inference", Level.ERROR, message, values)
    if now.processed == 0:
        return Report("inference", Level.OK, "no frame yet", values)
    is_idle = not recent.processed and now.idle_s >= situation.silence_warning_s
    if is_idle or not situation.is_listening:
        return Report("inference", Level.OK, "no frame was worked on lately", values)
    if -AHEAD_MS <= now.latency_ms <= situation.late_ms:
        return Report(
            "inference", Level.OK, f"{now.latency_ms:.0f} ms from stamp to boxes", values
        )
    level = Level.ERROR if now.late_s >= situation.error_after_s else Level.WARN
    if now.latency_ms < 0.0:
        return Report("inference", level, advice_on_clocks(-now.latency_ms), values)
    message = (
        f"boxes come {now.latency_ms:.0f} ms after the stamp, more than "
        f"{situation.late_ms:.0f} ms (diagnostics.late_ms): {_QUICKER}, or compare the clocks of "
        "sensor and detector"
    )
    return Report("inference", level, message, values)


def _frames(now: Snapshot, recent: _Recent) -> Report:
    counts = {reason: n for reason, n in now.drops.items() if n}
    values = {
        "received": str(now.received),
        "processed": str(now.processed),
        **{
            f"dropped: {reason}": f"{n} ({drop_reason(reason).remedy})"
            for reason, n in counts.items()
        },
    }
    lost = {reason: n for reason, n in recent.drops.items() if not drop_reason(reason).is_normal}
    if not lost:
        done = f"{now.processed} of {now.received} frames worked on"
        return Report("frames", Level.OK, done, values)
    return Report("frames", recent.level_of(lost), _explained(lost, now), values)


def _model(situation: Situation) -> Report:
    values = {
        "state": situation.state,
        "weights": situation.model,
        "device": situation.device,
        "engine": situation.engine,
        "classes": str(len(situation.classes)),
    }
    if situation.refusal:
        level = Level.WARN if situation.classes else Level.ERROR
        return Report("model", level, situation.refusal, values)
    if situation.ignored:
        return Report("model", Level.WARN, situation.ignored, values)
    if not situation.classes:
        return Report("model", Level.OK, f"no model loaded: {situation.state}", values)
    return Report(
        "model", Level.OK, f"{situation.model}, {len(situation.classes)} classes", values
    )


def _explained(lost: Mapping[str, int], now: Snapshot) -> str:
    """The most frequent reason with its remedy; the last error where it is about that."""
    reason = max(lost, key=lambda each: lost[each])
    if reason == now.last_reason:
        return now.last_error
    return f"{reason}: {lost[reason]} frames lately ({drop_reason(reason).remedy})"


def _shown(number: float) -> str:
    return "unknown" if math.isnan(number) else f"{number:.1f}"
