"""Options that change the boxes after the network: for files and scores, not for a robot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sr3d_core.detector import Detector
    from sr3d_core.evaluate import FindsObjects
    from sr3d_core.refinement import Refinement

VoteOption = Annotated[
    float | None,
    typer.Option(
        "--vote-iou",
        min=0,
        max=1,
        help="A box becomes the mean of the candidates of its class that overlap it by at least "
        "this; default: no box does.",
    ),
]
_CLASSES = 'a class, or "all"; may be given several times.'
RefineSizeOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS",
        help=f"Move sides and top half-way to the visible points: {_CLASSES}",
    ),
]
RefineFloorOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS", help=f"Move the bottom to the floor where it is near: {_CLASSES}"
    ),
]
RefineYawOption = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS", help=f"Turn the sides along the walls of the room: {_CLASSES}"),
]


def refinement_of(
    size: list[str] | None, floor: list[str] | None, yaw: list[str] | None
) -> Refinement:
    """What the options of refinement ask for."""
    from sr3d_core.refinement import Refinement

    size, floor, yaw = (names or [] for names in (size, floor, yaw))
    return Refinement(size=tuple(size), floor=tuple(floor), yaw=tuple(yaw))


def with_switches(
    detector: Detector, num_views: int, vote_iou: float | None, refinement: Refinement
) -> FindsObjects:
    """A detector as the options ask for it; the detector itself where they ask for nothing.

    Raises ValueError where the refinement names a class that the detector does not know.
    """
    from dataclasses import replace

    from sr3d_core.merged_views import merge_views
    from sr3d_core.refinement import Refined, Refinement

    detector.postprocess = replace(detector.postprocess, vote_iou=vote_iou)
    finder = merge_views(detector, num_views)
    return finder if refinement == Refinement() else Refined(finder, refinement)
