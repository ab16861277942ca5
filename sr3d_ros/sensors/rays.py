"""Whether the rays of a frame start at its origin: the same answer for scene and map."""

from __future__ import annotations

from sr3d_ros.tf.source import GRAVITY_FRAMES


def rays_doubt(frame_id: str, num_views: int, *, is_z_up: bool) -> str:
    """Why nobody knows where the rays of a frame start, and what to do; "" = at its origin.

    Free space lies between a sensor and what it saw, so without its place nothing can be seen to
    have gone. `is_z_up`: the cloud's own frame is taken as z up, as that of a world or a base is.
    """
    if num_views > 1:
        return "the frame joins several clouds, whose rays start in several places"
    if frame_id in GRAVITY_FRAMES or is_z_up:
        return (
            f"nobody knows where the rays of a cloud in '{frame_id}' start: publish it in the "
            "sensor's frame"
        )
    return ""
