"""Hostile input through the node's path: nothing may crash, hang or be refused without a reason.

    SR3D_REAL_DATA=FOLDER nice python benchmark/fuzz.py --clouds 100000 --images 10000

Clouds, depth images and pictures (color images) are good messages with mistakes, see `hostile.py`;
where SR3D_REAL_DATA is set, those of a real recording are among the first two. Transforms are
histories with cycles, numbers that are not finite, quaternions of any length and time that jumps;
IMUs are shaken in the same way.
Histories of sound transforms (two parents, equal, late and backward stamps, static and moving,
cleared) are held against `tf_reference.py`, which follows tf2's rules in another way.
Prints one JSON object; the exit status is 1 where anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from hostile import (
    FLOATS,
    FRAMES,
    good_clouds,
    good_images,
    good_pictures,
    header,
    real_messages,
    spoil,
)
from tf_reference import Put, Unknown, answer

from sr3d_core.structures import Boxes3D, Detections, PointCloud
from sr3d_ros.errors import Refused, TransformError
from sr3d_ros.parameters.record import Parameters
from sr3d_ros.pipeline import FramePipeline
from sr3d_ros.sensors.camera_image import ImageReader
from sr3d_ros.tf.buffer import TransformBuffer
from sr3d_ros.tf.imu import GravityFromImu
from sr3d_ros.tf.rigid import is_rigid

LIMIT_S = 1.0
"""No input may take longer."""

NAMES = [name for name in FRAMES if isinstance(name, str)]


@dataclass
class Outcome:
    """What became of all inputs of one kind."""

    good: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # crashes, hangs, refusals without a reason
    slowest_ms: float = 0.0

    def try_one(self, name: str, act: Callable[[], object]) -> None:
        """Run one input; `act` raises `Refused` where it refuses."""
        started = time.perf_counter()
        try:
            act()
            self.good += 1
        except Refused as error:
            self.refused[error.reason] += 1
            if not error.reason or len(str(error)) < 10:
                self.wrong.append(f"{name}: refused without words: {error!r}")
        except Exception as error:
            self.wrong.append(f"{name}: {type(error).__name__}: {error}")
        took_s = time.perf_counter() - started
        self.slowest_ms = max(self.slowest_ms, 1e3 * took_s)
        if took_s > LIMIT_S:
            self.wrong.append(f"{name}: took {took_s:.1f} s")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "good": self.good,
            "refused": dict(self.refused.most_common()),
            "wrong": len(self.wrong),
            "first_wrong": self.wrong[:10],
            "slowest_ms": round(self.slowest_ms, 1),
        }


def find_nothing(cloud: PointCloud) -> Detections:
    """A detector that insists on sound points."""
    assert cloud.xyz.isfinite().all()
    assert cloud.xyz.shape == cloud.features.shape
    return Detections(Boxes3D.empty(), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def fuzz_frames(messages: list[Any], count: int, seed: int = 0) -> Outcome:
    """Messages with one to four mistakes through the pipeline, some in pairs."""
    outcome, dice = Outcome(), random.Random(seed)
    pipelines = [
        FramePipeline(find_nothing, _robot(), Parameters(max_points=50)),
        FramePipeline(find_nothing, _robot(), Parameters(up="none", max_range_m=9.0)),
        FramePipeline(find_nothing, _robot(), Parameters(target_frame="odom")),
    ]
    for index in range(count):
        message = dice.choice(messages)
        for _ in range(dice.randrange(1, 5)):
            message = spoil(message, dice)
        if dice.random() < 0.01:
            message = dice.choice((None, 7, "cloud", [], object()))
        others = [dice.choice(messages)] if dice.random() < 0.1 else []
        pipeline = dice.choice(pipelines)
        outcome.try_one(f"#{index}", partial(pipeline.process, message, *others))
    return outcome


def fuzz_pictures(pictures: list[Any], count: int, seed: int = 0) -> Outcome:
    """Color images and their CameraInfo with one to four mistakes, raw ones and rectified ones."""
    outcome, dice = Outcome(), random.Random(seed)
    readers = [ImageReader(is_rectified=True), ImageReader(is_rectified=False)]
    for index in range(count):
        picture = dice.choice(pictures)
        for _ in range(dice.randrange(0, 5)):
            picture = spoil(picture, dice)
        outcome.try_one(f"#{index}", partial(_read, dice.choice(readers), picture))
    return outcome


def _read(reader: ImageReader, picture: Any) -> None:
    found = reader(picture.image, picture.info, picture.world_from_camera)
    assert found.pixels.shape[:2] == (1, 3)
    assert ((found.pixels >= 0) & (found.pixels <= 1)).all()
    assert found.intrinsics.isfinite().all()
    assert found.world_from_camera.isfinite().all()


def fuzz_transforms(count: int, seed: int = 0) -> Outcome:
    """Histories of hostile transforms, each asked ten times."""
    outcome, dice = Outcome(), random.Random(seed)
    for index in range(count):
        buffer = TransformBuffer(history_s=dice.choice((0.0, 1.0, 10.0, float("inf"))))
        for _ in range(dice.randrange(1, 40)):
            outcome.try_one(f"#{index} insert", partial(_insert, buffer, dice))
        for _ in range(10):
            outcome.try_one(f"#{index} lookup", partial(_look_up, buffer, dice))
    return outcome


def fuzz_histories(count: int, seed: int = 0) -> Outcome:
    """Histories of sound transforms, each asked ten times on the way, against the reference."""
    outcome, dice = Outcome(), random.Random(seed)
    for index in range(count):
        history_s = dice.choice((0.0, 1.0, 10.0, float("inf")))
        buffer, history = TransformBuffer(history_s), list[Put | None]()
        for _ in range(10):
            for _ in range(dice.randrange(1, 8)):
                _continue(buffer, history, dice)
            question = dice.choice(SOUND), dice.choice((*SOUND, "nowhere")), _sound_stamp_ns(dice)
            expected = _answer(history, history_s * 1e9, question)  # its time does not count
            act = partial(_compare, buffer, question, expected)
            outcome.try_one(f"#{index} against tf2's rules", act)
    return outcome


def fuzz_imus(count: int, seed: int = 0) -> Outcome:
    """Runs of hostile IMU messages, each asked ten times."""
    outcome, dice = Outcome(), random.Random(seed)
    for index in range(count):
        imu = GravityFromImu()
        for _ in range(dice.randrange(0, 40)):
            outcome.try_one(f"#{index} add", partial(imu.add, _imu_message(dice)))
        for _ in range(10):
            outcome.try_one(f"#{index} up", partial(_ask, imu, dice))
    return outcome


def _robot() -> TransformBuffer:
    buffer = TransformBuffer()
    buffer.insert("odom", "base_link", 0, (1, 2, 0), (0, 0, 0, 1))
    buffer.insert("odom", "base_link", 2_000_000_000, (2, 2, 0), (0, 0, 1, 1))
    turn = (0.5, -0.5, 0.5, -0.5)
    for frame in ("camera", "camera_depth_optical_frame"):
        buffer.insert("base_link", frame, 0, (0, 0, 1), turn, static=True)
    return buffer


def _stamp_ns(dice: random.Random) -> int:
    near = dice.randrange(0, 3_000_000_000)
    return dice.choice((near, near, near, 0, -5, 2**62, 10**18))


def _insert(buffer: TransformBuffer, dice: random.Random) -> None:
    tame = dice.random() < 0.5
    numbers = [dice.uniform(-2, 2) if tame else dice.choice(FLOATS) for _ in range(7)]
    parent, child = dice.choice(NAMES), dice.choice(NAMES)
    static = dice.random() < 0.3
    buffer.insert(parent, child, _stamp_ns(dice), numbers[:3], numbers[3:], static)


def _look_up(buffer: TransformBuffer, dice: random.Random) -> None:
    matrix = buffer.lookup(dice.choice(NAMES), dice.choice(NAMES), _stamp_ns(dice))
    assert is_rigid(matrix), matrix


SOUND = ("map", "odom", "base", "mast", "camera")
USUAL = {"odom": "map", "base": "odom", "mast": "base", "camera": "mast"}
OUR_WORDS = {
    "lookup": ("no_transform",),
    "loop": ("cycle",),
    "connectivity": ("disconnected", "two_parents"),
    "extrapolation": ("extrapolation", "two_parents"),
}


def _sound_stamp_ns(dice: random.Random) -> int:
    """Seldom a stamp of its own, so that many are equal; sometimes 0 = latest, or no time."""
    near = 100_000_000_000 + dice.randrange(30) * 500_000_000
    return dice.choice((near, near, near, near, near + 200_000_000, near - 12_000_000_000, 0))


def _continue(buffer: TransformBuffer, history: list[Put | None], dice: random.Random) -> None:
    """One more transform of a robot on which two publishers may disagree, or time set back."""
    if dice.random() < 0.02:
        history.append(None)
        buffer.clear()
        return
    child = dice.choice(tuple(USUAL))
    others = [name for name in SOUND if name != child]
    parent = USUAL[child] if dice.random() < 0.85 else dice.choice(others)
    moved = (dice.uniform(-5, 5), dice.uniform(-5, 5), dice.choice((0.0, 1.0)))
    turned = np.array([0.0, 0.0, dice.uniform(-0.4, 0.4), 1.0])  # none is half a turn from another
    x, y, z, w = (turned / np.linalg.norm(turned)).tolist()
    put = Put(parent, child, _sound_stamp_ns(dice), moved, (x, y, z, w), dice.random() < 0.1)
    said = [each for each in history if each]
    if said and dice.random() < 0.1:
        put = dice.choice(said)
    history.append(put)
    buffer.insert(put.parent, put.child, put.stamp_ns, put.moved, put.turned, put.static)


def _answer(history: list[Put | None], history_ns: float, question: tuple[str, str, int]) -> Any:
    """What the reference says: a matrix, or the word for why there is none."""
    try:
        return answer(history, history_ns, *question)
    except Unknown as unknown:
        return str(unknown)


def _compare(buffer: TransformBuffer, question: tuple[str, str, int], expected: Any) -> None:
    """The buffer's answer to a question must be the expected one; raises its `TransformError`."""
    try:
        found = buffer.lookup(*question)
    except TransformError as error:
        if not isinstance(expected, str) or error.reason not in OUR_WORDS[expected]:
            raise AssertionError(f"{error.reason} where tf2 has {expected}") from error
        raise
    assert not isinstance(expected, str), f"an answer where tf2 has {expected}"
    np.testing.assert_allclose(found, expected, atol=1e-9)


