"""Options that change the boxes after the network, in place of what the weights say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr3d_core.choices import one_of

if TYPE_CHECKING:
    from sr3d_core.detector import Detector
    from sr3d_core.merged_views import MergedViews
    from sr3d_core.refinement import Refinement

AS_STORED, NOTHING = "weights", "none"
REFINE = (AS_STORED, NOTHING)

_CLASSES = (
    'a class, "all" or "none", in place of what the weights say; may be given several times.'
)


def _classes_that(what: str) -> Any:
    return typer.Option(metavar="CLASS", help=f"{what}: {_CLASSES}")


RefineOption = Annotated[
    str,
    typer.Option(
        metavar="|".join(REFINE),
        help="Fit boxes to candidates and points for the classes for which the weights say that "
        "it pays, or for none but those that are named here.",
    ),
]
VoteIouOption = Annotated[
    float | None,
    typer.Option(
        "--vote-iou",
        min=0,
        max=1,
        help="Candidates that overlap a box by at least this vote for it; of all classes where "
        "nothing else says of which.",
    ),
]
RefineVoteOption = Annotated[
    list[str] | None,
    _classes_that("A box becomes the mean of the candidates of its class that overlap it"),
]
RefineSizeOption = Annotated[
    list[str] | None, _classes_that("Move sides and top half-way to the visible points")
]
RefineFloorOption = Annotated[
    list[str] | None,
    _classes_that("Move the bottom to the floor where it is near and seen around the box"),
]
RefineYawOption = Annotated[
    list[str] | None, _classes_that("Turn the sides along the walls of the room")
]


def refinement_of(
    stored: Refinement,
    refine: str,
    vote_iou: float | None,
    **classes: Sequence[str] | None,
) -> Refinement:
    """What the weights say, as far as the options do not overrule it; `classes` by field.

    Raises ValueError where `refine` is none of `REFINE`, or "none" has company.
    """
    from dataclasses import replace

    from sr3d_core.refinement import ALL, NONE

    base = stored if one_of("--refine", refine, REFINE) == AS_STORED else NONE
    changes: dict[str, Any] = {
        way: _named(way, names) for way, names in classes.items() if names is not None
    }
    if vote_iou is not None:
        changes["vote_iou"] = vote_iou
        if not base.vote:
            changes.setdefault("vote", (ALL,))
    return replace(base, **changes)


def require_no_points(refinement: Refinement) -> None:
    """Refuse ways that fit boxes to points: there are none in a color image; ValueError."""
    from sr3d_core.refinement import OF_POINTS

    of_points = [way for way in OF_POINTS if getattr(refinement, way)]
    if of_points:
        options = ", ".join(f"--refine-{way}" for way in of_points)
        raise ValueError(
            f"{options}: fits boxes to points, and these "
            "weights take color images, which have none; expected --refine-vote alone"
        )


def _named(way: str, names: Sequence[str]) -> tuple[str, ...]:
    if NOTHING not in names:
        return tuple(names)
    if len(names) > 1:
        raise ValueError(
            f"--refine-{way}: {', '.join(names)}; expected {NOTHING} alone, or classes"
        )
    return ()


def with_switches(
    detector: Detector,
    num_views: int,
    refine: str = AS_STORED,
    vote_iou: float | None = None,
    **classes: Sequence[str] | None,
) -> Detector | MergedViews:
    """A detector as the options ask for it; see `refinement_of`.

    What the weights say holds for one view: merged boxes are means of several already, and are
    fitted only where that is asked for. Raises ValueError where a class is named that the detector
    does not know, or voting is asked for of merged views.
    """
    from sr3d_core.merged_views import merge_views
    from sr3d_core.refinement import NONE

    if detector.takes_images and num_views > 1:
        raise ValueError(
            f"--merge-views {num_views} turns clouds, and these weights take color images, which "
            "look the same from there; expected --merge-views 1"
        )
    finder = merge_views(detector, num_views)
    stored = detector.refinement if finder is detector else NONE
    refinement = refinement_of(stored, refine, vote_iou, **classes)
    refinement.check(detector.classes)
    if detector.takes_images:
        require_no_points(refinement)
    if finder is not detector and refinement.vote:
        raise ValueError(
            "--merge-views and voting (--vote-iou, --refine-vote): merged boxes are means "
            "already; expected one of both"
        )
    finder.refinement = refinement
    return finder
