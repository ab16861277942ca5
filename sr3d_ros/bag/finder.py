"""What looks for objects in recordings: the robot's detector, or one that merges its views."""

from __future__ import annotations

from dataclasses import replace

from sr3d_core.evaluate import FindsObjects
from sr3d_core.merged_views import merge_views
from sr3d_ros.parameters.detector import load_camera, load_detector
from sr3d_ros.parameters.record import Parameters


def load_finder(parameters: Parameters, *, one_class: bool, num_views: int) -> FindsObjects:
    """The detector that parameters ask for; raises ValueError or OSError with the reason.

    `one_class`: boxes of different classes suppress each other, as on a robot; average precision
    is defined without. `num_views` are looked at of each frame and merged, which no robot does.
    """
    detector = load_detector(parameters)
    if detector.takes_images and num_views > 1:
        raise ValueError(
            f"--merge-views {num_views} turns clouds, and color images are detected in, which "
            "look the same from there; expected --merge-views 1"
        )
    detector.postprocess = replace(detector.postprocess, one_class=one_class)
    return merge_views(detector, num_views)


def load_camera_finder(
    parameters: Parameters, finder: FindsObjects, *, one_class: bool
) -> FindsObjects | None:
    """What steps in for depth beside a finder; None unless `input.kind` is auto.

    Raises what `load_finder` does, and ValueError where both do not know the same classes.
    """
    camera = load_camera(parameters, finder.classes, load_detector)
    if camera is not None:
        camera.postprocess = replace(camera.postprocess, one_class=one_class)
    return camera
