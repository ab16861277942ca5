"""Frames in which the room stands still while the robot moves, and what that tells of its way."""

from __future__ import annotations

from collections.abc import Sequence

from sr3d_ros.errors import TransformError
from sr3d_ros.tf.rigid import Matrix
from sr3d_ros.tf.source import TransformSource
from sr3d_ros.tf.up import sound_lookup

FIXED_FRAMES = ("odom", "map")
"""Frames in which the room stands still while the robot moves, the smoother first."""

_UNKNOWN = ("no_transform", "disconnected")


def in_fixed_frame(
    source: TransformSource,
    frame_id: str,
    stamp_ns: int,
    wanted: str = "",
    known: Sequence[str] = FIXED_FRAMES,
) -> tuple[str, Matrix]:
    """A frame that stands still, and where `frame_id` is in it at a stamp.

    `wanted` alone, or "" for the first of `known` that TF has. One that is known but not
    for the stamp is not replaced: what was put into it would have to move. Raises
    `TransformError`; its reason is "no_transform" or "disconnected" where there is none.
    """
    candidates = (wanted,) if wanted else known
    for fixed in candidates[:-1]:
        try:
            return fixed, sound_lookup(source, fixed, frame_id, stamp_ns)
        except TransformError as error:
            if not is_unknown(error):
                raise
    return candidates[-1], sound_lookup(source, candidates[-1], frame_id, stamp_ns)


def is_unknown(error: TransformError) -> bool:
    """Whether nobody publishes a way between two frames, at any stamp."""
    return error.reason in _UNKNOWN


def moved_between(
    source: TransformSource, target: str, target_ns: int, frame_id: str, stamp_ns: int
) -> Matrix:
    """Where what `frame_id` saw at `stamp_ns` is in `target` at `target_ns`.

    Through a fixed frame, so that the robot's motion between the stamps is taken out; directly,
    at `target_ns`, where the stamps are equal or no fixed frame is known. Raises `TransformError`.
    """
    if stamp_ns != target_ns:
        for fixed in FIXED_FRAMES:
            try:
                fixed_from_frame = sound_lookup(source, fixed, frame_id, stamp_ns)
                return sound_lookup(source, target, fixed, target_ns) @ fixed_from_frame
            except TransformError:
                continue
    return sound_lookup(source, target, frame_id, target_ns)
