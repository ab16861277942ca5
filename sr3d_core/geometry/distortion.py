"""Lenses that distort, and images without that: the models of `sensor_msgs/CameraInfo`.

A ray of slopes x, y = X/Z, Y/Z with r^2 = x^2 + y^2 is seen at pixel K (x', y', 1):

    plumb_bob            k1 k2 p1 p2 [k3]             D. C. Brown 1966, as OpenCV writes it
        x' = x R + 2 p1 x y + p2 (r^2 + 2 x^2),  y' = y R + p1 (r^2 + 2 y^2) + 2 p2 x y
        R = 1 + k1 r^2 + k2 r^4 + k3 r^6
    rational_polynomial  k1 k2 p1 p2 k3 k4 k5 k6      the same, with
        R = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6)
    equidistant          k1 k2 k3 k4                  fisheye, Kannala and Brandt, PAMI 2006
        (x', y') = (x, y) t' / r,  t = atan r,  t' = t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8)

These run from the ray to the pixel, which is the way that is needed: for each pixel of the image
without distortion it says where to look in the raw one. Beyond some angle, polynomials that were
fitted to the image turn back and show parts of it a second time; `Rectification` shows nothing
there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sr3d_core.geometry.camera import Pinhole, pinhole_matrix, pixel_centers

MODELS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8,),
    "equidistant": (4,),
}
"""The models that are known, and how many coefficients each has."""

_WIDEST = 2.0  # slope of 63 degrees off the axis; farther out a rectified image is all stretch
_STEEPEST_ZOOM = 4.0  # seeing less than a quarter of the width, the numbers are of no lens
_LEAST_SEEN = 0.1  # of a rectified image, where less is left nobody meant it
_NUM_HALVINGS = 40
_NUM_RADII = 4096  # at which it is looked whether a lens turns back
_NUM_ALONG = 32  # places along each side at which it is looked whether all is seen


class DistortionError(ValueError):
    """A lens is not known or its numbers make no sense; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Lens:
    """How a camera sees before its image is rectified. Raises DistortionError."""

    camera: Pinhole
    """K of the raw image, and its size."""
    model: str
    """One of `MODELS`."""
    coefficients: tuple[float, ...]
    """As `sensor_msgs/CameraInfo` orders them; none at all is the same as zeros."""

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise DistortionError(
                f"the distortion model is '{self.model[:40]}', expected one of "
                f"{', '.join(MODELS)}; calibrate the camera with one of them"
            )
        counts = MODELS[self.model]
        given = len(self.coefficients)
        if not all(map(math.isfinite, self.coefficients)):
            raise DistortionError(
                f"the coefficients of {self.model} are not all finite numbers; calibrate again"
            )
        # Zeros at the end change nothing in any model.
        if given and (given < counts[0] or any(self.coefficients[counts[-1] :])):
            raise DistortionError(
                f"{self.model} has {given} coefficients, expected "
                f"{' or '.join(map(str, counts))}; is the model named rightly?"
            )

    @property
    def is_straight(self) -> bool:
        """Whether it is a pinhole: never of a fisheye, which bends without coefficients as well.

        Images of such a lens are rectified.
        """
        return self.model != "equidistant" and not any(self.coefficients)

    def distorted(self, slopes: Float[Tensor, "*N 2"]) -> Float[Tensor, "*N 2"]:
        """Where in the plane z = 1 of an ideal camera the rays of these slopes seem to be."""
        squared = slopes.square().sum(dim=-1, keepdim=True)
        if self.model == "equidistant":
            k1, k2, k3, k4 = self._padded(4)
            radius = squared.sqrt()
            angle = radius.atan()
            bent = angle * _polynomial(angle.square(), (1.0, k1, k2, k3, k4))
            return slopes * torch.where(radius > 0, bent / radius, 1.0)
        k1, k2, p1, p2, k3, k4, k5, k6 = self._padded(8)
        radial = _polynomial(squared, (1.0, k1, k2, k3)) / _polynomial(squared, (1.0, k4, k5, k6))
        x, y = slopes[..., :1], slopes[..., 1:]
        shift_x = 2 * p1 * x * y + p2 * (squared + 2 * x.square())
        shift_y = p1 * (squared + 2 * y.square()) + 2 * p2 * x * y
        return slopes * radial + torch.cat([shift_x, shift_y], dim=-1)

    def _padded(self, num: int) -> tuple[float, ...]:
        return (*self.coefficients, *[0.0] * num)[:num]


