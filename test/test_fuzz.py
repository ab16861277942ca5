"""Some thousand hostile inputs; `benchmark/fuzz.py` tries as many as one has time for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
COUNTS = {"clouds": 3000, "images": 1000, "pictures": 1000, "transforms": 300}
COUNTS |= {"histories": 300, "imus": 300}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    """What the fuzzer reports, in a process of its own."""
    options = [part for kind, count in COUNTS.items() for part in (f"--{kind}", str(count))]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmark" / "fuzz.py"), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", COUNTS)
def test_hostile_input_is_read_or_refused_with_a_reason_and_in_time(
    outcomes: dict[str, Any], kind: str
) -> None:
    assert outcomes[kind]["first_wrong"] == []


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("clouds", {"size", "truncated", "header", "fields", "point_step", "no_xyz", "data"}),
        ("images", {"camera_info", "truncated", "unsupported_encoding", "header"}),
        ("pictures", {"no_camera_info", "camera_info", "image_size_differs_from_camera_info"}),
        ("pictures", {"not_rectified", "no_gravity_transform", "bad_transform", "truncated"}),
        ("pictures", {"unsupported_encoding", "dark_image", "data", "size"}),
        ("transforms", {"bad_transform", "no_transform", "extrapolation", "cycle"}),
        ("histories", {"no_transform", "disconnected", "extrapolation", "two_parents", "cycle"}),
        ("imus", {"bad_imu", "stale_imu", "no_imu"}),
    ],
)
def test_the_fuzzer_reaches_every_kind_of_refusal_and_good_input(
    outcomes: dict[str, Any], kind: str, reasons: set[str]
) -> None:
    assert reasons <= set(outcomes[kind]["refused"])
    assert outcomes[kind]["good"] > 0
