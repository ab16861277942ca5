"""Several cameras on one topic are told by frame_ids that take turns."""

from __future__ import annotations

import pytest

from sr3d_ros.diagnostics.frame_ids import FrameIds


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("", ()),
        ("aaaaaaaa", ()),
        ("aaaabbbb", ()),  # the driver was started anew
        ("aabbaa", ()),
        ("abab", ("a", "b")),
        ("aaabcabc", ("a", "b", "c")),
        ("abababaaaaaaaaaa", ()),  # the other has left
    ],
)
def test_frames_that_take_turns_are_several_cameras(
    frames: str, expected: tuple[str, ...]
) -> None:
    ids = FrameIds()
    for frame_id in frames:
        ids.add(frame_id)
    assert ids.mixed() == expected
