"""When the camera steps in for depth, and when depth is trusted again; without any clock."""

from __future__ import annotations

import numpy as np

from sr3d_ros.fallback import Fallback


def fallback() -> Fallback:
    return Fallback(after_s=1.0, recover_after_s=2.0)


def used(this: Fallback, *arrivals: tuple[str, float]) -> list[bool]:
    """Of which arrivals boxes are made: "d" usable depth, "h" depth with holes, "i" an image."""
    return [
        this.image_came(at_s) if kind == "i" else this.depth_came(at_s, kind == "d")
        for kind, at_s in arrivals
    ]


def test_images_wait_while_depth_lives() -> None:
    this = fallback()
    assert used(this, ("d", 0.0), ("i", 0.1), ("d", 0.9), ("i", 1.8)) == [True, False, True, False]
    assert (this.is_camera, this.count, this.advice(1.8)) == (False, 0, "")


def test_the_camera_steps_in_when_depth_is_silent() -> None:
    this = fallback()
    assert used(this, ("d", 5.0), ("i", 5.99), ("i", 6.0), ("i", 6.1)) == [True, False, True, True]
    assert (this.is_camera, this.count) == (True, 1)
    assert this.advice(6.3) == "depth silent for 1.3 s: camera-only boxes, accuracy reduced"


def test_depth_that_never_came_is_waited_for_as_long() -> None:
    assert used(fallback(), ("i", 100.0), ("i", 100.9), ("i", 101.0)) == [False, False, True]


def test_depth_without_a_camera_is_used_after_any_gap() -> None:
    this = fallback()
    assert used(this, ("d", 0.0), ("d", 50.0), ("h", 51.0)) == [True, True, True]
    assert this.count == 0


def test_holes_are_no_depth() -> None:
    this = fallback()
    assert used(this, ("d", 0.0), ("h", 0.5), ("i", 0.9), ("h", 1.0), ("i", 1.1), ("h", 1.2)) == [
        *(True, True, False, True),
        *(True, False),
    ]
    assert "too few returns for 1.3 s" in this.advice(1.3)


def test_depth_is_back_after_two_steady_seconds() -> None:
    this = fallback()
    used(this, ("d", 0.0), ("i", 1.0))
    came = [("d", 10.0 + 0.1 * n) for n in range(25)]
    answers = used(this, *came)
    assert answers.index(True) in (20, 21)  # sums of 0.1 are not exact
    assert all(answers[21:])
    assert used(this, ("i", 12.5)) == [False]
    assert this.count == 1


def test_what_flickers_is_not_steady() -> None:
    this = fallback()
    used(this, ("d", 0.0), ("i", 1.0))
    for start in (10.0, 14.0, 18.0):  # 1.5 s of depth, then a gap of 2.5 s
        assert not any(used(this, *(("d", start + 0.1 * n) for n in range(16))))
    assert (
        used(this, ("d", 19.9), ("h", 20.0), ("d", 20.1), ("d", 21.0), ("d", 21.9)) == [False] * 5
    )  # the hole in between counts too
    assert used(this, ("d", 22.2)) == [True]
    assert this.count == 1
    assert "not yet steady" not in this.advice(22.2)


def test_who_asks_meanwhile_is_told_that_depth_is_coming_back() -> None:
    this = fallback()
    used(this, ("d", 0.0), ("i", 1.0), ("d", 3.0), ("d", 3.4))
    assert "came back 0.5 s ago and is not yet steady" in this.advice(3.5)
    assert "silent for 1.1 s" in this.advice(4.5)


def test_each_time_counts() -> None:
    this = fallback()
    for start in (0.0, 10.0, 20.0):
        used(this, *(("d", start + 0.5 * n) for n in range(5)), ("i", start + 4.0))
    assert this.count == 3


def test_a_clock_that_is_set_back_is_no_silence() -> None:
    this = fallback()
    assert used(this, ("d", 100.0), ("i", 5.0), ("i", 5.9), ("i", 6.0)) == [
        *(True, False, False, True),
    ]


def test_random_arrivals_keep_the_promise() -> None:
    """Against a slow reading of the rule, over the whole past at every arrival."""
    draw = np.random.default_rng(0)
    for _ in range(30):
        this, past = fallback(), list[tuple[str, float]]()
        at_s, camera = 0.0, False
        for _ in range(150):
            at_s += float(draw.exponential(0.3))
            kind = "dhi"[int(draw.choice(3, p=(0.55, 0.05, 0.4)))]
            past.append((kind, at_s))
            camera = expected_camera(past, camera)
            assert used(this, (kind, at_s)) == [camera == (kind == "i")]
            assert this.is_camera == camera


def expected_camera(past: list[tuple[str, float]], was_camera: bool) -> bool:
    """Whether the camera is in use after the last arrival of `past`."""
    kind, now_s = past[-1]
    usable = [at_s for each, at_s in past if each == "d"]
    if kind == "i":
        silent_s = now_s - (usable[-1] if usable else past[0][1])
        return was_camera or silent_s >= 1.0
    if kind == "h" or not was_camera:
        return was_camera
    begun_s = now_s
    for each, at_s in reversed(past[:-1]):
        if each == "h" or (each == "d" and begun_s - at_s >= 1.0):
            break
        if each == "d":
            begun_s = at_s
    fell_s = fell_at(past)
    begun_s = min(at_s for at_s in usable if at_s >= max(begun_s, fell_s))
    return now_s - begun_s < 2.0


def fell_at(past: list[tuple[str, float]]) -> float:
    """The last image that came a second or more after all usable depth before it."""
    newest, fell_s = past[0][1], 0.0
    for each, at_s in past:
        if each == "d":
            newest = at_s
        elif each == "i" and at_s - newest >= 1.0:
            fell_s = at_s if newest >= fell_s else fell_s
    return fell_s
