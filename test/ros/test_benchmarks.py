"""The programs that measure the node, with tiny settings: they run, and their sums are right.

All three run at once, each on a ROS domain of its own: they mostly wait. No figure that depends
on the machine is asserted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from domains import own_domain
from processes import OURS, PATIENCE_S, ROOT

RUNS = {
    "bench_node": "--scenes room --points 3000 --rates 10 --seconds 2 --warm-up 0.5",
    "overload": "--points 5000 --rate 30 --seconds 3 --warm-up 1 --inference-ms 200",
    "soak": "--points 3000 --minutes 0.05 --warm-up-minutes 0 --step 0.05",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each of them prints."""
    folder = tmp_path_factory.mktemp("benchmarks")
    processes = {
        name: _start(name, options, folder, own_domain()) for name, options in RUNS.items()
    }
    try:
        statuses = {name: process.wait(3 * PATIENCE_S) for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.terminate()  # the program then ends its node; nothing where it has ended
    words = {name: (folder / f"{name}.txt").read_text() for name in RUNS}
    assert set(statuses.values()) == {0}, words
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in RUNS}


def _start(name: str, options: str, folder: Path, domain: int) -> subprocess.Popen[bytes]:
    script = str(ROOT / "benchmark" / f"{name}.py")
    with (folder / f"{name}.json").open("w") as out, (folder / f"{name}.txt").open("w") as words:
        return subprocess.Popen(
            [sys.executable, script, *options.split()],
            env={**os.environ, **OURS, "ROS_DOMAIN_ID": str(domain)},
            stdout=out,
            stderr=words,
        )


def test_bench_node_splits_the_latency_into_parts_without_a_gap(told: dict[str, Any]) -> None:
    (run,) = told["bench_node"]["runs"]
    assert (run["Input Data Size (bytes)"], run["NUM_FRAMES_SENT"]) == (16 * 3000, 20)
    assert run["frames"]["adds_up"]
    assert run["frames"]["sent"] == 25  # those while warming up, too
    assert run["node"]["exit_status"] == 0
    means = [part["mean"] for part in run["parts_ms"].values()]
    assert min(means) >= 0.0
    assert sum(means) == pytest.approx(run["MEAN_LATENCY"], abs=0.01 * len(means))


def test_overload_counts_every_frame_of_a_detector_that_is_too_slow(told: dict[str, Any]) -> None:
    run = told["overload"]
    frames = run["frames"]
    assert frames["adds_up"]
    assert frames["sent"] == 90
    assert frames["dropped"] == {"superseded": frames["received"] - frames["published"]}
    assert frames["dropped"]["superseded"] > 0
    assert run["detector_ms"]["p50"] >= 200.0
    assert run["age_ms"]["max"] >= run["detector_ms"]["p50"]
    assert run["growth"]["rss_mb"]["first"] > 0.0
    assert run["node"]["exit_status"] == 0


def test_the_soak_does_everything_to_the_node_and_loses_count_of_nothing(
    told: dict[str, Any],
) -> None:
    frames = told["soak"]["frames"]
    assert frames["adds_up"]
    done = ("tf_losses", "set_parameters_done", "enable_done", "load_model_done")
    assert [frames[name] for name in done] == [1, 2, 2, 1]
    assert not {"set_parameters_refused", "enable_refused", "load_model_refused"} & set(frames)
    assert told["soak"]["growth"]["threads"]["first"] > 0.0
    assert told["soak"]["node"]["exit_status"] == 0
