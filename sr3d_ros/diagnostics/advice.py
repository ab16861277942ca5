"""Why nothing may be coming in, and what to do: most "it runs, but I see nothing" ends here."""

from __future__ import annotations

from collections.abc import Sequence

AHEAD_MS = 500.0
"""A stamp farther in the future is another clock's; /clock itself may lag by some tenths."""

_PROFILE = (
    "config/fastdds_large_data.xml (see the file; messages of more than 16 MB need a larger "
    "segment_size in it)"
)
_LOST, _FEW_LOST = 0.1, 3


def advice_on_silence(
    topic: str,
    silence_s: float,
    *,
    publishers: Sequence[str] = (),
    other_types: Sequence[str] = (),
    setting: str = "",
    candidates: Sequence[str] = (),
    remap: str = "~/input/points",
    has_received: bool = False,
) -> str:
    """Why nothing may be coming on a topic and what to do.

    `publishers` are the nodes that publish there what is wanted, `other_types` types of other
    messages that are published there, `setting` what would read those, in words, `candidates` all
    topics that carry what is wanted, `remap` the node's own name for the topic; `has_received`:
    something has come before.
    """
    start = f"nothing on {topic} for {silence_s:.0f} s"
    if publishers and has_received:
        return (
            f"{start}, although somebody publishes there: {', '.join(publishers)}. Something came "
            "before, so the sensor has stopped: look at its driver's log and its cable. If it "
            f"still publishes, start it with {_PROFILE}"
        )
    if publishers:
        return (
            f"{start}, although somebody publishes there: {', '.join(publishers)}. "
            "A large best-effort message is lost in Fast DDS's shared memory: start the publisher "
            f"with {_PROFILE}, or make both sides reliable with input.reliability:=reliable "
            "(launch argument reliability:=reliable)"
        )
    others = [name for name in candidates if name != topic]
    known = f"such messages are on {', '.join(others)}" if others else "no topic has such messages"
    if other_types:
        what = f"{', '.join(other_types)} is published there, which is of another type"
    else:
        what = "nobody publishes there"
    remedies = [
        setting,
        "start the sensor",
        f"or remap {remap} (launch argument {remap.rpartition('/')[2]}:=TOPIC)",
    ]
    return f"{start}: {what}, {known}; {', '.join(filter(None, remedies))}"


def advice_on_cameras(topic: str, frame_ids: Sequence[str], publishers: Sequence[str]) -> str:
    """What to do about several cameras on one topic; "" where `frame_ids` are not several."""
    if len(frame_ids) < 2:
        return ""
    listed = ", ".join(f"'{each}'" for each in frame_ids)
    return (
        f"messages on {topic} come in turns from the frames {listed}, from "
        f"{', '.join(sorted(publishers)) or 'unknown nodes'}: each is taken for a frame of its "
        "own, and tracks mix; give every camera its own topic, and name the others in "
        "input.extra_topics, or start one detector for each"
    )


def is_lossy(num_arrived: int, num_lost: int) -> bool:
    """Whether more was lost on the way than may happen."""
    return num_lost >= _FEW_LOST and num_lost > _LOST * (num_arrived + num_lost)


def advice_on_loss(topic: str, num_arrived: int, num_lost: int) -> str:
    """What to do about messages that do not arrive; "" where hardly any is lost."""
    if not is_lossy(num_arrived, num_lost):
        return ""
    return (
        f"{num_lost} of {num_arrived + num_lost} messages on {topic} were lost on the way lately: "
        f"start the publisher with {_PROFILE}, or make both sides reliable with "
        "input.reliability:=reliable (launch argument reliability:=reliable)"
    )


def advice_on_clocks(ahead_ms: float) -> str:
    """What to do about stamps in the future."""
    return (
        f"stamps are {1e-3 * ahead_ms:,.1f} s ahead of this node's clock, so transforms are "
        "missing and ages are wrong: synchronise the clocks of the computers (chrony); with a "
        "simulation or a recording set use_sim_time to true everywhere, and see that /clock is "
        "published"
    )


def advice_on_time_set_back(old_s: float, new_s: float) -> str:
    """What became of transforms when simulated time was set back."""
    return (
        f"/clock was set back from {old_s:.3f} to {new_s:.3f} s: all moving transforms were "
        "forgotten, boxes come again when /tf has the new time. Where this is no simulation or "
        "recording that starts again, two nodes publish /clock: stop one"
    )


def advice_on_qos(topic: str, policy: str, reliability: str) -> str:
    """Why nothing can come from a publisher, and what to do; `policy` is what does not match."""
    start = f"a publisher on {topic} does not offer what this node asks for"
    if policy.lower() == "reliability" and reliability == "reliable":
        return (
            f"{start}: it offers best effort, input.reliability:=reliable asks for more, so "
            "nothing of it comes; set input.reliability:=best_effort, or make the publisher "
            "reliable"
        )
    return (
        f"{start} (policy {policy.lower()}), so nothing of it comes; change that policy at the "
        f"publisher, or here with qos_overrides.{topic}.subscription.{policy.lower()}"
    )
