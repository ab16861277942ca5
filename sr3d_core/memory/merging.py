"""What is found in the newest frame and in the scene in memory, as one list.

The fused scene shows more of an object and many that are out of view; the frame alone shows what
has just come. Boxes of one class that overlap are the same object: the best stays and becomes the
mean of them, weighted by score (`geometry.voting`).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from sr3d_core.detector import Postprocess
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
    rule = replace(wanted, iou=iou, nms="3d", vote_iou=VOTE_IOU)
    times = {f"frame_{stage}": ms for stage, ms in frame.time_ms.items()}
    times |= {f"scene_{stage}": ms for stage, ms in scene.time_ms.items()}
    boxes = Boxes3D.cat([frame.boxes, scene.boxes])
    scores = torch.cat([frame.scores, scene.scores])
    found = rule.suppressed(Detections(boxes, scores, torch.cat([frame.labels, scene.labels])))
    return Detections(found.boxes, found.scores, found.labels, times)
