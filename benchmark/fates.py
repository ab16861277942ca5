"""What became of the frames that a camera sent: counted, timed, and split into their parts.

Frames are known by their stamps, nanoseconds of the machine's clock, set just before a cloud is
published. Results are milliseconds. Without ROS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

PARTS = (
    *("transport_in", "wait", "parse", "transform", "prepare", "network", "postprocess"),
    *("settle", "message", "transport_out"),
)
"""Between a cloud's stamp and the arrival of its boxes, in this order, without a gap: the wire in,
the mailbox, the node's reader, TF and crop; the detector's preparation, network and choice of
boxes; identities and advice; covariances and the message; the wire out."""

SHARES = (
    *("parts_ms", "detector_ms", "publish_ms", "markers_ms", "node_adds_ms", "not_network_ms"),
)


def drops_of(status: Any) -> dict[str, int]:
    """The reasons for which a node has dropped frames, from a DetectorStatus."""
    pairs = zip(status.drop_reasons, status.drop_counts, strict=True)
    return {str(reason): int(count) for reason, count in pairs if count}


def account(num_sent: int, status: Any, num_published: int) -> dict[str, Any]:
    """Whether every frame has a fate.

    `status` is the node's last DetectorStatus, None if it never said anything; `num_published` is
    what another process received. Best-effort clouds may be lost before they are received.
    """
    if status is None:
        return {"sent": num_sent, "published": num_published, "adds_up": False}
    received, processed, drops = int(status.received), int(status.processed), drops_of(status)
    return {
        "sent": num_sent,
        "not_received": num_sent - received,
        "received": received,
        "processed": processed,
        "published": num_published,
        "dropped": drops,
        "adds_up": received == processed + sum(drops.values())
        and processed == num_published
        and received <= num_sent,
    }


def spread(values: ArrayLike, digits: int = 2) -> dict[str, float]:
    """Mean, percentiles (linear between ranks) and the largest."""
    array = np.asarray(values, dtype=np.float64)
    p50, p90, p99 = np.percentile(array, [50, 90, 99])
    shown = {"mean": array.mean(), "p50": p50, "p90": p90, "p99": p99, "max": array.max()}
    return {name: round(float(value), digits) for name, value in shown.items()}


def ages_ms(arrivals_ns: Mapping[int, int]) -> list[float]:
    """How old boxes were when they arrived, by stamp."""
    return [1e-6 * (arrival - stamp) for stamp, arrival in arrivals_ns.items()]


def timeliness(sent_ns: Sequence[int], arrivals_ns: Mapping[int, int]) -> dict[str, Any]:
    """Latency, jitter and rate of the frames that were sent, in the names of ros2_benchmark.

    Jitter is how much one interval between arrivals differs from the one before.
    """
    came = {stamp: arrivals_ns[stamp] for stamp in sent_ns if stamp in arrivals_ns}
    figures: dict[str, Any] = {
        "NUM_FRAMES_SENT": len(sent_ns),
        "NUM_MISSED_FRAMES": len(sent_ns) - len(came),
        "DROP_RATE_PERCENT": round(100 * (1 - len(came) / len(sent_ns)), 2),
    }
    intervals_ms = 1e-6 * np.diff(np.array(list(came.values()), dtype=np.int64))
    if len(came) >= 1:
        figures |= _titled("LATENCY", spread(ages_ms(came)))
    if len(came) >= 2:
        figures["MEAN_FRAME_RATE"] = round(1e3 / float(intervals_ms.mean()), 2)
    if len(came) >= 3:
        figures |= _titled("JITTER", spread(np.abs(np.diff(intervals_ms))))
    return figures


def parts_of(frame: Mapping[str, float], arrival_ns: int) -> dict[str, float]:
    """One frame's `PARTS`, from a line of timed_node.py; their sum is its latency."""
    network, postprocess = frame.get("network", 0.0), frame.get("postprocess", 0.0)
    detector = frame.get("detector", 0.0)
    inside = 1e-6 * (frame["processed_ns"] - frame["started_ns"])
    return {
        "transport_in": 1e-6 * (frame["arrived_ns"] - frame["stamp_ns"]),
        "wait": 1e-6 * (frame["started_ns"] - frame["arrived_ns"]),
        "parse": frame["parse"],
        "transform": frame["transform"],
        "prepare": detector - network - postprocess,
        "network": network,
        "postprocess": postprocess,
        "settle": inside - frame["parse"] - frame["transform"] - detector,
        "message": 1e-6 * (frame["handed_ns"] - frame["processed_ns"]),
        "transport_out": 1e-6 * (arrival_ns - frame["handed_ns"]),
    }


def shares(frames: Iterable[Mapping[str, float]], arrivals_ns: Mapping[int, int]) -> Any:
    """Where the time of frames that arrived went.

    `publish_ms` is the call that publishes the boxes, `markers_ms` what the worker does after it:
    both beside the way out, so no part of the latency. `node_adds_ms` is all that the worker
    spends on a frame but the detector's time, `not_network_ms` all of the latency but the
    network's.
    """
    came = [frame for frame in frames if frame["stamp_ns"] in arrivals_ns]
    if not came:
        return dict.fromkeys(SHARES)
    rows = [parts_of(frame, arrivals_ns[int(frame["stamp_ns"])]) for frame in came]
    detector = np.array([frame.get("detector", 0.0) for frame in came])
    figures = (
        {part: spread([row[part] for row in rows]) for part in PARTS},
        spread(detector),
        spread(_between(came, "handed_ns", "published_ns")),
        spread(_between(came, "published_ns", "finished_ns")),
        spread(_between(came, "started_ns", "finished_ns") - detector),
        spread([sum(row.values()) - row["network"] for row in rows]),
    )
    return dict(zip(SHARES, figures, strict=True))


def _between(frames: Iterable[Mapping[str, float]], start: str, end: str) -> Any:
    return np.array([1e-6 * (frame[end] - frame[start]) for frame in frames])


def _titled(name: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {f"{kind.upper()}_{name}": value for kind, value in figures.items()}