@dataclass(frozen=True, slots=True, eq=False)
class Rectification:
    """From images of one lens to images without distortion; made once for each camera."""

    camera: Pinhole
    """The pinhole of the rectified image."""
    grid: Float[Tensor, "1 H W 2"]
    """Where its pixels lie in the raw image, from -1 at the left and upper edge to 1."""
    is_seen: Bool[Tensor, "H W"]
    """Which of its pixels lie in the raw image; the others are black."""

    def __call__(self, raw: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C H W"]:
        """Rectified images of raw ones of the lens's size, bilinear between their pixels.

        Not for depth images: between two depths there is no third.
        """
        grid = self.grid.to(raw).expand(len(raw), -1, -1, -1)
        found = torch.nn.functional.grid_sample(
            raw, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return found * self.is_seen.to(raw)


def rectification(
    lens: Lens,
    camera: Pinhole | None = None,
    rectified_from_raw: Float[Tensor, "3 3"] | None = None,
) -> Rectification:
    """How to see the images of a lens as `camera` would; as `whole_view` where none is given.

    `rectified_from_raw` is the turn R of a CameraInfo, which stereo cameras have. Raises
    DistortionError.
    """
    target = whole_view(lens, rectified_from_raw) if camera is None else camera
    pixels = pixel_centers(target.height, target.width).double()
    source, is_seen = _seen_at(lens, target, pixels, rectified_from_raw)
    size = torch.tensor([lens.camera.width, lens.camera.height], dtype=torch.float64)
    grid = (2 * source + 1) / size - 1
    grid = torch.where(is_seen[:, None], grid, 0.0).float()
    if (share := float(is_seen.double().mean())) < _LEAST_SEEN:
        raise DistortionError(
            f"{100 * share:.0f} % of a rectified image (fx {target.fx:g}, cx {target.cx:g}) lie "
            f"in the raw one (fx {lens.camera.fx:g}, cx {lens.camera.cx:g}, {lens.model} "
            f"{list(lens.coefficients)}); are P and K of one camera, and is D its own?"
        )
    shape = target.height, target.width
    return Rectification(target, grid.reshape(1, *shape, 2), is_seen.reshape(shape))


def whole_view(lens: Lens, rectified_from_raw: Float[Tensor, "3 3"] | None = None) -> Pinhole:
    """A pinhole of the raw image's size, all of whose pixels are seen, and as wide as it can be.

    Its focal lengths are those of the raw image times one number, its centre is the same. It does
    not see farther than 63 degrees off the axis. Raises DistortionError where there is none.
    """
    raw = lens.camera
    corner = torch.tensor(
        [max(raw.cx, raw.width - 1 - raw.cx), max(raw.cy, raw.height - 1 - raw.cy)]
    )
    reach = float((corner / torch.tensor([raw.fx, raw.fy])).norm())
    low, high = max(reach / _WIDEST, 1e-3), _STEEPEST_ZOOM
    if not _all_seen(lens, high, rectified_from_raw):
        raise DistortionError(
            f"{lens.model} with {list(lens.coefficients)} shows nothing of the image of "
            f"{raw.width} x {raw.height} pixels whole, centre ({raw.cx:g}, {raw.cy:g}), or less "
            "than a quarter of its width; calibrate the camera"
        )
    if _all_seen(lens, low, rectified_from_raw):
        return _zoomed(raw, low)
    for _ in range(_NUM_HALVINGS):
        middle = math.sqrt(low * high)
        if _all_seen(lens, middle, rectified_from_raw):
            high = middle
        else:
            low = middle
    return _zoomed(raw, high)


def _zoomed(camera: Pinhole, zoom: float) -> Pinhole:
    return Pinhole(
        camera.width, camera.height, camera.fx * zoom, camera.fy * zoom, camera.cx, camera.cy
    )


def _all_seen(lens: Lens, zoom: float, turn: Float[Tensor, "3 3"] | None) -> bool:
    """Whether the raw image has all that a zoomed camera would see: its rim, and places within."""
    raw = lens.camera
    columns, rows = (torch.arange(n, dtype=torch.float64) for n in (raw.width, raw.height))
    within = [side[:: max(1, len(side) // _NUM_ALONG)] for side in (columns, rows)]
    pixels = torch.cat(
        [
            torch.cartesian_prod(columns, rows[[0, -1]]),
            torch.cartesian_prod(columns[[0, -1]], rows),
            torch.cartesian_prod(*within),
        ]
    )
    return bool(_seen_at(lens, _zoomed(raw, zoom), pixels, turn)[1].all())


def _seen_at(
    lens: Lens,
    camera: Pinhole,
    pixels: Float[Tensor, "N 2"],
    rectified_from_raw: Float[Tensor, "3 3"] | None,
) -> tuple[Float[Tensor, "N 2"], Bool[Tensor, " N"]]:
    """Where pixels of a rectified image lie in the raw one, and which of them do."""
    ahead = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
    ahead = ahead @ torch.linalg.inv(pinhole_matrix(camera)).T
    if rectified_from_raw is not None:
        ahead = ahead @ rectified_from_raw.double()  # the rotation back, of rows
    is_ahead = ahead[:, 2] > 1e-6
    slopes = ahead[:, :2] / torch.where(is_ahead, ahead[:, 2], 1.0)[:, None]
    matrix = pinhole_matrix(lens.camera)
    source = lens.distorted(slopes) @ matrix[:2, :2].T + matrix[:2, 2]
    edge = torch.tensor([lens.camera.width, lens.camera.height]) - 0.5
    radius = slopes.norm(dim=1)
    is_seen = is_ahead & (radius <= _turning_point(lens, radius[is_ahead]))
    # A number that is not finite lies between no two others.
    return source, is_seen & ((source >= -0.5) & (source <= edge)).all(dim=1)


def _turning_point(lens: Lens, radius: Float[Tensor, " N"]) -> float:
    """The radius up to which what lies farther out is seen farther out; infinity if none is less.

    Tangential coefficients are left out: they are small beside the others.
    """
    farthest = float(radius.max()) if len(radius) else 0.0
    radii = torch.linspace(0, farthest, _NUM_RADII, dtype=torch.float64)
    along = torch.stack([radii, torch.zeros_like(radii)], dim=1)
    straight = Lens(lens.camera, lens.model, _without_tangential(lens))
    rises = straight.distorted(along)[:, 0].diff() > 0
    return math.inf if farthest == 0 or rises.all() else float(radii[int((~rises).int().argmax())])


def _without_tangential(lens: Lens) -> tuple[float, ...]:
    if lens.model == "equidistant":
        return lens.coefficients
    return tuple(0.0 if i in (2, 3) else k for i, k in enumerate(lens.coefficients))


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """The sum of `coefficients[i] x^i`."""
    total = torch.zeros_like(x)
    for each in reversed(coefficients):
        total = total * x + each
    return total
