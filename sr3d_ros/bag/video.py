"""Every frame as it is drawn, one after the other, as a film at the recording's pace.

H.264 in an mp4 that grows by a few frames at a time: whatever ends the program, what was written
before plays. Stamps say when a frame is shown. Where they go back or leap by more than
`LONGEST_S`, as at a clock that was set, the next frame comes `LEAP_S` later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

from sr3d_core.console import require_writable
from sr3d_core.picture import pixels_of
from sr3d_ros.bag.errors import ReplayError
from sr3d_ros.bag.result import title_of
from sr3d_ros.pipeline import FrameResult

LONGEST_S = 60.0
LEAP_S = 1.0

_PER_S = 1000  # units of time in the file
_MS_NS = 1_000_000
_FRAMES_AT_A_TIME = 10
_CODEC = {"preset": "veryfast", "crf": "23", "tune": "zerolatency", "g": str(_FRAMES_AT_A_TIME)}
_FILE = {"movflags": "hybrid_fragmented", "flush_packets": "1"}


def require_mp4(path: Path) -> None:
    """Raise ValueError or OSError for a film that cannot be written, before the work starts."""
    import av  # noqa: F401  says now that it is missing

    if path.suffix.lower() != ".mp4":
        raise ReplayError(f"--video {path}: ending {path.suffix!r}, expected .mp4")
    require_writable(path)


@contextmanager
def writing_video(path: Path, classes: tuple[str, ...]) -> Iterator[Callable[[FrameResult], None]]:
    """What takes the frames of a film, which is whole at the end of the context."""
    import av

    with av.open(str(path), "w", format="mp4", options=_FILE) as file:
        film = _Film(file, classes)
        try:
            yield film.add
        finally:
            film.end()


class _Film:
    def __init__(self, file: Any, classes: tuple[str, ...]) -> None:
        self._file, self._classes = file, classes
        self._stream: Any = None
        self._clock = FilmClock()

    def add(self, frame: FrameResult) -> None:
        """Draw a frame and write it."""
        import av

        title = title_of(frame.stamp_ns)
        pixels = pixels_of(frame.cloud, frame.detections, self._classes, title)
        if self._stream is None:
            self._stream = self._new_stream(*pixels.shape[:2])
        picture = av.VideoFrame.from_ndarray(pixels.copy(), format="rgb24")
        picture.pts, picture.time_base = self._clock.time_of(frame.stamp_ns), Fraction(1, _PER_S)
        self._file.mux(self._stream.encode(picture))

    def end(self) -> None:
        """Write what the encoder still has."""
        if self._stream is not None:
            self._file.mux(self._stream.encode(None))

    def _new_stream(self, height: int, width: int) -> Any:
        stream = self._file.add_stream("libx264", options=_CODEC)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, _PER_S)
        return stream


class FilmClock:
    """When frames are shown, in milliseconds from the first, by their stamps."""

    def __init__(self) -> None:
        self._stamp_ns: int | None = None
        self._time_ns = 0

    def time_of(self, stamp_ns: int) -> int:
        """When the next frame is shown, later than the one before."""
        if self._stamp_ns is not None:
            step_ns = stamp_ns - self._stamp_ns
            if not _MS_NS <= step_ns <= LONGEST_S * 1e9:
                step_ns = _MS_NS if 0 <= step_ns < _MS_NS else round(LEAP_S * 1e9)
            self._time_ns += step_ns
        self._stamp_ns = stamp_ns
        return round(self._time_ns / _MS_NS)
