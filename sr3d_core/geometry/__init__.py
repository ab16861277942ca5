"""Geometry of upright boxes: pure functions on tensors, the same on every device.

`boxes` holds corners, bounds and frames, `iou` the exact rotated overlap, `nms` its use.
"""
