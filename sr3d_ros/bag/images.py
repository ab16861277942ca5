"""Recordings as frames with color images: what `sr3d distill --bag` finds by `sr3d.images`.

The protocol is `WritesFrames` of `sr3d_core/distill/recordings.py`, which knows nothing of bags.
A frame is a cloud (or depth image) as the node would see it, and the color image nearest to it in
time, with where its camera was at its own stamp.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr3d_core.data.image_frames import (
    FrameSettings,
    ImageFrame,
    depth_of_points,
    fitted_to_store,
    write_frames,
)
from sr3d_core.memory.voxels import first_in_each_voxel
from sr3d_core.structures import Images
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.keyframes import FindsNothing
from sr3d_ros.bag.replay import Bag, DroppedFrame, detected
from sr3d_ros.bag.run import BagRun, open_run
from sr3d_ros.bag.source import ColorTopics, Topics, color_topics_of
from sr3d_ros.errors import MessageError, Refused
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FrameResult
from sr3d_ros.sensors.camera_image import ImageReader
from sr3d_ros.sensors.organized_color import image_of
from sr3d_ros.tf.fixed import FIXED_FRAMES, in_fixed_frame, moved_between
from sr3d_ros.tf.headers import frame_name, frame_of, stamp_of
from sr3d_ros.tf.rigid import Matrix, rigid_inverse

_TOLERANCE_NS = 100_000_000  # of an image from its cloud
_VOXEL_M = 0.01  # as fine as networks see
_LEAST_SHARE = 0.02  # of an image's pixels whose depth must be known
_PARAMETERS: dict[str, object] = {
    "frames.target": "",
    "load.adaptive": False,  # or clouds would depend on the speed of this machine
}


def write_image_frames(
    recording: Path,
    folder: Path,
    settings: FrameSettings,
    *,
    topic: str | None,
    color: str | None,
    camera_info: str | None,
    on_read: Callable[[int, int], None],
) -> list[str]:
    """Write frames of a recording into a new folder; what is worth knowing.

    Raises ValueError that says what to do.
    """
    with (
        open_run(
            recording,
            FindsNothing(),
            topics=Topics(topic=topic),
            parameters=Parameters.from_values(_PARAMETERS),
        ) as run,
        Bag(recording) as beside,  # read along, at its own pace
    ):
        topics = color_topics_of(run.bag, run.topic, color, camera_info)
        making = _Making(run, ColorStream(beside, topics), topics, settings)
        frames = making.frames(lambda done: on_read(done, run.num_clouds))
        num = write_frames(folder, recording.name, frames, making.refused)
        return making.remarks(num)


class ColorStream:
    """The color images of a recording around a moment that only moves on."""

    def __init__(self, bag: Bag, topics: ColorTopics) -> None:
        self._topics = topics
        self._messages = bag.messages(topics.image, topics.info)
        self._near: deque[tuple[int, Any, Any]] = deque()
        self._waiting: list[tuple[int, Any]] = []  # came before any CameraInfo
        self._info: Any = None
        self._newest_ns = -(2**63)
        self.num_bad = 0

    def nearest(self, stamp_ns: int) -> tuple[Any, Any] | None:
        """Image and CameraInfo nearest to a stamp; None where none is near."""
        while self._newest_ns < stamp_ns + _TOLERANCE_NS and self._pull():
            pass
        while self._near and self._near[0][0] < stamp_ns - _TOLERANCE_NS:
            self._near.popleft()
        found = min(self._near, key=lambda each: abs(each[0] - stamp_ns), default=None)
        if found is None or abs(found[0] - stamp_ns) > _TOLERANCE_NS:
            return None
        return found[1], found[2]

    def _pull(self) -> bool:
        """Take the next message; False at the end."""
        for topic, _, message in self._messages:
            if isinstance(message, MessageError):
                self.num_bad += 1
                continue
            if topic == self._topics.info:
                self._info = message
                self._near.extend((stamp, image, message) for stamp, image in self._waiting)
                self._waiting.clear()
                continue
            try:
                stamp = stamp_of(message)
            except MessageError:
                self.num_bad += 1
                continue
            self._newest_ns = max(self._newest_ns, stamp)
            if self._info is None:
                self._waiting = [*self._waiting[-30:], (stamp, message)]
            else:
                self._near.append((stamp, message, self._info))
            return True
        return False


class _Making:
    """Makes frames one after the other, and counts what could not be used."""

    def __init__(
        self, run: BagRun, colors: ColorStream, topics: ColorTopics, settings: FrameSettings
    ) -> None:
        self._run, self._colors, self._topics, self._settings = run, colors, topics, settings
        self._read = ImageReader(is_rectified=topics.is_rectified)
        self.refused: Counter[str] = Counter()
        self._first: dict[str, str] = {}  # why, in words

    def frames(self, on_done: Callable[[int], None]) -> Iterator[ImageFrame]:
        """Usable frames, at least the settings' period apart."""
        run, due_ns = self._run, -(2**63)
        for done, arrival in enumerate(run.arrivals(), start=1):
            on_done(done)
            if isinstance(arrival, DroppedFrame):
                self._refuse(arrival.reason, arrival.text)
                continue
            if arrival.stamp_ns < due_ns:
                continue
            frame = detected(run.pipeline, arrival)
            if isinstance(frame, DroppedFrame):
                self._refuse(frame.reason, frame.text)
                continue
            try:
                made = self._made(frame, *self._seen_with(frame, arrival.frame[0]))
            except Refused as error:
                self._refuse(error.reason, str(error))
                continue
            due_ns = frame.stamp_ns + round(1e9 * self._settings.period_s)
            yield made

    def _seen_with(self, frame: FrameResult, message: Any) -> tuple[Any, Any]:
        """Color image and CameraInfo of a frame that was made of a message; raises `Refused`."""
        if self._topics.of_clouds:
            return image_of(message)
        found = self._colors.nearest(frame.stamp_ns)
        if found is None:
            raise Refused(
                "no_color",
                f"no image of {self._topics.image} with a CameraInfo is within "
                f"{_TOLERANCE_NS / 1e9:g} s of the cloud; are both stamped by one clock?",
            )
        return found

    def _made(self, frame: FrameResult, image: Any, info: Any) -> ImageFrame:
        """One frame; raises `Refused`."""
        level_from_cloud = frame.gravity_from_cloud.copy()
        level_from_cloud[:3, 3] -= frame.sensor_offset.numpy()
        cloud_from_color = moved_between(
            self._run.transforms, frame.frame_id, frame.stamp_ns, frame_of(image), stamp_of(image)
        )
        seen = fitted_to_store(self._read(image, info, level_from_cloud @ cloud_from_color))
        depth = depth_of_points(frame.frame_cloud.xyz, seen)
        share = float((depth > 0).float().mean())
        if share < _LEAST_SHARE:
            raise Refused(
                "depth_elsewhere",
                f"of {100 * share:.1f} % of the pixels of {self._topics.image} the depth is "
                f"known, expected {100 * _LEAST_SHARE:g} % or more; does {self._run.topic} show "
                "the same, and is the transform between both right?",
            )
        height = self._settings.camera_height_m
        floor = None if height is None else torch.tensor([height])
        images = Images(seen.pixels, seen.intrinsics, seen.world_from_camera, depth, floor)
        name, fixed_from_cloud = self._place(frame)
        _, rows = first_in_each_voxel(frame.frame_cloud.xyz.numpy().T, _VOXEL_M)
        cloud = frame.frame_cloud[torch.from_numpy(np.sort(rows))]
        pose = fixed_from_cloud @ rigid_inverse(level_from_cloud)
        return ImageFrame(images, cloud, frame.stamp_ns, name, pose)

    def _place(self, frame: FrameResult) -> tuple[str, Matrix]:
        """A frame that stands still and where the cloud's frame is in it; raises `Refused`."""
        if frame.frame_id in FIXED_FRAMES:
            return frame.frame_id, np.eye(4)
        wanted = frame_name(self._run.parameters.memory_frame)
        return in_fixed_frame(self._run.transforms, frame.frame_id, frame.stamp_ns, wanted)

    def _refuse(self, reason: str, text: str) -> None:
        self.refused[reason] += 1
        self._first.setdefault(reason, text)

    def remarks(self, num: int) -> list[str]:
        """What there is to say of `num` frames that were written; raises ReplayError for none."""
        run, topics = self._run, self._topics
        why = [
            f"{n} refused, {reason}: {self._first[reason]}" for reason, n in self.refused.items()
        ]
        if not num:
            raise ReplayError(
                f"{run.bag.path}: none of the frames of {run.topic} can be learnt from; "
                f"{'; '.join(why) or 'there is none: record longer'}"
            )
        how = "rectified already" if topics.is_rectified else "undistorted by its CameraInfo"
        if topics.of_clouds:
            how = "the colors of the clouds themselves, black where there is none"
        said = [
            f"{num} frames used of {run.num_clouds} clouds of {run.topic}, at least "
            f"{self._settings.period_s:g} s apart, with images of {topics.image} ({how})",
            *why,
            *run.remarks,
        ]
        if self._colors.num_bad:
            said.append(f"{self._colors.num_bad} messages of {topics.image} cannot be read")
        return [f"{run.bag.path}: {each}" for each in said]
