"""Photos of `sr3d detect`: what is asked about their camera, and what is said of their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr3d_core.console import result_console, say
from sr3d_core.data.cloud_formats import SUFFIXES

if TYPE_CHECKING:
    from sr3d_core.data.photo import Calibration, Photo, Stand
    from sr3d_core.detector import Detector
    from sr3d_core.structures import Detections

CameraOption = Annotated[
    Path | None,
    typer.Option(
        "--camera",
        metavar="K.yaml",
        help="Photos: the camera, as ROS's camera_calibration writes it (photos are undistorted "
        "with it), or the keys fx, fy, cx, cy in pixels.",
    ),
]
FovOption = Annotated[
    float | None,
    typer.Option(
        "--camera-fov",
        help="Photos: in place of --camera, a guess: the angle of view from side to side, "
        "degrees. Distances are as wrong as the guess is.",
    ),
]
PitchOption = Annotated[
    float | None,
    typer.Option(
        "--camera-pitch", help="Photos: how far the camera looks up, degrees; below 0: down."
    ),
]
RollOption = Annotated[
    float | None,
    typer.Option("--camera-roll", help="Photos: how far it is tilted to its right, degrees."),
]
HeightOption = Annotated[
    float | None,
    typer.Option("--camera-height", help="Photos: metres above the floor, where it is known."),
]
RectifiedOption = Annotated[
    bool,
    typer.Option("--rectified", help="Photos: are undistorted already, as those of image_rect."),
]


@dataclass(frozen=True, kw_only=True)
class CameraAsked:
    """What the options say of the camera."""

    file: Path | None
    fov_deg: float | None
    pitch_deg: float | None
    roll_deg: float | None
    height_m: float | None
    is_rectified: bool

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        values = {
            "--camera": self.file,
            "--camera-fov": self.fov_deg,
            "--camera-pitch": self.pitch_deg,
            "--camera-roll": self.roll_deg,
            "--camera-height": self.height_m,
            "--rectified": self.is_rectified or None,
        }
        return [name for name, value in values.items() if value is not None]


def check_kinds(
    detector: Detector, weights: str, files: Sequence[Path], asked: CameraAsked
) -> None:
    """Refuse files that the weights do not take, and options that are of no use to them."""
    from sr3d_core.data.photo import PHOTO_SUFFIXES, is_photo

    if detector.takes_images:
        clouds = [file for file in files if not is_photo(file)]
        if clouds:
            raise ValueError(
                f"{clouds[0]}: no photo ({' '.join(PHOTO_SUFFIXES)}), and the weights {weights} "
                "take photos; expected photos, or weights of clouds, such as --weights default"
            )
        return
    photos = [file for file in files if is_photo(file)]
    if photos:
        raise ValueError(
            f"{photos[0]}: a photo, and the weights {weights} take clouds ({' '.join(SUFFIXES)}); "
            "expected clouds, or weights of color images, such as --weights camera"
        )
    if asked.given:
        raise ValueError(
            f"{', '.join(asked.given)}: of photos, and the weights {weights} take clouds; leave "
            "out, or choose weights of color images, such as --weights camera"
        )


class PhotoReader:
    """Reads the photos of one camera; raises ValueError where the options do not say enough."""

    def __init__(self, asked: CameraAsked) -> None:
        from sr3d_core.data.photo import Stand, read_calibration

        if asked.pitch_deg is None:
            raise ValueError(
                "--camera-pitch is missing, and a photo does not say which way is up; expected "
                "how far the camera looks up, degrees, such as 0 for level, -15 for a little down"
            )
        if asked.file is not None and asked.fov_deg is not None:
            raise ValueError(
                f"--camera {asked.file} and --camera-fov {asked.fov_deg:g} both say the focal "
                "length; expected one of both"
            )
        if asked.is_rectified and asked.file is None:
            raise ValueError(
                "--rectified says what --camera K.yaml is to do, and there is none; leave it out"
            )
        self._asked = asked
        self._stand: Stand = Stand(
            pitch_deg=asked.pitch_deg, roll_deg=asked.roll_deg or 0.0, height_m=asked.height_m
        )
        self._calibration: Calibration | None = (
            None if asked.file is None else read_calibration(asked.file)
        )

    def __call__(self, file: Path) -> Photo:
        """One photo, undistorted, with its camera."""
        from sr3d_core.data.photo import photo_of

        asked = self._asked
        return photo_of(
            file,
            self._stand,
            self._calibration,
            asked.fov_deg,
            is_rectified=asked.is_rectified,
        )


def detect_in_photo(
    detector: Detector, file: Path, photo: Photo, weights: str, picture: Path | None
) -> dict[str, Any]:
    """Detect, print, draw; returns what goes into the JSON."""
    from sr3d_core.records import detection_records

    say(f"{file}: {photo.note}")
    images, classes = photo.images, detector.classes
    found = detector.detect(images)
    _print(file, photo, found, classes)
    if picture is not None:
        from sr3d_core.photo_picture import draw_in_photo

        draw_in_photo(images, found, classes, picture)
        say(f"{file}: drawn in {picture}")
    return {
        "file": str(file),
        "frame": "level",
        "model": weights,
        "classes": list(classes),
        "time_ms": found.time_ms,
        "camera": {
            "note": photo.note,
            "k": images.intrinsics[0].tolist(),
            "level_from_camera": images.world_from_camera[0].tolist(),
            "height_m": None if images.height is None else float(images.height[0]),
        },
        "detections": detection_records(found, classes),
    }


def _print(file: Path, photo: Photo, found: Detections, classes: tuple[str, ...]) -> None:
    from sr3d_core.cli.detect import table_of

    console, total = result_console(), sum(found.time_ms.values())
    height, width = photo.images.pixels.shape[-2:]
    console.print(
        f"{file.name}: {len(found)} objects in {width} x {height} pixels, {total:.0f} ms",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if len(found):
        console.print(table_of(found, classes))