def _imu_message(dice: random.Random) -> Any:
    def vector() -> Any:
        return SimpleNamespace(**{axis: dice.choice((*FLOATS, 9.81)) for axis in "xyz"})

    message = SimpleNamespace(
        header=header(), linear_acceleration=vector(), angular_velocity=vector()
    )
    message.header.stamp.nanosec = dice.randrange(10**9)
    return spoil(message, dice) if dice.random() < 0.2 else message


def _ask(imu: GravityFromImu, dice: random.Random) -> None:
    found = imu.up(dice.choice((1_000_000_000, 1_500_000_000, _stamp_ns(dice))))
    assert abs(float(found.vector @ found.vector) - 1.0) < 1e-6, found
    assert 0.0 <= found.confidence <= 1.0, found


def main() -> int:
    """Fuzz everything and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    counts = {"clouds": 5000, "images": 1000, "pictures": 2000, "transforms": 1000}
    counts |= {"histories": 1000, "imus": 500}
    for kind, count in counts.items():
        parser.add_argument(f"--{kind}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("error")
    clouds, images = good_clouds(), good_images()
    folder = os.environ.get("SR3D_REAL_DATA")
    if folder:
        real_clouds, real_images = real_messages(Path(folder))
        clouds, images = clouds + real_clouds, images + real_images
    outcomes = {
        "clouds": fuzz_frames(clouds, options.clouds, options.seed),
        "images": fuzz_frames(images, options.images, options.seed),
        "pictures": fuzz_pictures(good_pictures(), options.pictures, options.seed),
        "transforms": fuzz_transforms(options.transforms, options.seed),
        "histories": fuzz_histories(options.histories, options.seed),
        "imus": fuzz_imus(options.imus, options.seed),
    }
    print(json.dumps({name: outcome.to_dict() for name, outcome in outcomes.items()}, indent=1))
    return int(any(outcome.wrong for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
