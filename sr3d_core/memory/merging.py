"""What is found in the newest frame and in the scene in memory, as one list.

The fused scene shows more of an object and many that are out of view; the frame alone shows what
has just come. Boxes of one class that overlap are the same object: the best stays and becomes the
mean of them, weighted by score (`geometry.voting`). Its yaw points where that of the best does, as
the yaw of some classes points out of a front.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from sr3d_core.detector import Postprocess
from sr3d_core.geometry.boxes import facing
from sr3d_core.geometry.voting import Voting
from sr3d_core.structures import Boxes3D, Detections

VOTE_IOU = 0.3
"""Boxes of one class that overlap by at least this mean the same object."""

MERGED_IOU = 0.25
"""Of two boxes of one class that overlap by more than this, the lower-scored goes."""


def merged(frame: Detections, scene: Detections, wanted: Postprocess | None = None) -> Detections:
    """Both lists as one, by falling score; both on the CPU and in the same frame.

    `wanted` says whether classes suppress each other, how many boxes there may be, and whether
    boxes may overlap still less than by `MERGED_IOU`.
    """
    wanted = wanted or Postprocess()
    iou = min(wanted.iou, MERGED_IOU)
    rule = replace(wanted, iou=iou, nms="3d")
    times = {f"frame_{stage}": ms for stage, ms in frame.time_ms.items()}
    times |= {f"scene_{stage}": ms for stage, ms in scene.time_ms.items()}
    boxes = Boxes3D.cat([frame.boxes, scene.boxes])
    scores = torch.cat([frame.scores, scene.scores])
    labels = torch.cat([frame.labels, scene.labels])
    found = rule.suppressed(Detections(boxes, scores, labels, facing=boxes.yaw), Voting(VOTE_IOU))
    assert found.facing is not None
    return Detections(facing(found.boxes, found.facing), found.scores, found.labels, times)
