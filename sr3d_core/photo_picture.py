"""A photo with the boxes that were found in it, drawn as they stand in the room.

One color per class (`colors`). What lies behind the camera is cut off, so that a box that begins
beside it is drawn as far as it is seen. Drawn with matplotlib, without a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from sr3d_core.colors import class_color
from sr3d_core.geometry.boxes import corners
from sr3d_core.geometry.camera import edges_in_image
from sr3d_core.structures import Detections, Images

_DPI = 100


def draw_in_photo(
    images: Images, found: Detections, classes: Sequence[str], path: str | Path
) -> Path:
    """Write one photo with boxes, as many pixels as it has; returns the path."""
    height, width = images.pixels.shape[-2:]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.imshow(images.pixels[0].permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    for row in reversed(range(len(found))):  # the best one is on top
        name = classes[int(found.labels[row])]
        edges = list(seen_edges(images, corners(found.boxes[row : row + 1])[0]))
        _draw(axes, edges, f"{name} {float(found.scores[row]):.2f}", class_color(name))
    figure.savefig(path, dpi=_DPI)
    return Path(path)


def seen_edges(images: Images, box_corners: Float[Tensor, "8 3"]) -> Float[Tensor, "N 2 2"]:
    """The edges of a box in pixels, as far as they are ahead of the camera."""
    edges = edges_in_image(
        box_corners[None].double(),
        images.intrinsics[:1].double(),
        images.world_from_camera[:1].double(),
    )[0]
    return edges[~edges.isnan().any(dim=(1, 2))]


def _draw(
    axes: Axes,
    edges: Sequence[Float[Tensor, "2 2"]],
    text: str,
    color: tuple[float, float, float],
) -> None:
    if not edges:
        return
    for edge in edges:
        axes.plot(*edge.T.tolist(), color=color, linewidth=1.8, solid_capstyle="round")
    top = min((end for edge in edges for end in edge.tolist()), key=lambda end: end[1])
    high, wide = axes.get_ylim()[0], axes.get_xlim()[1]
    axes.text(
        min(max(top[0], 0.0), wide),
        min(max(top[1] - 4, 12.0), high),
        text,
        color=color,
        fontsize=9,
        ha="center",
        clip_on=True,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )
